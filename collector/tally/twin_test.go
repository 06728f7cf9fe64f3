package tally

import (
	"math/big"
	"net/netip"
	"testing"
	"time"
	"unsafe"

	"pgregory.net/rapid"

	"hostmeter/schemas"
)

// TestPrefixTableTwin compares the flat table with the longest of all prefixes that contain an address.
func TestPrefixTableTwin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		// Few distinct octets, so that prefixes nest and touch.
		octet := rapid.SampledFrom([]byte{0, 1, 127, 128, 255})
		address := func(label string) netip.Addr {
			size := rapid.SampledFrom([]int{4, 16}).Draw(t, label+" size")
			b := make([]byte, size)
			for i := range b {
				b[i] = octet.Draw(t, label)
			}
			a, _ := netip.AddrFromSlice(b)
			return a.Unmap()
		}
		var prefixes []netip.Prefix
		for range rapid.IntRange(0, 12).Draw(t, "prefixes") {
			a := address("prefix")
			prefixes = append(prefixes, netip.PrefixFrom(a, rapid.IntRange(0, a.BitLen()).Draw(t, "bits")))
		}
		table := newPrefixTable(prefixes)
		for range 20 {
			a := address("address")
			want, found := netip.Prefix{}, false
			for _, p := range prefixes {
				if p.Contains(a) && (!found || p.Bits() > want.Bits()) {
					want, found = p.Masked(), true
				}
			}
			index := table.find(numberOf(a), a.Is4())
			if found != (index >= 0) || found && table.prefixes[index] != want {
				t.Fatalf("%s in %v: index %d, want %s", a, prefixes, index, want)
			}
		}
	})
}

// TestSpreadTwin compares the shares of minutes with a walk over every second: each second has what
// has come until its end less what had come until its beginning.
func TestSpreadTwin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		start := rapid.Int64Range(-200, 200).Draw(t, "start")*second + rapid.Int64Range(0, second-1).Draw(t, "fraction")
		end := start + rapid.Int64Range(0, 400*second).Draw(t, "duration")
		total := rapid.Uint64().Draw(t, "total")
		when := stretchOf(start, end)
		until := func(at int64) *big.Int {
			if at <= start {
				return new(big.Int)
			}
			whole := new(big.Int).SetUint64(total)
			if at >= end {
				return whole
			}
			whole.Mul(whole, big.NewInt(at-start))
			return whole.Quo(whole, big.NewInt(end-start))
		}
		want := make(map[int64]uint64)
		if start == end {
			want[floorMinute(start)] = total
		} else {
			for from := floorMinute(start) * 60 * second; from < end; from += second {
				want[floorMinute(from)] += new(big.Int).Sub(until(from+second), until(from)).Uint64()
			}
		}
		var added uint64
		for minute := when.first; minute <= when.last; minute++ {
			share := when.share(total, minute)
			if share != want[minute] {
				t.Fatalf("minute %d: %d, want %d", minute, share, want[minute])
			}
			delete(want, minute)
			added += share
		}
		for minute, octets := range want {
			if octets != 0 {
				t.Fatalf("minute %d has %d octets and was left out", minute, octets)
			}
		}
		if added != total {
			t.Fatalf("shares add up to %d, want %d", added, total)
		}
	})
}

func TestScaleTwin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := rapid.Uint32Range(1, 1<<32-1).Draw(t, "denominator")
		n := rapid.Uint32Range(d, 1<<32-1).Draw(t, "numerator")
		var s scaler
		sum, scaled := new(big.Int), new(big.Int)
		for range rapid.IntRange(1, 20).Draw(t, "sums") {
			octets := rapid.Uint64().Draw(t, "octets")
			got, ok := s.scale(octets, n, d)
			if !ok {
				continue
			}
			sum.Add(sum, new(big.Int).SetUint64(octets))
			scaled.Add(scaled, new(big.Int).SetUint64(got))
		}
		sum.Mul(sum, big.NewInt(int64(n))).Quo(sum, big.NewInt(int64(d)))
		if sum.Cmp(scaled) != 0 {
			t.Fatalf("scaled to %s, want %s", scaled, sum)
		}
	})
}

func TestVarianceTwin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := rapid.SampledFrom([]uint32{1, 1, 2, 3, 1000, 1<<32 - 1}).Draw(t, "denominator")
		n := rapid.Uint32Range(d, 1<<32-1).Draw(t, "numerator")
		squares := rapid.Uint64().Draw(t, "squares")
		want := new(big.Int).SetUint64(squares)
		want.Mul(want, big.NewInt(int64(n))).Mul(want, big.NewInt(int64(n)-int64(d)))
		unit := new(big.Int).Mul(big.NewInt(int64(d)), big.NewInt(int64(d)))
		// Rounded up twice: to whole octets^2 and to the unit.
		for _, by := range []*big.Int{unit, big.NewInt(1 << 20)} {
			var rest big.Int
			if want.QuoRem(want, by, &rest); rest.Sign() != 0 {
				want.Add(want, big.NewInt(1))
			}
		}
		got := new(big.Int).SetUint64(variance(squares, n, d))
		if want.IsUint64() && got.Cmp(want) != 0 && got.Uint64() != ^uint64(0) || !want.IsUint64() && got.Uint64() != ^uint64(0) {
			t.Fatalf("%s, want %s", got, want)
		}
		if got.Uint64() == ^uint64(0) && want.BitLen() < 44 && squares < 1<<40 && d == 1 {
			t.Fatalf("the largest number for %s", want)
		}
	})
}

