package ledger

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"hostmeter/aggregator/rating"
	statements "hostmeter/aggregator/statement" // in this package a statement is also one of SQL
	"hostmeter/internal/failpoint"
	"hostmeter/internal/inventory"
	"hostmeter/internal/store"
)

// Closed says what a call of CloseDue did.
type Closed struct {
	Statements  int
	Adjustments int
	// Problems name the services whose period is over and could not be rated, or whose closed period
	// could not be adjusted. Each is tried, and named, again at each call until it is settled.
	Problems []statements.Problem
	// Earlier are the statements among those that were written that are of periods before the first one that was closed of
	// their service.
	Earlier []string
}

// CloseDue closes the periods that are over and whose hours are sealed, and adds an adjustment to each
// closed period of which something else is known by now: usage that came late, or an owner that was
// told late.
//
// Hours are sealed when every exporter is complete, or its grace is over: so an exporter that stays
// silent holds a period open only as long, and is named in the statement. A statement never changes.
// CloseDue may be called at any time and by several processes.
func (l *Ledger) CloseDue(ctx context.Context, inv *inventory.Inventory, now time.Time) (Closed, error) {
	const attempts = 5
	for i := 1; ; i++ {
		closed, err := l.closeDue(ctx, inv, now)
		lost := store.IsConflict(err) || store.IsDuplicate(err) || errors.Is(err, errClosedMeanwhile)
		if err == nil || !lost || i == attempts {
			return closed, err
		}
	}
}

func (l *Ledger) closeDue(ctx context.Context, inv *inventory.Inventory, now time.Time) (Closed, error) {
	owners, err := inv.Snapshot(ctx)
	if err != nil {
		return Closed{}, err
	}
	c := closing{owners: owners, now: now, reconcile: l.cfg.Reconcile}
	if err := l.db.View(ctx, func(tx *store.Tx) error { return c.gather(ctx, tx) }); err != nil {
		return Closed{}, fmt.Errorf("close periods: %w", err)
	}
	next, stop := iter.Pull(c.bodies())
	defer stop()
	first, found := next()
	if found || c.read().beyond(c.head.extent) || !slices.Equal(c.waited, c.waits) {
		if found {
			failpoint.Hit(failpoint.LedgerClosing)
		}
		err = l.db.Update(ctx, func(tx *store.Tx) error {
			closes := found && first.Row.Revision == 1 // what closes comes before the adjustments
			return c.write(ctx, tx, closes, func(yield func(StatementBody) bool) {
				for body, more := first, found; more && yield(body); body, more = next() {
				}
			})
		})
		if found {
			failpoint.Hit(failpoint.LedgerClosed)
		}
	}
	if err != nil {
		return Closed{}, fmt.Errorf("close periods: %w", err)
	}
	return c.closed, nil
}

// closing gathers usage on one snapshot of the store, and rates it one statement after the other while these are
// written: of a month it holds what was used, never the statements.
type closing struct {
	owners *inventory.Snapshot
	now    time.Time
	// reconcile holds what is outside the band of its witnesses.
	reconcile ReconcileConfig

	head    statementHead
	sealed  time.Time
	booking Booking
	// observation is the last late observation.
	observation Observation

	ending  []*account // to close
	told    []*told    // to look at again
	again   []*account // of told, in its order
	closed  Closed
	credits []Credit
	// moved are the spans whose owners have changed since closed periods were last looked at, withheld the closed periods of
	// which a credit is not given, and asks the charges beside them, by statement, and why they wait for a person.
	moved    []rating.Period
	withheld []*told
	asks     map[string]string
	// changes are of ownership that is asked for and not stored, and decided of decisions.
	changes []inventory.Change
	decided []inventory.DecidedSpan
	// waited are the periods whose adjustment waited before, waits those that wait now.
	waited, waits []waitingPeriod
}

