package reconcile

import (
	"fmt"
	"math"
	"math/big"
	"strings"

	"hostmeter/schemas"
)

// Verdict is what a comparison came to.
type Verdict string

// The verdicts, the worst first. Outside holds the line of a statement; the others do not.
const (
	Outside         Verdict = "outside"          // what bills lies outside the band of its witnesses
	WitnessesDiffer Verdict = "witnesses_differ" // what bills agrees with each, and they not with each other
	Agrees          Verdict = "agrees"
	NotCompared     Verdict = "not_compared" // nothing to compare with, or not enough of it
)

// Missing says why a kind of meter has no part in a comparison.
type Missing struct {
	Kind   schemas.MeterKind `json:"kind"`
	Reason string            `json:"reason"`
}

// Day is all that is compared of one service and day.
type Day struct {
	Bills   schemas.MeterKind // the kind that the contract bills
	Figures []Figure          // at most one of a kind
	Missing []Missing
}

// Figure returns the figure of a kind.
func (d Day) Figure(kind schemas.MeterKind) (Figure, bool) {
	for _, f := range d.Figures {
		if f.Kind == kind {
			return f, true
		}
	}
	return Figure{}, false
}

// Band is where the figure that bills has to lie, [Low, High]. Where witnesses contradict each other Low
// may be above High: then nothing lies in it.
type Band struct {
	Low  int64 `json:"low_octets"`
	High int64 `json:"high_octets"`
}

func (b Band) contains(octets uint64) bool {
	return octets <= math.MaxInt64 && b.Low <= int64(octets) && int64(octets) <= b.High
}

// Result is the outcome of a day. In and Out have no meaning where it was not compared.
type Result struct {
	Verdict Verdict
	In, Out Band
	// Reason says what is outside, or which witnesses differ; why a kind has no part is in the Day.
	Reason string
}

// Compare holds the figure that bills to its witnesses, each direction for itself. What has no witness is
// not compared, and is no mismatch.
func Compare(d Day, s Settings) Result {
	billed, ok := d.Figure(d.Bills)
	var witnesses []Figure
	for _, f := range d.Figures {
		if f.Kind != d.Bills {
			witnesses = append(witnesses, f)
		}
	}
	if !ok || len(witnesses) == 0 {
		return Result{Verdict: NotCompared}
	}
	r := Result{Verdict: Agrees}
	var reasons []string
	for _, side := range []struct {
		name string
		of   func(Figure) Amount
		band *Band
	}{
		{"in", func(f Figure) Amount { return f.In }, &r.In},
		{"out", func(f Figure) Amount { return f.Out }, &r.Out},
	} {
		band, differ := s.band(billed, witnesses, side.of)
		*side.band = band
		switch octets := side.of(billed).Octets; {
		case !band.contains(octets):
			r.Verdict = Outside
			reasons = append(reasons, fmt.Sprintf("%s: %s has %d octets, its witnesses allow %d to %d", side.name, d.Bills, octets, band.Low, band.High))
		case differ != "":
			if r.Verdict == Agrees {
				r.Verdict = WitnessesDiffer
			}
			reasons = append(reasons, side.name+": "+differ)
		}
	}
	r.Reason = strings.Join(reasons, "; ")
	return r
}

// band returns the band of one direction, and how two witnesses differ, where they do.
func (s Settings) band(billed Figure, witnesses []Figure, of func(Figure) Amount) (Band, string) {
	own, octets := s.span(billed, of(billed)), whole(of(billed).Octets)
	tolerance := s.tolerance(append([]Figure{billed}, witnesses...), of)
	first := s.span(witnesses[0], of(witnesses[0]))
	low, high := first.low, first.high
	lowest, highest := witnesses[0].Kind, witnesses[0].Kind // whose bounds these are
	for _, w := range witnesses[1:] {
		next := s.span(w, of(w))
		if next.low.Cmp(low) > 0 {
			lowest = w.Kind
		}
		if next.high.Cmp(high) < 0 {
			highest = w.Kind
		}
		low, high = maxOf(low, next.low), minOf(high, next.high)
	}
	differ := ""
	if new(big.Int).Add(high, tolerance).Cmp(low) < 0 {
		differ = fmt.Sprintf("%s says at least %s octets, %s at most %s", lowest, low, highest, high)
	}
	// The figure's own doubt is the witnesses' room: its bounds meet theirs just where it lies in the band.
	low = new(big.Int).Sub(low, new(big.Int).Sub(own.high, octets))
	high = new(big.Int).Add(high, new(big.Int).Sub(octets, own.low))
	return Band{Low: clamp(low.Sub(low, tolerance)), High: clamp(high.Add(high, tolerance))}, differ
}

// tolerance is the part of the greatest figure that is allowed, or the floor.
func (s Settings) tolerance(figures []Figure, of func(Figure) Amount) *big.Int {
	var most uint64
	for _, f := range figures {
		most = max(most, of(f).Octets)
	}
	part := new(big.Int).Mul(whole(most), whole(s.TolerancePermille))
	return maxOf(ceilDiv(part, big.NewInt(1000)), whole(s.FloorOctets))
}

func clamp(n *big.Int) int64 {
	switch {
	case n.Sign() < 0:
		return 0
	case !n.IsInt64():
		return math.MaxInt64
	}
	return n.Int64()
}
