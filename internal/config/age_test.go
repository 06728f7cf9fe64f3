package config

import (
	"testing"
	"time"
)

func TestAges(t *testing.T) {
	at := time.Date(2027, 11, 30, 0, 0, 0, 0, time.UTC)
	f := func(text, want, before string) {
		t.Helper()
		var a Age
		if err := a.UnmarshalText([]byte(text)); err != nil {
			t.Fatal(err)
		}
		got := "never"
		if then, ends := a.Before(at); ends {
			got = then.Format(time.DateOnly)
		}
		if a.String() != want || got != before {
			t.Fatalf("%q is %q, before %s; want %q, %s", text, a, got, want, before)
		}
	}
	f("13 months", "13 months", "2026-10-30")
	f("1 year", "1 year", "2026-11-30")
	f("7 years", "7 years", "2020-11-30")
	f("1 days", "1 day", "2027-11-29")
	f("forever", "forever", "never")
	for _, text := range []string{"", "13", "months", "0 days", "-1 years", "1.5 years", "13 weeks", "9 months ago", "99999 years"} {
		if err := new(Age).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is read as an age", text)
		}
	}
	for _, pair := range [][2]Age{{{Months: 13}, {Years: 2}}, {{Days: 30}, {Months: 13}}, {{Years: 7}, {}}} {
		if !pair[0].ShorterThan(pair[1]) || pair[1].ShorterThan(pair[0]) || pair[0].ShorterThan(pair[0]) {
			t.Errorf("%s is not shorter than %s", pair[0], pair[1])
		}
	}
}
