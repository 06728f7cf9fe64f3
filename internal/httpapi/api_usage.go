package httpapi

import (
	"context"
	"math"
	"net/http"
	"time"

	"hostmeter/internal/auth"
)

const day = 24 * time.Hour

// Longest spans that one request may ask for.
const (
	usageSpanMax   = 400 * day
	hoursSpanMax   = 35 * day
	historySpanMax = 100 * day
)

func (s *Server) getMe(w http.ResponseWriter, r *http.Request, who auth.Identity) error {
	if err := readParams(r, s.zone).error(); err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, map[string]string{"name": who.Name, "role": string(who.Role), "kind": who.Kind})
	return nil
}

func (s *Server) getUsage(w http.ResponseWriter, r *http.Request, _ auth.Identity) error {
	if s.deps.Backend.Usage == nil {
		return unavailable("usage")
	}
	p := readParams(r, s.zone, "from", "to", "by", "service", "meter")
	now := s.deps.Clock.Now()
	monthFrom, _ := MonthOf(now, s.zone).Bounds(s.zone)
	query := UsageQuery{By: UsageBy(p.choice("by", string(ByService), string(ByService), string(ByMeter), string(ByHour))),
		Service: p.text("service"), Meter: p.text("meter")}
	most := usageSpanMax
	if query.By == ByHour {
		most = hoursSpanMax
	}
	query.From, query.To = p.span(monthFrom.UTC(), now.Truncate(time.Second).Add(time.Second), most)
	if err := p.error(); err != nil {
		return err
	}
	out := newRows(w, r)
	return out.end(s.deps.Backend.Usage.Usage(r.Context(), query, func(row UsageRow) error { return out.add(row) }))
}

// recordsMax is the most usage records that one request returns, and the default.
const recordsMax = 10_000

func (s *Server) getUsageRecords(w http.ResponseWriter, r *http.Request, _ auth.Identity) error {
	if s.deps.Backend.Records == nil {
		return unavailable("the usage-record feed")
	}
	p := readParams(r, s.zone, "after", "limit")
	after := p.number("after", 0, 0, math.MaxInt64)
	limit := p.number("limit", 1000, 1, recordsMax)
	if err := p.error(); err != nil {
		return err
	}
	records, err := s.deps.Backend.Records.UsageRecords(r.Context(), after, int(limit))
	return writeList(w, r, records, err)
}

func (s *Server) getSummary(w http.ResponseWriter, r *http.Request, _ auth.Identity) error {
	if s.deps.Backend.Summary == nil {
		return unavailable("the summary")
	}
	now := s.deps.Clock.Now()
	p := readParams(r, s.zone, "month")
	month := p.month("month", MonthOf(now, s.zone))
	if err := p.error(); err != nil {
		return err
	}
	summary, err := s.deps.Backend.Summary.Summary(r.Context(), month, now)
	if err != nil {
		return err
	}
	if summary.Services == nil {
		summary.Services = []ServiceSummary{}
	}
	writeJSON(w, http.StatusOK, summary)
	return nil
}

func (s *Server) getStatements(w http.ResponseWriter, r *http.Request, _ auth.Identity) error {
	if s.deps.Backend.Reports == nil {
		return unavailable("statements")
	}
	p := readParams(r, s.zone, "month")
	month := p.month("month", MonthOf(s.deps.Clock.Now(), s.zone))
	if err := p.error(); err != nil {
		return err
	}
	statements, err := s.deps.Backend.Reports.Statements(r.Context(), month)
	for i := range statements {
		statements[i].Rules = notNull(statements[i].Rules)
	}
	return writeList(w, r, statements, err)
}

// note puts what somebody did into the audit log, where this process has one.
func (s *Server) note(r *http.Request, who auth.Identity, deed Deed) error {
	if s.deps.Backend.AuditLog == nil {
		return nil
	}
	return s.deps.Backend.AuditLog.Note(context.WithoutCancel(r.Context()), Actor(who.Actor()), deed)
}
