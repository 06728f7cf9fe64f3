package httpapi

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/shopspring/decimal"
)

// What people read: every figure with its unit, three to four digits, decimal multiples.

// nbsp keeps a figure and its unit on one line.
const nbsp = "\u00a0"

// missing is shown for what is not known; it is never a zero.
const missing = "–"

var decimalPrefixes = []string{"", "k", "M", "G", "T", "P", "E"}

// scaled writes v with a decimal prefix, "1.234 T" and the unit.
func scaled(v float64, unit string) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return missing
	}
	i := 0
	for math.Abs(v) >= 999.5 && i < len(decimalPrefixes)-1 {
		v /= 1000
		i++
	}
	digits := 0
	if i > 0 || v != math.Trunc(v) {
		digits = max(0, 2-int(math.Floor(math.Log10(math.Max(1, math.Abs(v))))))
	}
	return strconv.FormatFloat(v, 'f', digits, 64) + nbsp + decimalPrefixes[i] + unit
}

// octetsText is octets as GB, TB … (10^9, 10^12).
func octetsText(octets uint64) string {
	if octets < 1000 {
		return strconv.FormatUint(octets, 10) + nbsp + "B"
	}
	return scaled(float64(octets), "B")
}

// figureText is a count of octets that may not be there.
func figureText(octets *int64) string {
	if octets == nil {
		return missing
	}
	return octetsText(uint64(max(*octets, 0)))
}

// directionText says what counts against a quota, in short; nothing where incoming and outgoing do, as most contracts
// have it.
func directionText(direction string) string {
	switch direction {
	case "sum":
		return ""
	case "in", "out":
		return direction + " only"
	case "max":
		return "max(in, out)"
	}
	if of, isPercentile := strings.CutPrefix(direction, "p95"); isPercentile {
		return "95th pct." + strings.ReplaceAll(of, "_", nbsp)
	}
	return direction
}

func bitRateText(v float64) string    { return scaled(v, "bit/s") }
func packetRateText(v float64) string { return scaled(v, "packet/s") }

// ratioText is a share as per cent; 1 is said only of the whole, so that 99.97 % never reads as 100 %.
// skewText says how far a clock is off, in whole seconds; within two it is what measuring it costs.
func skewText(seconds float64) string {
	switch whole := math.Round(seconds); {
	case math.Abs(whole) <= 2:
		return "right"
	case whole > 0:
		return strconv.FormatFloat(whole, 'f', 0, 64) + nbsp + "s ahead"
	default:
		return strconv.FormatFloat(-whole, 'f', 0, 64) + nbsp + "s behind"
	}
}

// sampledText says at which rate an exporter sampled in effect, and how many of its sources are in doubt.
func sampledText(e Exporter) string {
	if e.SamplingInEffect == nil {
		return ""
	}
	text := "1" + nbsp + "in" + nbsp + strconv.FormatFloat(math.Round(*e.SamplingInEffect), 'f', 0, 64) + nbsp + "in" + nbsp + "effect"
	if n := len(e.SamplingDoubts); n > 0 {
		text += ": " + strconv.Itoa(n) + " in doubt"
	}
	return text
}

func ratioText(v *float64) string {
	if v == nil || math.IsNaN(*v) {
		return missing
	}
	percent := *v * 100
	switch {
	case *v >= 1:
		return strconv.FormatFloat(percent, 'f', 0, 64) + nbsp + "%"
	case percent >= 99.95:
		return "99.9" + nbsp + "%"
	}
	return strconv.FormatFloat(percent, 'f', 1, 64) + nbsp + "%"
}

// valueText is a value of a metric in its unit.
func valueText(v float64, unit string) string {
	switch unit {
	case "ratio":
		return strconv.FormatFloat(v*100, 'f', 0, 64) + nbsp + "%"
	case "":
		return scaled(v, "")
	}
	return scaled(v, unit)
}

