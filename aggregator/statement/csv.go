package statement

import (
	"encoding/csv"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/shopspring/decimal"

	"hostmeter/aggregator/rating"
)

// columns of the month's report. Others read them by name and by place: add at the end, change nothing.
const columns = "customer,service,plan,period_from,period_to,time_zone,direction,in_octets,out_octets,billable_octets," +
	"standard_error_octets,coverage,quota,unit,used,excess,billed_quantity,unit_price,currency,amount_ex_vat,kind,rule_from,statement,revision," +
	"price_unit,bits_per_second,slots,slots_missing,estimated_octets,free_in_octets,free_out_octets,excluded_in_octets,excluded_out_octets,grace,hold,rules,disputed," + poolColumns

// WriteCSV writes the report's rows with a header line, in UTF-8 with line feeds.
//
// Numbers are plain: no separators, a point, a minus where an adjustment takes away. A text that a
// spreadsheet would take for a formula begins with an apostrophe. Empty are: coverage where it is not
// known, quota where there is none, unit_price where no price was needed, statement while the period
// is open.
func WriteCSV(w io.Writer, report Report) error {
	out := csv.NewWriter(w)
	if err := out.Write(strings.Split(columns, ",")); err != nil {
		return fmt.Errorf("write report of %s: %w", report.Month, err)
	}
	for _, row := range report.Rows {
		if err := out.Write(row.cells()); err != nil {
			return fmt.Errorf("write report of %s: %w", report.Month, err)
		}
	}
	out.Flush()
	if err := out.Error(); err != nil {
		return fmt.Errorf("write report of %s: %w", report.Month, err)
	}
	return nil
}

func (r Row) cells() []string {
	return append([]string{
		text(r.Customer), text(r.Service), text(r.Plan),
		r.PeriodFrom.Format(time.RFC3339), r.PeriodTo.Format(time.RFC3339), text(r.TimeZone),
		text(string(r.Direction)), integer(r.InOctets), integer(r.OutOctets), integer(r.BillableOctets), integer(r.StandardErrorOctets),
		share(r.Coverage), r.quota(), text(string(r.Unit)), r.Used.String(), r.Excess.String(), r.BilledQuantity.String(),
		r.unitPrice(), text(r.Currency), Money(r.AmountExVAT, r.Currency),
		text(string(r.Kind)), text(string(r.RuleFrom)), text(r.Statement), strconv.Itoa(r.Revision),
		text(string(r.PriceUnit)), integer(r.BitsPerSecond), strconv.Itoa(r.Slots), strconv.Itoa(r.SlotsMissing), integer(r.EstimatedOctets),
		integer(r.FreeInOctets), integer(r.FreeOutOctets), integer(r.ExcludedInOctets), integer(r.ExcludedOutOctets), r.Grace.String(), text(r.Hold), r.rules(), text(r.Disputed),
	}, r.poolCells()...)
}

// rules writes "direction=sum (plan); quota=10 TB (contract)".
func (r Row) rules() string {
	texts := make([]string, len(r.Rules))
	for i, rule := range r.Rules {
		texts[i] = rule.String()
	}
	return text(strings.Join(texts, "; "))
}

func (r Row) quota() string {
	if r.Unlimited {
		return ""
	}
	return r.Quota.String()
}

func (r Row) unitPrice() string {
	if r.PriceUnit == "" {
		return ""
	}
	return UnitPrice(r.UnitPrice, r.Currency)
}

// Money writes an amount with all digits of its currency: "60.00", "1250" yen.
func Money(amount decimal.Decimal, currency string) string {
	return amount.StringFixed(rating.CurrencyDigits(currency))
}

// UnitPrice writes a price with at least the digits of its currency, and never rounds it.
func UnitPrice(price decimal.Decimal, currency string) string {
	if digits := rating.CurrencyDigits(currency); price.Equal(price.Truncate(digits)) {
		return price.StringFixed(digits)
	}
	return price.String()
}

// share writes a coverage with four digits, rounded down: only what is whole is 1.0000.
func share(coverage float64) string {
	if coverage < 0 || math.IsNaN(coverage) {
		return ""
	}
	return strconv.FormatFloat(math.Floor(coverage*10_000)/10_000, 'f', 4, 64)
}

func integer(n int64) string { return strconv.FormatInt(n, 10) }

// text keeps a spreadsheet from taking a name for a formula.
func text(s string) string {
	if formulaLike(s) {
		return "'" + s
	}
	return s
}

// formulaLike says whether a spreadsheet would take a text that is typed in for a formula. The wide
// forms count in some languages' settings.
func formulaLike(s string) bool {
	first, _ := utf8.DecodeRuneInString(s)
	return s != "" && strings.ContainsRune("=+-@\t\r\n＝＋－＠", first)
}