// write moves the head past all that was looked at, so what could not be adjusted is kept with it. A period
// closes only with the contract of now: a change that is ordered for a closed one is refused. closes says that one of
// the bodies closes a period.
func (c *closing) write(ctx context.Context, tx *store.Tx, closes bool, bodies iter.Seq[StatementBody]) error {
	if closes {
		held, err := inventory.HoldVersion(ctx, tx, c.owners.Version)
		if err == nil && !held {
			err = errClosedMeanwhile
		}
		if err != nil {
			return err
		}
	}
	if err := appendStatements(ctx, tx, c.head, c.read(), bodies, c.asksApproval); err != nil {
		return err
	}
	return writeWaiting(ctx, tx, c.waited, c.waits)
}

// gather reads all that rating needs.
func (c *closing) gather(ctx context.Context, tx *store.Tx) (err error) {
	if c.head, err = readHead(ctx, tx); err != nil {
		return err
	}
	if err := c.readBooks(ctx, tx); err != nil || c.sealed.IsZero() {
		return err
	}
	due, err := c.due(ctx, tx)
	if err != nil {
		return err
	}
	if c.ending, err = c.usage(ctx, tx, due); err != nil {
		return err
	}
	spans, err := c.changedSpans(ctx, tx)
	if err != nil {
		return err
	}
	return c.gatherTold(ctx, tx, spans)
}

// usage adds up targets as a closing sees them.
func (c *closing) usage(ctx context.Context, tx *store.Tx, targets []*target) ([]*account, error) {
	booking := c.booking
	found, err := gather(ctx, tx, gathering{owners: c.owners, targets: targets, now: c.now, through: &booking, reconcile: &c.reconcile})
	return found.accounts, err
}

// bodies rates what was gathered and yields one statement after the other: those that close a period, and behind them the
// adjustments. When it was gone through, which it can be once, c.closed, c.waits and c.credits are whole.
func (c *closing) bodies() iter.Seq[StatementBody] {
	return func(yield func(StatementBody) bool) {
		if c.close(yield) {
			c.adjust(yield)
		}
	}
}

// readBooks finds out how far the books go.
func (c *closing) readBooks(ctx context.Context, tx *store.Tx) error {
	s, err := readState(ctx, tx)
	if err != nil {
		return err
	}
	c.sealed, c.booking, c.observation = s.sealedTime(), Booking(s.booking), Observation(s.observation)
	return nil
}

// read is what the closing has read.
func (c *closing) read() extent { return extent{c.booking, c.observation, c.owners.Version} }

// due returns the periods to close, by end and service.
func (c *closing) due(ctx context.Context, tx *store.Tx) ([]*target, error) {
	open, err := openPeriods(ctx, tx, c.owners)
	if err != nil {
		return nil, err
	}
	var due []*target
	for _, service := range c.owners.Services() {
		due = append(due, open.targets(service.ID, c.sealed, func(p rating.Period) bool {
			return !p.To.After(c.sealed) && !p.To.After(c.now)
		})...)
	}
	slices.SortStableFunc(due, func(a, b *target) int {
		if d := a.period.To.Compare(b.period.To); d != 0 {
			return d
		}
		return strings.Compare(a.contract.Service, b.contract.Service)
	})
	return due, nil
}

// close yields the statements of what ends, and says whether more are wanted.
func (c *closing) close(yield func(StatementBody) bool) bool {
	stopped := map[string]bool{} // periods of a service close in order, and those of a pool together
	for rated := range rate(c.ending, func(*account) []rating.Price { return c.owners.Prices() }) {
		err := errors.Join(rated.err, rated.held())
		waits := ""
		for _, account := range rated.accounts {
			if stopped[account.contract.Service] {
				waits = account.contract.Service
			}
		}
		if err != nil || waits != "" {
			for _, account := range rated.accounts {
				stopped[account.contract.Service] = !account.earlier // what follows that is closed already
			}
		}
		switch {
		case waits != "" && rated.accounts[0].contract.Pool != nil:
			c.closed.Problems = append(c.closed.Problems, statements.Problem{Service: rated.subject(),
				Text: fmt.Sprintf("pool %s: the period from %s waits for service %s, of which one before is not closed", rated.subject(), dayText(rated.accounts[0].target), waits)})
		case waits != "":
		case err != nil:
			c.closed.Problems = append(c.closed.Problems, statements.Problem{Service: rated.subject(), Text: err.Error()})
		default:
			for _, line := range rated.lines {
				line.row.Statement, line.row.Revision = statementID(line.account.target), 1
				c.closed.Statements++
				if line.account.earlier {
					c.closed.Earlier = append(c.closed.Earlier, line.row.Statement)
				}
				if !yield(c.body(line, c.owners.Prices())) {
					return false
				}
			}
		}
	}
	return true
}

