package ledger

import (
	"context"
	"fmt"
	"time"

	"hostmeter/aggregator/rating"
	statements "hostmeter/aggregator/statement" // in this package a statement is also one of SQL
	"hostmeter/internal/inventory"
	"hostmeter/internal/store"
	"hostmeter/schemas"
)

// Evidence computes the report of a month and gives it to f, with a function that goes through the
// evidence of the rows that keep says yes to. All of it is read in one transaction: f does not use the
// ledger's store. The evidence of one service and period is in memory at a time.
//
// A closed row's usage is read again up to the last late entry that its statement read, under the
// ownership that is known now; what the two differ by is the evidence's Difference. Its witnesses are read up to
// the same entry, and their coverage up to the same observation. Errors: ErrMonth, and f's own.
func (l *Ledger) Evidence(ctx context.Context, inv *inventory.Inventory, month string, now time.Time,
	f func(report statements.Report, evidence func(keep func(statements.Row) bool) statements.Evidences) error) error {
	owners, err := inv.Snapshot(ctx)
	if err != nil {
		return err
	}
	r, err := l.newReporting(owners, month, now)
	if err != nil {
		return err
	}
	return l.db.View(ctx, func(tx *store.Tx) error {
		if err := r.compute(ctx, tx); err != nil {
			return fmt.Errorf("report of %s: %w", month, err)
		}
		compare, err := newComparing(ctx, tx, r.reconcile, owners, newCoverages(nil))
		if err != nil {
			return fmt.Errorf("evidence of %s: %w", month, err)
		}
		reader := evidenceReader{tx: tx, owners: owners, now: now, compare: compare, known: map[Observation]*coverages{}, owned: ownedBy(owners)}
		return f(r.report, func(keep func(statements.Row) bool) statements.Evidences {
			return func(yield func(statements.Evidence, error) bool) { reader.each(ctx, r.report.Rows, keep, yield) }
		})
	})
}

// evidenceReader reads the evidence of one service and period after the other.
type evidenceReader struct {
	tx     *store.Tx
	owners *inventory.Snapshot
	now    time.Time
	// compare judges days by their witnesses, with the coverage that is known by an observation, and owned are the ownerships
	// of each service.
	compare *comparing
	known   map[Observation]*coverages
	owned   map[string][]inventory.Ownership

	meters    map[string][]schemas.MeterID // that were a service's at any time of the report; nil until read
	exporters map[string]exporterEvidence
}

// each calls yield with the evidence of each service and period of which keep keeps a row, and of which
// retention has taken no hour.
func (r *evidenceReader) each(ctx context.Context, rows []statements.Row, keep func(statements.Row) bool, yield func(statements.Evidence, error) bool) {
	state, err := readState(ctx, r.tx)
	if err != nil {
		yield(statements.Evidence{}, fmt.Errorf("evidence: %w", err))
		return
	}
	if r.meters == nil {
		if err := r.readMeters(ctx, rows); err != nil {
			yield(statements.Evidence{}, fmt.Errorf("evidence: %w", err))
			return
		}
	}
	for len(rows) > 0 {
		n, kept := 0, false
		for n < len(rows) && rows[n].Service == rows[0].Service && rows[n].PeriodFrom.Equal(rows[0].PeriodFrom) {
			kept = kept || keep(rows[n]) && rows[n].PeriodFrom.Unix() >= keptFrom(state.hoursPruned)
			n++
		}
		if kept {
			evidence, err := r.of(ctx, rows[:n:n])
			if err != nil {
				yield(statements.Evidence{}, fmt.Errorf("evidence of service %s: %w", rows[0].Service, err))
				return
			}
			if !yield(evidence, nil) {
				return
			}
		}
		rows = rows[n:]
	}
}

// readMeters finds out which meters with usage were whose, once for all services of a report.
func (r *evidenceReader) readMeters(ctx context.Context, rows []statements.Row) error {
	r.meters, r.exporters = map[string][]schemas.MeterID{}, map[string]exporterEvidence{}
	var span rating.Period
	for i, row := range rows {
		if i == 0 || row.PeriodFrom.Before(span.From) {
			span.From = row.PeriodFrom
		}
		span.To = later(span.To, row.PeriodTo)
	}
	return metersIn(ctx, r.tx, dayOf(span.From), dayAfter(span.To), func(meter schemas.MeterID) {
		seen := map[string]bool{}
		for _, interval := range r.owners.Intervals(meter, span.From.Add(-SlotLength), span.To.Add(SlotLength)) {
			if !seen[interval.Service] {
				seen[interval.Service] = true
				r.meters[interval.Service] = append(r.meters[interval.Service], meter)
			}
		}
	})
}

