package reconcile

import (
	"fmt"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"hostmeter/schemas"
)

// exact are settings that allow nothing beyond what packets imply.
func exact() Settings {
	s := DefaultSettings()
	s.TolerancePermille, s.FloorOctets = 0, 0
	return s
}

// wire makes packets and lets each kind of meter count them as the real ones do, frame by frame.
type wire struct{ address, vnic, port Amount }

// send puts one segment of TCP onto the wire: payload octets behind h octets of headers, cut at the MTU.
// The guest's driver may hand it over at once; tagged frames carry 4 octets more.
func (w *wire) send(payload, h, mtu uint64, offload, guestTag, portTag bool) {
	pieces := []uint64{}
	for left := payload; ; {
		piece := min(left, mtu-h)
		pieces, left = append(pieces, piece+h), left-piece
		if left == 0 {
			break
		}
	}
	for _, size := range pieces {
		w.address.Octets, w.address.Packets = w.address.Octets+size, w.address.Packets+1
		w.port.Octets, w.port.Packets = w.port.Octets+frame(size, portTag), w.port.Packets+1
		if !offload {
			w.vnic.Octets, w.vnic.Packets = w.vnic.Octets+frame(size, guestTag), w.vnic.Packets+1
		}
	}
	if offload {
		w.vnic.Octets, w.vnic.Packets = w.vnic.Octets+frame(payload+h, guestTag), w.vnic.Packets+1
	}
}

// frame is what is left of a frame when the overhead without a tag is taken off.
func frame(size uint64, tagged bool) uint64 {
	size = max(size, 46)
	if tagged {
		size += 4
	}
	return size
}

func drawWire(t *rapid.T, name string, mtu uint64) wire {
	var w wire
	for i := range rapid.IntRange(0, 12).Draw(t, name+" segments") {
		label := fmt.Sprint(name, " ", i)
		h := rapid.SampledFrom([]uint64{20, 28, 40, 52, 72}).Draw(t, label+" headers")
		payload := rapid.OneOf(rapid.Just(uint64(0)), rapid.Uint64Range(0, 50), rapid.Uint64Range(0, 65_535-72)).Draw(t, label+" payload")
		w.send(payload, h, mtu, rapid.Bool().Draw(t, label+" offload"), rapid.Bool().Draw(t, label+" tagged"), rapid.Bool().Draw(t, label+" tagged at the port"))
	}
	return w
}

func drawMTU(t *rapid.T) uint64 {
	return rapid.SampledFrom([]uint64{576, 1280, 1500, 9000}).Draw(t, "mtu")
}

// TestTruthIsNeverOutside lets all kinds count the same packets, with padding, tags and offloads: whichever
// bills, it agrees, without any tolerance.
func TestTruthIsNeverOutside(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := exact()
		s.MTU = drawMTU(t)
		in, out := drawWire(t, "in", s.MTU), drawWire(t, "out", s.MTU)
		all := []Figure{
			{Kind: schemas.KindAddress, In: in.address, Out: out.address, ObservedPPM: Whole},
			{Kind: schemas.KindVNIC, In: in.vnic, Out: out.vnic, ObservedPPM: Whole},
			{Kind: schemas.KindPort, In: in.port, Out: out.port, ObservedPPM: Whole},
		}
		present := slices.DeleteFunc(slices.Clone(all), func(Figure) bool { return rapid.IntRange(0, 4).Draw(t, "missing") == 0 })
		for _, bills := range all {
			got := Compare(Day{Bills: bills.Kind, Figures: present}, s)
			compared := len(present) > 1 && slices.ContainsFunc(present, func(f Figure) bool { return f.Kind == bills.Kind })
			if want := map[bool]Verdict{true: Agrees, false: NotCompared}[compared]; got.Verdict != want {
				t.Errorf("%s of %+v: %+v, want %s", bills.Kind, present, got, want)
			}
		}
	})
}