func (c *closing) body(line ratedLine, prices []rating.Price) StatementBody {
	a, observation := line.account, c.observation
	body := StatementBody{
		FormatVersion: statements.FormatVersion, RatingVersion: rating.Version,
		Row: line.row, Contract: a.contract, Period: a.period, Usage: line.usage, PoolUsage: line.poolUsage,
		Booking: c.booking, InventoryVersion: c.owners.Version, SealedThrough: c.sealed, Observation: &observation,
	}
	if price, ok := rating.PriceFor(a.contract, a.period, prices); ok {
		body.Price = &price
	}
	return body
}

// statementID names the statement of a period: the service and the day on which the period begins.
func statementID(t *target) string {
	return t.contract.Service + "/" + dayText(t)
}

// dayText is the day on which a period begins.
func dayText(t *target) string {
	return rating.DateOf(t.period.From.In(t.contract.Schedule.Zone)).String()
}

// open knows, of each service, from where on its periods are not closed.
type open struct {
	owners *inventory.Snapshot
	begin  time.Time            // of the ledger; zero where there is nothing in it
	first  map[string]time.Time // beginning of the first closed period, by service
	closed map[string]time.Time // end of the last closed period, by service
	// earlier are periods before the first closed one, by service.
	earlier map[string][]*target
}

func openPeriods(ctx context.Context, tx *store.Tx, owners *inventory.Snapshot) (open, error) {
	o := open{owners: owners, first: map[string]time.Time{}, closed: map[string]time.Time{}, earlier: map[string][]*target{}}
	if hour, found, err := beginning(ctx, tx); err != nil {
		return o, err
	} else if found {
		o.begin = hourTime(hour)
	}
	if err := o.readClosed(ctx, tx); err != nil {
		return o, fmt.Errorf("read which periods are closed: %w", err)
	}
	if err := o.findEarlier(ctx, tx); err != nil {
		return o, fmt.Errorf("look for usage before the first closed periods: %w", err)
	}
	return o, nil
}

func (o open) readClosed(ctx context.Context, tx *store.Tx) error {
	rows, err := tx.Query(ctx, `SELECT service, MIN(period_from), MAX(period_to) FROM statement GROUP BY service`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var service string
		var from, to int64
		if err := rows.Scan(&service, &from, &to); err != nil {
			return err
		}
		o.first[service], o.closed[service] = time.Unix(0, from).UTC(), time.Unix(0, to).UTC()
	}
	return rows.Err()
}

// targets returns the open periods of a service that begin before until, and that keep says yes to.
// They begin where the last closed one ended, or with the ledger. Before them are those that should have been closed
// before the first one that was.
func (o open) targets(service string, until time.Time, keep func(rating.Period) bool) []*target {
	contract, p, err := o.owners.PeriodAt(service, o.begin)
	if err != nil || o.begin.IsZero() {
		return nil
	}
	zone := contract.Schedule.Zone
	at := later(o.begin, contract.Opened.In(zone))
	last, closed := o.closed[service]
	if closed {
		at = last
	}
	var targets []*target
	for _, t := range o.earlier[service] {
		if t.period.From.Before(until) && keep(t.period) {
			targets = append(targets, t)
		}
	}
	for {
		if contract, p, err = o.owners.PeriodAt(service, at); err != nil || !p.From.Before(until) {
			break
		}
		at = p.To
		if !contract.Closed.IsZero() && !p.From.Before(contract.Closed.In(zone)) {
			break
		}
		if closed && p.From.Before(last) { // the schedule has changed since: no octet is in two periods
			p.From = last
			if contract, _, err = o.owners.PeriodAt(service, last); err != nil {
				break
			}
		}
		if keep(p) {
			targets = append(targets, &target{contract: contract, period: p})
		}
	}
	return targets
}
