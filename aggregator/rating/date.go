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
//
// It looks the change up by bisection and does not ask time.Time.ZoneBounds, whose end lies before its
// own instant on the last day of a leap year after 2037 (it takes every year for 365 days).
func (d Date) In(zone *time.Location) time.Time {
	midnight := d.utc()
	before, after := midnight.Add(-maxOffset), midnight.Add(maxOffset)
	old, offset := offsetAt(before, zone), offsetAt(after, zone)
	if old == offset {
		return midnight.Add(-offset)
	}
	for after.Sub(before) > time.Second {
		middle := before.Add(after.Sub(before) / 2).Truncate(time.Second)
		if offsetAt(middle, zone) == old {
			before = middle
		} else {
			after = middle
		}
	}
	change := after // the first second with the new offset
	switch first := midnight.Add(-old); {
	case first.Before(change):
		return first
	case midnight.Add(-offset).Before(change):
		return change // midnight was skipped
	}
	return midnight.Add(-offset)
}

// maxOffset is more than any zone is or was away from UTC.
const maxOffset = 26 * time.Hour

func offsetAt(at time.Time, zone *time.Location) time.Duration {
	_, seconds := at.In(zone).Zone()
	return time.Duration(seconds) * time.Second
}

func (d Date) utc() time.Time { return time.Date(d.Year, d.Month, d.Day, 0, 0, 0, 0, time.UTC) }
