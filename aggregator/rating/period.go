package rating

import (
	"fmt"
	"time"
)

// Period is a billing span, half-open: [From, To), in UTC.
type Period struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

// Contains says whether at is inside the period.
func (p Period) Contains(at time.Time) bool { return !at.Before(p.From) && at.Before(p.To) }

// Overlaps says whether the period and [from, to) share an instant.
func (p Period) Overlaps(from, to time.Time) bool { return p.From.Before(to) && from.Before(p.To) }

// PeriodKind says where periods are cut.
type PeriodKind string

// The kinds of periods.
const (
	Calendar    PeriodKind = "calendar"    // on the first of each month
	Anniversary PeriodKind = "anniversary" // on the day of the month of the anchor
)

// ParsePeriodKind reads "calendar" or "anniversary".
func ParsePeriodKind(text string) (PeriodKind, error) {
	switch kind := PeriodKind(text); kind {
	case Calendar, Anniversary:
		return kind, nil
	}
	return "", fmt.Errorf("period %q: want calendar or anniversary", text)
}

// Schedule cuts time into periods: they follow each other without a gap and without an overlap.
//
// Every boundary is computed from the anchor's own day, never from the boundary before it: anchor 31
// gives [Jan 31, Feb 28) [Feb 28, Mar 31) [Mar 31, Apr 30). A boundary is the first instant of its
// day in Zone.
type Schedule struct {
	Kind   PeriodKind
	Anchor Date // the day the service was opened; Calendar does not read it
	Zone   *time.Location
}

// PeriodAt returns the period that contains at.
func (s Schedule) PeriodAt(at time.Time) Period {
	month := s.monthAt(at)
	return Period{From: s.boundary(month), To: s.boundary(month + 1)}
}

// Next returns the period that follows p, which must be one of the schedule's own.
func (s Schedule) Next(p Period) Period { return s.PeriodAt(p.To) }

// Periods returns the periods that share an instant with [from, to), the earliest first.
func (s Schedule) Periods(from, to time.Time) []Period {
	var periods []Period
	for p := s.PeriodAt(from); p.From.Before(to); p = s.Next(p) {
		periods = append(periods, p)
	}
	return periods
}

// Ends returns the day on which the last instant of p falls, in the schedule's zone. A period
// belongs to the month of that day: [Oct 1, Nov 1) ends in October.
func (s Schedule) Ends(p Period) Date { return DateOf(p.To.Add(-1).In(s.Zone)) }

// monthAt returns the number, counted from the year 0, of the month in which the period that
// contains at begins.
func (s Schedule) monthAt(at time.Time) int {
	local := at.In(s.Zone)
	month := local.Year()*12 + int(local.Month()) - 1
	for at.Before(s.boundary(month)) {
		month--
	}
	for !at.Before(s.boundary(month + 1)) {
		month++
	}
	return month
}

func (s Schedule) boundary(month int) time.Time {
	year, of := month/12, time.Month(month%12+1)
	day := 1
	if s.Kind == Anniversary {
		day = min(s.Anchor.Day, daysIn(year, of))
	}
	return Date{Year: year, Month: of, Day: day}.In(s.Zone)
}

func daysIn(year int, month time.Month) int {
	return time.Date(year, month+1, 0, 0, 0, 0, 0, time.UTC).Day()
}
