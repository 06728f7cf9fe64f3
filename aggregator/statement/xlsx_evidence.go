package statement

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"github.com/shopspring/decimal"
)

var factColumns = []column{
	{"customer", 16}, {"customer_name", 26}, {"service", 18}, {"period_from", 17}, {"period_to", 17}, {"revisions", 10},
	{"price_from", 12}, {"price_noticed", 13}, {"price_per", 10}, {"price_begun", 11}, {"unit_price", 11}, {"currency", 10},
	{"quota_level", 12}, {"direction_level", 14}, {"block_level", 12}, {"internal_level", 13}, {"price_key_level", 14},
	{"slots_expected", 14}, {"slots_present", 14}, {"slots_missing", 14},
	{"billable_octets", 20}, {"standard_error_octets", 21}, {"low_95_octets", 20}, {"high_95_octets", 20}, {"lost_octets_estimated", 20},
	{"not_yet_adjusted_in", 19}, {"not_yet_adjusted_out", 19}, {"closed_at_utc", 17}, {"statement_number", 16}, {"hash", 66},
}

var dayColumns = []column{
	{"customer", 16}, {"service", 18}, {"period_from", 17}, {"from", 17}, {"to", 17}, {"from_utc", 17}, {"class", 12}, {"counted", 10},
	{"in_octets", 20}, {"out_octets", 20}, {"in_packets", 17}, {"out_packets", 17},
}

// evidence writes the sheets behind the report: the days and, once more from the beginning, the hours go
// straight to their sheets; what is small is kept between them.
func (b *workbook) evidence(evidence Evidences) error {
	var kept []Evidence
	reconciled := newReconciledSpool()
	b.sheet("Days", dayColumns)
	for e, err := range evidence {
		if err = cmp.Or(err, b.err); err != nil {
			return err
		}
		b.usage(e, e.Days)
		if err := reconciled.add(e.Reconciliation); err != nil {
			return err
		}
		e.Days, e.Hours, e.Reconciliation = nil, nil, nil
		kept = append(kept, e)
	}
	b.sheet("Evidence", factColumns)
	for _, e := range kept {
		b.add(e.factCells()...)
	}
	b.sheet("Ownership", []column{{"customer", 16}, {"service", 18}, {"period_from", 17}, {"key", 30}, {"meter", 30}, {"from", 17}, {"to", 17}, {"in_octets", 20}, {"out_octets", 20}})
	for _, e := range kept {
		for _, o := range e.Owned {
			b.add(append(e.nameCells(), textCell(o.Key), textCell(o.Meter), timeCell(o.From.In(e.Zone())), timeCell(o.To.In(e.Zone())), integerCell(o.InOctets), integerCell(o.OutOctets))...)
		}
	}
	b.sheet("Exporters", []column{{"customer", 16}, {"service", 18}, {"period_from", 17}, {"exporter", 20}, {"minutes_expected", 16}, {"minutes_observed", 16}, {"datagrams", 14}, {"records", 14},
		{"reported_octets", 20}, {"octets", 20}, {"mean_sampling", 14}, {"unknown_sampling_records", 24}, {"lost", 30}, {"lost_octets_estimated", 20}, {"dropped", 30}})
	for _, e := range kept {
		for _, x := range e.Exporters {
			b.add(append(e.nameCells(), x.cells()...)...)
		}
	}
	b.sheet("Gaps", []column{{"customer", 16}, {"service", 18}, {"period_from", 17}, {"exporter", 20}, {"from", 17}, {"to", 17}, {"from_utc", 17}, {"minutes", 10}})
	for _, e := range kept {
		for _, g := range e.Slots.Gaps {
			b.add(append(e.nameCells(), textCell(g.Exporter), timeCell(g.From.In(e.Zone())), timeCell(g.To.In(e.Zone())), timeCell(g.From.UTC()), integerCell(int64(g.To.Sub(g.From).Minutes())))...)
		}
	}
	kept = nil
	if err := b.reconciliation(reconciled); err != nil {
		return err
	}
	reconciled = nil
	b.sheet("Hours", dayColumns)
	for e, err := range evidence {
		if err = cmp.Or(err, b.err); err != nil {
			return err
		}
		b.usage(e, e.Hours)
	}
	return nil
}

func (b *workbook) usage(e Evidence, list []Usage) {
	for _, u := range list {
		b.add(append(e.nameCells(), timeCell(u.From.In(e.Zone())), timeCell(u.To.In(e.Zone())), timeCell(u.From.UTC()), textCell(u.Class), boolCell(u.Counted),
			integerCell(u.InOctets), integerCell(u.OutOctets), integerCell(u.InPackets), integerCell(u.OutPackets))...)
	}
}

// nameCells say whose evidence a line is.
func (e Evidence) nameCells() []cell {
	row := e.Rows[0]
	return []cell{textCell(row.Customer), textCell(row.Service), timeCell(row.PeriodFrom)}
}

func (e Evidence) factCells() []cell {
	row, last := e.Rows[0], e.Last()
	billable, low, high := e.Interval95()
	cells := []cell{textCell(row.Customer), textCell(e.CustomerName), textCell(row.Service), timeCell(row.PeriodFrom), timeCell(row.PeriodTo), integerCell(int64(len(e.Rows)))}
	if p := e.Price; p != nil {
		cells = append(cells, dateCell(p.From), dateCell(p.Noticed), textCell(string(p.Per)), boolCell(p.Begun), cell{style: quantityStyle, number: UnitPrice(p.Amount, p.Currency)})
	} else {
		cells = append(cells, make([]cell, 5)...)
	}
	c := e.Contract
	cells = append(cells, textCell(row.Currency),
		textCell(string(e.quotaLevel())), textCell(string(c.Direction.Level)), textCell(string(c.Block.Level)), textCell(string(c.BillInternal.Level)), textCell(string(c.SKU.Level)),
		integerCell(e.Slots.Expected), integerCell(e.Slots.Present), integerCell(e.Slots.Missing),
		integerCell(billable), integerCell(last.StandardErrorOctets), integerCell(low), integerCell(high), integerCell(e.LostOctets()),
		integerCell(e.Difference.InOctets), integerCell(e.Difference.OutOctets))
	if n := len(e.Closings); n > 0 {
		closing := e.Closings[n-1]
		cells = append(cells, timeCell(closing.ClosedAt.UTC()), integerCell(closing.Number), textCell(closing.Hash))
	}
	return cells
}

func (x Exporter) cells() []cell {
	return []cell{
		textCell(x.Exporter), integerCell(x.MinutesExpected), integerCell(x.MinutesObserved), integerCell(x.Datagrams), integerCell(x.Records),
		integerCell(x.ReportedOctets), integerCell(x.Octets), {style: quantityStyle, number: x.meanSampling()}, integerCell(x.UnknownSamplingRecords),
		textCell(countsText(x.Lost)), integerCell(x.LostOctets), textCell(countsText(x.Dropped)),
	}
}

// meanSampling is how many octets one reported octet stands for; empty where nothing was reported.
func (x Exporter) meanSampling() string {
	if x.ReportedOctets <= 0 {
		return ""
	}
	return decimal.NewFromInt(x.Octets).DivRound(decimal.NewFromInt(x.ReportedOctets), 2).String()
}

// countsText is "12 records (sequence), 3 datagrams".
func countsText(counts []Count) string {
	list := make([]string, len(counts))
	for i, c := range counts {
		list[i] = strconv.FormatInt(c.Count, 10) + " " + c.Unit
		if c.Reason != "" {
			list[i] += fmt.Sprintf(" (%s)", c.Reason)
		}
	}
	return strings.Join(list, ", ")
}
