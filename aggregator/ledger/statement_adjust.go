package ledger

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
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
	// statement, price and charged are of the first revision.
	statement string
	price     *rating.Price
	charged   charged
	last      StatementBody
	sum       statements.Row // the sums of all revisions, in the fields that adjustments differ in
	revision  int
}

// gatherTold reads what was told of the closed periods that share an instant with any of the spans, and what was used in
// them as far as it is known now.
func (c *closing) gatherTold(ctx context.Context, tx *store.Tx, spans []changedSpan) error {
	if len(spans) == 0 {
		return nil
	}
	state, err := readState(ctx, tx)
	if err != nil {
		return err
	}
	c.told, err = toldOf(ctx, tx, c.owners, spans, state.slotsPruned)
	if err != nil || len(c.told) == 0 {
		return err
	}
	targets := make([]*target, len(c.told))
	for i, t := range c.told {
		targets[i] = &t.target
	}
	c.again, err = c.usage(ctx, tx, targets)
	return err
}

// adjust yields a revision of each closed period whose usage is no longer what was told. What cannot be
// computed waits. What a change of owners charges comes last: whether the credit beside it is given is known by then.
func (c *closing) adjust(yield func(StatementBody) bool) {
	var charges []StatementBody
	more := true
	sort := func(body StatementBody) bool {
		if body.Row.AmountExVAT.IsPositive() && c.hasMoved(body.Period) {
			charges = append(charges, body)
			return true
		}
		more = yield(body)
		return more
	}
	c.revise(c.told, c.again, sort, func(group []*account, first *told, err error) {
		for _, account := range group {
			c.waits = append(c.waits, waitingOf(account.target))
		}
		c.closed.Problems = append(c.closed.Problems, statements.Problem{Service: rated{accounts: group}.subject(),
			Text: fmt.Sprintf("adjustment of statement %s: %v", first.statement, err)})
	})
	for _, body := range charges {
		if !more {
			return
		}
		c.askBesideCredits(body)
		more = yield(body)
	}
}

// hasMoved says whether an owner has changed in a period.
func (c *closing) hasMoved(p rating.Period) bool {
	return slices.ContainsFunc(c.moved, func(span rating.Period) bool { return p.Overlaps(span.From, span.To) })
}

// askBesideCredits makes a charge wait for a person where what it is for may have been charged to somebody else, whom it
// is not given back.
func (c *closing) askBesideCredits(body StatementBody) {
	for _, t := range c.withheld {
		if t.contract.Service == body.Row.Service || !t.period.Overlaps(body.Period.From, body.Period.To) || !c.hasMoved(t.period) {
			continue
		}
		if c.asks == nil {
			c.asks = map[string]string{}
		}
		c.asks[body.Row.Statement] = fmt.Sprintf("an owner was told late, and what statement %s was charged too much is not given back", t.statement)
		return
	}
}

// revise yields the revisions of what was told, whose accounts are in the same order. failed is called with what is charged
// together and has to wait, and with what was told about the first of it.
func (c *closing) revise(list []*told, accounts []*account, yield func(StatementBody) bool, failed func(group []*account, first *told, err error)) {
	of := make(map[*account]*told, len(list))
	for i, account := range accounts {
		of[account] = list[i]
	}
	for _, group := range together(accounts) {
		if keepsItsCount(group, of) {
			continue
		}
		first := of[group[0]]
		prices := c.owners.Prices()
		if first.price != nil {
			prices = []rating.Price{*first.price}
		}
		bodies, err := c.adjustTogether(group, of, prices)
		if err != nil {
			failed(group, first, err)
		}
		c.closed.Adjustments += len(bodies)
		for _, body := range bodies {
			if !yield(body) {
				return
			}
		}
	}
}

