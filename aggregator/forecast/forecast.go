// Package forecast says what a period's usage will come to, with an interval, from the days before, and in how
// many slots of a day usage was above the average.
//
// It is pure. It promises silence where it does not know enough: less than 14 full days. It knows neither
// services nor stores, and its floating-point numbers never enter a charge.
package forecast

import (
	"math"
	"time"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"

	"hostmeter/aggregator/rating"
)

// DaysMin is how many full days must be known: two of each day of the week. DaysMax is how many are of use: what
// is older says little about now.
const (
	DaysMin = 14
	DaysMax = 56
)

const (
	day        = 24 * time.Hour
	daysOfWeek = 7
	// correlationMax keeps the variance finite.
	correlationMax = 0.9
)

// Forecast is the distribution of what a period's usage comes to: Student's t with Freedom degrees of freedom, around
// Expected, scaled by StandardError; not less than Used.
type Forecast struct {
	Used, Expected, StandardError, Freedom float64
}

// Of forecasts a period's usage. days are the octets of full UTC days, the last one of which ends where the UTC day of
// now begins; used is what the period has used until now. ok is false where fewer than DaysMin days are known. Behind
// the period's end all is known.
//
// Each remaining day d is taken for the mean of its day of the week, m(d), plus a deviation; what is left of today, and a
// last day that is cut by the period's end, for their share f(d) of it. With n days, s² the sum of the squared deviations
// from their means over n − 7, and r the deviations' correlation from day to day (0 to 0.9), then
//
//	Expected      = used + Σ f(d) m(d)
//	StandardError = s √( (Σ f(d)² + Σ k(w)² / n(w)) (1 + r) / (1 − r) )
//
// with n(w) the known days of a day of the week w, and k(w) the sum of the f(d) of the days that remain of it: the first sum
// is what days deviate by, the second what the means themselves are uncertain by. Freedom = n − 7. It is the
// prediction of a one-way analysis of variance, widened for deviations that outlast a day (an autoregression of the
// first order).
func Of(days []float64, p rating.Period, used float64, now time.Time) (f Forecast, ok bool) {
	f = Forecast{Used: used, Expected: used, Freedom: 1}
	if !now.Before(p.To) {
		return f, true
	}
	if len(days) < DaysMin {
		return f, false
	}
	days = days[max(0, len(days)-DaysMax):]
	today := now.UTC().Truncate(day)
	first := today.Add(-time.Duration(len(days)) * day)
	means, counts, deviations := shape(days, first)
	remaining := make([]float64, daysOfWeek)
	squares := 0.0
	for from := now.UTC(); from.Before(p.To); {
		to := from.Truncate(day).Add(day)
		if to.After(p.To) {
			to = p.To
		}
		share := float64(to.Sub(from)) / float64(day)
		remaining[from.Weekday()] += share
		squares += share * share
		from = to
	}
	f.Expected += floats.Dot(remaining, means)
	uncertain := 0.0
	for w, k := range remaining {
		uncertain += k * k / counts[w]
	}
	f.Freedom = float64(len(days) - daysOfWeek)
	variance := floats.Dot(deviations, deviations) / f.Freedom
	r := correlation(deviations)
	f.StandardError = math.Sqrt(variance * (squares + uncertain) * (1 + r) / (1 - r))
	return f, true
}

// shape returns the mean and the number of the days of each day of the week, and how each day deviates from its mean.
func shape(days []float64, first time.Time) (means, counts, deviations []float64) {
	var by [daysOfWeek][]float64
	weekday := func(i int) int { return (int(first.Weekday()) + i) % daysOfWeek }
	for i, octets := range days {
		by[weekday(i)] = append(by[weekday(i)], octets)
	}
	means, counts = make([]float64, daysOfWeek), make([]float64, daysOfWeek)
	for w, list := range by {
		means[w], counts[w] = stat.Mean(list, nil), float64(len(list))
	}
	deviations = make([]float64, len(days))
	for i, octets := range days {
		deviations[i] = octets - means[weekday(i)]
	}
	return means, counts, deviations
}

// correlation of deviations with those of the next day. Only what widens the interval is believed.
func correlation(deviations []float64) float64 {
	all := floats.Dot(deviations, deviations)
	if all == 0 {
		return 0
	}
	n := len(deviations)
	return min(max(floats.Dot(deviations[:n-1], deviations[1:])/all, 0), correlationMax)
}

// Exceeds returns the probability, 0 to 1, that the period's usage is more than limit. It is 1 where it is already.
func (f Forecast) Exceeds(limit float64) float64 {
	switch {
	case f.Used > limit:
		return 1
	case f.StandardError == 0 && f.Expected > limit:
		return 1
	case f.StandardError == 0:
		return 0
	}
	return f.distribution().Survival(limit)
}

// Quantile returns what the period's usage stays below with a probability; not less than what is used.
func (f Forecast) Quantile(probability float64) float64 {
	if f.StandardError == 0 {
		return f.Expected
	}
	return max(f.Used, f.distribution().Quantile(probability))
}

func (f Forecast) distribution() distuv.StudentsT {
	return distuv.StudentsT{Mu: f.Expected, Sigma: f.StandardError, Nu: f.Freedom}
}

// Above returns how many slots have more octets than percent of average, which is that of a slot.
func Above(slots []uint64, average, percent float64) int {
	n := 0
	for _, octets := range slots {
		if float64(octets) > average*percent/100 {
			n++
		}
	}
	return n
}