func drawAmount(t *rapid.T, name string) Amount {
	return Amount{
		Octets:       rapid.OneOf(rapid.Uint64Range(0, 1000), rapid.Uint64Range(0, 1<<40), rapid.Uint64Range(0, 1<<62)).Draw(t, name+" octets"),
		Packets:      rapid.OneOf(rapid.Uint64Range(0, 100), rapid.Uint64Range(0, 1<<50)).Draw(t, name+" packets"),
		VarianceKiB2: rapid.OneOf(rapid.Just(uint64(0)), rapid.Uint64Range(0, 1<<50)).Draw(t, name+" variance"),
		Unbooked:     rapid.OneOf(rapid.Just(uint64(0)), rapid.Uint64Range(0, 1<<40)).Draw(t, name+" unbooked"),
	}
}

var kinds = []schemas.MeterKind{schemas.KindAddress, schemas.KindVNIC, schemas.KindPort}

// drawDay draws figures that lie near each other, so that all verdicts come.
func drawDay(t *rapid.T) Day {
	day := Day{Bills: rapid.SampledFrom(kinds).Draw(t, "bills")}
	in, out := drawAmount(t, "in"), drawAmount(t, "out")
	for _, kind := range kinds {
		if rapid.IntRange(0, 5).Draw(t, "missing") == 0 {
			continue
		}
		f := Figure{Kind: kind, In: in, Out: out, ObservedPPM: rapid.SampledFrom([]uint64{Whole, Whole, 950_000, 1}).Draw(t, "observed")}
		for _, a := range []*Amount{&f.In, &f.Out} {
			a.Octets += a.Octets / 1000 * rapid.Uint64Range(0, 80).Draw(t, "permille more")
			if kind != schemas.KindAddress {
				a.VarianceKiB2 = 0
			}
		}
		day.Figures = append(day.Figures, f)
	}
	return day
}

func drawSettings(t *rapid.T) Settings {
	return Settings{TolerancePermille: rapid.Uint64Range(0, 30).Draw(t, "permille"), FloorOctets: rapid.SampledFrom([]uint64{0, 1, 100_000_000}).Draw(t, "floor"),
		StandardErrors: rapid.Uint64Range(0, 9).Draw(t, "errors"), ObservedPercentMin: 95, MTU: drawMTU(t)}
}

// twin judges a day by fractions, in the words of the documentation: two figures agree where their spans
// meet within the tolerance. It looks at pairs, and makes no band.
func twin(day Day, s Settings) Verdict {
	rat := func(n uint64) *big.Rat { return new(big.Rat).SetInt(new(big.Int).SetUint64(n)) }
	up := func(r *big.Rat) *big.Rat { // to whole octets
		n, rest := new(big.Int).QuoRem(r.Num(), r.Denom(), new(big.Int))
		if rest.Sign() > 0 {
			n.Add(n, big.NewInt(1))
		}
		return new(big.Rat).SetInt(n)
	}
	spanOf := func(f Figure, a Amount) (low, high *big.Rat) {
		low, high = rat(a.Octets), rat(a.Octets)
		frames := func(largest uint64) *big.Rat {
			pad := new(big.Rat).Sub(new(big.Rat).Mul(rat(a.Packets), rat(largest+4)), rat(a.Octets))
			pad = up(new(big.Rat).Mul(pad, big.NewRat(26, int64(largest)-46)))
			if most := new(big.Rat).Mul(rat(a.Packets), rat(26)); pad.Cmp(most) > 0 {
				pad = most
			}
			if pad.Sign() < 0 {
				pad = rat(0)
			}
			return pad.Add(pad, new(big.Rat).Mul(rat(a.Packets), rat(4)))
		}
		switch f.Kind {
		case schemas.KindVNIC:
			low.Sub(low, frames(65_535))
			high = up(high.Mul(high, big.NewRat(int64(s.MTU), int64(s.MTU-72))))
		case schemas.KindPort:
			low.Sub(low, frames(s.MTU))
		case schemas.KindAddress:
			spread := new(big.Float).SetPrec(400).SetUint64(a.VarianceKiB2)
			spread.Sqrt(spread).Mul(spread, new(big.Float).SetUint64(1024*s.StandardErrors))
			exact, _ := spread.Rat(nil)
			low.Sub(low, up(exact))
			high.Add(high, up(exact))
		}
		high = up(high.Mul(high, new(big.Rat).Quo(rat(Whole), rat(f.ObservedPPM))))
		high.Add(high, rat(a.Unbooked))
		if low.Sign() < 0 {
			low = rat(0)
		}
		return low, high
	}
	agree := func(a, b Figure, of func(Figure) Amount, tolerance *big.Rat) bool {
		lowA, highA := spanOf(a, of(a))
		lowB, highB := spanOf(b, of(b))
		return new(big.Rat).Sub(lowA, highB).Cmp(tolerance) <= 0 && new(big.Rat).Sub(lowB, highA).Cmp(tolerance) <= 0
	}
	worst := NotCompared
	for _, of := range []func(Figure) Amount{func(f Figure) Amount { return f.In }, func(f Figure) Amount { return f.Out }} {
		most := uint64(0)
		for _, f := range day.Figures {
			most = max(most, of(f).Octets)
		}
		tolerance := up(new(big.Rat).Mul(rat(most), big.NewRat(int64(s.TolerancePermille), 1000)))
		if floor := rat(s.FloorOctets); floor.Cmp(tolerance) > 0 {
			tolerance = floor
		}
		verdict := NotCompared
		for i, a := range day.Figures {
			for _, b := range day.Figures[i+1:] {
				bills := a.Kind == day.Bills || b.Kind == day.Bills
				switch agrees := agree(a, b, of, tolerance); {
				case bills && !agrees:
					verdict = Outside
				case bills && verdict == NotCompared:
					verdict = Agrees
				}
			}
		}
		for i, a := range day.Figures {
			for _, b := range day.Figures[i+1:] {
				if verdict == Agrees && !agree(a, b, of, tolerance) {
					verdict = WitnessesDiffer
				}
			}
		}
		order := []Verdict{Outside, WitnessesDiffer, Agrees, NotCompared}
		if slices.Index(order, verdict) < slices.Index(order, worst) {
			worst = verdict
		}
	}
	return worst
}

