package statement

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/shopspring/decimal"

	"hostmeter/aggregator/rating"
)

// WriteXLSX writes the report as a workbook: a summary whose totals are formulas over the rows, the rows
// under the names that the CSV's columns have, and for the evidence that is given a sheet each of
// facts, days, hours, ownership, exporters, gaps and reconciliation. Traffic that nobody owned and the exporters' completeness
// have a sheet each, also where there is nothing in it.
//
// Cells have types: numbers, local times, texts; a text is never a formula. The file goes to w as it is
// made: memory grows with the rows of the report, not with the days and hours behind them, but for the days of the
// reconciliation, which are held compressed. evidence is gone through twice; nil leaves those sheets out.
func WriteXLSX(w io.Writer, report Report, evidence Evidences) error {
	return writeXLSX(newWorkbook(w, "Usage report of "+report.Month, report.Provider, report.end()), report, evidence)
}

func writeXLSX(b *workbook, report Report, evidence Evidences) error {
	b.summary(report, evidence != nil)
	b.sheet("Report", reportColumns)
	for _, row := range report.Rows {
		b.add(row.typedCells()...)
	}
	if evidence != nil {
		if err := b.evidence(evidence); err != nil {
			return err
		}
	}
	b.ofMonth(report)
	if len(report.Problems) > 0 {
		b.sheet("Problems", []column{{"service", 20}, {"problem", 90}})
		for _, p := range report.Problems {
			b.add(textCell(p.Service), textCell(p.Text))
		}
	}
	if err := b.close(); err != nil {
		return fmt.Errorf("write workbook of %s: %w", report.Month, err)
	}
	return nil
}

// end is the first instant after the report's month, in UTC: the date that its files bear.
func (r Report) end() time.Time {
	at, err := time.Parse("2006-01", r.Month)
	if err != nil {
		return time.Unix(0, 0).UTC()
	}
	return at.AddDate(0, 1, 0)
}

func (r Report) title() string {
	at, err := time.Parse("2006-01", r.Month)
	if err != nil {
		return r.Month
	}
	return at.Format("January 2006")
}

// reportColumns are the CSV's, with widths.
var reportColumns = func() []column {
	widths := map[string]float64{"customer": 16, "service": 18, "plan": 18, "period_from": 17, "period_to": 17, "time_zone": 16, "direction": 10,
		"in_octets": 20, "out_octets": 20, "billable_octets": 20, "standard_error_octets": 21, "used": 20, "excess": 20, "billed_quantity": 15, "amount_ex_vat": 14, "statement": 24, "rules": 60, "disputed": 60}
	var list []column
	for _, name := range strings.Split(columns, ",") {
		c := column{name: name, width: 11}
		if width, ok := widths[name]; ok {
			c.width = width
		}
		list = append(list, c)
	}
	return list
}()

// typedCells has one cell for each of reportColumns.
func (r Row) typedCells() []cell {
	money := moneyOf(rating.CurrencyDigits(r.Currency))
	cells := []cell{
		textCell(r.Customer), textCell(r.Service), textCell(r.Plan),
		timeCell(r.PeriodFrom), timeCell(r.PeriodTo), textCell(r.TimeZone),
		textCell(string(r.Direction)), integerCell(r.InOctets), integerCell(r.OutOctets), integerCell(r.BillableOctets), integerCell(r.StandardErrorOctets),
		{style: shareStyle, number: share(r.Coverage)}, {style: quantityStyle, number: r.quota()}, textCell(string(r.Unit)),
		decimalCell(r.Used), decimalCell(r.Excess), decimalCell(r.BilledQuantity),
		{style: quantityStyle, number: r.unitPrice()}, textCell(r.Currency), {style: money, number: Money(r.AmountExVAT, r.Currency)},
		textCell(string(r.Kind)), textCell(string(r.RuleFrom)), textCell(r.Statement), integerCell(int64(r.Revision)),
	}
	texts := r.cells()
	for i := len(cells); i < len(texts); i++ {
		if textColumns[reportColumns[i].name] {
			cells = append(cells, textCell(texts[i]))
		} else {
			cells = append(cells, cell{style: quantityStyle, number: texts[i]})
		}
	}
	return cells
}

// textColumns are those of the columns behind revision that hold no number.
var textColumns = map[string]bool{"price_unit": true, "hold": true, "rules": true, "disputed": true, "pool": true, "pool_customer": true}

