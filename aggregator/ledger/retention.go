package ledger

import (
	"context"
	"fmt"
	"math"
	"time"

	"hostmeter/aggregator/rating"
	"hostmeter/internal/config"
	"hostmeter/internal/inventory"
	"hostmeter/internal/store"
)

// Retention says how long the books keep what.
type Retention struct {
	// Slots are the five minutes inside the hours.
	Slots config.Age `yaml:"slots"`
	// Hours are hours, days, late entries, guests' hours, exporters' accounts, gaps and refused batches.
	Hours config.Age `yaml:"hours"`
	// Statements and usage records; never before their hours have gone.
	Statements config.Age `yaml:"statements"`
	// Evidence is how long after its closing everything behind a statement stays, whatever else is said.
	Evidence config.Age `yaml:"evidence"`
}

// DefaultRetention returns the settings of an empty file.
func DefaultRetention() Retention {
	return Retention{
		Slots: config.Age{Months: 13}, Hours: config.Age{Years: 7}, Statements: config.Age{Years: 7}, Evidence: config.Age{Months: 13},
	}
}

// leastEvidence is how long a customer may claim that a bill is wrong.
var leastEvidence = config.Age{Days: 62}

// Validate names the key that is wrong.
func (r Retention) Validate() error {
	switch {
	case r.Evidence.ShorterThan(leastEvidence):
		return fmt.Errorf("evidence: %s is shorter than %s, in which a bill may be disputed", r.Evidence, leastEvidence)
	case r.Slots.ShorterThan(leastEvidence):
		return fmt.Errorf("slots: %s is shorter than %s, in which a bill may be disputed", r.Slots, leastEvidence)
	case r.Hours.ShorterThan(r.Slots):
		return fmt.Errorf("hours: %s is shorter than slots, %s, which are inside the hours", r.Hours, r.Slots)
	case r.Statements.ShorterThan(r.Hours):
		return fmt.Errorf("statements: %s is shorter than hours, %s: the hours would be charged again", r.Statements, r.Hours)
	}
	return nil
}

// Pruned says what of one kind has gone, or would.
type Pruned struct {
	// Before is the beginning of what is kept; the zero time where nothing has gone.
	Before time.Time `json:"before,omitzero"`
	// Rows that this call took.
	Rows int64 `json:"rows"`
	// Held says what is older than its age and stays, and why; empty where nothing is.
	Held string `json:"held,omitempty"`
}

// PrunedBooks says what Prune did, by kind.
type PrunedBooks struct {
	Slots      Pruned `json:"slots"`
	Hours      Pruned `json:"hours"`
	Statements Pruned `json:"statements"`
}

// Prune takes what has reached its age. With dryRun it only says what it would.
//
// Whole UTC days go, the oldest first, each in a transaction: a killed call is gone on with by the next. What is
// not sealed, told in the feed and in closed periods stays, and so does everything behind a statement that was
// closed less than the evidence's age ago. What is left adds up as before: see Verify.
func (l *Ledger) Prune(ctx context.Context, inv *inventory.Inventory, r Retention, now time.Time, dryRun bool) (PrunedBooks, error) {
	owners, err := inv.Snapshot(ctx)
	if err != nil {
		return PrunedBooks{}, err
	}
	p := pruning{l: l, now: now, dryRun: dryRun}
	if err := l.db.View(ctx, func(tx *store.Tx) error { return p.plan(ctx, tx, owners, r) }); err != nil {
		return PrunedBooks{}, fmt.Errorf("plan what to prune: %w", err)
	}
	for _, step := range []func(context.Context) error{p.slots, p.hours, p.statements} {
		if err := step(ctx); err != nil {
			return p.done, fmt.Errorf("prune: %w", err)
		}
	}
	return p.done, nil
}

// pruning is one call of Prune.
type pruning struct {
	l      *Ledger
	now    time.Time
	dryRun bool

	slotsTo, hoursTo  int64 // hours before them go
	statementsClosed  time.Time
	pruneStatements   bool
	slotsAre, hoursAt int64 // hours before them have gone
	done              PrunedBooks
}

// hold is a bound of what may go, with its reason.
type hold struct {
	at  time.Time
	why string
}

func (p *pruning) plan(ctx context.Context, tx *store.Tx, owners *inventory.Snapshot, r Retention) error {
	state, err := readState(ctx, tx)
	if err != nil {
		return err
	}
	p.slotsAre, p.hoursAt = state.slotsPruned, state.hoursPruned
	h, err := holds(ctx, tx, owners, r, state, p.now)
	if err != nil {
		return err
	}
	p.slotsTo, p.done.Slots.Held = h.cut(r.Slots, p.now)
	p.hoursTo, p.done.Hours.Held = h.cut(r.Hours, p.now)
	p.statementsClosed, p.pruneStatements = r.Statements.Before(p.now)
	return nil
}

