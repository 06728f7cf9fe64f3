package oracle

import (
	"encoding/csv"
	"io"
)

// Row is one line of the month's report, its fields as text. Quantities are exact and have no trailing zeros; the amount
// has the digits of its currency.
type Row struct {
	Customer, Service, Plan, PeriodFrom, PeriodTo, TimeZone, Direction        string
	InOctets, OutOctets, BillableOctets                                       string
	Quota, Unit, Used, Excess, BilledQuantity, UnitPrice, Currency, AmountVAT string
	Kind, RuleFrom                                                            string
	PriceUnit, BitsPerSecond, Slots, SlotsMissing, Estimated                  string
	FreeIn, FreeOut, ExcludedIn, ExcludedOut, Grace                           string
}

// columns are those of the month's report, and what the oracle has in each. What it does not compute (standard error,
// coverage, statement, revision, reasons and rules) is left out.
var columns = []struct {
	name string
	of   func(Row) string
}{
	{"customer", func(r Row) string { return r.Customer }},
	{"service", func(r Row) string { return r.Service }},
	{"plan", func(r Row) string { return r.Plan }},
	{"period_from", func(r Row) string { return r.PeriodFrom }},
	{"period_to", func(r Row) string { return r.PeriodTo }},
	{"time_zone", func(r Row) string { return r.TimeZone }},
	{"direction", func(r Row) string { return r.Direction }},
	{"in_octets", func(r Row) string { return r.InOctets }},
	{"out_octets", func(r Row) string { return r.OutOctets }},
	{"billable_octets", func(r Row) string { return r.BillableOctets }},
	{"quota", func(r Row) string { return r.Quota }},
	{"unit", func(r Row) string { return r.Unit }},
	{"used", func(r Row) string { return r.Used }},
	{"excess", func(r Row) string { return r.Excess }},
	{"billed_quantity", func(r Row) string { return r.BilledQuantity }},
	{"unit_price", func(r Row) string { return r.UnitPrice }},
	{"currency", func(r Row) string { return r.Currency }},
	{"amount_ex_vat", func(r Row) string { return r.AmountVAT }},
	{"kind", func(r Row) string { return r.Kind }},
	{"rule_from", func(r Row) string { return r.RuleFrom }},
	{"price_unit", func(r Row) string { return r.PriceUnit }},
	{"bits_per_second", func(r Row) string { return r.BitsPerSecond }},
	{"slots", func(r Row) string { return r.Slots }},
	{"slots_missing", func(r Row) string { return r.SlotsMissing }},
	{"estimated_octets", func(r Row) string { return r.Estimated }},
	{"free_in_octets", func(r Row) string { return r.FreeIn }},
	{"free_out_octets", func(r Row) string { return r.FreeOut }},
	{"excluded_in_octets", func(r Row) string { return r.ExcludedIn }},
	{"excluded_out_octets", func(r Row) string { return r.ExcludedOut }},
	{"grace", func(r Row) string { return r.Grace }},
}

// WriteCSV writes rows under the names of the report's columns.
func WriteCSV(w io.Writer, rows []Row) error {
	out := csv.NewWriter(w)
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = c.name
	}
	_ = out.Write(names) // Flush and Error tell
	for _, r := range rows {
		cells := make([]string, len(columns))
		for i, c := range columns {
			cells[i] = c.of(r)
		}
		_ = out.Write(cells)
	}
	out.Flush()
	return out.Error()
}
