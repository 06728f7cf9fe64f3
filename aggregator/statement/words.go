package statement

import (
	"fmt"
	"strings"
	"time"

	"github.com/shopspring/decimal"

	"hostmeter/aggregator/rating"
)

// What a person reads: figures with separators, rounded for the eye, and sentences. What is billed by
// stands exactly in the CSV, XLSX and JSON.

// grouped puts commas between thousands: "-1234567.80" is "-1,234,567.80".
func grouped(number string) string {
	sign := ""
	if strings.HasPrefix(number, "-") {
		sign, number = "−", number[1:]
	}
	whole, rest, found := strings.Cut(number, ".")
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if found {
		rest = "." + rest
	}
	return sign + whole + rest
}

// quantityWords is a quantity with at most three digits behind its point; what is not zero is never
// written as zero.
func quantityWords(d decimal.Decimal) string {
	rounded := d.Round(3)
	switch {
	case rounded.IsZero() && d.IsPositive():
		return "< 0.001"
	case rounded.IsZero() && d.IsNegative():
		return "> −0.001"
	case rounded.Equal(d): // nothing is hidden: no zeros behind the last digit either
		return grouped(d.String())
	}
	return grouped(rounded.StringFixed(3))
}

func moneyWords(amount decimal.Decimal, currency string) string {
	return currency + "\u00a0" + grouped(Money(amount, currency))
}

// priceWords is a unit price with its currency, never rounded: "GBP 0.045".
func priceWords(price decimal.Decimal, currency string) string {
	return currency + "\u00a0" + grouped(UnitPrice(price, currency))
}

// octetWords is a count of octets in the decimal unit that suits it: "12.345 GB".
func octetWords(octets int64) string {
	d := decimal.NewFromInt(octets)
	for _, unit := range []struct {
		name  string
		power int32
	}{{"PB", 15}, {"TB", 12}, {"GB", 9}, {"MB", 6}, {"kB", 3}} {
		if d.Abs().GreaterThanOrEqual(decimal.New(1, unit.power)) {
			return grouped(d.Shift(-unit.power).StringFixed(3)) + "\u00a0" + unit.name
		}
	}
	return grouped(d.String()) + "\u00a0octets"
}

// shareWords is a share in per cent, rounded down: only what is whole is 100 %.
func shareWords(share float64) string {
	if share < 0 {
		return "not known"
	}
	text := decimal.NewFromFloat(share).Shift(2).Truncate(2).String()
	return text + "\u00a0%"
}

func dayWords(at time.Time) string { return at.Format("2 January 2006") }

func shortDay(at time.Time) string { return at.Format("2 Jan 2006") }

// dateWords is a date of the price list.
func dateWords(d rating.Date) string {
	return time.Date(d.Year, d.Month, d.Day, 0, 0, 0, 0, time.UTC).Format("2 January 2006")
}

// spanWords names the first and the last day of a period, and its times where it is not of whole days.
func spanWords(from, to time.Time) string {
	last := to.Add(-1)
	if from.Hour() == 0 && from.Minute() == 0 && to.Hour() == 0 && to.Minute() == 0 {
		return shortDay(from) + " – " + shortDay(last)
	}
	return from.Format("2 Jan 2006 15:04") + " – " + to.Format("2 Jan 2006 15:04")
}

// directionWords says what counts against a quota.
func directionWords(d rating.Direction) string {
	switch d {
	case rating.Sum:
		return "incoming and outgoing traffic together"
	case rating.In:
		return "incoming traffic"
	case rating.Out:
		return "outgoing traffic"
	case rating.Max:
		return "incoming or outgoing traffic, whichever is more"
	case rating.P95:
		return "the 95th percentile of five-minute rates, incoming or outgoing, whichever is more"
	case rating.P95In:
		return "the 95th percentile of incoming five-minute rates"
	case rating.P95Out:
		return "the 95th percentile of outgoing five-minute rates"
	case rating.P95Sum:
		return "the 95th percentile of five-minute rates, incoming and outgoing together"
	}
	return string(d)
}

// unitWords says what a unit is worth.
func unitWords(u rating.Unit) string {
	size := u.Size()
	switch {
	case size == 0:
		return string(u)
	case u.IsRate():
		return fmt.Sprintf("1 %s is %s bit/s", u, grouped(decimal.NewFromInt(size).String()))
	}
	return fmt.Sprintf("1 %s is %s octets", u, grouped(decimal.NewFromInt(size).String()))
}

// classWords names a class for a customer.
func classWords(class string) string {
	switch class {
	case "external":
		return "to and from the Internet"
	case "internal":
		return "inside the provider's network"
	case "port":
		return "at the port"
	}
	return class
}

// meterWords is a meter without the name of its kind where it is an address.
func meterWords(meter string) string { return strings.TrimPrefix(meter, "address:") }

func plural(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return grouped(decimal.NewFromInt(n).String()) + " " + many
}
