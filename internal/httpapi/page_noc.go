package httpapi

import (
	"context"
	"html/template"
	"net/http"
	"strings"
	"time"

	"hostmeter/internal/auth"
)

// nocView is the operators' page.
type nocView struct {
	At        time.Time
	Open      []incidentRow
	Recent    []incidentRow // resolved in the last day
	Top       []topRow
	Exporters *Exporters
	Sources   []exporterRow
	Unheard   int
	// What this process does not have.
	NoIncidents, NoMeters bool
}

func (nocView) title() string { return "Operations" }

type incidentRow struct {
	Incident
	Owner    string
	Lasted   string
	Silenced bool
}

type topRow struct {
	TopMeter
	Owner   string
	In, Out float64 // per cent of the highest
}

type exporterRow struct {
	Exporter
	Ago string
}

func (s *Server) pageNOC(w http.ResponseWriter, r *http.Request, who auth.Identity) error {
	if err := readParams(r, s.zone).error(); err != nil {
		return err
	}
	view, err := s.noc(r)
	if err != nil {
		return err
	}
	s.render(w, r, http.StatusOK, "noc", who, view)
	return nil
}

func (s *Server) noc(r *http.Request) (nocView, error) {
	ctx, now := r.Context(), s.deps.Clock.Now()
	view := nocView{At: now, NoIncidents: s.deps.Backend.Incidents == nil, NoMeters: s.deps.Backend.Meters == nil}
	names := s.names(ctx)
	if desk := s.deps.Backend.Incidents; desk != nil {
		open, err := desk.Incidents(ctx, IncidentFilter{State: "open", Limit: 200})
		if err != nil {
			return view, err
		}
		recent, err := desk.Incidents(ctx, IncidentFilter{State: "resolved", Since: now.Add(-day), Limit: 20})
		if err != nil {
			return view, err
		}
		view.Open, view.Recent = incidentRows(open, names, now), incidentRows(recent, names, now)
	}
	if meters := s.deps.Backend.Meters; meters != nil {
		top, err := meters.Top(ctx, "sum", 12)
		if err != nil {
			return view, err
		}
		view.Top = topRows(top, names)
	}
	if s.deps.Backend.Exporters != nil {
		all, err := s.exporters(r)
		if err != nil {
			return view, err
		}
		view.Exporters, view.Sources = &all, exporterRows(all, now)
		for _, e := range all.Exporters {
			if e.State != "ok" {
				view.Unheard++
			}
		}
	}
	return view, nil
}

// names returns what to call customers; identifiers do where it cannot be known.
func (s *Server) names(ctx context.Context) Names {
	if s.deps.Backend.OwnerNames == nil {
		return nil
	}
	names, err := s.deps.Backend.OwnerNames(ctx)
	if err != nil {
		s.log.Warn("customers' names cannot be read", "err", err)
	}
	return names
}

// owner is the text for who owns a meter.
func owner(names Names, service, customer string) string {
	if name := names[customer]; name != "" {
		customer = name
	}
	switch {
	case service == "" && customer == "":
		return ""
	case service == "":
		return customer
	case customer == "":
		return service
	}
	return customer + " · " + service
}

func incidentRows(incidents []Incident, names Names, now time.Time) []incidentRow {
	out := make([]incidentRow, 0, len(incidents))
	for _, i := range incidents {
		out = append(out, newIncidentRow(i, names, now))
	}
	return out
}

func newIncidentRow(i Incident, names Names, now time.Time) incidentRow {
	end := now
	if i.ResolvedAt != nil {
		end = *i.ResolvedAt
	}
	return incidentRow{Incident: i, Owner: owner(names, i.Service, i.Customer), Lasted: agoText(end.Sub(i.Since)),
		Silenced: i.SilencedUntil != nil && i.SilencedUntil.After(now)}
}

