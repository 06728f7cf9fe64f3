package rating_test

import (
	"math"
	"testing"
	"time"

	"hostmeter/aggregator/rating"
)

func TestForecast(t *testing.T) {
	from := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	p := rating.Period{From: from, To: from.AddDate(0, 1, 0)} // 720 hours
	f := func(used uint64, gone time.Duration, want uint64, wantOK bool) {
		t.Helper()
		if got, ok := rating.Forecast(p, used, from.Add(gone)); got != want || ok != wantOK {
			t.Fatalf("%d octets after %s: got %d, %v, want %d, %v", used, gone, got, ok, want, wantOK)
		}
	}
	f(1000, 0, 0, false)                                 // the first instant divides by nothing
	f(1000, 24*time.Hour-1, 0, false)                    // not yet a day
	f(1000, 24*time.Hour, 30_000, true)                  // a day
	f(1000, 72*time.Hour, 10_000, true)                  // a tenth
	f(5_000_000_000_000, 360*time.Hour, 10e12, true)     // half
	f(1000, 720*time.Hour, 1000, true)                   // over
	f(1000, 900*time.Hour, 1000, true)                   // long over
	f(math.MaxUint64, 72*time.Hour, 0, false)            // does not fit
	f(math.MaxInt64, 720*time.Hour, math.MaxInt64, true) // fits
}
