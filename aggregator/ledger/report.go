package ledger

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/shopspring/decimal"

	"hostmeter/aggregator/rating"
	statements "hostmeter/aggregator/statement" // in this package a statement is also one of SQL
	"hostmeter/internal/inventory"
	"hostmeter/internal/store"
)

// ErrMonth is returned for a text that is no month.
var ErrMonth = errors.New("not a month (want YYYY-MM)")

// Report returns the report of a month, "2026-10": the periods that end in it. A period ends on the day
// of its last instant, in its contract's zone, so that [Oct 1, Nov 1) ends in October.
//
// Closed periods come from their statements, with their adjustments; open ones are rated with what is
// known, and marked provisional. Traffic that nobody owned is that of the calendar month in the
// provider's zone. Errors: ErrMonth.
func (l *Ledger) Report(ctx context.Context, inv *inventory.Inventory, month string, now time.Time) (statements.Report, error) {
	owners, err := inv.Snapshot(ctx)
	if err != nil {
		return statements.Report{}, err
	}
	r, err := l.newReporting(owners, month, now)
	if err != nil {
		return statements.Report{}, err
	}
	if err := l.db.View(ctx, func(tx *store.Tx) error { return r.compute(ctx, tx) }); err != nil {
		return statements.Report{}, fmt.Errorf("report of %s: %w", month, err)
	}
	return r.report, nil
}

type reporting struct {
	owners *inventory.Snapshot
	now    time.Time
	first  rating.Date
	sealed time.Time // hours before it are
	// reconcile compares open periods with their witnesses.
	reconcile ReconcileConfig
	report    statements.Report
}

// newReporting prepares the report of a month. Errors: ErrMonth.
func (l *Ledger) newReporting(owners *inventory.Snapshot, month string, now time.Time) (*reporting, error) {
	first, err := rating.ParseDate(month + "-01")
	if err != nil || len(month) != len("2026-10") {
		return nil, fmt.Errorf("%q: %w", month, ErrMonth)
	}
	return &reporting{owners: owners, now: now, first: first, reconcile: l.cfg.Reconcile, report: statements.Report{
		Month: month, Provider: owners.Provider.Name, TimeZone: owners.Provider.TimeZone, Rows: []statements.Row{}, Problems: []statements.Problem{},
	}}, nil
}

// in says whether a period ends in the month.
func (r *reporting) in(p rating.Period, zone *time.Location) bool {
	ends := rating.Schedule{Zone: zone}.Ends(p)
	return ends.Year == r.first.Year && ends.Month == r.first.Month
}

// next returns the first day of the next month.
func (r *reporting) next() rating.Date {
	next := r.first.AddDays(31)
	next.Day = 1
	return next
}

// maxOffset is more than any zone is away from UTC.
const maxOffset = 26 * time.Hour

func (r *reporting) compute(ctx context.Context, tx *store.Tx) error {
	var err error
	if r.sealed, _, err = sealedThrough(ctx, tx); err != nil {
		return err
	}
	if err := r.closed(ctx, tx); err != nil {
		return err
	}
	if err := r.open(ctx, tx); err != nil {
		return err
	}
	slices.SortStableFunc(r.report.Rows, compareRows)
	r.report.Totals = totals(r.report.Rows)
	r.states()
	return nil
}

// states says of each row how far its period is.
func (r *reporting) states() {
	corrected := map[string]bool{}
	for _, row := range r.report.Rows {
		corrected[row.Statement] = corrected[row.Statement] || row.Revision > 1
	}
	for i := range r.report.Rows {
		row := &r.report.Rows[i]
		switch {
		case !row.Provisional && corrected[row.Statement]:
			row.State = statements.StateCorrected
		case !row.Provisional:
			row.State = statements.StateClosed
		case r.now.Before(row.PeriodTo):
			row.State = statements.StateOpen
		case r.sealed.Before(row.PeriodTo):
			row.State = statements.StateProvisional
		default:
			row.State = statements.StateClosing
		}
	}
}

func (r *reporting) closed(ctx context.Context, tx *store.Tx) error {
	waiting, err := readWaiting(ctx, tx)
	if err != nil {
		return err
	}
	q := StatementQuery{EndFrom: r.first.In(time.UTC).Add(-maxOffset), EndTo: r.next().In(time.UTC).Add(maxOffset)}
	return readStatements(ctx, tx, q, func(s Statement) error {
		zone, err := loadZone(s.Body.Row.TimeZone)
		if err != nil {
			return fmt.Errorf("statement %s: %w", s.Body.Row.Statement, err)
		}
		if r.in(s.Body.Period, zone) {
			row := s.Body.Row
			row.PeriodFrom, row.PeriodTo = s.Body.Period.From.In(zone), s.Body.Period.To.In(zone)
			r.report.Rows = append(r.report.Rows, row)
			if w := (waitingPeriod{row.Service, s.Body.Period.From.UnixNano()}); row.Revision == 1 && slices.Contains(waiting, w) {
				r.report.Problems = append(r.report.Problems, statements.Problem{Service: row.Service,
					Text: fmt.Sprintf("an adjustment of statement %s waits: each closing says what for", row.Statement)})
			}
		}
		return nil
	})
}

