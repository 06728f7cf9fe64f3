package rating

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Window is how many whole months something may be done after a period has ended. Its zero value is not set.
type Window int

// Unlimited is a window that never ends.
const Unlimited Window = -1

// What the windows are where nothing is said.
const (
	DefaultChargeWindow Window = 1 // what is to be paid is handed over without a person
	DefaultCreditWindow Window = 1 // a difference in the customer's favour is credited by itself
	DefaultClaimWindow  Window = 2 // a person may still decide to credit one
)

// ParseWindow reads "1 month", "2 months" or "unlimited".
func ParseWindow(text string) (Window, error) {
	if text == "unlimited" {
		return Unlimited, nil
	}
	number, unit, _ := strings.Cut(text, " ")
	n, err := strconv.Atoi(number)
	if err != nil || n < 1 || n > 120 || unit != "month" && unit != "months" {
		return 0, fmt.Errorf("%q: want 1 month, 2 months ... 120 months, or unlimited", text)
	}
	return Window(n), nil
}

// String writes the window as ParseWindow reads it; one that is not set is the empty text.
func (w Window) String() string {
	switch w {
	case 0:
		return ""
	case 1:
		return "1 month"
	case Unlimited:
		return "unlimited"
	}
	return strconv.Itoa(int(w)) + " months"
}

// MarshalText writes the window for JSON.
func (w Window) MarshalText() ([]byte, error) { return []byte(w.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (w *Window) UnmarshalText(text []byte) (err error) {
	*w = 0
	if len(text) > 0 {
		*w, err = ParseWindow(string(text))
	}
	return err
}

// Or returns the window, or another one where it is not set.
func (w Window) Or(preset Window) Window {
	if w == 0 {
		return preset
	}
	return w
}

// Ends returns the day from whose first instant in the contract's zone on the window of a period is over: so many
// months after the day on which the next period begins, or the last day of that month where it has no such day.
// ok is false for one that never ends.
func (w Window) Ends(p Period, zone *time.Location) (day Date, ok bool) {
	if w == Unlimited {
		return Date{}, false
	}
	end := DateOf(p.To.In(zone))
	month := end.Year*12 + int(end.Month) - 1 + int(w)
	year, of := month/12, time.Month(month%12+1)
	return Date{Year: year, Month: of, Day: min(end.Day, daysIn(year, of))}, true
}

// Over says whether the window of a period is over at an instant.
func (w Window) Over(p Period, zone *time.Location, at time.Time) bool {
	day, ok := w.Ends(p, zone)
	return ok && !at.Before(day.In(zone))
}
