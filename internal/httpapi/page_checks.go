package httpapi

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"time"

	"hostmeter/internal/auth"
)

// monthView is what the pages about a month as a whole have in common.
type monthView struct {
	Month  Month
	Months []Month
	Names  Names
}

// monthPage reads the month that a page is about.
func (s *Server) monthPage(r *http.Request) (monthView, error) {
	if s.deps.Backend.Checks == nil || s.deps.Backend.Summary == nil {
		return monthView{}, unavailable("the month's report")
	}
	now := s.deps.Clock.Now()
	p := readParams(r, s.zone, "month")
	v := monthView{Month: p.month("month", MonthOf(now, s.zone))}
	if err := p.error(); err != nil {
		return v, err
	}
	var err error
	if v.Months, err = s.monthsWith(r.Context(), v.Month, now); err != nil {
		return v, err
	}
	v.Names = s.names(r.Context())
	return v, nil
}

// reconciliationView is the page of what bills beside its witnesses.
type reconciliationView struct {
	monthView
	Outside, Differ, Agrees, NotCompared int // days
	Services                             []reconciledService
	Days                                 []ReconciledDay // outside, or with witnesses that differ
}

func (v reconciliationView) title() string { return "Reconciliation " + v.Month.Title() }

// reconciledService is one service's month in days.
type reconciledService struct {
	Customer, Service                    string
	Outside, Differ, Agrees, NotCompared int
	Missing                              []string // why nothing was compared, each reason once
	Released                             string
}

// State is the service's worst day; what was released is no longer held.
func (s reconciledService) State() string {
	switch {
	case s.Outside > 0 && s.Released != "":
		return "released"
	case s.Outside > 0:
		return "outside"
	case s.Differ > 0:
		return "witnesses differ"
	case s.Agrees > 0:
		return "agrees"
	}
	return "not compared"
}

func (s *Server) pageReconciliation(w http.ResponseWriter, r *http.Request, who auth.Identity) error {
	month, err := s.monthPage(r)
	if err != nil {
		return err
	}
	days, err := s.deps.Backend.Checks.Reconciliation(r.Context(), month.Month)
	if err != nil {
		return err
	}
	s.render(w, r, http.StatusOK, "reconciliation", who, newReconciliationView(month, days))
	return nil
}

func newReconciliationView(month monthView, days []ReconciledDay) reconciliationView {
	v := reconciliationView{monthView: month}
	at := map[string]int{}
	for _, d := range days {
		i, ok := at[d.Service]
		if !ok {
			i = len(v.Services)
			at[d.Service] = i
			v.Services = append(v.Services, reconciledService{Customer: d.Customer, Service: d.Service})
		}
		service := &v.Services[i]
		service.Released = cmp.Or(service.Released, d.Released)
		switch d.Verdict {
		case "outside":
			v.Outside, service.Outside = v.Outside+1, service.Outside+1
		case "witnesses_differ":
			v.Differ, service.Differ = v.Differ+1, service.Differ+1
		case "agrees":
			v.Agrees, service.Agrees = v.Agrees+1, service.Agrees+1
		default:
			v.NotCompared, service.NotCompared = v.NotCompared+1, service.NotCompared+1
			for _, m := range d.Missing {
				if !slices.Contains(service.Missing, m) && len(service.Missing) < 4 {
					service.Missing = append(service.Missing, m)
				}
			}
		}
		if d.Verdict == "outside" || d.Verdict == "witnesses_differ" {
			v.Days = append(v.Days, d)
		}
	}
	slices.SortStableFunc(v.Services, func(a, b reconciledService) int {
		return cmp.Or(cmp.Compare(b.Outside, a.Outside), cmp.Compare(b.Differ, a.Differ), cmp.Compare(b.Agrees, a.Agrees))
	})
	return v
}

// unownedView is the page of traffic that is on no statement.
type unownedView struct {
	monthView
	Meters              []UnownedMeter
	InOctets, OutOctets uint64
}

func (v unownedView) title() string { return "Unowned traffic " + v.Month.Title() }

