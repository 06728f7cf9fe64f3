package rating_test

import (
	"os"
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/goccy/go-yaml"
	"pgregory.net/rapid"

	"hostmeter/aggregator/rating"
)

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	z, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func date(t testing.TB, text string) rating.Date {
	t.Helper()
	d, err := rating.ParseDate(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func scenarios(t testing.TB, file string, into any) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalWithOptions(text, into, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
}

func TestPeriodBoundaries(t *testing.T) {
	var cases []struct {
		Anchor, Zone, From string
		Calendar           bool
		Days               []string
	}
	scenarios(t, "testdata/periods.yaml", &cases)
	for _, c := range cases {
		s := rating.Schedule{Kind: rating.Anniversary, Anchor: date(t, c.Anchor), Zone: zone(t, c.Zone)}
		if c.Calendar {
			s.Kind = rating.Calendar
		}
		p := s.PeriodAt(date(t, c.From).In(s.Zone))
		for i := 0; i+1 < len(c.Days); i++ {
			if from, to := rating.DateOf(p.From.In(s.Zone)), rating.DateOf(p.To.In(s.Zone)); from != date(t, c.Days[i]) || to != date(t, c.Days[i+1]) {
				t.Errorf("anchor %s in %s: period %d is [%s, %s), want [%s, %s)", c.Anchor, c.Zone, i, from, to, c.Days[i], c.Days[i+1])
			}
			p = s.Next(p)
		}
	}
}

// oddZones have what is rare: offsets of quarter hours, changes at midnight, a day left out, half an
// hour of daylight saving.
var oddZones = []string{"UTC", "Europe/London", "America/Los_Angeles", "Asia/Kathmandu", "Asia/Kolkata", "Australia/Lord_Howe",
	"Pacific/Apia", "America/Sao_Paulo", "Asia/Beirut", "Africa/Cairo", "America/Havana", "Atlantic/Azores", "Pacific/Kiritimati",
	"America/St_Johns", "Asia/Tehran", "Antarctica/Troll", "Africa/Monrovia", "Pacific/Chatham"}

func drawSchedule(t *rapid.T) rating.Schedule {
	z, err := time.LoadLocation(rapid.SampledFrom(oddZones).Draw(t, "zone"))
	if err != nil {
		t.Fatal(err)
	}
	return rating.Schedule{
		Kind:   rapid.SampledFrom([]rating.PeriodKind{rating.Calendar, rating.Anniversary}).Draw(t, "kind"),
		Anchor: rating.Date{Year: 2020, Month: time.January, Day: rapid.IntRange(1, 31).Draw(t, "day")},
		Zone:   z,
	}
}

func TestPeriodsTile(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawSchedule(t)
		at := time.Unix(rapid.Int64Range(0, 4_000_000_000).Draw(t, "at"), rapid.Int64Range(0, 999_999_999).Draw(t, "nanoseconds"))
		p := s.PeriodAt(at)
		if !p.Contains(at) {
			t.Fatalf("%v does not contain %s", p, at)
		}
		for i, q := range s.Periods(p.From, p.To.AddDate(1, 1, 0)) {
			if i > 0 && !q.From.Equal(p.To) {
				t.Fatalf("%v does not follow %v", q, p)
			}
			for _, inside := range []time.Time{q.From, q.From.Add(1), q.To.Add(-1), q.From.Add(q.To.Sub(q.From) / 2)} {
				if got := s.PeriodAt(inside); got != q {
					t.Fatalf("period at %s is %v, want %v", inside, got, q)
				}
			}
			if length := q.To.Sub(q.From); length < 27*24*time.Hour || length > 32*24*time.Hour {
				t.Fatalf("%v lasts %s", q, length)
			}
			p = q
		}
	})
}

// walk is the slow twin of PeriodAt: it goes day by day from the instant, and asks of each local day
// whether a period begins on it.
func walk(s rating.Schedule, at time.Time) rating.Period {
	begins := func(day rating.Date) bool {
		if s.Kind == rating.Calendar {
			return day.Day == 1
		}
		last := day.AddDays(1).Day == 1
		return day.Day == s.Anchor.Day || last && s.Anchor.Day > day.Day
	}
	first := func(day rating.Date) time.Time { // the first minute whose local date is not before day
		t := time.Date(day.Year, day.Month, day.Day, 0, 0, 0, 0, time.UTC).Add(-30 * time.Hour)
		for rating.DateOf(t.In(s.Zone)).Compare(day) < 0 {
			t = t.Add(time.Minute)
		}
		return t
	}
	day := rating.DateOf(at.In(s.Zone)).AddDays(1) // clocks that go back may show an earlier day after a later one
	for !begins(day) || first(day).After(at) {
		day = day.AddDays(-1)
	}
	p := rating.Period{From: first(day)}
	for day = day.AddDays(1); !begins(day) || !first(day).After(at); day = day.AddDays(1) {
	}
	p.To = first(day)
	return p
}

func TestPeriodAtAgreesWithAWalkDayByDay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawSchedule(t)
		if s.Zone.String() == "Africa/Monrovia" { // its offset had seconds until 1972; the walk goes by minutes
			t.Skip()
		}
		at := time.Unix(rapid.Int64Range(0, 4_200_000_000).Draw(t, "at"), 0)
		if got, want := s.PeriodAt(at), walk(s, at); !got.From.Equal(want.From) || !got.To.Equal(want.To) {
			t.Fatalf("%s %s anchor %d at %s: got %v, want %v", s.Kind, s.Zone, s.Anchor.Day, at, got, want)
		}
	})
}

func TestMonthsOfDaylightSaving(t *testing.T) {
	s := rating.Schedule{Kind: rating.Calendar, Zone: zone(t, "Europe/London")}
	f := func(day string, hours int) {
		t.Helper()
		p := s.PeriodAt(date(t, day).In(s.Zone))
		if got := p.To.Sub(p.From); got != time.Duration(hours)*time.Hour {
			t.Fatalf("month of %s has %s, want %d hours", day, got, hours)
		}
	}
	f("2026-03-15", 743)
	f("2026-10-15", 745)
	f("2026-11-15", 720)
	if ends := s.Ends(s.PeriodAt(date(t, "2026-10-15").In(s.Zone))); ends.String() != "2026-10-31" {
		t.Fatalf("the period of October ends on %s", ends)
	}
}

// TestEveryDayOfLongYearsHasABoundary goes over the last day of 2040, on which the standard library's
// ZoneBounds is wrong, and a search that trusted it never ended.
func TestEveryDayOfLongYearsHasABoundary(t *testing.T) {
	for _, name := range oddZones {
		s := rating.Schedule{Kind: rating.Anniversary, Anchor: rating.Date{Year: 2020, Month: time.January, Day: 31}, Zone: zone(t, name)}
		at := date(t, "2036-01-31").In(s.Zone)
		for at.Year() < 2050 {
			p := s.PeriodAt(at)
			if !p.From.Equal(at) || !p.To.After(at) {
				t.Fatalf("%s: period at its own begin %s is %v", name, at, p)
			}
			at = p.To
		}
	}
}
