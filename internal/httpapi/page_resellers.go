package httpapi

import (
	"cmp"
	"io"
	"net/http"

	"hostmeter/internal/auth"
)

// resellersView is the page of one month's roll-up to the resellers.
type resellersView struct {
	Month       Month
	Months      []Month
	Provisional bool
	Resellers   []resellerView
}

func (v resellersView) title() string { return "Resellers " + v.Month.Title() }

// resellerView is a reseller with the texts of its figures.
type resellerView struct {
	Reseller
	Name       string
	UsedText   string
	BoughtText string // empty where no rate is agreed
	Customers  []resoldView
}

// resoldView is a customer of a reseller and its services.
type resoldView struct {
	Customer, Name      string
	InOctets, OutOctets uint64
	Services            []ResoldService
}

// getResellers sends a month's roll-up as a file.
func (s *Server) getResellers(w http.ResponseWriter, r *http.Request, who auth.Identity) error {
	if s.deps.Backend.Reports == nil {
		return unavailable("the roll-up to resellers")
	}
	p := readParams(r, s.zone, "month", "reseller", "format")
	query := ResellersQuery{Month: p.month("month", MonthOf(s.deps.Clock.Now(), s.zone)), Reseller: p.text("reseller"), Format: p.choice("format", "json", "json", "csv")}
	if err := p.error(); err != nil {
		return err
	}
	name := "hostmeter-resellers-" + string(query.Month)
	if query.Reseller != "" {
		name += "-" + query.Reseller
	}
	name += "." + query.Format
	deed := Deed{Action: "download resellers", Subject: cmp.Or(query.Reseller, string(query.Month)), Text: name}
	return s.sendFile(w, r, who, name, deed, func(file io.Writer) error {
		return s.deps.Backend.Reports.WriteResellers(r.Context(), query, file)
	})
}

func (s *Server) pageResellers(w http.ResponseWriter, r *http.Request, who auth.Identity) error {
	if s.deps.Backend.Summary == nil {
		return unavailable("the roll-up to resellers")
	}
	now := s.deps.Clock.Now()
	p := readParams(r, s.zone, "month")
	month := p.month("month", MonthOf(now, s.zone))
	if err := p.error(); err != nil {
		return err
	}
	resellers, err := s.deps.Backend.Summary.Resellers(r.Context(), month, now)
	if err != nil {
		return err
	}
	months, err := s.monthsWith(r.Context(), month, now)
	if err != nil {
		return err
	}
	view := resellersView{Month: month, Months: months, Provisional: resellers.Provisional}
	for _, one := range resellers.Resellers {
		view.Resellers = append(view.Resellers, newResellerView(one, resellers.Names))
	}
	s.render(w, r, http.StatusOK, "resellers", who, view)
	return nil
}

func newResellerView(one Reseller, names map[string]string) resellerView {
	view := resellerView{Reseller: one, Name: names[one.Reseller], UsedText: usedText(one.Used, one.Unit)}
	if one.RateBought != nil {
		view.BoughtText = quantityText(*one.RateBought)
	}
	for _, service := range one.Services {
		if n := len(view.Customers); n == 0 || view.Customers[n-1].Customer != service.Customer {
			view.Customers = append(view.Customers, resoldView{Customer: service.Customer, Name: names[service.Customer]})
		}
		group := &view.Customers[len(view.Customers)-1]
		group.InOctets, group.OutOctets = group.InOctets+service.InOctets, group.OutOctets+service.OutOctets
		group.Services = append(group.Services, service)
	}
	return view
}
