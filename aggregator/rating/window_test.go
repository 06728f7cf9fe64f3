package rating

import (
	"testing"
	"time"
)

func TestWindowEnds(t *testing.T) {
	london, err := time.LoadLocation("Europe/London")
	if err != nil {
		t.Fatal(err)
	}
	f := func(text, to, last, first string) {
		t.Helper()
		w, err := ParseWindow(text)
		if err != nil || w.String() != text {
			t.Fatalf("%q: %v, %v", text, w, err)
		}
		day, err := ParseDate(to)
		if err != nil {
			t.Fatal(err)
		}
		p := Period{From: day.In(london).Add(-30 * 24 * time.Hour), To: day.In(london)}
		for at, over := range map[string]bool{last: false, first: true} {
			instant, err := time.Parse(time.RFC3339, at)
			if err != nil {
				t.Fatal(err)
			}
			if w.Over(p, london, instant) != over {
				t.Errorf("%s after %s is over at %s: %t", text, to, at, !over)
			}
		}
	}
	f("1 month", "2026-11-01", "2026-11-30T23:59:59Z", "2026-12-01T00:00:00Z")
	f("2 months", "2026-11-01", "2026-12-31T23:59:59Z", "2027-01-01T00:00:00Z")
	f("1 month", "2026-01-31", "2026-02-27T23:59:59Z", "2026-02-28T00:00:00Z") // no 31st
	f("1 month", "2028-01-31", "2028-02-28T23:59:59Z", "2028-02-29T00:00:00Z")
	f("1 month", "2026-03-15", "2026-04-14T22:59:59Z", "2026-04-14T23:00:00Z") // summer time in between
	if (Unlimited).Over(Period{}, london, time.Now()) {
		t.Error("an unlimited window is over")
	}
	for _, text := range []string{"", "0 months", "1", "1 year", "-1 months", "1.5 months", "121 months", "1 month "} {
		if _, err := ParseWindow(text); err == nil {
			t.Errorf("%q was read", text)
		}
	}
}
