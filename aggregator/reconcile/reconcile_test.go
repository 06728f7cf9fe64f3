package reconcile

import (
	"math"
	"strings"
	"testing"

	"hostmeter/schemas"
)

// figures makes a day whose three kinds have counted in and out octets in packets of a size.
func figures(bills schemas.MeterKind, list ...Figure) Day { return Day{Bills: bills, Figures: list} }

func figure(kind schemas.MeterKind, in, out, size uint64) Figure {
	amount := func(octets uint64) Amount { return Amount{Octets: octets, Packets: octets / size} }
	return Figure{Kind: kind, In: amount(in), Out: amount(out), ObservedPPM: Whole}
}

const gb = 1_000_000_000

func TestVerdicts(t *testing.T) {
	f := func(name string, want Verdict, reason string, day Day) Result {
		t.Helper()
		got := Compare(day, DefaultSettings())
		if got.Verdict != want || !strings.Contains(got.Reason, reason) || (reason == "") != (got.Reason == "") {
			t.Errorf("%s: %s (%s), want %s (%s)", name, got.Verdict, got.Reason, want, reason)
		}
		return got
	}
	address, vnic, port := schemas.KindAddress, schemas.KindVNIC, schemas.KindPort
	f("all alike", Agrees, "", figures(address, figure(address, 10*gb, 50*gb, 1000), figure(vnic, 10*gb, 50*gb, 1000), figure(port, 10*gb, 50*gb, 1000)))
	f("no witness", NotCompared, "", figures(address, figure(address, 10*gb, 50*gb, 1000)))
	f("no witness, and why", NotCompared, "", Day{Bills: address, Figures: []Figure{figure(address, gb, gb, 500)}, Missing: []Missing{{port, "none is the service's"}}})
	f("what bills is missing", NotCompared, "", Day{Bills: address, Figures: []Figure{figure(port, gb, gb, 500)}, Missing: []Missing{{address, "not read"}}})
	f("half of the flows are lost", Outside, "out: address has 25000000000 octets", figures(address, figure(address, 10*gb, 25*gb, 1000), figure(port, 10*gb, 50*gb, 1000)))
	f("counted twice", Outside, "in: address has 20000000000 octets", figures(address, figure(address, 20*gb, 50*gb, 1000), figure(vnic, 10*gb, 50*gb, 1000)))
	f("the wrong way round", Outside, "in: ", figures(address, figure(address, 50*gb, 10*gb, 1000), figure(port, 10*gb, 50*gb, 1000)))
	f("a port that bills", Outside, "out: port has", figures(port, figure(address, 10*gb, 40*gb, 1000), figure(port, 10*gb, 50*gb, 1000)))
	f("little is nobody's charge", Agrees, "", figures(address, figure(address, 0, 0, 1000), figure(port, 90_000_000, 0, 1000)))

	// Frames of 64 octets of payload counted with their 18 octets are 28 % too many: found. At 1,400 it is 1.3 %, found too.
	f("layer 2 of small packets", Outside, "out", figures(address, figure(address, 0, 128*gb*82/64, 82), figure(port, 0, 128*gb, 64)))
	f("layer 2 of large packets", Outside, "out", figures(address, figure(address, 0, 100*gb*1418/1400, 1418), figure(port, 0, 100*gb, 1400)))
	// Tags and padding that stayed in the port's count imply this band: 100 GB in packets of 64 octets are 1.56 G packets, up to 30 octets too many each.
	r := f("the band of small packets", Agrees, "", figures(address, figure(address, 0, 60*gb, 64), figure(port, 0, 100*gb, 64)))
	if r.Out.Low > 54*gb || r.Out.Low < 53*gb || r.Out.High != 100_500_000_000 {
		t.Errorf("band of small packets: %+v", r.Out)
	}
	// An offload hides up to 72 octets of each 1,500 from the vNIC.
	f("offload", Agrees, "", figures(address, figure(address, 0, 105*gb, 1500), figure(vnic, 0, 100*gb, 30_000)))
	f("more than an offload hides", Outside, "out", figures(address, figure(address, 0, 107*gb, 1500), figure(vnic, 0, 100*gb, 30_000)))
	f("two witnesses differ", WitnessesDiffer, "out: vnic says at least", figures(address,
		sampled(figure(address, 0, 100*gb, 1500), 1<<32), figure(vnic, 0, 110*gb, 1500), figure(port, 0, 97*gb, 1500)))
	f("not sampled they are outside", Outside, "out: ", figures(address, figure(address, 0, 100*gb, 1500), figure(vnic, 0, 110*gb, 1500), figure(port, 0, 97*gb, 1500)))
	f("an hour was not observed", Agrees, "", figures(address, observed(figure(address, 0, 96*gb, 1500), 958_000), figure(port, 0, 100*gb, 1500)))
	f("sources that are not local", Agrees, "", figures(address, unbooked(figure(address, 0, 90*gb, 1500), 10*gb), figure(port, 0, 100*gb, 1500)))
}

func sampled(f Figure, varianceKiB2 uint64) Figure {
	f.In.VarianceKiB2, f.Out.VarianceKiB2 = varianceKiB2, varianceKiB2*1000
	return f
}

func observed(f Figure, ppm uint64) Figure {
	f.ObservedPPM = ppm
	return f
}

func unbooked(f Figure, octets uint64) Figure {
	f.Out.Unbooked = octets
	return f
}

func TestSettingsNameTheirKey(t *testing.T) {
	f := func(want string, change func(*Settings)) {
		t.Helper()
		s := DefaultSettings()
		change(&s)
		if err := s.Validate(); want == "" && err != nil || want != "" && (err == nil || !strings.HasPrefix(err.Error(), want+":")) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	f("", func(*Settings) {})
	f("tolerance_permille", func(s *Settings) { s.TolerancePermille = 1001 })
	f("floor_octets", func(s *Settings) { s.FloorOctets = math.MaxInt64 + 1 })
	f("standard_errors", func(s *Settings) { s.StandardErrors = 1001 })
	f("observed_percent_min", func(s *Settings) { s.ObservedPercentMin = 0 })
	f("mtu", func(s *Settings) { s.MTU = 0 })
}
