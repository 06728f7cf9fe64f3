package inventory

import (
	"context"
	"database/sql"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"hostmeter/internal/store"
	"hostmeter/schemas"
)

// Accounting says that an exporter was to tell of some meters in [From, Until): where it was not observed then, their
// usage is missing, not zero. A zero From is always, a zero Until still.
type Accounting struct {
	Exporter    string
	From, Until time.Time
}

// accounted is a prefix that is there from an instant on, for ever, and its exporters of all times, by name and time.
type accounted struct {
	prefix    netip.Prefix
	from      time.Time // zero: always
	exporters []Accounting
}

// ExportersOf returns which exporters accounted for a meter in [from, to), and when: for an address those of the longest
// prefix around it that was there at the time, for a port its own exporter, and none for what is read from a
// hypervisor. Bounds are multiples of Slot, or those that were asked for.
func (s *Snapshot) ExportersOf(meter schemas.MeterID, from, to time.Time) []Accounting {
	if !from.Before(to) {
		return nil
	}
	if meter.Kind() == schemas.KindPort {
		if exporter, ok := exporterOf(meter); ok {
			return []Accounting{{exporter, from, to}}
		}
		return nil
	}
	key, ok := meter.Prefix()
	if !ok {
		return nil
	}
	var list []Accounting
	for _, around := range s.accounted { // the longest first: a shorter one accounts for the time before
		if around.prefix.Bits() > key.Bits() || !around.prefix.Contains(key.Addr()) || !SlotAfter(around.from).Before(to) {
			continue
		}
		begin := later(SlotAfter(around.from), from)
		for _, a := range around.exporters {
			if a, ok := a.within(begin, to); ok {
				list = append(list, a)
			}
		}
		if to = begin; !from.Before(to) {
			break
		}
	}
	return list
}

// within returns what of a lies in [from, to), in whole slots; ok is false where nothing does.
func (a Accounting) within(from, to time.Time) (_ Accounting, ok bool) {
	from = later(SlotAfter(a.From), from)
	if at := SlotAfter(a.Until); !a.Until.IsZero() && at.Before(to) {
		to = at
	}
	return Accounting{a.Exporter, from, to}, from.Before(to)
}

// Accounted returns the exporters that accounted for any prefix in [from, to), whether a longer one had its addresses or not.
func (s *Snapshot) Accounted(from, to time.Time) []Accounting {
	var list []Accounting
	for _, prefix := range s.accounted {
		for _, a := range prefix.exporters {
			if a, ok := a.within(from, to); ok {
				list = append(list, a)
			}
		}
	}
	return list
}

// byLength returns the prefixes that are accounted for, the longest first.
func byLength(accounting map[netip.Prefix]*accounted) []accounted {
	list := make([]accounted, 0, len(accounting))
	for _, prefix := range accounting {
		list = append(list, *prefix)
	}
	slices.SortFunc(list, func(a, b accounted) int {
		if a.prefix.Bits() != b.prefix.Bits() {
			return b.prefix.Bits() - a.prefix.Bits()
		}
		return a.prefix.Addr().Compare(b.prefix.Addr())
	})
	return list
}

// ledgerPast is what the ledger knows that bounds how far back settings count.
type ledgerPast struct {
	// closedTo is the end of the last period that is closed, of any service; zero where none is.
	closedTo time.Time
	// heard returns when an exporter was heard first; zero where it never was.
	heard func(exporter string) (time.Time, error)
}

// nothingPast is that of an inventory without a ledger.
var nothingPast = ledgerPast{heard: func(string) (time.Time, error) { return time.Time{}, nil }}

func readPast(ctx context.Context, tx *store.Tx) (past ledgerPast, err error) {
	var closed sql.NullInt64
	if err := tx.QueryRow(ctx, `SELECT MAX(period_to) FROM statement`).Scan(&closed); err != nil {
		return past, fmt.Errorf("read the end of the last closed period: %w", err)
	}
	past.closedTo = timeOf(closed.Int64)
	past.heard = func(exporter string) (time.Time, error) {
		var hour sql.NullInt64
		if err := tx.QueryRow(ctx, `SELECT MIN(hour) FROM exporter_hour WHERE exporter = ?`, exporter).Scan(&hour); err != nil {
			return time.Time{}, fmt.Errorf("read when %s was heard first: %w", exporter, err)
		}
		return timeOf(hour.Int64 * int64(time.Hour)), nil
	}
	return past, nil
}

// account records which exporters account for the prefixes that the change adds or changes, from now on. Nothing
// reaches into a closed period.
//
// A prefix that is new takes its addresses over from a shorter one around it, from now on. Where there is none, it accounts
// for all that is not closed yet: by the exporters that were heard first, so that what nobody told is missing, and
// by the others from when they were heard.
func (c *change) account(past ledgerPast) error {
	added := map[netip.Prefix]bool{}
	for _, e := range c.edits {
		if e.kind == &kindPrefix && e.old == nil {
			added[c.prefixes.rows[kindPrefix.keyOf(e.new)].Prefix] = true
		}
	}
	now := later(past.closedTo, c.now)
	for _, e := range c.edits {
		if e.kind != &kindPrefix {
			continue
		}
		p := c.prefixes.rows[kindPrefix.keyOf(e.new)]
		known := c.accounting[p.Prefix]
		switch {
		case known != nil:
			known.replace(p.Exporters, now)
		case c.hasAround(p.Prefix, added):
			known = &accounted{prefix: p.Prefix, from: now}
			known.replace(p.Exporters, now)
		default:
			var err error
			if known, err = firstAccounted(p, past, now); err != nil {
				return err
			}
		}
		c.accounting[p.Prefix] = known
		c.accountings = append(c.accountings, *known)
	}
	return nil
}