// TestSquaresBound draws packets and compares the bound of their sum with the sum of their squares.
func TestSquaresBound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var octets, squares uint64
		sizes := rapid.SliceOfN(rapid.Uint64Range(20, 1500), 1, 50).Draw(t, "sizes")
		for _, size := range sizes {
			octets, squares = octets+size, squares+size*size
		}
		if bound := squaresOf(octets, uint64(len(sizes))); bound < squares || len(sizes) == 1 && bound != squares {
			t.Fatalf("bound %d of %d", bound, squares)
		}
	})
}

// TestTableTwin adds random records of several exporters, modes, rates and times, with flushes of
// busy and of all meters between them, and holds every law that the ledger relies on.
func TestTableTwin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		table := newTable()
		table.config.BusyOctets = 20_000
		handles := []*Exporter{
			table.Exporter(ExporterConfig{Address: addr("192.0.2.250"), Name: "a", Protocol: schemas.NetFlow9, Mode: ModeSingle}),
			table.Exporter(ExporterConfig{Address: addr("192.0.2.251"), Name: "b", Number: 1, Protocol: schemas.IPFIX, Mode: ModeEdge, CustomerInterfaces: []schemas.IfIndex{3, 4}}),
			table.Exporter(ExporterConfig{Address: addr("192.0.2.252"), Name: "c", Number: 2, Protocol: schemas.NetFlow5, Mode: ModeBorder}),
		}
		hosts := rapid.SampledFrom([]string{"192.0.2.1", "192.0.2.2", "203.0.113.5", "2001:db8:7::1", "2001:db8:7::2", "198.51.100.7", "198.51.100.8", "2001:db9::1"})
		rates := rapid.SampledFrom([][2]uint32{{1, 1}, {10, 1}, {7, 2}, {1000, 3}})
		booked, account := make(map[string]uint64), make(map[string]*schemas.ExporterAccount)
		take := func(f Flushed) {
			for _, tally := range f.Tallies {
				booked[handles[tally.Exporter].name] += tally.In.GetOctets() + tally.Out.GetOctets()
			}
			for _, a := range f.Accounts {
				if a.Octets != a.OctetsOnce+a.OctetsBoth+a.OctetsTransit+a.OctetsUncounted {
					t.Fatalf("account of a flush: %v", a)
				}
				if known := account[a.Exporter]; known != nil {
					known.Add(a)
				} else {
					account[a.Exporter] = a
				}
			}
		}
		truth := make(map[string]*big.Rat) // scaled octets, exactly
		records := make(map[string]uint64)
		at := minute0 * 60 * second
		for range rapid.IntRange(1, 60).Draw(t, "records") {
			at += rapid.Int64Range(0, 600*second).Draw(t, "step")
			e := rapid.SampledFrom(handles).Draw(t, "exporter")
			rate := rates.Draw(t, "rate")
			r := record(hosts.Draw(t, "source"), hosts.Draw(t, "destination"), rapid.Uint64Range(0, 30_000).Draw(t, "octets"), rapid.Uint64Range(0, 9).Draw(t, "packets"))
			r.SamplingNumerator, r.SamplingDenominator = rate[0], rate[1]
			r.Direction = schemas.FlowDirection(rapid.IntRange(0, 2).Draw(t, "direction"))
			r.InInterface = schemas.IfIndex(rapid.IntRange(2, 5).Draw(t, "in"))
			r.FlowEnd = at - rapid.Int64Range(0, 3*second).Draw(t, "delay")
			r.FlowStart = r.FlowEnd - rapid.Int64Range(0, 300*second).Draw(t, "duration")
			if rapid.Bool().Draw(t, "biflow") {
				r.ReverseOctets = rapid.Uint64Range(1, 30_000).Draw(t, "reverse")
			}
			table.Add(e, r, time.Unix(0, at))
			records[e.name]++
			if truth[e.name] == nil {
				truth[e.name] = new(big.Rat)
			}
			truth[e.name].Add(truth[e.name], big.NewRat(int64(r.Octets+r.ReverseOctets)*int64(rate[0]), int64(rate[1])))
			switch rapid.IntRange(0, 9).Draw(t, "flush") {
			case 0:
				take(table.flushed(true))
			case 1, 2:
				take(table.flushed(false))
			}
		}
		take(table.flushed(true))
		for name, exact := range truth {
			a := account[name]
			if a == nil {
				if exact.Sign() != 0 {
					t.Fatalf("%s has no account", name)
				}
				continue
			}
			if booked[name] != a.OctetsOnce+2*a.OctetsBoth {
				t.Fatalf("%s: meters have %d octets, account once %d and twice %d", name, booked[name], a.OctetsOnce, a.OctetsBoth)
			}
			if a.Records != records[name] {
				t.Fatalf("%s: %d records, want %d", name, a.Records, records[name])
			}
			// Rounded down once for each rate and each of the four parts.
			short := new(big.Rat).Sub(exact, new(big.Rat).SetInt(new(big.Int).SetUint64(a.Octets)))
			if short.Sign() < 0 || short.Cmp(big.NewRat(4*4, 1)) > 0 {
				t.Fatalf("%s: %d octets, exactly %s", name, a.Octets, exact)
			}
		}
		if table.Len() != 0 {
			t.Fatalf("%d cells left", table.Len())
		}
	})
}

// A note touches few lines of memory because they hold what it moves.
func TestDirectionIsTwoLines(t *testing.T) {
	if size := unsafe.Sizeof(direction{}); size != 128 {
		t.Errorf("a direction takes %d octets", size)
	}
}