// keepsItsCount says whether nothing else is known of what is charged together than which slots were missing, and that of
// statements that alone know it: they keep it.
func keepsItsCount(group []*account, of map[*account]*told) bool {
	otherwise := false
	for _, a := range group {
		t := of[a]
		used, err1 := sameUsage(t.last, t.last.Usage, a.usage)
		decided, err2 := equalJSON(decisions(t.contract), decisions(t.last.Contract))
		if !t.last.saysMissing() || err1 != nil || err2 != nil || !used || !decided {
			return false
		}
		otherwise = otherwise || countsOtherwise(a.usage, &t.last.Usage)
		if a.pool != nil && t.last.PoolUsage != nil {
			pool, err := a.pool.Usage()
			otherwise = otherwise || err == nil && countsOtherwise(pool, t.last.PoolUsage)
		}
	}
	return otherwise
}

// countsOtherwise says whether other slots are missing than was told.
func countsOtherwise(computed rating.Usage, told *rating.Usage) bool {
	return computed.Percentile != nil && told.Percentile != nil && computed.Percentile.Missing != told.Percentile.Missing
}

// decisions are those that a contract is charged by, and its pool.
func decisions(c rating.Contract) [][]rating.Decision {
	list := [][]rating.Decision{slices.Concat([]rating.Decision{}, c.Decisions)}
	if c.Pool != nil {
		list = append(list, slices.Concat([]rating.Decision{}, c.Pool.Decisions))
	}
	return list
}

// adjustTogether returns the revisions of what is charged together: all of them, or none where one has to wait. Where a
// credit waits of which a part is given in any case, there are both, revisions and an error.
func (c *closing) adjustTogether(group []*account, of map[*account]*told, prices []rating.Price) ([]StatementBody, error) {
	disputed := make([]string, len(group))
	for i, a := range group {
		disputed[i], a.disputed = a.disputed, "" // witnesses that came late hold no period of which nothing else is known
	}
	lines, err := linesOf(group, prices)
	if err != nil || !slices.ContainsFunc(lines, func(line ratedLine) bool { return differs(minus(line.row, of[line.account].sum)) }) {
		return nil, err
	}
	for i, a := range group {
		a.disputed = disputed[i]
	}
	if lines, err = linesOf(group, prices); err != nil {
		return nil, err
	}
	differences := make([]compared, len(lines))
	for i, line := range lines {
		t := of[line.account]
		differences[i] = compare(line.row, t.sum, t.charged)
	}
	held, split := heldBack(differences)
	var bodies []StatementBody
	var waits []error
	for i, line := range lines {
		body, err := c.adjustOne(of[line.account], line, prices, held[i])
		waits = append(waits, err)
		if body != nil {
			bodies = append(bodies, *body)
		}
	}
	if err = errors.Join(waits...); err != nil && !split {
		bodies = nil
	}
	return bodies, err
}

// linesOf rates what is charged together. A line that is held is an error.
func linesOf(group []*account, prices []rating.Price) ([]ratedLine, error) {
	lines, err := rateTogether(group, prices)
	if err != nil {
		return nil, err
	}
	return lines, rated{lines: lines, accounts: group}.held()
}

// adjustOne returns the revision of a period whose line says something else than was told, or nil. held is what of the
// difference the windows for credits are about. Errors: what it waits for.
func (c *closing) adjustOne(t *told, line ratedLine, prices []rating.Price, held charged) (*StatementBody, error) {
	row := minus(line.row, t.sum)
	if !differs(row) {
		return nil, nil
	}
	row, uncredited, err := c.credit(t, row, held)
	if !differs(row) {
		return nil, err
	}
	row.Statement, row.Revision, row.Kind = t.statement, t.revision+1, rating.KindAdjustment
	line.row = row
	body := c.body(line, prices)
	body.Uncredited = uncredited
	return &body, err
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
	late := func(hour time.Time) {
		spans = append(spans, changedSpan{Period: rating.Period{From: hour, To: hour.Add(time.Hour)}})
	}
	err := eachLateHour(ctx, tx, c.head.booking, c.booking, late)
	if err != nil {
		return nil, err
	}
	err = eachHourOfNumbers(ctx, tx, `SELECT DISTINCT hour FROM late_observation WHERE observation > ? AND observation <= ? ORDER BY hour`,
		int64(c.head.observation), int64(c.observation), late)
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
			span := rating.Period{From: change.From, To: to}
			c.moved = append(c.moved, span)
			spans = append(spans, changedSpan{Period: span})
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
	return eachHourOfNumbers(ctx, tx, `SELECT DISTINCT hour FROM late_entry WHERE booking > ? AND booking <= ? ORDER BY hour`, int64(after), int64(through), f)
}

