package httpapi

import (
	"math"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"hostmeter/internal/auth"
)

// noticesView is the log of what customers were told.
type noticesView struct {
	Notices []noticeRow
	Open    []DecisionRequest
	Limit   int
}

type noticeRow struct {
	Notice
	CustomerName string
}

// noticesShown is how many notices the page has; the API has all.
const noticesShown = 500

func (s *Server) pageNotices(w http.ResponseWriter, r *http.Request, who auth.Identity) error {
	if s.deps.Backend.Notices == nil {
		return unavailable("the log of notices")
	}
	if err := readParams(r, s.zone).error(); err != nil {
		return err
	}
	notices, err := s.deps.Backend.Notices.LastNotices(r.Context(), noticesShown)
	if err != nil {
		return err
	}
	open, err := s.deps.Backend.Notices.QuotaDecisions(r.Context(), true)
	if err != nil {
		return err
	}
	names := s.names(r.Context())
	view := noticesView{Open: open, Limit: noticesShown}
	for _, n := range notices {
		view.Notices = append(view.Notices, noticeRow{n, names[n.Customer]})
	}
	s.render(w, r, http.StatusOK, "notices", who, view)
	return nil
}

// What says in a few words what was told.
func (n Notice) What() string {
	switch n.Kind {
	case "threshold":
		return strconv.Itoa(*n.Threshold) + nbsp + "% of the " + n.Limit() + n.state()
	case "forecast":
		return "will be exceeded"
	case "spike":
		return "peaks on " + n.Spike.Day + " for " + strconv.Itoa(n.Spike.Minutes) + nbsp + "minutes"
	case "decision_requested":
		return "asked to choose"
	case "decision_made":
		return "chose " + n.Choice.Choice
	}
	return n.Kind
}

// About names what it is about: a service, a pool, or a reseller's sum.
func (n Notice) About() string {
	switch n.Subject {
	case "pool":
		return "pool " + n.Service
	case "reseller":
		return "all that " + n.Customer + " resells"
	}
	return n.Service
}

// Limit is what may be used, as its contract calls it.
func (n Notice) Limit() string {
	switch {
	case n.Subject == "reseller":
		return "rate bought"
	case n.Burst != nil:
		return "included rate"
	}
	return "quota"
}

func (n Notice) state() string {
	if n.Burst != nil {
		return " reached"
	}
	return " used"
}

// UsedOfQuota is what was used then.
func (n Notice) UsedOfQuota() string {
	return usedText(n.Used, n.Unit) + " of " + quantityText(n.Quota) + nbsp + n.Unit
}

// CostText is what was charged for what was used then.
func (n Notice) CostText() string { return moneyText(&n.AmountExVAT, n.Currency) }

// Exceeded says that what is used is charged for already.
func (n Notice) Exceeded() bool { return n.Used.GreaterThan(n.Quota.Add(n.Grace)) }

// probabilityText is a probability in whole per cent; neither certainty is said of a forecast.
func probabilityText(p *float64) string {
	switch {
	case p == nil || math.IsNaN(*p):
		return missing
	case *p >= 0.995:
		return "> 99" + nbsp + "%"
	case *p < 0.005:
		return "< 1" + nbsp + "%"
	}
	return strconv.FormatFloat(*p*100, 'f', 0, 64) + nbsp + "%"
}

// choiceView is the page behind the link in a mail.
type choiceView struct {
	DecisionRequest
	Token          string
	Period         string
	Until, Decided string
	ForecastText   string
	Options        []choiceOption
	Problem        string // of the last attempt
}

type choiceOption struct{ Name, Title, Text string }

var choiceOptions = []choiceOption{
	{"upgrade", "Upgrade", "to a larger plan; we contact you about it"},
	{"throttle", "Throttle", "limit the speed until the end of the period"},
	{"disconnect", "Disconnect", "disconnect until the end of the period"},
	{"nothing", "Nothing", "change nothing: what goes beyond is charged"},
}

