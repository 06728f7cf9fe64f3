package ledger

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/shopspring/decimal"

	"hostmeter/aggregator/rating"
	statements "hostmeter/aggregator/statement" // in this package a statement is also one of SQL
	"hostmeter/internal/inventory"
	"hostmeter/internal/store"
)

// told is all that has been said about one closed period.
type told struct {
	target
	first    StatementBody
	sum      statements.Row // the sums of all revisions, in the fields that adjustments differ in
	revision int
}

// adjust adds a revision to each closed period whose usage is no longer what was told. What cannot be
// computed waits.
func (c *closing) adjust(ctx context.Context, tx *store.Tx) error {
	spans, err := c.changedSpans(ctx, tx)
	if err != nil {
		return err
	}
	return c.adjustIn(ctx, tx, spans)
}

// adjustIn is adjust for the periods that share an instant with any of the spans.
func (c *closing) adjustIn(ctx context.Context, tx *store.Tx, spans []changedSpan) error {
	if len(spans) == 0 {
		return nil
	}
	state, err := readState(ctx, tx)
	if err != nil {
		return err
	}
	touched, err := toldOf(ctx, tx, c.owners, spans, state.slotsPruned)
	if err != nil || len(touched) == 0 {
		return err
	}
	targets := make([]*target, len(touched))
	for i, t := range touched {
		targets[i] = &t.target
	}
	booking := c.booking
	found, err := gather(ctx, tx, gathering{owners: c.owners, targets: targets, now: c.now, through: &booking, reconcile: &c.reconcile})
	if err != nil {
		return err
	}
	for i, account := range found.accounts {
		if err := c.adjustOne(touched[i], account); err != nil {
			c.waits = append(c.waits, waitingOf(account.target))
			c.closed.Problems = append(c.closed.Problems, statements.Problem{Service: account.contract.Service,
				Text: fmt.Sprintf("adjustment of statement %s: %v", touched[i].first.Row.Statement, err)})
		}
	}
	return nil
}

func (c *closing) adjustOne(t *told, a *account) error {
	prices := c.owners.Prices()
	if t.first.Price != nil {
		prices = []rating.Price{*t.first.Price}
	}
	disputed := a.disputed
	a.disputed = "" // witnesses that came late hold no period of which nothing else is known
	row, usage, err := a.row(prices)
	if err == nil && row.Kind == rating.KindHeld {
		err = held(row)
	}
	if err != nil {
		return err
	}
	row = minus(row, t.sum)
	if !differs(row) {
		return nil
	}
	if a.disputed = disputed; disputed != "" {
		if row, usage, err = a.row(prices); err == nil && row.Kind == rating.KindHeld {
			err = held(row)
		}
		if err != nil {
			return err
		}
		row = minus(row, t.sum)
	}
	row, uncredited, err := c.credit(t, row)
	if err != nil || !differs(row) {
		return err
	}
	row.Statement, row.Revision, row.Kind = t.first.Row.Statement, t.revision+1, rating.KindAdjustment
	body := c.body(a, row, usage, prices)
	body.Uncredited = uncredited
	c.bodies = append(c.bodies, body)
	c.closed.Adjustments++
	return nil
}

// minus returns what row says beyond what was told.
func minus(row, told statements.Row) statements.Row {
	row.InOctets -= told.InOctets
	row.OutOctets -= told.OutOctets
	row.BillableOctets -= told.BillableOctets
	row.EstimatedOctets -= told.EstimatedOctets
	row.ExcludedInOctets -= told.ExcludedInOctets
	row.ExcludedOutOctets -= told.ExcludedOutOctets
	row.FreeInOctets -= told.FreeInOctets
	row.FreeOutOctets -= told.FreeOutOctets
	row.BitsPerSecond -= told.BitsPerSecond
	row.InternalInOctets -= told.InternalInOctets
	row.InternalOutOctets -= told.InternalOutOctets
	row.Used = row.Used.Sub(told.Used)
	row.Excess = row.Excess.Sub(told.Excess)
	row.BilledQuantity = row.BilledQuantity.Sub(told.BilledQuantity)
	row.AmountExVAT = row.AmountExVAT.Sub(told.AmountExVAT)
	return row
}

// differs says whether a difference is one.
func differs(row statements.Row) bool {
	for _, n := range []int64{row.InOctets, row.OutOctets, row.BillableOctets, row.EstimatedOctets, row.ExcludedInOctets, row.ExcludedOutOctets,
		row.FreeInOctets, row.FreeOutOctets, row.BitsPerSecond, row.InternalInOctets, row.InternalOutOctets} {
		if n != 0 {
			return true
		}
	}
	for _, n := range []decimal.Decimal{row.Used, row.Excess, row.BilledQuantity, row.AmountExVAT} {
		if !n.IsZero() {
			return true
		}
	}
	return false
}

// plus adds the same fields.
func plus(sum, row statements.Row) statements.Row {
	sum.InOctets += row.InOctets
	sum.OutOctets += row.OutOctets
	sum.BillableOctets += row.BillableOctets
	sum.EstimatedOctets += row.EstimatedOctets
	sum.ExcludedInOctets += row.ExcludedInOctets
	sum.ExcludedOutOctets += row.ExcludedOutOctets
	sum.FreeInOctets += row.FreeInOctets
	sum.FreeOutOctets += row.FreeOutOctets
	sum.BitsPerSecond += row.BitsPerSecond
	sum.InternalInOctets += row.InternalInOctets
	sum.InternalOutOctets += row.InternalOutOctets
	sum.Used = sum.Used.Add(row.Used)
	sum.Excess = sum.Excess.Add(row.Excess)
	sum.BilledQuantity = sum.BilledQuantity.Add(row.BilledQuantity)
	sum.AmountExVAT = sum.AmountExVAT.Add(row.AmountExVAT)
	return sum
}