// eachHourOfNumbers calls f with the hours of what came late with numbers in (after, through].
func eachHourOfNumbers(ctx context.Context, tx *store.Tx, query string, after, through int64, f func(hour time.Time)) error {
	rows, err := tx.Query(ctx, query, after, through)
	if err != nil {
		return fmt.Errorf("read what came late: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var hour int64
		if err := rows.Scan(&hour); err != nil {
			return fmt.Errorf("read what came late: %w", err)
		}
		f(hourTime(hour))
	}
	return rows.Err()
}

// toldOf returns what was said about the closed periods that share an instant with any span, and about those
// of the services that were in the same pools. Those that begin before pruned, of whose hours retention has taken
// something, cannot be computed again and stay as they are.
func toldOf(ctx context.Context, tx *store.Tx, owners *inventory.Snapshot, spans []changedSpan, pruned int64) ([]*told, error) {
	earliest := spans[0].From
	for _, span := range spans {
		earliest = earlier(earliest, span.From)
	}
	var list []*told
	by, touched := map[string]*told{}, map[string]bool{}
	err := readStatements(ctx, tx, StatementQuery{EndFrom: earliest}, func(s Statement) error {
		key := fmt.Sprint(s.Body.Contract.Service, s.Body.Period.From.UnixNano())
		t := by[key]
		if t == nil {
			if s.Body.Period.From.Unix() < keptFrom(pruned) {
				return nil
			}
			concerned := overlapsAny(s.Body.Contract, s.Body.Period, spans)
			if !concerned && s.Body.Contract.Pool == nil {
				return nil
			}
			contract, err := thaw(s.Body.Contract)
			if err != nil {
				return fmt.Errorf("statement %s: %w", s.Body.Row.Statement, err)
			}
			t = &told{target: target{contract: decidedNow(owners, contract), period: s.Body.Period}, statement: s.Body.Row.Statement, price: s.Body.Price, charged: chargedOf(s.Body.Row)}
			touched[t.group()] = touched[t.group()] || concerned
			by[key] = t
			list = append(list, t)
		}
		t.sum, t.revision, t.last = plus(t.sum, s.Body.Row), s.Body.Row.Revision, s.Body
		return nil
	})
	return slices.DeleteFunc(list, func(t *told) bool { return !touched[t.group()] }), err
}

// keptFrom is the Unix time of an hour before which everything is pruned.
func keptFrom(pruned int64) int64 {
	if pruned == math.MinInt64 {
		return math.MinInt64
	}
	return hourTime(pruned).Unix()
}

// decidedNow gives a thawed contract the decisions of now: of all that it was closed with, these may change.
func decidedNow(owners *inventory.Snapshot, c rating.Contract) rating.Contract {
	c.Decisions = owners.DecisionsOn(c.Service)
	if c.Pool != nil {
		c.Pool.Decisions = owners.DecisionsOn(c.Pool.Service)
	}
	return c
}

// group names what is charged together with a period: its pool's, or itself.
func (t *told) group() string {
	id := "service " + t.contract.Service
	if t.contract.Pool != nil {
		id = "pool " + t.contract.Pool.Service
	}
	return fmt.Sprint(id, " ", t.period.From.UnixNano())
}

func overlapsAny(c rating.Contract, p rating.Period, spans []changedSpan) bool {
	for _, span := range spans {
		if p.Overlaps(span.From, span.To) && (span.service == "" || span.service == c.Service || c.Pool != nil && span.service == c.Pool.Service) {
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
	if c.Pool != nil {
		pool, err := thaw(*c.Pool)
		if err != nil {
			return c, err
		}
		c.Pool, c.Schedule = &pool, pool.Schedule
	}
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
