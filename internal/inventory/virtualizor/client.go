package virtualizor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Client reads from one Virtualizor by its admin API.
type Client struct {
	// URL is "https://HOST:4085"; Key and Pass are an admin's API credentials.
	URL, Key, Pass string
	HTTP           *http.Client // http.DefaultClient where nil
}

// Read reads all plans, users and virtual servers.
//
// Errors: where anything cannot be read: half an answer would look like servers that are gone.
func (c *Client) Read(ctx context.Context) (*State, error) {
	state := &State{Plans: map[int64]Plan{}, Users: map[int64]User{}}
	plans, err := list[wirePlan](ctx, c, "plans", "plans")
	if err != nil {
		return nil, err
	}
	for id, p := range plans {
		gigabytes, err := p.Bandwidth.count()
		if err != nil {
			return nil, fmt.Errorf("plan %d: bandwidth: %w", id, err)
		}
		state.Plans[id] = Plan{ID: id, Name: p.Name, Bandwidth: gigabytes}
	}
	users, err := list[wireUser](ctx, c, "users", "users")
	if err != nil {
		return nil, err
	}
	for id, u := range users {
		state.Users[id] = User{ID: id, Email: u.Email}
	}
	servers, err := list[wireServer](ctx, c, "vs", "vs")
	if err != nil {
		return nil, err
	}
	for _, id := range slices.Sorted(maps.Keys(servers)) {
		server, err := servers[id].server(id)
		if err != nil {
			return nil, fmt.Errorf("virtual server %d: %w", id, err)
		}
		state.Servers = append(state.Servers, server)
	}
	return state, nil
}

// What the API writes. Numbers are texts, or numbers.
type (
	wirePlan struct {
		Name      string `json:"plan_name"`
		Bandwidth number `json:"bandwidth"`
	}
	wireUser struct {
		Email string `json:"email"`
	}
	wireServer struct {
		Hostname  string          `json:"hostname"`
		Time      number          `json:"time"`
		UID       number          `json:"uid"`
		PlanID    number          `json:"plid"`
		Bandwidth number          `json:"bandwidth"`
		Email     string          `json:"email"`
		IPs       json.RawMessage `json:"ips"`
	}
)

func (w wireServer) server(id int64) (s Server, err error) {
	s = Server{ID: id, Hostname: w.Hostname, Email: w.Email}
	var created int64
	for _, field := range []struct {
		name string
		from number
		to   *int64
	}{{"time", w.Time, &created}, {"uid", w.UID, &s.User}, {"plid", w.PlanID, &s.Plan}, {"bandwidth", w.Bandwidth, &s.Bandwidth}} {
		if *field.to, err = field.from.count(); err != nil {
			return s, fmt.Errorf("%s: %w", field.name, err)
		}
	}
	s.Created = time.Unix(created, 0).UTC()
	ips, err := texts(w.IPs)
	if err != nil {
		return s, fmt.Errorf("ips: %w", err)
	}
	for _, text := range ips {
		prefix, err := netip.ParsePrefix(text)
		if addr, addrErr := netip.ParseAddr(text); addrErr == nil {
			prefix, err = addr.Unmap().Prefix(addr.Unmap().BitLen())
		}
		if err != nil {
			return s, fmt.Errorf("ips: %q is no address", text)
		}
		s.Addresses = append(s.Addresses, prefix.Masked())
	}
	slices.SortFunc(s.Addresses, func(a, b netip.Prefix) int { return strings.Compare(a.String(), b.String()) })
	return s, nil
}

const (
	pageLength = 50 // what it returns where nothing else is asked for
	pagesMost  = 10_000
	maxAnswer  = 64 << 20
)