// changedSpan is a span of which something else is known.
type changedSpan struct {
	rating.Period
	service string // empty: it may be of any
}

// changedSpans returns the spans of which something else is known than when closed periods were
// last looked at, and those of the periods that wait since.
func (c *closing) changedSpans(ctx context.Context, tx *store.Tx) ([]changedSpan, error) {
	var spans []changedSpan
	err := eachLateHour(ctx, tx, c.head.booking, c.booking, func(hour time.Time) {
		spans = append(spans, changedSpan{Period: rating.Period{From: hour, To: hour.Add(time.Hour)}})
	})
	if err != nil {
		return nil, err
	}
	changes, err := inventory.OwnershipChanges(ctx, tx, c.head.version, c.owners.Version)
	for _, change := range append(changes, c.changes...) {
		to := change.To
		if to.IsZero() || to.After(c.sealed) {
			to = c.sealed
		}
		if change.From.Before(to) {
			spans = append(spans, changedSpan{Period: rating.Period{From: change.From, To: to}})
		}
	}
	for _, decided := range append(c.owners.DecidedSpans(c.head.version, c.owners.Version), c.decided...) {
		spans = append(spans, changedSpan{Period: rating.Period{From: decided.From, To: decided.To}, service: decided.Service})
	}
	if err != nil {
		return nil, err
	}
	waited, err := c.waitingSpans(ctx, tx)
	return append(spans, waited...), err
}

func (c *closing) waitingSpans(ctx context.Context, tx *store.Tx) (spans []changedSpan, err error) {
	c.waited, err = readWaiting(ctx, tx)
	for _, w := range c.waited {
		spans = append(spans, w.span())
	}
	return spans, err
}

// eachLateHour calls f with the hours of the late entries with numbers in (after, through].
func eachLateHour(ctx context.Context, tx *store.Tx, after, through Booking, f func(hour time.Time)) error {
	rows, err := tx.Query(ctx, `SELECT DISTINCT hour FROM late_entry WHERE booking > ? AND booking <= ? ORDER BY hour`, int64(after), int64(through))
	if err != nil {
		return fmt.Errorf("read late entries: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var hour int64
		if err := rows.Scan(&hour); err != nil {
			return fmt.Errorf("read late entries: %w", err)
		}
		f(hourTime(hour))
	}
	return rows.Err()
}

// toldOf returns what was said about the closed periods that share an instant with any span. Those that begin
// before pruned, of whose hours retention has taken something, cannot be computed again and stay as they are.
func toldOf(ctx context.Context, tx *store.Tx, owners *inventory.Snapshot, spans []changedSpan, pruned int64) ([]*told, error) {
	earliest := spans[0].From
	for _, span := range spans {
		earliest = earlier(earliest, span.From)
	}
	var list []*told
	by := map[string]*told{}
	err := readStatements(ctx, tx, StatementQuery{EndFrom: earliest}, func(s Statement) error {
		key := fmt.Sprint(s.Body.Contract.Service, s.Body.Period.From.UnixNano())
		t := by[key]
		if t == nil {
			if s.Body.Period.From.Unix() < keptFrom(pruned) || !overlapsAny(s.Body.Contract.Service, s.Body.Period, spans) {
				return nil
			}
			contract, err := thaw(s.Body.Contract)
			if err != nil {
				return fmt.Errorf("statement %s: %w", s.Body.Row.Statement, err)
			}
			contract.Decisions = owners.DecisionsOn(contract.Service) // of all that it was closed with, these may change
			t = &told{target: target{contract: contract, period: s.Body.Period}, first: s.Body}
			by[key] = t
			list = append(list, t)
		}
		t.sum, t.revision = plus(t.sum, s.Body.Row), s.Body.Row.Revision
		return nil
	})
	return list, err
}

// keptFrom is the Unix time of an hour before which everything is pruned.
func keptFrom(pruned int64) int64 {
	if pruned == math.MinInt64 {
		return math.MinInt64
	}
	return hourTime(pruned).Unix()
}

func overlapsAny(service string, p rating.Period, spans []changedSpan) bool {
	for _, span := range spans {
		if p.Overlaps(span.From, span.To) && (span.service == "" || span.service == service) {
			return true
		}
	}
	return false
}

// thaw makes a contract that was kept as JSON ready for use.
func thaw(c rating.Contract) (rating.Contract, error) {
	zone, err := loadZone(c.Zone.Value)
	if err != nil {
		return c, err
	}
	c.Schedule = rating.Schedule{Kind: c.Period.Value, Anchor: c.Opened, Zone: zone}
	return c, nil
}

// zones remembers what loadZone has read: the database of zones is files.
var zones sync.Map

func loadZone(name string) (*time.Location, error) {
	if zone, ok := zones.Load(name); ok {
		return zone.(*time.Location), nil
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil, err
	}
	zones.Store(name, zone)
	return zone, nil
}