// cut returns the first hour that stays, and what holds more than that.
func (h hold) cut(age config.Age, now time.Time) (hour int64, held string) {
	before, ends := age.Before(now)
	if !ends {
		return math.MinInt64, ""
	}
	if h.at.Before(before) {
		before, held = h.at, h.why
	}
	if before.Unix() <= 0 {
		return math.MinInt64, held
	}
	return dayOf(before).Unix() / 3600, held
}

// holds finds the earliest time of which something is still needed.
func holds(ctx context.Context, tx *store.Tx, owners *inventory.Snapshot, r Retention, s state, now time.Time) (hold, error) {
	if s.daysThrough == math.MinInt64 {
		return hold{why: "no day is sealed yet"}, nil
	}
	h := hold{dayTime(s.daysThrough), "the days from then on are not sealed"}
	add := func(at time.Time, why string) {
		if at.Before(h.at) {
			h = hold{at, why}
		}
	}
	var told int64
	if err := tx.QueryRow(ctx, `SELECT through FROM usage_record_head WHERE id = 1`).Scan(&told); err != nil {
		return h, err
	}
	add(time.Unix(0, told), "usage from then on is not in the feed yet")
	periods, err := openPeriods(ctx, tx, owners)
	if err != nil {
		return h, err
	}
	for _, service := range owners.Services() {
		first := true
		periods.targets(service.ID, now, func(period rating.Period) bool {
			if first {
				add(period.From, fmt.Sprintf("the period of service %s that begins then is not closed", service.ID))
			}
			first = false
			return false
		})
	}
	waiting, err := readWaiting(ctx, tx)
	if err != nil {
		return h, err
	}
	for _, w := range waiting {
		add(time.Unix(0, w.from), fmt.Sprintf("an adjustment of the period of service %s that begins then waits", w.service))
	}
	since, ends := r.Evidence.Before(now)
	if !ends {
		since = time.Time{}.Add(time.Second)
	}
	var first, n int64
	err = tx.QueryRow(ctx, `SELECT COALESCE(MIN(period_from), 0), COUNT(*) FROM statement WHERE closed_at > ?`, max(since.UnixNano(), 0)).Scan(&first, &n)
	if err == nil && n > 0 {
		add(time.Unix(0, first), fmt.Sprintf("it is evidence of a statement that was closed less than %s ago", r.Evidence))
	}
	return h, err
}

// slots takes the slots of day after day.
func (p *pruning) slots(ctx context.Context) error {
	return p.eachDay(ctx, p.slotsAre, p.slotsTo, &p.done.Slots, func(tx *store.Tx, from, to int64) (n int64, err error) {
		for _, t := range tables {
			for _, name := range []string{t.name, t.late} {
				if p.dryRun {
					var count int64
					err = tx.QueryRow(ctx, "SELECT COUNT(*) FROM "+name+" WHERE hour >= ? AND hour < ? AND length(slots) > 0", from, to).Scan(&count)
					n += count
				} else {
					var count int64
					count, err = tx.Exec(ctx, "UPDATE "+name+" SET slots = ? WHERE hour >= ? AND hour < ? AND length(slots) > 0", []byte{}, from, to)
					n += count
				}
				if err != nil {
					return n, fmt.Errorf("slots of %s: %w", name, err)
				}
			}
		}
		if p.dryRun {
			return n, nil
		}
		return n, raiseState(ctx, tx, "slots_pruned", to)
	})
}

// raiseState writes a number, unless another process has written a greater one.
func raiseState(ctx context.Context, tx *store.Tx, name string, value int64) error {
	_, err := tx.Exec(ctx, `INSERT INTO ledger_state (name, value) VALUES (?, ?)
		ON CONFLICT (name) DO UPDATE SET value = CASE WHEN ledger_state.value < excluded.value THEN excluded.value ELSE ledger_state.value END`, name, value)
	return err
}

// tablesOfHours have rows of hours, which go together.
var tablesOfHours = []string{"usage_hour", "guest_hour", "late_entry", "late_guest", "sealed_hour", "exporter_hour", "late_observation"}