// list reads a list page by page until a page brings nothing new: an installation may return fewer to a page
// than it was asked for, or the last page again where there is none.
func list[T any](ctx context.Context, c *Client, act, key string) (map[int64]T, error) {
	all := map[int64]T{}
	for page := 1; page <= pagesMost; page++ {
		answer, err := c.get(ctx, url.Values{"act": {act}, "page": {strconv.Itoa(page)}, "reslen": {strconv.Itoa(pageLength)}})
		if err != nil {
			return nil, fmt.Errorf("%s, page %d: %w", act, page, err)
		}
		part, ok := answer[key]
		if !ok {
			return nil, fmt.Errorf("%s, page %d: no %q in the answer", act, page, key)
		}
		rows, err := byID[T](part)
		if err != nil {
			return nil, fmt.Errorf("%s, page %d: %w", act, page, err)
		}
		before := len(all)
		maps.Copy(all, rows)
		if len(all) == before {
			return all, nil
		}
	}
	return nil, fmt.Errorf("%s: more than %d pages", act, pagesMost)
}

// get makes one request and returns the parts of its answer.
func (c *Client) get(ctx context.Context, query url.Values) (map[string]json.RawMessage, error) {
	query.Set("api", "json")
	query.Set("adminapikey", c.Key)
	query.Set("adminapipass", c.Pass)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimRight(c.URL, "/")+"/index.php?"+query.Encode(), nil)
	if err != nil {
		return nil, c.hide(err)
	}
	client := c.HTTP
	if client == nil {
		client = http.DefaultClient
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, c.hide(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return nil, c.hide(err)
	}
	if response.StatusCode != http.StatusOK {
		return nil, errors.New(response.Status)
	}
	var answer map[string]json.RawMessage
	if err := json.Unmarshal(text, &answer); err != nil {
		return nil, errors.New("the answer is not JSON: is this the admin's port, and are key and password right?")
	}
	if faults, err := texts(answer["error"]); err != nil || len(faults) > 0 {
		return nil, fmt.Errorf("it says: %s", strings.Join(faults, "; "))
	}
	return answer, nil
}

// hide takes the address out of an error: the credentials are in it.
func (c *Client) hide(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		return fmt.Errorf("%s: %w", strings.TrimRight(c.URL, "/"), wrapped.Err)
	}
	return err
}

// number is a number that comes as one or as a text.
type number string

func (n *number) UnmarshalJSON(data []byte) error {
	*n = number(strings.Trim(string(data), `"`))
	if *n == "null" {
		*n = ""
	}
	return nil
}

// count returns a number that counts something; nothing is 0.
func (n number) count() (int64, error) {
	if n == "" {
		return 0, nil
	}
	value, err := strconv.ParseInt(string(n), 10, 64)
	if err != nil || value < 0 {
		return 0, fmt.Errorf("%q is no count", string(n))
	}
	return value, nil
}

// byID reads an object whose keys are ids; where it is empty, PHP writes a list.
func byID[T any](data json.RawMessage) (map[int64]T, error) {
	if empty(data) {
		return nil, nil
	}
	var object map[string]T
	if err := json.Unmarshal(data, &object); err != nil {
		return nil, err
	}
	rows := make(map[int64]T, len(object))
	for key, row := range object {
		id, err := strconv.ParseInt(key, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("id %q is no number", key)
		}
		rows[id] = row
	}
	return rows, nil
}

// texts reads the texts of an object or a list, by key; nothing, false and null are none.
func texts(data json.RawMessage) ([]string, error) {
	if empty(data) {
		return nil, nil
	}
	var list []string
	if data[0] == '[' {
		return list, json.Unmarshal(data, &list)
	}
	var object map[string]string
	if err := json.Unmarshal(data, &object); err != nil {
		return []string{string(data)}, err
	}
	for _, key := range slices.Sorted(maps.Keys(object)) {
		list = append(list, object[key])
	}
	return list, nil
}

func empty(data json.RawMessage) bool {
	switch strings.TrimSpace(string(data)) {
	case "", "[]", "{}", "null", "false", `""`:
		return true
	}
	return false
}