// summary is the first sheet. Its numbers are formulas, with the values that they have.
func (b *workbook) summary(report Report, evidence bool) {
	b.sheet("Summary", []column{{"", 30}, {"", 18}, {"", 14}, {"", 14}, {"", 14}})
	state := "All periods are closed: these are the statements' own figures."
	if report.Provisional {
		state = "Provisional: some periods are still open, and their usage grows."
	}
	b.add(cell{style: titleStyle, text: "Usage report, " + report.title()})
	b.add(textCell(report.Provider))
	b.add(cell{style: dimStyle, text: state})
	b.add()
	b.add(headCells("Currency", "Amount ex VAT", "Overages", "Adjustments", "Waived")...)
	for _, total := range Totals(report.Rows) {
		digits := rating.CurrencyDigits(total.Currency)
		at := "A" + strconv.Itoa(b.row+1)
		cells := []cell{textCell(total.Currency), {
			style: moneyOf(digits), number: Money(total.AmountExVAT, total.Currency),
			formula: fmt.Sprintf("ROUND(%s,%d)", b.sumIf(report, at, ""), digits),
		}}
		for _, kind := range []rating.Kind{rating.KindOverage, rating.KindAdjustment, rating.KindWaived} {
			cells = append(cells, cell{style: integerStyle, number: strconv.Itoa(report.count(total.Currency, kind)), formula: b.sumIf(report, at, string(kind))})
		}
		b.add(cells...)
	}
	b.add()
	b.add(headCells("Usage of all services", "TB")...)
	for _, direction := range []string{"in_octets", "out_octets"} {
		sum := decimal.Zero
		for _, row := range report.Rows {
			octets := row.InOctets
			if direction == "out_octets" {
				octets = row.OutOctets
			}
			sum = sum.Add(decimal.NewFromInt(octets))
		}
		b.add(textCell(map[string]string{"in_octets": "In", "out_octets": "Out"}[direction]), cell{
			style: moneyOf(3), number: sum.Shift(-12).StringFixed(3),
			formula: "ROUND(SUM(" + strings.Join(b.cellsOf("Report", reportColumns, direction, len(report.Rows)), ",") + ")/10^12,3)",
		})
	}
	b.add()
	for _, note := range notes(evidence) {
		b.add(cell{style: dimStyle, text: note})
	}
}

// headCells are the head of a table whose columns but the first are numbers.
func headCells(texts ...string) []cell {
	cells := make([]cell, len(texts))
	for i, text := range texts {
		cells[i] = cell{style: headRightStyle, text: text}
	}
	cells[0].style = headStyle
	return cells
}

// sumIf is the sum of the amounts in the currency that the cell at names, or the number of the rows that
// are of a kind.
func (b *workbook) sumIf(report Report, at, kind string) string {
	of := func(column string) []string { return b.cellsOf("Report", reportColumns, column, len(report.Rows)) }
	currencies, amounts, kinds := of("currency"), of("amount_ex_vat"), of("kind")
	terms := make([]string, len(amounts))
	for i := range amounts {
		terms[i] = fmt.Sprintf("SUMIFS(%s,%s,%s)", amounts[i], currencies[i], at)
		if kind != "" {
			terms[i] = fmt.Sprintf(`COUNTIFS(%s,%s,%s,"%s")`, currencies[i], at, kinds[i], kind)
		}
	}
	return strings.Join(terms, "+")
}

func (r Report) count(currency string, kind rating.Kind) (n int) {
	for _, row := range r.Rows {
		if row.Currency == currency && row.Kind == kind {
			n++
		}
	}
	return n
}

func notes(evidence bool) []string {
	list := []string{
		"Octets are of layer 3, seen from the customer, multiplied by the sampling rate. GB and TB are powers of ten, GiB and TiB of two.",
		"Times are local to the row's time zone; periods are [from, to). Amounts exclude VAT.",
		"The row of an adjustment holds signed differences to the rows before it: the sum over the revisions is what is known now.",
		"A spreadsheet keeps 15 digits of a number; the CSV and JSON reports have them all.",
	}
	if evidence {
		list = append(list, "The sheets behind the report are the evidence of its charges: what was counted adds up to the row's octets.")
	}
	return list
}
