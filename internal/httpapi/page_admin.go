package httpapi

import (
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"time"

	"hostmeter/internal/auth"
)

// meterView is the history of one meter.
type meterView struct {
	MeterHistory
	Owner  string
	Charts []namedChart
	Spans  []spanChoice
}

func (v meterView) title() string { return "Meter " + v.Meter }

type namedChart struct {
	Name, Unit string
	Names      []string
	SVG        template.HTML
	Observed   *float64 // share of the slots that have a value
}

type spanChoice struct {
	Text, Query string
	Active      bool
}

func (s *Server) pageMeter(w http.ResponseWriter, r *http.Request, who auth.Identity) error {
	history, err := s.history(r)
	if err != nil {
		return err
	}
	view := meterView{MeterHistory: history, Owner: owner(s.names(r.Context()), history.Service, history.Customer), Spans: s.spans(history)}
	byUnit := map[string]int{}
	for _, series := range history.Series {
		if len(series.Points) == 0 {
			continue
		}
		i, known := byUnit[series.Unit]
		if !known {
			i = len(view.Charts)
			byUnit[series.Unit] = i
			view.Charts = append(view.Charts, namedChart{Unit: series.Unit})
		}
		view.Charts[i].Names = append(view.Charts[i].Names, metricText(series.Metric))
	}
	for unit, i := range byUnit {
		c := chart{from: history.From, to: history.To, zone: s.zone, unit: unit}
		for _, series := range history.Series {
			if series.Unit == unit && len(series.Points) > 0 {
				c.series = append(c.series, chartSeries{name: metricText(series.Metric), points: series.Points})
			}
		}
		view.Charts[i].SVG, view.Charts[i].Observed = c.svg(), observed(c.series[0].points)
	}
	s.render(w, r, http.StatusOK, "meter", who, view)
	return nil
}

func observed(points []Point) *float64 {
	n := 0
	for _, p := range points {
		if p.Value != nil {
			n++
		}
	}
	share := float64(n) / float64(len(points))
	return &share
}

// spans are the lengths of history to choose from, all ending now.
func (s *Server) spans(history MeterHistory) []spanChoice {
	now := s.deps.Clock.Now().Truncate(time.Second)
	var out []spanChoice
	for _, c := range []struct {
		text string
		span time.Duration
	}{{"6 hours", 6 * time.Hour}, {"1 day", day}, {"7 days", 7 * day}, {"31 days", 31 * day}, {"93 days", 93 * day}} {
		query := url.Values{"from": {now.Add(-c.span).Format(time.RFC3339)}}
		asked := history.To.Sub(history.From)
		out = append(out, spanChoice{Text: c.text, Query: query.Encode(), Active: asked > c.span*9/10 && asked < c.span*11/10})
	}
	return out
}

// adminView is what an admin looks after.
type adminView struct {
	Customers []Customer
	Services  []serviceRow
	Plans     []Plan
	Prefixes  []Prefix
	Sources   []exporterRow
	Exporters *Exporters
	Users     []auth.User
	Tokens    []auth.Token
	Audit     []AuditEvent // the newest first
	Erasure   bool         // whether this process can erase
	Inventory bool
}

func (adminView) title() string { return "Administration" }

// serviceRow is a service with its customer's name and what it owns now.
type serviceRow struct {
	Service
	CustomerName string
	Keys         []string
}

func (s *Server) pageAdmin(w http.ResponseWriter, r *http.Request, who auth.Identity) error {
	if err := readParams(r, s.zone).error(); err != nil {
		return err
	}
	view := adminView{Inventory: s.deps.Backend.Inventory != nil}
	if err := s.fillInventory(r, &view); err != nil {
		return err
	}
	if s.deps.Backend.Exporters != nil {
		all, err := s.exporters(r)
		if err != nil {
			return err
		}
		view.Exporters, view.Sources = &all, exporterRows(all, s.deps.Clock.Now())
	}
	var err error
	if view.Users, err = s.deps.Auth.Users(r.Context()); err != nil {
		return err
	}
	if view.Tokens, err = s.deps.Auth.Tokens(r.Context()); err != nil {
		return err
	}
	view.Erasure = s.deps.Backend.Eraser != nil
	if view.Audit, err = s.newestAudit(r); err != nil {
		return err
	}
	s.render(w, r, http.StatusOK, "admin", who, view)
	return nil
}

func (s *Server) fillInventory(r *http.Request, view *adminView) error {
	inventory := s.deps.Backend.Inventory
	if inventory == nil {
		return nil
	}
	ctx, now := r.Context(), s.deps.Clock.Now()
	var err error
	if view.Customers, err = inventory.Customers(ctx); err != nil {
		return err
	}
	if view.Plans, err = inventory.Plans(ctx); err != nil {
		return err
	}
	if view.Prefixes, err = inventory.Prefixes(ctx); err != nil {
		return err
	}
	services, err := inventory.Services(ctx)
	if err != nil {
		return err
	}
	ownership, err := inventory.Ownership(ctx)
	if err != nil {
		return err
	}
	view.Services = serviceRows(services, view.Customers, ownership, now)
	return nil
}

func serviceRows(services []Service, customers []Customer, ownership []Ownership, now time.Time) []serviceRow {
	names := make(Names, len(customers))
	for _, c := range customers {
		names[c.ID] = c.Name
	}
	keys := make(map[string][]string, len(services))
	for _, o := range ownership {
		if ownedAt(o, now) {
			keys[o.Service] = append(keys[o.Service], o.Key)
		}
	}
	out := make([]serviceRow, 0, len(services))
	for _, service := range services {
		slices.Sort(keys[service.ID])
		out = append(out, serviceRow{Service: service, CustomerName: names[service.Customer], Keys: keys[service.ID]})
	}
	return out
}

func ownedAt(o Ownership, at time.Time) bool {
	from, err := time.Parse(time.RFC3339, o.From)
	if err != nil || from.After(at) {
		return false
	}
	if o.Until == nil {
		return true
	}
	until, err := time.Parse(time.RFC3339, *o.Until)
	return err == nil && at.Before(until)
}
