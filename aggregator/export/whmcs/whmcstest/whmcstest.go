// Package whmcstest is a WHMCS for tests: it answers as the API reference says, keeps what it was told,
// and fails as real installations do, before and after the effect.
//
// Numbers are written as texts, errors come with status 200, empty lists are empty texts, pages hold 25.
// It knows no more of the product than the reference does.
package whmcstest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Fault is how a call goes wrong.
type Fault int

// The faults. Those after the effect have done what they were asked for.
const (
	None           Fault = iota
	Forbidden            // 403: authentication failed
	WrongIP              // 200 with result error: the address is not on the list
	ErrorPage            // 503 with a page, without effect
	Closed               // the connection ends, without effect
	Maintenance          // 200 with a page, without effect
	Database             // 200 with result error and a message of no list, without effect
	LostAnswer           // the connection ends after the effect
	LostPage             // 502 with a page after the effect
	Hang                 // no answer after the effect, until the caller gives up
	LateEffect           // no answer, and the effect comes when EndLate is called
	Truncated            // half an answer after the effect
	EmptySuccess         // success without an id, after the effect
	LateError            // 200 with result error and a message of no list, after the effect
	Filtered             // 403 with a page of a filter, after the effect
	FilteredDenied       // the same, and the page says "Access Denied"
	FilteredJSON         // 403 with JSON of a filter, whose message has "access denied" in it, after the effect
	Busy                 // 429, without effect
	Twice                // the effect comes twice, and the answer is lost
	faults
)

// Faults returns all faults that the receiver cannot make worse: Twice is left out.
func Faults() []Fault {
	var list []Fault
	for f := None; f < faults; f++ {
		if f != Twice {
			list = append(list, f)
		}
	}
	return list
}

// Item is a billable item, or a credit.
type Item struct {
	ID          int
	Client      int
	Description string
	Amount      string
	Action      string // of the invoice
	Invoice     int    // 0 while it is on none
	Credit      bool
}

type invoice struct {
	id, client int
	date       string
}

// Server is a running WHMCS.
type Server struct {
	*httptest.Server
	// Legacy releases know hours and no units.
	Legacy bool
	// Scale is what a release divides bwusage and bwlimit by when it takes them; 0 is nothing.
	Scale int64
	// Identifier, Secret and AccessKey let calls in.
	Identifier, Secret, AccessKey string

	mu       sync.Mutex
	now      func() time.Time
	clients  map[int]string
	items    []Item
	invoices []invoice
	calls    []string
	fault    func(action string) Fault
	late     []func()
	after    func(action string)
	products map[int]map[string]string
}

// New starts a WHMCS with some clients, by their currencies.
func New(now func() time.Time, clients map[int]string) *Server {
	s := &Server{Identifier: "id", Secret: "secret", now: now, clients: clients, products: map[int]map[string]string{}}
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	return s
}

// URL of the API.
func (s *Server) API() string { return s.Server.URL + "/includes/api.php" }

// Fail asks f for each call how it goes wrong; nil ends that.
func (s *Server) Fail(f func(action string) Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

// After calls f when a call had its effect, before it is answered.
func (s *Server) After(f func(action string)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.after = f
}

// Items returns what was put in, in that order.
func (s *Server) Items() []Item {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.items)
}

// With returns what holds a text in its description.
func (s *Server) With(text string) (list []Item) {
	for _, item := range s.Items() {
		if strings.Contains(item.Description, text) {
			list = append(list, item)
		}
	}
	return list
}

// Calls returns the actions that were called, with effect or without.
func (s *Server) Calls() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

// EndLate lets the effects come that have not come yet.
func (s *Server) EndLate() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, effect := range s.late {
		effect()
	}
	s.late = nil
}

// InvoiceAll makes an invoice for each client with open items, as the daily run does.
func (s *Server) InvoiceAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	made := map[int]int{}
	for i, item := range s.items {
		if item.Invoice != 0 || item.Credit || item.Action == "noinvoice" {
			continue
		}
		if made[item.Client] == 0 {
			s.addInvoice(item.Client)
			made[item.Client] = len(s.invoices)
		}
		s.items[i].Invoice = made[item.Client]
	}
}

// AddInvoices makes invoices without items of ours.
func (s *Server) AddInvoices(client, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for range n {
		s.addInvoice(client)
	}
}

func (s *Server) addInvoice(client int) {
	s.invoices = append(s.invoices, invoice{id: len(s.invoices) + 1, client: client, date: s.now().Format(time.DateOnly)})
}

// Delete takes a client out.
func (s *Server) Delete(client int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.clients, client)
}

// AddProduct puts a product in place, with its fields.
func (s *Server) AddProduct(id int, fields map[string]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.products[id] = fields
}

