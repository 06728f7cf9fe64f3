package config

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Age is a span of the calendar, "13 months", "7 years" or "62 days"; the zero value is "forever".
type Age struct{ Years, Months, Days int }

// UnmarshalText reads what String writes; a unit may stand in the singular.
func (a *Age) UnmarshalText(text []byte) error {
	value := strings.TrimSpace(string(text))
	if value == "forever" {
		*a = Age{}
		return nil
	}
	number, unit, _ := strings.Cut(value, " ")
	n, err := strconv.Atoi(number)
	if err != nil || n < 1 || n > 10_000 {
		return fmt.Errorf("%q is no age: want a number of days, months or years, or forever", value)
	}
	switch strings.TrimSuffix(strings.TrimSpace(unit), "s") {
	case "day":
		*a = Age{Days: n}
	case "month":
		*a = Age{Months: n}
	case "year":
		*a = Age{Years: n}
	default:
		return fmt.Errorf("%q is no age: want days, months or years, for example 13 months, or forever", value)
	}
	return nil
}

// Before returns the time that lies this age before at; ok is false where the age is forever.
func (a Age) Before(at time.Time) (time.Time, bool) {
	return at.AddDate(-a.Years, -a.Months, -a.Days), a != Age{}
}

// ShorterThan compares two ages, as they are before one day.
func (a Age) ShorterThan(b Age) bool {
	at := time.Date(2025, 3, 1, 0, 0, 0, 0, time.UTC)
	x, ends := a.Before(at)
	y, endsToo := b.Before(at)
	return ends && (!endsToo || x.After(y))
}

func (a Age) String() string {
	for _, part := range []struct {
		n    int
		unit string
	}{{a.Years, "year"}, {a.Months, "month"}, {a.Days, "day"}} {
		if part.n == 1 {
			return "1 " + part.unit
		}
		if part.n > 0 {
			return strconv.Itoa(part.n) + " " + part.unit + "s"
		}
	}
	return "forever"
}

// MarshalText makes `config` print it as it is typed.
func (a Age) MarshalText() ([]byte, error) { return []byte(a.String()), nil }