// hours takes all rows of day after day.
func (p *pruning) hours(ctx context.Context) error {
	return p.eachDay(ctx, p.hoursAt, p.hoursTo, &p.done.Hours, func(tx *store.Tx, from, to int64) (n int64, err error) {
		if !p.dryRun {
			if err := rememberPruned(ctx, tx, to); err != nil {
				return 0, err
			}
		}
		for _, name := range tablesOfHours {
			count, err := p.take(ctx, tx, name, "hour >= ? AND hour < ?", from, to)
			if err != nil {
				return n, err
			}
			n += count
		}
		for name, where := range map[string]string{"usage_day": "day >= ? AND day < ?", "gap": "declared_at >= ? AND declared_at < ?", "refused_batch": "refused_at >= ? AND refused_at < ?"} {
			scale := [2]int64{from, to}
			if name == "usage_day" {
				scale = [2]int64{max(from, 0) / 24, to / 24}
			} else {
				scale = [2]int64{max(from, 0) * nanosPerHour, to * nanosPerHour}
			}
			count, err := p.take(ctx, tx, name, where, scale[0], scale[1])
			if err != nil {
				return n, err
			}
			n += count
		}
		if p.dryRun {
			return n, nil
		}
		return n, raiseState(ctx, tx, "hours_pruned", to)
	})
}

// take deletes the rows of a table that a condition chooses, or counts them.
func (p *pruning) take(ctx context.Context, tx *store.Tx, table, where string, args ...any) (n int64, err error) {
	if p.dryRun {
		err = tx.QueryRow(ctx, "SELECT COUNT(*) FROM "+table+" WHERE "+where, args...).Scan(&n)
	} else {
		n, err = tx.Exec(ctx, "DELETE FROM "+table+" WHERE "+where, args...)
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", table, err)
	}
	return n, err
}

// eachDay calls f with [from, to) until to is the end: f takes what is in it and remembers that. The first span
// begins at the beginning of time, for rows that came late for days that have gone; a dry run is one span. Where no
// row is left to take, nothing is remembered.
func (p *pruning) eachDay(ctx context.Context, at, end int64, done *Pruned, f func(tx *store.Tx, from, to int64) (int64, error)) error {
	defer func() {
		if at != math.MinInt64 {
			done.Before = hourTime(at)
		}
	}()
	if end <= at {
		return nil
	}
	from := int64(0)
	begin := max(at, 0)
	for at < end {
		to, found := end, false
		err := p.l.db.View(ctx, func(tx *store.Tx) (err error) { // over days without a row at once
			var hour int64
			if hour, found, err = firstRow(ctx, tx, max(at, 0), end); err != nil || !found {
				return err
			}
			to = min((hour/24+1)*24, end)
			if p.dryRun {
				to = end
				done.Rows, err = f(tx, from, end)
			}
			return err
		})
		if err != nil || !found && max(at, 0) == begin { // nothing is there to take
			return err
		}
		if p.dryRun {
			at = end
			return nil
		}
		var rows int64
		if err := p.l.retry(ctx, func(tx *store.Tx) (err error) {
			rows, err = f(tx, from, to)
			return err
		}); err != nil {
			return err
		}
		done.Rows += rows
		at, from = to, to
	}
	return nil
}

// firstRow returns the first hour in [from, to) of which there is a row in any table.
func firstRow(ctx context.Context, tx *store.Tx, from, to int64) (hour int64, found bool, err error) {
	hour = math.MaxInt64
	for _, name := range tablesOfHours {
		var least, n int64
		if err := tx.QueryRow(ctx, "SELECT COALESCE(MIN(hour), 0), COUNT(*) FROM (SELECT hour FROM "+name+" WHERE hour >= ? AND hour < ? ORDER BY hour LIMIT 1) AS first", from, to).Scan(&least, &n); err != nil {
			return 0, false, err
		}
		if n > 0 {
			hour, found = min(hour, least), true
		}
	}
	return hour, found, nil
}

// Gone says from where on the books are whole: the hours before Hours have gone, and the slots of those before
// Slots; a zero time is the beginning. Statements have gone from the front of the chain.
type Gone struct {
	Slots, Hours time.Time
	Statements   int64
}

// Gone returns what retention has taken. What stands in a statement of a period that begins before can no longer
// be read again.
func (l *Ledger) Gone(ctx context.Context) (g Gone, err error) {
	err = l.db.View(ctx, func(tx *store.Tx) error {
		s, err := readState(ctx, tx)
		if err != nil {
			return err
		}
		if s.slotsPruned != math.MinInt64 {
			g.Slots = hourTime(s.slotsPruned)
		}
		if s.hoursPruned != math.MinInt64 {
			g.Hours = hourTime(s.hoursPruned)
		}
		return tx.QueryRow(ctx, `SELECT pruned_number FROM statement_head WHERE id = 1`).Scan(&g.Statements)
	})
	if err != nil {
		err = fmt.Errorf("read what retention has taken: %w", err)
	}
	return g, err
}
