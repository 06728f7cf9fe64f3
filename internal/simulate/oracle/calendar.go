package oracle

import "time"

// Period is [From, To), in the contract's zone.
type Period struct{ From, To time.Time }

func (p Period) contains(at time.Time) bool { return !at.Before(p.From) && at.Before(p.To) }

func (p Period) equal(other Period) bool { return p.From.Equal(other.From) && p.To.Equal(other.To) }

func (p Period) lastDay() time.Time { return p.To.Add(-1) }

// slotLength is the grain of usage, and changes of owner take effect on it.
const slotLength = 5 * time.Minute

// firstInstant is when a day begins in a zone: midnight, or where the clocks jump over it, the instant after. A day
// beyond its month's end is the month's last day.
func firstInstant(year int, month time.Month, day int, zone *time.Location) time.Time {
	if last := time.Date(year, month+1, 0, 12, 0, 0, 0, time.UTC).Day(); day > last {
		day = last
	}
	noon := time.Date(year, month, day, 12, 0, 0, 0, zone)
	year, month, day = noon.Date()
	at := noon.Add(-26 * time.Hour)
	for {
		if y, m, d := at.Date(); y == year && m == month && d == day {
			return at
		}
		at = at.Add(15 * time.Minute) // no zone's clock is set at other times than whole quarters
	}
}

// midnight is the first instant of a date of the contract.
func (c contract) midnight(date string) time.Time {
	d, err := time.Parse(time.DateOnly, date)
	if err != nil {
		panic("oracle: date " + date) // a fault of whoever drew it
	}
	return firstInstant(d.Year(), d.Month(), d.Day(), c.zone)
}

// boundary is the day on which a period of the contract begins in a month.
func (c contract) boundary(year int, month time.Month) time.Time {
	day := 1
	if c.text("period") == "anniversary" {
		day = c.openedDay
	}
	return firstInstant(year, month, day, c.zone)
}

// periodsUntil walks month by month from the year before the service was opened, and returns the periods that end by
// a time and after the opening.
func (c contract) periodsUntil(until time.Time) []Period {
	var list []Period
	year, month := c.opened.Year()-1, c.opened.Month()
	for ; ; month++ {
		p := Period{c.boundary(year, month), c.boundary(year, month+1)}
		if p.To.After(until) {
			return list
		}
		if p.To.After(c.opened) {
			list = append(list, p)
		}
	}
}

// anniversaryFrom is the first anniversary day of the opening that does not begin before a time.
func (c contract) anniversaryFrom(at time.Time) time.Time {
	for year, month := c.opened.Year()-1, c.opened.Month(); ; month++ {
		if day := firstInstant(year, month, c.openedDay, c.zone); !day.Before(at) {
			return day
		}
	}
}