// hasAround says whether a shorter prefix around one was there before the change, which added some.
func (c *change) hasAround(prefix netip.Prefix, added map[netip.Prefix]bool) bool {
	for _, other := range c.accounting {
		if other.prefix.Bits() < prefix.Bits() && other.prefix.Contains(prefix.Addr()) && !added[other.prefix] {
			return true
		}
	}
	return false
}

// firstAccounted is a prefix of which nothing was recorded before.
func firstAccounted(p Prefix, past ledgerPast, now time.Time) (*accounted, error) {
	known := &accounted{prefix: p.Prefix, from: past.closedTo}
	heard := make([]time.Time, len(p.Exporters))
	var first time.Time
	for i, exporter := range p.Exporters {
		var err error
		if heard[i], err = past.heard(exporter); err != nil {
			return nil, err
		}
		if !heard[i].IsZero() && (first.IsZero() || heard[i].Before(first)) {
			first = heard[i]
		}
	}
	for i, exporter := range p.Exporters {
		from := known.from
		if !heard[i].Equal(first) {
			from = now
			if at := heard[i]; !at.IsZero() && at.Before(now) {
				from = at
			}
			from = later(known.from, from)
		}
		known.exporters = append(known.exporters, Accounting{Exporter: exporter, From: from})
	}
	return known, nil
}

// replace makes exporters those that account from an instant on.
func (p *accounted) replace(exporters []string, now time.Time) {
	list := slices.Clone(p.exporters) // what the snapshots have is not changed
	missing := slices.Clone(exporters)
	for i := range list {
		a := &list[i]
		switch at := slices.Index(missing, a.Exporter); {
		case !a.Until.IsZero() && (at < 0 || !a.Until.Equal(now)):
		case at >= 0:
			a.Until, missing = time.Time{}, slices.Delete(missing, at, at+1)
		case a.From.After(now): // the clock was set back
			a.Until = a.From
		default:
			a.Until = now
		}
	}
	for _, exporter := range missing {
		list = append(list, Accounting{Exporter: exporter, From: now})
	}
	p.exporters = list
}

// writeAccounting stores what a change has recorded. What was recorded before keeps its beginning.
func (c *change) writeAccounting(ctx context.Context, tx *store.Tx) error {
	for _, p := range c.accountings {
		name := p.prefix.String()
		if _, err := tx.Exec(ctx, `UPDATE prefix SET accounts_from = ? WHERE prefix = ?`, nanoseconds(p.from), name); err != nil {
			return fmt.Errorf("write since when %s is there: %w", name, err)
		}
		for _, a := range p.exporters {
			_, err := tx.Exec(ctx, `INSERT INTO prefix_exporter (prefix, exporter, valid_from, valid_until, recorded_at) VALUES (?, ?, ?, ?, ?)
				ON CONFLICT (prefix, exporter, valid_from) DO UPDATE SET valid_until = excluded.valid_until`,
				name, a.Exporter, nanoseconds(a.From), nanoseconds(a.Until), tx.Now.UnixNano())
			if err != nil {
				return fmt.Errorf("write when %s accounts for %s: %w", a.Exporter, name, err)
			}
		}
	}
	return nil
}

// loadAccounting reads which exporters accounted for the prefixes at all times.
func loadAccounting(ctx context.Context, tx *store.Tx, s *state) error {
	fail := func(err error) error { return fmt.Errorf("read the accounting of prefixes: %w", err) }
	prefixes, err := store.List(ctx, tx, func(row store.Row) (accounted, error) {
		var name string
		var from int64
		if err := row.Scan(&name, &from); err != nil {
			return accounted{}, err
		}
		prefix, err := netip.ParsePrefix(name)
		return accounted{prefix: prefix, from: timeOf(from)}, err
	}, `SELECT prefix, accounts_from FROM prefix`)
	if err != nil {
		return fail(err)
	}
	for _, p := range prefixes {
		s.accounting[p.prefix] = &p
	}
	type accounting struct {
		prefix netip.Prefix
		of     Accounting
	}
	list, err := store.List(ctx, tx, func(row store.Row) (a accounting, err error) {
		var name string
		var from, until int64
		if err := row.Scan(&name, &a.of.Exporter, &from, &until); err != nil {
			return a, err
		}
		a.of.From, a.of.Until = timeOf(from), timeOf(until)
		a.prefix, err = netip.ParsePrefix(name)
		return a, err
	}, `SELECT prefix, exporter, valid_from, valid_until FROM prefix_exporter ORDER BY prefix, exporter, valid_from`)
	if err != nil {
		return fail(err)
	}
	for _, a := range list {
		if known := s.accounting[a.prefix]; known != nil {
			known.exporters = append(known.exporters, a.of)
		}
	}
	return nil
}