// Product returns the fields of a product.
func (s *Server) Product(id int) map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[string]string{}
	for name, value := range s.products[id] {
		out[name] = value
	}
	return out
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/x-www-form-urlencoded" || r.URL.Path != "/includes/api.php" {
		http.Error(w, "<html>not found</html>", http.StatusNotFound)
		return
	}
	if err := r.ParseForm(); err != nil {
		http.Error(w, "<html>bad request</html>", http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	action := r.PostForm.Get("action")
	s.calls = append(s.calls, action)
	fault := None
	if s.fault != nil {
		fault = s.fault(action)
	}
	allowed := r.PostForm.Get("identifier") == s.Identifier && r.PostForm.Get("secret") == s.Secret && r.PostForm.Get("accesskey") == s.AccessKey
	s.mu.Unlock()
	if !allowed {
		fault = Forbidden
	}
	if r.PostForm.Get("responsetype") != "json" {
		_, _ = w.Write([]byte("result=error;message=Unsupported;"))
		return
	}
	s.answer(w, r, action, fault)
}

func (s *Server) answer(w http.ResponseWriter, r *http.Request, action string, fault Fault) {
	w.Header().Set("Content-Type", "application/json")
	switch fault {
	case Forbidden:
		w.WriteHeader(http.StatusForbidden)
		write(w, failure("Authentication Failed"))
		return
	case WrongIP:
		write(w, failure("Invalid IP 192.0.2.7"))
		return
	case Busy:
		http.Error(w, "<html>429 Too Many Requests</html>", http.StatusTooManyRequests)
		return
	case ErrorPage:
		http.Error(w, "<html><h1>503 Service Unavailable</h1></html>", http.StatusServiceUnavailable)
		return
	case Closed:
		panic(http.ErrAbortHandler)
	case Maintenance:
		_, _ = w.Write([]byte("<html>Down for Maintenance (Err 3)</html>"))
		return
	case Database:
		write(w, failure("Down for maintenance, please try again"))
		return
	case LateEffect:
		s.mu.Lock()
		form := r.PostForm
		s.late = append(s.late, func() { s.do(action, form.Get) })
		s.mu.Unlock()
		<-r.Context().Done()
		return
	}
	s.mu.Lock()
	answer := s.do(action, r.PostForm.Get)
	if fault == Twice {
		s.do(action, r.PostForm.Get)
	}
	after := s.after
	s.mu.Unlock()
	if after != nil {
		after(action)
	}
	switch fault {
	case LostAnswer, Twice:
		panic(http.ErrAbortHandler)
	case LostPage:
		http.Error(w, "<html>502 Bad Gateway</html>", http.StatusBadGateway)
	case Filtered:
		http.Error(w, "<html>403 Forbidden</html>", http.StatusForbidden)
	case FilteredDenied:
		http.Error(w, "<html><title>Access Denied</title>Access denied by the web application firewall: Invalid IP</html>", http.StatusForbidden)
	case FilteredJSON:
		w.WriteHeader(http.StatusForbidden)
		write(w, failure("request blocked: access denied"))
	case Hang:
		<-r.Context().Done()
	case Truncated:
		text, _ := json.Marshal(answer) // of texts
		_, _ = w.Write(text[:len(text)/2])
	case EmptySuccess:
		write(w, map[string]any{"result": "success"})
	case LateError:
		write(w, failure("SQLSTATE[HY000]: General error: 2006 server has gone away"))
	default:
		write(w, answer)
	}
}

func write(w http.ResponseWriter, v any) { _ = json.NewEncoder(w).Encode(v) } // a caller that is gone does not read

func failure(message string) map[string]any {
	return map[string]any{"result": "error", "message": message}
}

// do does what an action says and returns its answer. The lock is held.
func (s *Server) do(action string, get func(string) string) map[string]any {
	client, _ := strconv.Atoi(get("clientid"))
	switch action {
	case "AddBillableItem":
		return s.addItem(client, get)
	case "AddCredit":
		return s.addCredit(client, get)
	case "GetClientsDetails":
		if s.clients[client] == "" {
			return failure("Client Not Found")
		}
		return map[string]any{"result": "success", "client": map[string]any{"id": client, "currency": "1", "currency_code": s.clients[client]}}
	case "GetCredits":
		return s.getCredits(client)
	case "GetInvoices":
		return s.getInvoices(get)
	case "GetInvoice":
		return s.getInvoice(get)
	case "UpdateClientProduct":
		return s.updateProduct(get)
	case "GetClientsProducts":
		return s.getProducts(get)
	}
	return failure("Action Not Found")
}

func (s *Server) addItem(client int, get func(string) string) map[string]any {
	_, err := strconv.ParseFloat(get("amount"), 64)
	unit := get("unit")
	switch {
	case s.clients[client] == "":
		return failure("Client ID not Found")
	case get("description") == "":
		return failure("You must provide a description")
	case err != nil:
		return failure("Invalid Amount")
	case !slices.Contains([]string{"", "noinvoice", "nextcron", "nextinvoice", "duedate", "recur"}, get("invoiceaction")):
		return failure("Invalid Invoice Action")
	case get("invoiceaction") == "duedate" && get("duedate") == "":
		return failure("Due date is required")
	case !s.Legacy && unit != "hours" && unit != "quantity":
		return failure("Invalid Unit")
	}
	id := len(s.items) + 1
	s.items = append(s.items, Item{ID: id, Client: client, Description: get("description"), Amount: get("amount"), Action: get("invoiceaction")})
	return map[string]any{"result": "success", "billableid": strconv.Itoa(id)}
}

func (s *Server) addCredit(client int, get func(string) string) map[string]any {
	amount, err := strconv.ParseFloat(get("amount"), 64)
	switch {
	case get("type") != "" && get("type") != "add" && get("type") != "remove":
		return failure("Type can only be add or remove")
	case s.clients[client] == "":
		return failure("Client ID Not Found")
	case get("amount") == "":
		return failure("No Amount Provided")
	case err != nil || amount < 0:
		return failure("Amount must be in decimal format: ### or ###.##")
	}
	s.items = append(s.items, Item{ID: len(s.items) + 1, Client: client, Description: get("description"), Amount: get("amount"), Credit: true})
	return map[string]any{"result": "success", "newbalance": get("amount")}
}

func (s *Server) getCredits(client int) map[string]any {
	if s.clients[client] == "" {
		return failure("Client ID Not Found")
	}
	var list []map[string]any
	for _, item := range s.items {
		if item.Credit && item.Client == client {
			list = append(list, map[string]any{"id": strconv.Itoa(item.ID), "date": s.now().Format(time.DateOnly), "description": item.Description, "amount": item.Amount, "relid": "0"})
		}
	}
	return map[string]any{"result": "success", "totalresults": strconv.Itoa(len(list)), "clientid": strconv.Itoa(client), "credits": nested("credit", list)}
}

func (s *Server) getInvoices(get func(string) string) map[string]any {
	start, _ := strconv.Atoi(get("limitstart"))
	most, err := strconv.Atoi(get("limitnum"))
	if err != nil {
		most = 25
	}
	client, _ := strconv.Atoi(get("userid"))
	var list []map[string]any
	for _, one := range slices.Backward(s.invoices) { // as with orderby=date, order=desc
		if one.client == client {
			list = append(list, map[string]any{"id": strconv.Itoa(one.id), "userid": strconv.Itoa(client), "date": one.date})
		}
	}
	total := len(list)
	list = list[min(start, total):min(start+most, total)]
	return map[string]any{"result": "success", "totalresults": strconv.Itoa(total), "startnumber": start, "numreturned": len(list), "invoices": nested("invoice", list)}
}

func (s *Server) getInvoice(get func(string) string) map[string]any {
	id, _ := strconv.Atoi(get("invoiceid"))
	if id < 1 || id > len(s.invoices) {
		return failure("Invoice ID Not Found")
	}
	var list []map[string]any
	for _, item := range s.items {
		if item.Invoice == id {
			list = append(list, map[string]any{"id": strconv.Itoa(100 + item.ID), "type": "Item", "relid": strconv.Itoa(item.ID), "description": item.Description, "amount": item.Amount, "taxed": "1"})
		}
	}
	return map[string]any{"result": "success", "invoiceid": strconv.Itoa(id), "items": nested("item", list)}
}

func (s *Server) updateProduct(get func(string) string) map[string]any {
	id, _ := strconv.Atoi(get("serviceid"))
	product := s.products[id]
	if product == nil {
		return failure("Service ID Not Found")
	}
	for _, name := range []string{"bwusage", "bwlimit"} {
		if n, err := strconv.ParseInt(get(name), 10, 64); err == nil {
			product[name] = strconv.FormatInt(n/max(s.Scale, 1), 10)
		}
	}
	return map[string]any{"result": "success", "serviceid": strconv.Itoa(id)}
}

func (s *Server) getProducts(get func(string) string) map[string]any {
	id, _ := strconv.Atoi(get("serviceid"))
	var list []map[string]any
	if product := s.products[id]; product != nil {
		one := map[string]any{"id": fmt.Sprint(id)}
		for name, value := range product {
			one[name] = value
		}
		list = append(list, one)
	}
	return map[string]any{"result": "success", "totalresults": len(list), "products": nested("product", list)}
}

// nested writes a list as PHP does: an empty one is an empty text.
func nested(key string, list []map[string]any) any {
	if len(list) == 0 {
		return ""
	}
	return map[string]any{key: list}
}