func (s *Server) pageUnowned(w http.ResponseWriter, r *http.Request, who auth.Identity) error {
	month, err := s.monthPage(r)
	if err != nil {
		return err
	}
	v := unownedView{monthView: month}
	if v.Meters, err = s.deps.Backend.Checks.Unowned(r.Context(), month.Month); err != nil {
		return err
	}
	slices.SortStableFunc(v.Meters, func(a, b UnownedMeter) int {
		return cmp.Compare(b.InOctets+b.OutOctets, a.InOctets+a.OutOctets)
	})
	for _, m := range v.Meters {
		v.InOctets, v.OutOctets = v.InOctets+m.InOctets, v.OutOctets+m.OutOctets
	}
	s.render(w, r, http.StatusOK, "unowned", who, v)
	return nil
}

// completenessView is the page of how complete each exporter was.
type completenessView struct {
	monthView
	Exporters []ExporterMonth
}

func (v completenessView) title() string { return "Completeness " + v.Month.Title() }

func (s *Server) pageCompleteness(w http.ResponseWriter, r *http.Request, who auth.Identity) error {
	month, err := s.monthPage(r)
	if err != nil {
		return err
	}
	v := completenessView{monthView: month}
	if v.Exporters, err = s.deps.Backend.Checks.Completeness(r.Context(), month.Month); err != nil {
		return err
	}
	slices.SortStableFunc(v.Exporters, func(a, b ExporterMonth) int { return cmp.Compare(a.Coverage, b.Coverage) })
	s.render(w, r, http.StatusOK, "completeness", who, v)
	return nil
}

// addressesView is the page of how addresses are used.
type addressesView struct {
	Rows                    []AddressUse
	Names                   Names
	Due, Given, Revocable   int // assignments
	Addresses, Used, Beyond int64
	Today                   string
}

func (addressesView) title() string { return "Addresses" }

func (s *Server) pageAddresses(w http.ResponseWriter, r *http.Request, who auth.Identity) error {
	if s.deps.Backend.Addresses == nil {
		return unavailable("the use of addresses")
	}
	if err := readParams(r, s.zone).error(); err != nil {
		return err
	}
	rows, err := s.deps.Backend.Addresses.Utilisation(r.Context())
	if err != nil {
		return err
	}
	s.render(w, r, http.StatusOK, "addresses", who, newAddressesView(rows, s.names(r.Context()), s.deps.Clock.Now().In(s.zone)))
	return nil
}

func newAddressesView(rows []AddressUse, names Names, now time.Time) addressesView {
	v := addressesView{Rows: rows, Names: names, Today: now.Format(time.DateOnly)}
	assignments, services := map[string]bool{}, map[string]bool{}
	for _, row := range rows {
		v.Addresses, v.Used = v.Addresses+row.Addresses, v.Used+row.Used
		if !services[row.Service] {
			v.Beyond += row.BeyondFree
		}
		services[row.Service] = true
		assignment := row.Service + " " + row.AssignedAt.String()
		if assignments[assignment] {
			continue
		}
		assignments[assignment] = true
		switch row.State {
		case "notice_due":
			v.Due++
		case "notice_given":
			v.Given++
		case "revocable":
			v.Revocable++
		}
	}
	order := []string{"revocable", "notice_due", "notice_given", "in_time", "satisfied"}
	slices.SortStableFunc(v.Rows, func(a, b AddressUse) int {
		return cmp.Compare(slices.Index(order, a.State), slices.Index(order, b.State))
	})
	return v
}

// formNotice records a notice from the page.
func (s *Server) formNotice(w http.ResponseWriter, r *http.Request, who auth.Identity) error {
	if err := r.ParseForm(); err != nil {
		return formError(err)
	}
	get := func(name string) string { return strings.TrimSpace(r.PostForm.Get(name)) }
	if _, err := s.giveNotice(r, who, AddressNotice{Service: get("service"), Prefix: get("prefix"), On: get("on"), Reason: get("reason")}); err != nil {
		return err
	}
	http.Redirect(w, r, "/finance/addresses", http.StatusSeeOther)
	return nil
}