func (r *reporting) open(ctx context.Context, tx *store.Tx) error {
	targets, err := r.openTargets(ctx, tx)
	if err != nil {
		return err
	}
	zone, err := loadZone(zoneOf(r.owners))
	if err != nil {
		return err
	}
	month := rating.Period{From: r.first.In(zone), To: r.next().In(zone)}
	found, err := gather(ctx, tx, gathering{owners: r.owners, targets: targets, now: r.now, month: month, reconcile: &r.reconcile})
	if err != nil {
		return err
	}
	r.report.Unowned = found.unowned
	if r.report.Exporters, err = completeness(ctx, tx, r.owners, month, r.now); err != nil {
		return err
	}
	r.report.Provisional = len(targets) > 0 || r.now.Before(month.To)
	for rated := range rate(found.accounts, func(*account) []rating.Price { return r.owners.Prices() }) {
		if rated.err != nil {
			r.report.Problems = append(r.report.Problems, statements.Problem{Service: rated.subject(), Text: rated.err.Error()})
		}
		for _, line := range rated.lines {
			line.row.Provisional = true
			r.report.Rows = append(r.report.Rows, line.row)
		}
	}
	return nil
}

// openTargets are the periods that end in the month and are not closed.
func (r *reporting) openTargets(ctx context.Context, tx *store.Tx) ([]*target, error) {
	periods, err := openPeriods(ctx, tx, r.owners)
	if err != nil {
		return nil, err
	}
	var targets []*target
	for _, service := range r.owners.Services() {
		contract, err := r.owners.Contract(service.ID, r.now)
		if err != nil {
			return nil, err
		}
		until := earlier(r.now, r.next().In(time.UTC).Add(maxOffset))
		targets = append(targets, periods.targets(service.ID, until, func(p rating.Period) bool { return r.in(p, contract.Schedule.Zone) })...)
	}
	return targets, nil
}

func zoneOf(owners *inventory.Snapshot) string {
	if owners.Provider.TimeZone == "" {
		return "UTC"
	}
	return owners.Provider.TimeZone
}

func compareRows(a, b statements.Row) int {
	if c := strings.Compare(a.Customer, b.Customer); c != 0 {
		return c
	}
	if c := strings.Compare(a.Service, b.Service); c != 0 {
		return c
	}
	if c := a.PeriodFrom.Compare(b.PeriodFrom); c != 0 {
		return c
	}
	return a.Revision - b.Revision
}

func totals(rows []statements.Row) []statements.Total {
	sums := map[string]decimal.Decimal{}
	for _, row := range rows {
		sums[row.Currency] = sums[row.Currency].Add(row.AmountExVAT)
	}
	list := make([]statements.Total, 0, len(sums))
	for _, currency := range slices.Sorted(maps.Keys(sums)) {
		list = append(list, statements.Total{Currency: currency, AmountExVAT: sums[currency]})
	}
	return list
}

// Months returns the months in which periods end that have usage or a statement, the latest first: from
// that of the first hour in the ledger to that of the period which is open at now.
func (l *Ledger) Months(ctx context.Context, inv *inventory.Inventory, now time.Time) ([]string, error) {
	owners, err := inv.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	found := map[string]bool{}
	err = l.db.View(ctx, func(tx *store.Tx) error {
		err := readChainPeriods(ctx, tx, func(p rating.Period, zone *time.Location) { found[monthOf(p, zone)] = true })
		if err != nil {
			return err
		}
		periods, err := openPeriods(ctx, tx, owners)
		if err != nil {
			return err
		}
		for _, service := range owners.Services() {
			for _, t := range periods.targets(service.ID, now, func(rating.Period) bool { return true }) {
				found[monthOf(t.period, t.contract.Schedule.Zone)] = true
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list months: %w", err)
	}
	months := slices.Sorted(maps.Keys(found))
	slices.Reverse(months)
	return months, nil
}

func readChainPeriods(ctx context.Context, tx *store.Tx, f func(rating.Period, *time.Location)) error {
	seen := map[string]bool{}
	return readStatements(ctx, tx, StatementQuery{}, func(s Statement) error {
		key := fmt.Sprint(s.Body.Period, s.Body.Row.TimeZone)
		if seen[key] {
			return nil
		}
		seen[key] = true
		zone, err := loadZone(s.Body.Row.TimeZone)
		if err == nil {
			f(s.Body.Period, zone)
		}
		return err
	})
}

func monthOf(p rating.Period, zone *time.Location) string {
	ends := rating.Schedule{Zone: zone}.Ends(p)
	return fmt.Sprintf("%04d-%02d", ends.Year, int(ends.Month))
}