// Title names what was chosen.
func (v choiceView) Title() string {
	for _, o := range choiceOptions {
		if v.Outcome != nil && o.Name == v.Outcome.Choice {
			return o.Title + ": " + o.Text
		}
	}
	return ""
}

// Whole names the service, or the pool, at the beginning of a sentence.
func (v choiceView) Whole() string {
	whole := "Service " + v.Service
	if v.Subject == "pool" {
		whole = "Pool " + v.Service + " of " + strconv.Itoa(v.Members) + " services"
		if v.Members == 1 {
			whole = "Pool " + v.Service + " of one service"
		}
	}
	if v.Plan != "" {
		whole += " (" + v.Plan + ")"
	}
	return whole
}

// pageDecide shows what is asked. It changes nothing: programs that look through mail open links.
func (s *Server) pageDecide(w http.ResponseWriter, r *http.Request, who auth.Identity) error {
	p := readParams(r, s.zone, "t")
	token := p.text("t")
	if err := p.error(); err != nil {
		return err
	}
	request, err := s.linked(r, token)
	if err != nil {
		return err
	}
	s.renderChoice(w, r, http.StatusOK, who, request, token, "")
	return nil
}

func (s *Server) linked(r *http.Request, token string) (DecisionRequest, error) {
	if s.deps.Backend.Notices == nil {
		return DecisionRequest{}, unavailable("the list of decisions")
	}
	request, err := s.deps.Backend.Notices.Linked(r.Context(), token)
	return request, linkProblem(err)
}

func (s *Server) postDecide(w http.ResponseWriter, r *http.Request, who auth.Identity) error {
	if err := r.ParseForm(); err != nil {
		return formError(err)
	}
	token, choice := r.PostForm.Get("t"), r.PostForm.Get("choice")
	request, err := s.linked(r, token)
	if err != nil {
		return err
	}
	if choice == "" {
		s.renderChoice(w, r, http.StatusUnprocessableEntity, who, request, token, "Please choose one of the four.")
		return nil
	}
	if _, err := s.deps.Backend.Notices.ChooseByLink(r.Context(), token, choice); err != nil && problemOf(err).Status != http.StatusConflict {
		return linkProblem(err)
	}
	// What is decided now, by this or before, is on the page.
	http.Redirect(w, r, "/decide?t="+url.QueryEscape(token), http.StatusSeeOther)
	return nil
}

// linkProblem says to a customer what to do about a link that is none.
func linkProblem(err error) error {
	if err != nil && problemOf(err).Status == http.StatusNotFound {
		return &problem{Status: http.StatusNotFound, Message: "this link is not valid", Hint: "Copy the whole link from the message, or answer to the message."}
	}
	return err
}

func (s *Server) renderChoice(w http.ResponseWriter, r *http.Request, status int, who auth.Identity, request DecisionRequest, token, fault string) {
	zone, err := time.LoadLocation(request.TimeZone)
	if err != nil {
		zone = s.zone
	}
	at := func(t time.Time) string {
		return t.In(zone).Format("Monday 2 January 2006, 15:04") + " (" + zone.String() + ")"
	}
	view := choiceView{DecisionRequest: request, Token: token, Options: choiceOptions, Problem: fault,
		Period: request.PeriodFrom.In(zone).Format("2 January") + " to " + request.PeriodTo.Add(-time.Second).In(zone).Format("2 January 2006")}
	if request.Deadline != nil {
		view.Until = at(*request.Deadline)
	}
	if request.Outcome != nil {
		view.Decided = at(request.Outcome.At)
	}
	if f := request.Forecast; f != nil {
		view.ForecastText = usedText(f.Expected, request.Unit) + nbsp + request.Unit + " (" + usedText(f.Low, request.Unit) + " to " + usedText(f.High, request.Unit) + " in 9 of 10 cases)"
	}
	s.render(w, r, status, "decide", who, view)
}
