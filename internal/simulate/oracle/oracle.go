// Package oracle bills contracts from their definitions (docs/reference/contracts.md), in whole and rational
// numbers of any size, to judge the code that bills customers.
//
// It shares none of that code: it imports no rating, no ledger and no inventory, reads the settings' texts by
// itself, and walks the calendar day by day. It is slow and says little; it promises only to be plain enough to be
// held against the definitions by a reader.
package oracle

import (
	"fmt"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // contracts name zones, which must be known on any machine
)

// Settings are settings of a contract by their name in the import format, as texts: "quota": "10 TB".
type Settings map[string]string

// World is what an import says, and what was used.
type World struct {
	// Provider has the settings of the provider: its time_zone, currency and rounding, and defaults of contracts.
	Provider Settings
	Plans    map[string]Settings
	Prices   []Price
	Services []*Service
	Prefixes []Prefix
	Owned    []Ownership
	// Unobserved are spans of whole minutes in which an exporter was not observed.
	Unobserved []Unobserved
	// Usage is by meter.
	Usage map[string]*Usage
	// Begin is the hour of the first usage: before it there is no ledger, and no period is charged.
	Begin time.Time
}

// Price is one version of a price. From is a date in the contract's zone.
type Price struct {
	SKU, Place, Currency, From, Noticed, Per string
	Begun                                    bool
	Amount                                   string
}

// Service is what a customer bought. Opened, Closed and Committed are dates, the last two empty where there are none.
type Service struct {
	ID, Customer, Plan, Place string
	Settings                  Settings
	Opened, Closed, Committed string
	Orders                    []Order
	Decisions                 []Decision
}

// Order is a change of a running service: a plan, a quota, or both.
type Order struct {
	At          time.Time
	Plan, Quota string
}

// Decision is what a person decided; the later in the list was made later.
type Decision struct {
	ID, Kind    string
	From, Until time.Time
	Direction   string
	Revokes     string
}

// Prefix is a local prefix, as text, and the exporters that account for it.
type Prefix struct {
	Prefix    string
	Exporters []string
}

// Ownership is true in [From, Until), and without end where Until is zero. Key is a meter, or a prefix of addresses.
type Ownership struct {
	Service, Key string
	From, Until  time.Time
}

// Unobserved is a span of an exporter.
type Unobserved struct {
	Exporter    string
	From, Until time.Time
}

// Report bills the periods that end in a month, "2026-10", by customer, service and period. A period ends on the
// day of its last instant, in its contract's zone.
func (w *World) Report(month string, now time.Time) ([]Row, error) {
	if _, err := time.Parse("2006-01", month); err != nil {
		return nil, fmt.Errorf("month %q: want YYYY-MM", month)
	}
	var rows []Row
	for _, s := range w.Services {
		for _, p := range w.periods(s, now) {
			if p.lastDay().Format("2006-01") != month {
				continue
			}
			row, err := w.Bill(s, p)
			if err != nil {
				return nil, fmt.Errorf("%s from %s: %w", s.ID, p.From.Format(time.DateOnly), err)
			}
			rows = append(rows, row)
		}
	}
	slices.SortStableFunc(rows, func(a, b Row) int {
		return strings.Compare(a.Customer+"\x00"+a.Service, b.Customer+"\x00"+b.Service)
	})
	return rows, nil
}

// periods returns the periods of a service that end between the beginning of the usage and now, and that begin
// before the service is closed.
func (w *World) periods(s *Service, now time.Time) []Period {
	c := w.termsOf(s)[0].contract
	first := later(w.Begin, c.midnight(s.Opened))
	var list []Period
	for _, p := range c.periodsUntil(now) {
		if !p.To.After(first) || s.Closed != "" && !p.From.Before(c.midnight(s.Closed)) {
			continue
		}
		list = append(list, p)
	}
	return list
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