func topRows(top []TopMeter, names Names) []topRow {
	highest := 1.0
	for _, t := range top {
		highest = max(highest, t.InBitsPerSecond, t.OutBitsPerSecond)
	}
	out := make([]topRow, 0, len(top))
	for _, t := range top {
		out = append(out, topRow{TopMeter: t, Owner: owner(names, t.Service, t.Customer),
			In: percent(t.InBitsPerSecond, highest), Out: percent(t.OutBitsPerSecond, highest)})
	}
	return out
}

func exporterRows(all Exporters, now time.Time) []exporterRow {
	out := make([]exporterRow, 0, len(all.Exporters))
	for _, e := range all.Exporters {
		row := exporterRow{Exporter: e, Ago: "never"}
		if e.LastDatagramAt != nil {
			row.Ago = agoText(now.Sub(*e.LastDatagramAt))
		}
		out = append(out, row)
	}
	return out
}

// incidentView is one incident with its evidence.
type incidentView struct {
	IncidentDetail
	Row      incidentRow
	Chart    template.HTML
	Series   string
	Silences []silenceChoice
	Open     bool
}

func (v incidentView) title() string { return v.Rule + " on " + v.Meter }

type silenceChoice struct{ For, Text string }

var silences = []silenceChoice{{"1h", "1 hour"}, {"4h", "4 hours"}, {"24h", "1 day"}, {"72h", "3 days"}, {"168h", "1 week"}}

func (s *Server) pageIncident(w http.ResponseWriter, r *http.Request, who auth.Identity) error {
	if err := readParams(r, s.zone).error(); err != nil {
		return err
	}
	detail, err := s.incident(r)
	if err != nil {
		return err
	}
	e := detail.Evidence
	view := incidentView{IncidentDetail: detail, Row: newIncidentRow(detail.Incident, s.names(r.Context()), s.deps.Clock.Now()),
		Series: metricText(e.Metric), Silences: silences, Open: detail.State == "open"}
	if len(e.Series) > 0 {
		view.Chart = chart{from: e.WindowFrom, to: e.WindowTo, zone: s.zone, unit: e.Unit, threshold: e.Threshold,
			series: []chartSeries{{name: view.Series, points: e.Series}}}.svg()
	}
	s.render(w, r, http.StatusOK, "incident", who, view)
	return nil
}

// metricText is the name of a metric for people: "out_bits_per_second" is "out, bits per second".
func metricText(metric string) string {
	for _, direction := range []string{"in_", "out_"} {
		if rest, found := strings.CutPrefix(metric, direction); found {
			return strings.TrimSuffix(direction, "_") + ", " + strings.ReplaceAll(rest, "_", " ")
		}
	}
	if rest, found := strings.CutPrefix(metric, "cpu_"); found {
		return "CPU " + strings.ReplaceAll(rest, "_", " ")
	}
	return strings.ReplaceAll(metric, "_", " ")
}

func (s *Server) formAck(w http.ResponseWriter, r *http.Request, who auth.Identity) error {
	return s.formAction(w, r, who, acknowledge)
}

func (s *Server) formSilence(w http.ResponseWriter, r *http.Request, who auth.Identity) error {
	return s.formAction(w, r, who, silence)
}

func (s *Server) formResolve(w http.ResponseWriter, r *http.Request, who auth.Identity) error {
	return s.formAction(w, r, who, resolve)
}

// formAction does what a form asks for and shows the page that it came from.
func (s *Server) formAction(w http.ResponseWriter, r *http.Request, who auth.Identity, do deed) error {
	if err := r.ParseForm(); err != nil {
		return formError(err)
	}
	a := action{Note: strings.TrimSpace(r.PostForm.Get("note")), For: r.PostForm.Get("for")}
	if err := a.check(); err != nil {
		return err
	}
	if _, err := s.act(r, who, a, do); err != nil {
		return err
	}
	back := strings.TrimSuffix(r.URL.EscapedPath(), r.URL.EscapedPath()[strings.LastIndex(r.URL.EscapedPath(), "/"):])
	if r.PostForm.Get("back") == "noc" {
		back = "/noc"
	}
	http.Redirect(w, r, back, http.StatusSeeOther)
	return nil
}