func TestTwinAgrees(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		day, s := drawDay(t), drawSettings(t)
		if got, want := Compare(day, s), twin(day, s); got.Verdict != want {
			t.Errorf("%+v: %+v, the twin says %s", day, got, want)
		}
	})
}

// TestOrderAndSideChangeNothing shuffles the figures, and turns the directions round.
func TestOrderAndSideChangeNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		day, s := drawDay(t), drawSettings(t)
		want := Compare(day, s)
		turned := Day{Bills: day.Bills, Figures: slices.Clone(day.Figures)}
		rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "order"), 1)).Shuffle(len(turned.Figures), func(i, j int) { turned.Figures[i], turned.Figures[j] = turned.Figures[j], turned.Figures[i] })
		if got := Compare(turned, s); got.Verdict != want.Verdict || got.In != want.In || got.Out != want.Out {
			t.Errorf("shuffled: %+v, want %+v", got, want)
		}
		for i := range turned.Figures {
			f := &turned.Figures[i]
			f.In, f.Out = f.Out, f.In
		}
		if got := Compare(turned, s); got.Verdict != want.Verdict || got.In != want.Out || got.Out != want.In {
			t.Errorf("turned round: %+v, want %+v", got, want)
		}
	})
}

// TestDoubtNeverAccuses widens what is not known: no day that agreed is outside then.
func TestDoubtNeverAccuses(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		day, s := drawDay(t), drawSettings(t)
		before := Compare(day, s)
		for i := range day.Figures {
			f := &day.Figures[i]
			f.ObservedPPM = rapid.Uint64Range(1, f.ObservedPPM).Draw(t, "observed less")
			f.In.VarianceKiB2 += rapid.Uint64Range(0, 1<<50).Draw(t, "more variance")
			f.Out.Unbooked += rapid.Uint64Range(0, 1<<40).Draw(t, "more unbooked")
		}
		s.TolerancePermille += rapid.Uint64Range(0, 30).Draw(t, "more tolerance")
		s.FloorOctets += rapid.Uint64Range(0, 1<<40).Draw(t, "more floor")
		s.StandardErrors += rapid.Uint64Range(0, 9).Draw(t, "more errors")
		after := Compare(day, s)
		if before.Verdict != Outside && after.Verdict == Outside {
			t.Errorf("%+v became %+v", before, after)
		}
		for i, b := range []Band{before.In, before.Out} {
			if a := []Band{after.In, after.Out}[i]; before.Verdict != NotCompared && (a.Low > b.Low || a.High < b.High) {
				t.Errorf("band %+v became %+v", b, a)
			}
		}
	})
}
