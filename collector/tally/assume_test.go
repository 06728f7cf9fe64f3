package tally

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"hostmeter/schemas"
)

// TestCorrectMakesUpForAnAssumedRate: what was counted at 1, flushed or not, comes to N times that
// once N is told, at the meters and in the accounts alike; what has no rate yet stays.
func TestCorrectMakesUpForAnAssumedRate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		table := newTable()
		table.config.BusyOctets = 20_000
		e := table.Exporter(ExporterConfig{Address: addr("192.0.2.250"), Name: "a", Protocol: schemas.NetFlow9})
		table.Assume(e, true)
		hosts := rapid.SampledFrom([]string{"192.0.2.1", "192.0.2.2", "198.51.100.7", "198.51.100.8"})
		var booked, packets, flows, variances uint64
		var account schemas.ExporterAccount
		directions := uint64(0)
		take := func(f Flushed) {
			for _, tally := range f.Tallies {
				if tally.In != nil {
					directions++
				}
				if tally.Out != nil {
					directions++
				}
				booked += tally.In.GetOctets() + tally.Out.GetOctets()
				packets += tally.In.GetPackets() + tally.Out.GetPackets()
				flows += tally.In.GetFlows() + tally.Out.GetFlows()
				variances += tally.In.GetVarianceKib2() + tally.Out.GetVarianceKib2()
			}
			for _, a := range f.Accounts {
				account.Add(a)
			}
		}
		var wantOctets, wantPackets, wantFlows, squares, wantAccount, records uint64
		const told, untold = 1, 2
		numerator := rapid.SampledFrom([]uint32{1, 2, 1000}).Draw(t, "rate")
		at := minute0 * 60 * second
		for range rapid.IntRange(1, 40).Draw(t, "records") {
			at += rapid.Int64Range(0, 900*second).Draw(t, "step")
			r := record(hosts.Draw(t, "source"), hosts.Draw(t, "destination"), rapid.Uint64Range(0, 30_000).Draw(t, "octets"), rapid.Uint64Range(1, 9).Draw(t, "packets"))
			r.SamplingNumerator, r.SamplingDenominator, r.SamplingOrigin = 1, 1, schemas.SamplingDefault
			r.ObservationDomain = rapid.SampledFrom([]uint32{told, untold}).Draw(t, "domain")
			r.FlowEnd = at
			r.FlowStart = at - rapid.SampledFrom([]int64{0, 100 * second}).Draw(t, "duration")
			table.Add(e, r, time.Unix(0, at))
			records++
			n := uint64(1)
			if r.ObservationDomain == told {
				n = uint64(numerator)
			}
			wantAccount += n * r.Octets
			for _, end := range []string{r.Source.String(), r.Destination.String()} {
				if _, local := table.LocalPrefix(addr(end)); local {
					wantOctets, wantPackets, wantFlows = wantOctets+n*r.Octets, wantPackets+n*r.Packets, wantFlows+n
					if r.ObservationDomain == told {
						squares += squaresOf(r.Octets, r.Packets)
					}
				}
			}
			switch rapid.IntRange(0, 9).Draw(t, "flush") {
			case 0, 1:
				take(table.flushed(true))
			case 2:
				take(table.flushed(false))
			}
		}
		for _, key := range table.Assumed(e) {
			if key.Domain == told {
				take(table.corrected(e, key, numerator, 1))
			}
		}
		take(table.flushed(true))
		table.Assume(e, false)
		if table.assumed != 0 || len(e.assumed) != 0 {
			t.Fatalf("%d cells are remembered for nobody", table.assumed)
		}
		if booked != wantOctets || packets != wantPackets || flows != wantFlows {
			t.Fatalf("%d octets, %d packets, %d flows; want %d, %d, %d", booked, packets, flows, wantOctets, wantPackets, wantFlows)
		}
		if account.Octets != wantAccount || booked != account.OctetsOnce+2*account.OctetsBoth || account.Records != records {
			t.Fatalf("account %v, want %d octets, %d booked", &account, wantAccount, booked)
		}
		// Rounded up once for each direction of a tally.
		if want := variance(squares, numerator, 1); variances < want || variances > want+directions {
			t.Fatalf("variance %d, want %d and at most %d more", variances, want, directions)
		}
	})
}

func TestRememberedCellsAreBounded(t *testing.T) {
	table := newTable()
	table.config.AssumedCells = 1
	e := exporter(table, ModeSingle)
	table.Assume(e, true)
	for _, host := range []string{"192.0.2.1", "192.0.2.2"} {
		r := record(host, "198.51.100.7", 1000, 1)
		r.SamplingNumerator, r.SamplingDenominator, r.SamplingOrigin = 1, 1, schemas.SamplingDefault
		table.Add(e, r, received)
	}
	table.flushed(true)
	keys := table.Assumed(e)
	if len(keys) != 1 {
		t.Fatalf("keys %v", keys)
	}
	got := octetsByMeter(table.corrected(e, keys[0], 10, 1))
	if len(got) != 1 || got["address:192.0.2.1 external"][1] != 9000 {
		t.Fatalf("corrections %v, want that of the first meter", got)
	}
}

// A meter whose traffic comes from many domains is kept apart by them only while there is room.
func TestDomainsDoNotMultiplyCellsWithoutBound(t *testing.T) {
	table := newTable()
	table.config.AssumedCells = 10
	e := exporter(table, ModeSingle)
	table.Assume(e, true)
	for domain := range uint32(200) {
		r := record("192.0.2.1", "198.51.100.7", 1000, 1)
		r.SamplingNumerator, r.SamplingDenominator, r.SamplingOrigin = 1, 1, schemas.SamplingDefault
		r.ObservationDomain = domain + 1
		table.Add(e, r, received)
	}
	if n := table.Len(); n != 11 {
		t.Errorf("%d cells of one meter, want 10 apart and one for all other domains", n)
	}
	if got := octetsByMeter(table.flushed(true))["address:192.0.2.1 external"][1]; got != 200_000 {
		t.Errorf("%d octets out, want 200,000", got)
	}
}