// moneyText is "GBP 1,234.50"; sums of money are never shortened.
func moneyText(amount *decimal.Decimal, currency string) string {
	if amount == nil {
		return missing
	}
	text := amount.StringFixed(max(2, -amount.Exponent())) // of currencies with three digits too
	sign := ""
	if rest, found := strings.CutPrefix(text, "-"); found {
		sign, text = "\u2212", rest
	}
	whole, fraction, _ := strings.Cut(text, ".")
	return currency + nbsp + sign + grouped(whole) + "." + fraction
}

func grouped(digits string) string {
	var b strings.Builder
	for i, r := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(r)
	}
	return b.String()
}

// countText is a whole number with separators.
func countText[T int | int64 | uint64](n T) string { return grouped(fmt.Sprint(n)) }

// quantityText is a quantity of a contract's unit, to three digits behind the point at most.
func quantityText(q decimal.Decimal) string {
	text := q.Round(3).String()
	whole, fraction, found := strings.Cut(text, ".")
	if found {
		return grouped(whole) + "." + fraction
	}
	return grouped(whole)
}

// usedText is a quantity of a contract's unit with a fixed number of digits, so that a column of
// them can be read; the exact one is in the report.
func usedText(q decimal.Decimal, unit string) string {
	digits := int32(3)
	if unit == "GB" || unit == "GiB" || unit == "Mbit/s" {
		digits = 1
	}
	whole, fraction, _ := strings.Cut(q.StringFixed(digits), ".")
	return grouped(whole) + "." + fraction
}

// spanText is a period in the contract's own zone, "31 Aug to 30 Sep"; the year stands where it changes.
func spanText(from, to time.Time) string {
	if from.Year() != to.Year() {
		return from.Format("2 Jan 2006") + " to " + to.Format("2 Jan 2006")
	}
	return from.Format("2 Jan") + " to " + to.Format("2 Jan")
}

// rateText is a number a second.
func rateText(v float64) string {
	if v < 100 {
		return strconv.FormatFloat(v, 'f', 1, 64) + nbsp + "/s"
	}
	return grouped(strconv.FormatFloat(v, 'f', 0, 64)) + nbsp + "/s"
}

// unitBases says what a unit is, in octets.
var unitBases = map[string]string{
	"GB": "GB = 10⁹ octets", "TB": "TB = 10¹² octets", "GiB": "GiB = 2³⁰ octets", "TiB": "TiB = 2⁴⁰ octets", "Mbit/s": "Mbit/s = 10⁶ bit/s",
}

func timeText(at time.Time, zone *time.Location) string {
	return at.In(zone).Format("2006-01-02 15:04 MST")
}

func clockText(at time.Time, zone *time.Location) string {
	return at.In(zone).Format("15:04:05 MST")
}

// dateText is the day of a boundary in the contract's own zone; the hour where it is not midnight.
func dateText(at time.Time, zone *time.Location) string {
	at = at.In(zone)
	if at.Hour() == 0 && at.Minute() == 0 {
		return at.Format("2006-01-02")
	}
	return at.Format("2006-01-02 15:04")
}

// agoText is a length of time, coarsely.
func agoText(d time.Duration) string {
	switch {
	case d < 0:
		return "now"
	case d < time.Minute:
		return fmt.Sprintf("%d"+nbsp+"s", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d"+nbsp+"min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d"+nbsp+"h"+nbsp+"%02d"+nbsp+"min", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%d"+nbsp+"d"+nbsp+"%d"+nbsp+"h", int(d.Hours())/24, int(d.Hours())%24)
}

// countsText lists counts, "12 flows sampling, 3 sets template".
func countsText(counts []Count) string {
	var parts []string
	for _, c := range counts {
		if c.Count == 0 {
			continue
		}
		text := grouped(strconv.FormatUint(c.Count, 10)) + nbsp + c.Unit
		if c.Reason != "" {
			text += " (" + c.Reason + ")"
		}
		parts = append(parts, text)
	}
	if len(parts) == 0 {
		return "0"
	}
	return strings.Join(parts, ", ")
}
