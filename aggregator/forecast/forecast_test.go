package forecast_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"gonum.org/v1/gonum/stat/distuv"
	"pgregory.net/rapid"

	"hostmeter/aggregator/forecast"
	"hostmeter/aggregator/rating"
)

// monday is the first full day of the tests: 2 November 2026.
var monday = time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC)

var week = []float64{100, 110, 120, 130, 140, 40, 20} // Monday to Sunday

func repeated(n int) []float64 {
	days := make([]float64, n)
	for i := range days {
		days[i] = week[i%7]
	}
	return days
}

func TestForecastFollowsTheWeek(t *testing.T) {
	// Two weeks are known; now is the Monday behind them, and the period ends with the Sunday of that week.
	now := monday.AddDate(0, 0, 14)
	p := rating.Period{From: monday, To: now.AddDate(0, 0, 7)}
	f, ok := forecast.Of(repeated(14), p, 1320, now)
	if !ok || f.Expected != 1320+660 || f.StandardError != 0 {
		t.Fatalf("%+v, %v: want two weeks' 1320 and a third one's 660, exactly", f, ok)
	}
	if f.Exceeds(1979) != 1 || f.Exceeds(1980) != 0 || f.Quantile(0.05) != 1980 {
		t.Fatalf("without deviations there is one result: %v, %v, %v", f.Exceeds(1979), f.Exceeds(1980), f.Quantile(0.05))
	}
	// A quarter of Saturday and half of Sunday: the period ends at noon.
	now = monday.AddDate(0, 0, 19).Add(18 * time.Hour)
	p.To = monday.AddDate(0, 0, 20).Add(12 * time.Hour)
	if f, ok := forecast.Of(repeated(19), p, 0, now); !ok || f.Expected != 40.0/4+20.0/2 {
		t.Fatalf("%+v, %v: want 20", f, ok)
	}
}

func TestForecastIsSilentUntilItKnowsEnough(t *testing.T) {
	p := rating.Period{From: monday, To: monday.AddDate(0, 1, 0)}
	if _, ok := forecast.Of(repeated(13), p, 1, monday.AddDate(0, 0, 13)); ok {
		t.Fatal("13 days are not two weeks")
	}
	if f, ok := forecast.Of(nil, p, 7, p.To); !ok || f.Expected != 7 || f.Exceeds(6) != 1 || f.Exceeds(7) != 0 {
		t.Fatal("what is over is known without a history")
	}
}

func TestForecastByHand(t *testing.T) {
	// Every day of the week has 90 and 110: the mean is 100, the squared deviations add up to 14 × 100, over 14 − 7.
	// One day remains: 1 + 1/2. Deviations follow each other with r = 12/14: six of each week have the same sign.
	days := make([]float64, 14)
	for i := range days {
		days[i] = map[bool]float64{true: 90, false: 110}[i < 7]
	}
	now := monday.AddDate(0, 0, 14)
	f, _ := forecast.Of(days, rating.Period{From: monday, To: now.AddDate(0, 0, 1)}, 1400, now)
	r := (12.0 - 1) / 14 // twelve products are +100, the one between the weeks is −100
	want := math.Sqrt(200 * 1.5 * (1 + r) / (1 - r))
	if f.Expected != 1500 || math.Abs(f.StandardError-want) > 1e-9 || f.Freedom != 7 {
		t.Fatalf("%+v: want 1500 ± %v with 7", f, want)
	}
	if got := f.Exceeds(1500); math.Abs(got-0.5) > 1e-12 {
		t.Fatalf("exceeds its own expectation with %v, want one half", got)
	}
}

