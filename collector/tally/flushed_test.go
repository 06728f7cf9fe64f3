package tally

import (
	"time"

	"google.golang.org/protobuf/proto"

	"hostmeter/schemas"
)

// Flushed is what a flush took out of a table.
type Flushed struct {
	Tallies  []*schemas.Tally
	Accounts []*schemas.ExporterAccount
}

func (f *Flushed) take(t *schemas.Tally) {
	f.Tallies = append(f.Tallies, proto.Clone(t).(*schemas.Tally))
}

func (t *Table) flushed(all bool) (f Flushed) {
	f.Accounts = t.Flush(all, f.take)
	return f
}

func (t *Table) corrected(e *Exporter, key HeldKey, numerator, denominator uint32) (f Flushed) {
	f.Accounts = t.Correct(e, key, numerator, denominator, f.take)
	return f
}

// Add books one record.
func (t *Table) Add(e *Exporter, rec *schemas.FlowRecord, receivedAt time.Time) {
	t.AddAll(e, []schemas.FlowRecord{*rec}, receivedAt)
}
