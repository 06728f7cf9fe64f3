package httpapi

import (
	"fmt"
	"time"
)

// Month is a calendar month as text, "2026-10". A month holds the periods that end in it.
type Month string

// ParseMonth reads "2026-10".
func ParseMonth(text string) (Month, error) {
	at, err := time.Parse("2006-01", text)
	if err != nil || len(text) != 7 || at.Year() < 1970 {
		return "", fmt.Errorf("month %q: want YYYY-MM", text)
	}
	return Month(text), nil
}

// MonthOf returns the month of at in zone.
func MonthOf(at time.Time, zone *time.Location) Month { return Month(at.In(zone).Format("2006-01")) }

// Bounds returns [from, to) of the month in zone.
func (m Month) Bounds(zone *time.Location) (from, to time.Time) {
	at, _ := time.Parse("2006-01", string(m)) // a Month was parsed, or made by MonthOf
	from = time.Date(at.Year(), at.Month(), 1, 0, 0, 0, 0, zone)
	return from, time.Date(at.Year(), at.Month()+1, 1, 0, 0, 0, 0, zone)
}

// Title returns the month as a heading, "October 2026".
func (m Month) Title() string {
	at, err := time.Parse("2006-01", string(m))
	if err != nil {
		return string(m)
	}
	return at.Format("January 2006")
}