// TestIntervalCoversTheTruth simulates months of weekly-shaped usage with deviations that follow each other, and counts how
// often the truth lies in the interval of 90 %, and above each limit as often as was said.
func TestIntervalCoversTheTruth(t *testing.T) {
	f := func(known, remain int, correlation, low, high float64) {
		t.Helper()
		random := rand.New(rand.NewPCG(1, uint64(known*1000+remain)))
		normal := distuv.Normal{Mu: 0, Sigma: 1, Src: random}
		const months = 4000
		inside, said, over := 0, 0.0, 0
		for range months {
			days, deviation := make([]float64, known+remain), normal.Rand()
			for i := range days {
				deviation = correlation*deviation + math.Sqrt(1-correlation*correlation)*normal.Rand()
				days[i] = week[i%7] * 1e9 * (1 + 0.2*deviation)
			}
			now := monday.AddDate(0, 0, known)
			forecast, ok := forecast.Of(days[:known], rating.Period{From: monday, To: now.AddDate(0, 0, remain)}, 0, now)
			if !ok {
				t.Fatal("silent")
			}
			truth := 0.0
			for _, octets := range days[known:] {
				truth += octets
			}
			if truth >= forecast.Quantile(0.05) && truth <= forecast.Quantile(0.95) {
				inside++
			}
			limit := float64(remain) * 95e9
			said += forecast.Exceeds(limit)
			if truth > limit {
				over++
			}
		}
		covered := float64(inside) / months
		t.Logf("%d days known, %d remain, correlation %.1f: covers %.3f; exceeding said %.3f, was %.3f", known, remain, correlation, covered, said/months, float64(over)/months)
		if covered < low || covered > high {
			t.Errorf("%d days known, %d remain, correlation %.1f: the interval of 90 %% covers %.3f", known, remain, correlation, covered)
		}
		if math.Abs(said/months-float64(over)/months) > 0.1 {
			t.Errorf("%d days known, %d remain: exceeding was said with %.3f, and was %.3f", known, remain, said/months, float64(over)/months)
		}
	}
	f(14, 15, 0, 0.85, 0.99)
	f(28, 15, 0, 0.87, 0.97)
	f(56, 10, 0, 0.87, 0.96)
	f(28, 20, 0.4, 0.80, 0.95)
	f(56, 20, 0.4, 0.84, 0.95)
}

func TestProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		days := rapid.SliceOfN(rapid.Float64Range(0, 1e13), forecast.DaysMin, 70).Draw(t, "days")
		now := monday.Add(time.Duration(rapid.Int64Range(0, 100*86400).Draw(t, "now")) * time.Second)
		p := rating.Period{From: now.AddDate(0, 0, -3), To: now.Add(time.Duration(rapid.Int64Range(1, 40*86400).Draw(t, "remains")) * time.Second)}
		used := rapid.Float64Range(0, 1e15).Draw(t, "used")
		f, ok := forecast.Of(days, p, used, now)
		if !ok || f.Expected < used || f.StandardError < 0 || math.IsNaN(f.StandardError) {
			t.Fatalf("%+v", f)
		}
		low, high := f.Quantile(0.05), f.Quantile(0.95)
		if low < used || low > high {
			t.Fatalf("interval %v to %v of %+v", low, high, f)
		}
		a, b := rapid.Float64Range(0, 1e16).Draw(t, "a"), rapid.Float64Range(0, 1e16).Draw(t, "b")
		if pa, pb := f.Exceeds(min(a, b)), f.Exceeds(max(a, b)); pa < pb-1e-12 || pa > 1 || pb < 0 { // the last digits are rounding's
			t.Fatalf("a greater limit is exceeded rather: %v, %v", pa, pb)
		}
		// More used is as much more expected, and nothing else.
		more, _ := forecast.Of(days, p, used+1e12, now)
		if math.Abs(more.Expected-f.Expected-1e12) > 1e4 || more.StandardError != f.StandardError {
			t.Fatalf("%+v and %+v", f, more)
		}
	})
}

func TestAbove(t *testing.T) {
	if n := forecast.Above([]uint64{0, 300, 301, 1000}, 100, 300); n != 2 {
		t.Fatalf("%d slots are above three times 100, want 2", n)
	}
}