// metersIn calls f with the meters that have usage in the UTC days of [from, to), in order.
func metersIn(ctx context.Context, tx *store.Tx, from, to time.Time, f func(schemas.MeterID)) error {
	s, err := readState(ctx, tx)
	if err != nil {
		return err
	}
	first, last := dayBounds(from, to)
	derived := min(max(first, s.daysThrough), last)
	rows, err := tx.Query(ctx, `SELECT meter FROM (SELECT meter FROM usage_day WHERE day >= ? AND day < ?
		UNION SELECT meter FROM usage_hour WHERE hour >= ? AND hour < ?
		UNION SELECT meter FROM late_entry WHERE hour >= ? AND hour < ?) AS meters ORDER BY meter`+collate(tx),
		first, derived, hourOfDay(derived), hourOfDay(last), hourOfDay(first), hourOfDay(last))
	if err != nil {
		return fmt.Errorf("read meters: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var meter schemas.MeterID
		if err := rows.Scan(&meter); err != nil {
			return fmt.Errorf("read meters: %w", err)
		}
		f(meter)
	}
	return rows.Err()
}

// of reads the evidence of the rows of one service and period, which are in the order of revisions.
func (r *evidenceReader) of(ctx context.Context, rows []statements.Row) (statements.Evidence, error) {
	evidence := statements.Evidence{Rows: rows}
	t, through, observed, err := r.target(ctx, &evidence)
	if err != nil {
		return evidence, err
	}
	evidence.Contract = t.contract
	if customer, ok := r.owners.CustomerByID(rows[0].Customer); ok {
		evidence.CustomerName = customer.Name
	}
	u := newUsageEvidence(r.owners, t, earlier(t.period.To, r.now))
	seen := newWitnesses(t, r.owned[t.contract.Service])
	u.split.witness = seen.add
	for _, meter := range r.meters[t.contract.Service] {
		if string(meter.Kind()) != t.contract.Bills.Value && !seen.wants(meter) {
			continue
		}
		if err := u.read(ctx, r.tx, meter, through); err != nil {
			return evidence, err
		}
	}
	u.fill(&evidence)
	days, err := r.comparing(observed).judge(ctx, r.tx, seen)
	if err != nil {
		return evidence, err
	}
	evidence.Reconciliation = t.reconciled(days)
	in, out := evidence.Sum()
	evidence.Difference = statements.Difference{InOctets: u.in - in, OutOctets: u.out - out}
	return evidence, r.cover(ctx, t, observed, &evidence)
}

// comparing judges days by what was observed up to an observation; nil is all that is known.
func (r *evidenceReader) comparing(observed *Observation) *comparing {
	if observed == nil {
		return r.compare
	}
	if r.known[*observed] == nil {
		r.known[*observed] = newCoverages(observed)
	}
	then := *r.compare
	then.known = r.known[*observed]
	return &then
}

// target returns the period with the contract that the rows were rated by, and the last late entry and observation that
// they read: nil while it is open. It fills in the price and the closings.
func (r *evidenceReader) target(ctx context.Context, evidence *statements.Evidence) (*target, *Booking, *Observation, error) {
	first := evidence.Rows[0]
	if first.Provisional {
		contract, _, err := r.owners.PeriodAt(first.Service, first.PeriodFrom)
		if err != nil {
			return nil, nil, nil, err
		}
		t := &target{contract: contract, period: rating.Period{From: first.PeriodFrom, To: first.PeriodTo}}
		if price, ok := rating.PriceFor(contract, t.period, r.owners.Prices()); ok {
			evidence.Price = &price
		}
		return t, nil, nil, nil
	}
	var t *target
	var through Booking
	var observed *Observation
	q := StatementQuery{Service: first.Service, EndFrom: first.PeriodTo, EndTo: first.PeriodTo.Add(1)}
	err := readStatements(ctx, r.tx, q, func(s Statement) error {
		if s.Body.Row.Statement != first.Statement {
			return nil
		}
		contract, err := thaw(s.Body.Contract) // of the last revision: decisions change closed periods too
		if err != nil {
			return err
		}
		if t == nil {
			evidence.Price = s.Body.Price
		}
		t = &target{contract: contract, period: s.Body.Period}
		through, observed = s.Body.Booking, s.Body.Observation
		evidence.Closings = append(evidence.Closings, statements.Closing{
			Revision: s.Body.Row.Revision, Number: s.Number, Hash: s.Hash, ClosedAt: s.ClosedAt, SealedThrough: s.Body.SealedThrough,
			Booking: int64(s.Body.Booking), InventoryVersion: s.Body.InventoryVersion, RatingVersion: s.Body.RatingVersion,
		})
		return nil
	})
	if err == nil && t == nil {
		err = fmt.Errorf("statement %s: %w", first.Statement, ErrChain)
	}
	return t, &through, observed, err
}
