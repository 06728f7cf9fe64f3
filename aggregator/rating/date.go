package rating

import (
	"fmt"
	"time"
)

// Date is a day of the calendar, in no zone. Its zero value is no date.
type Date struct {
	Year  int
	Month time.Month
	Day   int
}

// ParseDate reads "2026-01-31".
func ParseDate(text string) (Date, error) {
	t, err := time.Parse(time.DateOnly, text)
	if err != nil {
		return Date{}, fmt.Errorf("date %q: want YYYY-MM-DD", text)
	}
	return DateOf(t), nil
}

// DateOf returns the day that at is on in its own location.
func DateOf(at time.Time) Date {
	year, month, day := at.Date()
	return Date{Year: year, Month: month, Day: day}
}

// IsZero says that there is no date.
func (d Date) IsZero() bool { return d == Date{} }

// String writes the date as ParseDate reads it; no date is the empty text.
func (d Date) String() string {
	if d.IsZero() {
		return ""
	}
	return d.utc().Format(time.DateOnly)
}

// Compare returns -1, 0 or +1 as d is before, on or after other.
func (d Date) Compare(other Date) int { return d.utc().Compare(other.utc()) }

// AddDays returns the day that is n days later.
func (d Date) AddDays(n int) Date { return DateOf(d.utc().AddDate(0, 0, n)) }

// MarshalText writes the date for JSON and YAML.
func (d Date) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (d *Date) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*d = Date{}
		return nil
	}
	parsed, err := ParseDate(string(text))
	*d = parsed
	return err
}

// In returns the first instant at which the calendar of zone shows this day or a later one.
//
// That is local midnight, except where clocks skip it (a daylight saving change at midnight, or a
// whole day left out at the date line): then it is the instant of the change. Where midnight comes
// twice it is the first.
func (d Date) In(zone *time.Location) time.Time {
	midnight := d.utc()
	// No offset from UTC is as much as 26 hours; from there on, one stretch of constant offset after
	// the other is looked at.
	for at := midnight.Add(-26 * time.Hour).In(zone); ; {
		_, offset := at.Zone()
		local := midnight.Add(-time.Duration(offset) * time.Second) // midnight, were the offset this one
		if local.Before(at) {
			return at.UTC() // midnight was skipped
		}
		_, end := at.ZoneBounds()
		if end.IsZero() || local.Before(end) {
			return local
		}
		at = end
	}
}

func (d Date) utc() time.Time { return time.Date(d.Year, d.Month, d.Day, 0, 0, 0, 0, time.UTC) }
