package ledger

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	statements "hostmeter/aggregator/statement" // in this package a statement is also one of SQL
	"hostmeter/internal/inventory"
	"hostmeter/internal/store"
)

// exporterEvidence is what many services of a report ask for.
type exporterEvidence struct {
	exporter statements.Exporter
	share    float64 // of what should have been observed that was
	gaps     []statements.Gap
}

// cover fills in how well the accounting exporters of what the service owned were observed while they accounted for it,
// as far as was known at an observation.
func (r *evidenceReader) cover(ctx context.Context, t *target, through *Observation, e *statements.Evidence) error {
	from, to := t.period.From, earlier(t.period.To, r.now)
	if !from.Before(to) {
		return nil
	}
	var expected []inventory.Accounting
	for _, o := range r.owners.Ownerships() {
		if o.Service == t.contract.Service && string(o.Key.Kind()) == t.contract.Bills.Value && o.From.Before(t.period.To) && (o.Until.IsZero() || o.Until.After(t.period.From)) {
			expected = append(expected, r.owners.ExportersOf(o.Key, from, to)...)
		}
	}
	err := eachExporter(joined(expected), func(spans []inventory.Accounting) error {
		key := keyOfSpans(append(spans, inventory.Accounting{From: from, Until: to}))
		if through != nil {
			key += fmt.Sprint(*through)
		}
		found, ok := r.exporters[key]
		if !ok {
			var err error
			if found, err = readExporter(ctx, r.tx, spans, from, to, through); err != nil {
				return err
			}
			r.exporters[key] = found
		}
		e.Exporters = append(e.Exporters, found.exporter)
		e.Slots.Gaps = append(e.Slots.Gaps, found.gaps...)
		return nil
	})
	if err != nil {
		return err
	}
	if len(e.Exporters) > 0 {
		e.Slots.Expected, e.Slots.Missing = slotsOf(from, to, e.Slots.Gaps)
		e.Slots.Present = e.Slots.Expected - e.Slots.Missing
	}
	return nil
}

// readExporter reads what an exporter told in [from, to), and how well it was observed in the spans in it in which it
// was expected.
func readExporter(ctx context.Context, tx *store.Tx, spans []inventory.Accounting, from, to time.Time, through *Observation) (exporterEvidence, error) {
	name := spans[0].Exporter
	c, err := coverage(ctx, tx, spans, through)
	if err != nil {
		return exporterEvidence{}, err
	}
	out := exporterEvidence{share: c.Share, exporter: statements.Exporter{Exporter: name, MinutesExpected: c.Expected, MinutesObserved: c.Observed, LostOctets: int64(c.LostOctets)}}
	for _, m := range c.Missing {
		out.gaps = append(out.gaps, statements.Gap{Exporter: m.Exporter, From: m.From, To: m.To})
	}
	x := &out.exporter
	err = accounts(ctx, tx, name, from.UTC().Truncate(time.Hour), to, func(a Account) error {
		x.Datagrams += a.Datagrams
		x.Records += a.Records
		x.ReportedOctets += a.ReportedOctets
		x.Octets += a.Octets
		x.UnknownSamplingRecords += a.UnknownSamplingRecords
		x.Lost = addCounts(x.Lost, a.Lost)
		x.Dropped = addCounts(x.Dropped, a.Dropped)
		return nil
	})
	return out, err
}

// addCounts adds counts of the same unit and reason. into stays sorted by both.
func addCounts(into []statements.Count, counts []Count) []statements.Count {
	for _, c := range counts {
		at, found := slices.BinarySearchFunc(into, c, func(have statements.Count, want Count) int {
			return cmp.Or(cmp.Compare(have.Unit, want.Unit), cmp.Compare(have.Reason, want.Reason))
		})
		if !found {
			into = slices.Insert(into, at, statements.Count{Unit: c.Unit, Reason: c.Reason})
		}
		into[at].Count += c.Count
	}
	return into
}

// slotsOf counts the slots that begin in [from, to), and those of them that touch a gap.
func slotsOf(from, to time.Time, gaps []statements.Gap) (expected, missing int64) {
	number := func(at time.Time) int64 { return ceil(at.UnixNano(), int64(SlotLength)) } // of the first slot not before at
	first, last := number(from), number(to)
	touched := slices.Clone(gaps)
	slices.SortFunc(touched, func(a, b statements.Gap) int { return a.From.Compare(b.From) })
	through := first // counted up to here
	for _, g := range touched {
		begin := max(g.From.UnixNano()/int64(SlotLength), through)
		end := min(number(g.To), last)
		if begin < end {
			missing += end - begin
			through = end
		}
	}
	return max(last-first, 0), missing
}
