package simulate

import "io"

// Books are what the provider truly did, by meter and five-minute slot.
type Books struct{}

// Row is one line of the month's report, its fields as text in the form that the report's CSV has.
type Row struct {
	Customer, Service, Plan, PeriodFrom, PeriodTo, TimeZone, Direction     string
	InOctets, OutOctets, BillableOctets                                    string
	Quota, Unit, Used, Excess, BilledQuantity, UnitPrice, Currency, Amount string
	Kind, RuleFrom                                                         string
}

// Report bills the periods that end in a month ("2026-10"), as a perfect collector would have it.
func (b *Books) Report(month string) ([]Row, error) { return nil, nil }

// WriteCSV writes rows with the columns of the month's report. What the oracle does not compute
// (standard error, coverage, statement, revision) is left empty.
func WriteCSV(w io.Writer, rows []Row) error { return nil }
