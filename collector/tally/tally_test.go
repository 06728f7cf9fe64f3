package tally

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"hostmeter/schemas"
)

const second = int64(time.Second)

// minute0 is the beginning of a minute and of an hour.
const minute0 = int64(497_222 * 60)

var received = time.Unix(minute0*60+90, 0)

func addr(text string) netip.Addr { return netip.MustParseAddr(text) }

func prefixesOf(texts ...string) (out []netip.Prefix) {
	for _, text := range texts {
		out = append(out, netip.MustParsePrefix(text))
	}
	return out
}

func newTable() *Table { return New(tableConfig()) }

func tableConfig() Config {
	c := DefaultConfig()
	c.Local = prefixesOf("192.0.2.0/24", "2001:db8::/32", "203.0.113.0/25")
	c.Assigned = prefixesOf("2001:db8:7::/48", "2001:db8:8::9/128")
	return c
}

// record is a TCP flow of one minute's second half, unsampled.
func record(source, destination string, octets, packets uint64) *schemas.FlowRecord {
	return &schemas.FlowRecord{
		Source: addr(source), Destination: addr(destination), SourcePort: 443, DestinationPort: 50_000, IPProtocol: 6, TCPFlags: 0x1b,
		InInterface: 3, OutInterface: 4, Octets: octets, Packets: packets,
		SamplingNumerator: 1, SamplingDenominator: 1, SamplingOrigin: schemas.SamplingRecord,
		FlowStart: minute0*60*second + 30*second, FlowEnd: minute0*60*second + 60*second,
	}
}

func exporter(t *Table, mode Mode, customers ...schemas.IfIndex) *Exporter {
	return t.Exporter(ExporterConfig{Address: addr("192.0.2.250"), Name: "edge-1", Protocol: schemas.NetFlow9, Mode: mode, CustomerInterfaces: customers})
}

// octetsByMeter adds a flush up by meter and class.
func octetsByMeter(f Flushed, classes ...Class) map[string][2]uint64 {
	names := (Config{Classes: classes}).ClassNames()
	out := make(map[string][2]uint64)
	for _, t := range f.Tallies {
		key := t.Meter + " " + names[t.Class]
		s := out[key]
		out[key] = [2]uint64{s[0] + t.In.GetOctets(), s[1] + t.Out.GetOctets()}
	}
	return out
}

func equal[K comparable, V comparable](t *testing.T, name string, got, want map[K]V) {
	t.Helper()
	for key, value := range want {
		if got[key] != value {
			t.Errorf("%s: %v is %v, want %v", name, key, got[key], value)
		}
	}
	for key, value := range got {
		if _, ok := want[key]; !ok {
			t.Errorf("%s: %v is %v, want none", name, key, value)
		}
	}
}

// TestModes holds which ends an exporter books, as [in, out] octets by meter, and where the account
// puts the octets.
func TestModes(t *testing.T) {
	const local, neighbour, remote, remote2 = "192.0.2.9", "203.0.113.5", "198.51.100.7", "198.51.100.8"
	type want = map[string][2]uint64
	f := func(name string, mode Mode, customers []schemas.IfIndex, direction schemas.FlowDirection, source, destination string, meters want, once, both, transit, uncounted uint64) {
		t.Helper()
		table := newTable()
		r := record(source, destination, 1000, 2)
		r.Direction = direction
		table.Add(exporter(table, mode, customers...), r, received)
		flushed := table.flushed(true)
		equal(t, name, octetsByMeter(flushed), meters)
		if len(flushed.Accounts) != 1 {
			t.Fatalf("%s: %d accounts", name, len(flushed.Accounts))
		}
		a := flushed.Accounts[0]
		if got := [4]uint64{a.OctetsOnce, a.OctetsBoth, a.OctetsTransit, a.OctetsUncounted}; got != [4]uint64{once, both, transit, uncounted} {
			t.Errorf("%s: account %v", name, got)
		}
		if a.Octets != 1000 || a.Packets != 2 || a.Records != 1 || a.ReportedOctets != 1000 || a.ReportedPackets != 2 || a.Exporter != "edge-1" || a.Hour != minute0/60 {
			t.Errorf("%s: %v", name, a)
		}
	}
	const unknown, ingress, egress = schemas.DirectionUnknown, schemas.DirectionIngress, schemas.DirectionEgress
	in3, in9, both34 := []schemas.IfIndex{3}, []schemas.IfIndex{9}, []schemas.IfIndex{3, 4}
	out := want{"address:192.0.2.9 external": {0, 1000}}
	in := want{"address:192.0.2.9 external": {1000, 0}}
	internal := want{"address:192.0.2.9 internal": {0, 1000}, "address:203.0.113.5 internal": {1000, 0}}
	source := want{"address:192.0.2.9 internal": {0, 1000}}
	destination := want{"address:203.0.113.5 internal": {1000, 0}}

	f("single, out", ModeSingle, nil, unknown, local, remote, out, 1000, 0, 0, 0)
	f("single, in", ModeSingle, nil, egress, remote, local, in, 1000, 0, 0, 0)
	f("single, internal", ModeSingle, nil, unknown, local, neighbour, internal, 0, 1000, 0, 0)
	f("single, transit", ModeSingle, nil, unknown, remote, remote2, want{}, 0, 0, 1000, 0)
	f("border, out", ModeBorder, nil, egress, local, remote, out, 1000, 0, 0, 0)
	f("border, internal", ModeBorder, nil, unknown, local, neighbour, want{}, 0, 0, 0, 1000)
	f("edge, ingress of a customer's port", ModeEdge, in3, ingress, local, remote, out, 1000, 0, 0, 0)
	f("edge, ingress of an uplink", ModeEdge, in9, ingress, remote, local, want{}, 0, 0, 0, 1000)
	f("edge, egress of a customer's port", ModeEdge, both34, egress, remote, local, in, 1000, 0, 0, 0)
	f("edge, egress books no source", ModeEdge, both34, egress, local, remote, want{}, 0, 0, 0, 1000)
	f("edge, internal at ingress", ModeEdge, both34, ingress, local, neighbour, source, 1000, 0, 0, 0)
	f("edge, internal at egress", ModeEdge, both34, egress, local, neighbour, destination, 1000, 0, 0, 0)
	f("edge, internal without direction", ModeEdge, both34, unknown, local, neighbour, internal, 0, 1000, 0, 0)
	f("edge, without direction to a customer", ModeEdge, []schemas.IfIndex{4}, unknown, remote, local, in, 1000, 0, 0, 0)
	f("edge, all ports face customers", ModeEdge, nil, ingress, local, remote, out, 1000, 0, 0, 0)
	f("edge, a spoofed source", ModeEdge, in3, ingress, remote, remote2, want{"port:192.0.2.250/3 external": {0, 1000}}, 1000, 0, 0, 0)
	f("edge, a spoofed source to a customer", ModeEdge, both34, unknown, remote, local,
		want{"port:192.0.2.250/3 external": {0, 1000}, "address:192.0.2.9 external": {1000, 0}}, 0, 1000, 0, 0)
	f("edge, transit between uplinks", ModeEdge, in9, ingress, remote, remote2, want{}, 0, 0, 1000, 0)
}

func TestReverseCountsForTheOppositeDirection(t *testing.T) {
	table := newTable()
	r := record("192.0.2.9", "198.51.100.7", 1000, 2)
	r.ReverseOctets, r.ReversePackets, r.Direction = 300, 1, schemas.DirectionIngress
	for _, e := range []*Exporter{exporter(table, ModeSingle), exporter(table, ModeEdge, 3)} {
		table.Add(e, r, received)
		f := table.flushed(true)
		equal(t, "biflow", octetsByMeter(f), map[string][2]uint64{"address:192.0.2.9 external": {300, 1000}})
		if a := f.Accounts[0]; a.Octets != 1300 || a.Packets != 3 || a.Records != 1 {
			t.Errorf("%v", a)
		}
	}
}

func TestMetersOfIPv6(t *testing.T) {
	table := newTable()
	e := exporter(table, ModeSingle)
	for i, source := range []string{"2001:db8:7::1", "2001:db8:7:ffff::2", "2001:db8:8::9", "2001:db8:8::a", "2001:db8:9999::1", "::ffff:192.0.2.1"} {
		table.Add(e, record(source, "2001:db9::1", 1<<i, 1), received)
	}
	equal(t, "meters", octetsByMeter(table.flushed(true)), map[string][2]uint64{
		"address:2001:db8:7::/48 external": {0, 3}, "address:2001:db8:8::9 external": {0, 4},
		"address:2001:db8::/32 external": {0, 8 + 16}, "address:192.0.2.1 external": {0, 32},
	})
	if p, ok := table.LocalPrefix(addr("2001:db8:7::1")); !ok || p.String() != "2001:db8:7::/48" {
		t.Errorf("%s %v", p, ok)
	}
	if _, ok := table.LocalPrefix(addr("203.0.113.128")); ok {
		t.Error("remote address is local")
	}
}

func TestSpread(t *testing.T) {
	table := newTable()
	e := exporter(table, ModeSingle)
	r := record("192.0.2.9", "198.51.100.7", 1001, 10) // 30 s in the first minute, 60 in the second, 10 in the third
	r.FlowEnd = r.FlowStart + 100*second
	table.Add(e, r, time.Unix(minute0*60+140, 0))
	var minutes, octets, packets, flows []uint64
	tallies := table.flushed(true).Tallies
	slices.SortFunc(tallies, func(a, b *schemas.Tally) int { return cmp.Compare(a.Minute, b.Minute) })
	for _, tally := range tallies {
		minutes = append(minutes, uint64(tally.Minute-minute0))
		octets, packets, flows = append(octets, tally.Out.Octets), append(packets, tally.Out.Packets), append(flows, tally.Out.Flows)
	}
	for name, pair := range map[string][2][]uint64{
		"minutes": {minutes, {0, 1, 2}}, "octets": {octets, {300, 600, 101}}, "packets": {packets, {3, 6, 1}}, "flows": {flows, {1, 0, 0}},
	} {
		for i := range pair[1] {
			if len(pair[0]) != 3 || pair[0][i] != pair[1][i] {
				t.Errorf("%s %v, want %v", name, pair[0], pair[1])
				break
			}
		}
	}
}

func TestInsaneTimesAreClamped(t *testing.T) {
	f := func(name string, start, end int64, wantMinute int64, clamped uint64) {
		t.Helper()
		table := newTable()
		r := record("192.0.2.9", "198.51.100.7", 100, 1)
		r.FlowStart, r.FlowEnd = start, end
		table.Add(exporter(table, ModeSingle), r, received)
		flushed := table.flushed(true)
		if len(flushed.Tallies) != 1 || flushed.Tallies[0].Minute-minute0 != wantMinute || flushed.Accounts[0].ClampedRecords != clamped {
			t.Errorf("%s: %v %v", name, flushed.Tallies, flushed.Accounts)
		}
	}
	now := received.UnixNano()
	const day = 24 * 3600 * second
	f("none", 0, 0, 1, 0)
	f("59 s ahead", now+59*second, now+59*second, 2, 0)
	f("61 s ahead", now+61*second, now+61*second, 1, 1)
	f("a day old", now-day, now-day, -1440+1, 0)
	f("older", now-day-1, now-day-1, 1, 1)
	f("longer than a day", now-day-1, now, 1, 1)
	f("2^32 milliseconds ahead", now+4_294_967*second, now+4_294_967*second, 1, 1)
	f("as far as numbers go", -1<<62, 1<<62, 1, 1)
}

func TestSampling(t *testing.T) {
	table := newTable()
	e := exporter(table, ModeSingle)
	r := record("192.0.2.9", "198.51.100.7", 1500, 1)
	r.SamplingNumerator, r.SamplingDenominator = 1000, 1
	table.Add(e, r, received)
	out := table.flushed(true).Tallies[0].Out
	if out.Octets != 1_500_000 || out.Packets != 1000 || out.Flows != 1000 || out.ReportedOctets != 1500 || out.ReportedPackets != 1 || out.Features.TcpPackets != 1000 {
		t.Errorf("%v", out)
	}
	// 1000*999*1500^2 octets^2 in units of 2^20, rounded up.
	if want := uint64(1000*999*1500*1500>>20 + 1); out.VarianceKib2 != want {
		t.Errorf("variance %d, want %d", out.VarianceKib2, want)
	}
	configured := table.Exporter(ExporterConfig{Address: addr("192.0.2.250"), Protocol: schemas.NetFlow9, SamplingNumerator: 7})
	table.Add(configured, r, received)
	unknown := record("192.0.2.9", "198.51.100.7", 1500, 1)
	unknown.SamplingNumerator, unknown.SamplingDenominator, unknown.SamplingOrigin = 0, 0, schemas.SamplingUnknown
	table.Add(configured, unknown, received)
	if out := table.flushed(true).Tallies[0].Out; out.Octets != 2*7*1500 {
		t.Errorf("a configured rate of 7 gives %d octets", out.Octets)
	}
}

func TestUnknownSamplingIsHeldAndScaled(t *testing.T) {
	table := newTable()
	e := exporter(table, ModeSingle)
	r := record("192.0.2.9", "198.51.100.7", 1500, 1)
	r.SamplingNumerator, r.SamplingDenominator, r.SamplingOrigin, r.SamplerID, r.ObservationDomain = 0, 0, schemas.SamplingUnknown, 2, 5
	table.Add(e, r, received)
	table.Add(e, record("192.0.2.9", "198.51.100.7", 10, 1), received)
	first := table.flushed(true)
	equal(t, "before", octetsByMeter(first), map[string][2]uint64{"address:192.0.2.9 external": {0, 10}})
	if a := first.Accounts[0]; a.Records != 1 || len(a.Held) != 2 || a.Held[0].Count != 1 || a.Held[1].Count != 1500 {
		t.Errorf("%v", a)
	}
	table.Add(e, r, received)
	key := HeldKey{Domain: 5, SamplerID: 2, InInterface: 3}
	if held := table.Held(e); len(held) != 1 || held[0] != key {
		t.Fatalf("%v", held)
	}
	if n := table.ScaleHeld(e, HeldKey{}, 100, 1, schemas.SamplingOption); n != 0 {
		t.Errorf("%d records of another key", n)
	}
	if n := table.ScaleHeld(e, key, 100, 1, schemas.SamplingDefault); n != 2 {
		t.Errorf("%d records scaled, want 2", n)
	}
	second := table.flushed(true)
	equal(t, "after", octetsByMeter(second), map[string][2]uint64{"address:192.0.2.9 external": {0, 300_000}})
	a := second.Accounts[0]
	if a.Records != 2 || a.UnknownSamplingRecords != 2 || a.Octets != 300_000 || a.Held[0].Count != -1 || a.Held[1].Count != -1500 {
		t.Errorf("%v", a)
	}
	// What still comes without a rate waits anew.
	table.Add(e, r, received)
	if f := table.flushed(true); len(f.Tallies) != 0 || len(table.Held(e)) != 1 || table.Drop(e) {
		t.Errorf("%v", f)
	}
	// Scaled twice between two flushes, with records between.
	table.ScaleHeld(e, key, 10, 1, schemas.SamplingOption)
	table.Add(e, r, received)
	table.ScaleHeld(e, key, 10, 1, schemas.SamplingOption)
	equal(t, "twice", octetsByMeter(table.flushed(true)), map[string][2]uint64{"address:192.0.2.9 external": {0, 30_000}})
	if table.Len() != 0 {
		t.Errorf("%d cells left", table.Len())
	}
}

func TestFlushOfBusyMeters(t *testing.T) {
	table := newTable()
	e := exporter(table, ModeSingle)
	table.Add(e, record("192.0.2.9", "198.51.100.7", 2<<20, 2000), received)
	table.Add(e, record("192.0.2.10", "198.51.100.7", 1000, 1), received)
	busy := table.flushed(false)
	equal(t, "busy", octetsByMeter(busy), map[string][2]uint64{"address:192.0.2.9 external": {0, 2 << 20}})
	if len(busy.Accounts) != 1 || busy.Accounts[0].OctetsOnce != 2<<20 || busy.Accounts[0].Octets != 2<<20 || busy.Accounts[0].Records != 2 || e.Waiting() != 1000 {
		t.Errorf("%v, %d octets wait", busy.Accounts, e.Waiting())
	}
	table.Add(e, record("192.0.2.9", "198.51.100.7", 5, 1), received)
	rest := table.flushed(true)
	equal(t, "the rest", octetsByMeter(rest), map[string][2]uint64{"address:192.0.2.9 external": {0, 5}, "address:192.0.2.10 external": {0, 1000}})
	if a := rest.Accounts[0]; a.Octets != 1005 || a.Records != 1 || e.Waiting() != 0 {
		t.Errorf("%v, %d octets wait", a, e.Waiting())
	}
	if f := table.flushed(true); len(f.Tallies) != 0 || len(f.Accounts) != 0 {
		t.Errorf("nothing is left, but %v", f)
	}
}

// After a flush of busy meters, an exporter knows how many octets of the records in its accounts are still to come: as many
// as the next flush of all has at meters. Its records are all told.
func TestWhatABusyFlushLeavesIsKnown(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		config := tableConfig()
		config.BusyOctets = 3 << 20
		table := New(config)
		e := table.Exporter(ExporterConfig{Address: addr("192.0.2.250"), Name: "a", Protocol: schemas.NetFlow9})
		hosts := rapid.SampledFrom([]string{"192.0.2.1", "192.0.2.2", "2001:db8:7::1", "198.51.100.7", "198.51.100.8"})
		at := minute0*60*second + 30*second
		var added, told uint64
		for range rapid.IntRange(1, 60).Draw(t, "records") {
			at += rapid.Int64Range(0, 600*second).Draw(t, "step")
			r := record(hosts.Draw(t, "source"), hosts.Draw(t, "destination"), rapid.Uint64Range(0, 1<<21).Draw(t, "octets"), 1)
			r.SamplingNumerator = rapid.SampledFrom([]uint32{1, 10, 0}).Draw(t, "rate")
			r.SamplingDenominator = rapid.SampledFrom([]uint32{1, 3}).Draw(t, "of")
			known := r.SamplingNumerator != 0
			if r.SamplingDenominator = min(r.SamplingDenominator, r.SamplingNumerator); !known {
				r.SamplingOrigin = schemas.SamplingUnknown
			}
			r.FlowStart, r.FlowEnd = at-rapid.SampledFrom([]int64{0, 100 * second}).Draw(t, "duration"), at
			table.Add(e, r, time.Unix(0, at))
			if known {
				added++
			}
			if rapid.IntRange(0, 3).Draw(t, "flush") > 0 {
				continue
			}
			for range rapid.IntRange(1, 2).Draw(t, "busy flushes") {
				for _, a := range table.flushed(false).Accounts {
					told += a.Records
				}
			}
			waiting, left := e.Waiting(), uint64(0)
			if told != added {
				t.Fatalf("%d records told of %d", told, added)
			}
			if rapid.Bool().Draw(t, "and all") {
				for _, a := range table.flushed(true).Accounts {
					left += a.OctetsOnce + a.OctetsBoth
					told += a.Records
				}
				if waiting != left || e.Waiting() != 0 {
					t.Fatalf("%d octets were said to wait, %d came, and %d are said to wait", waiting, left, e.Waiting())
				}
			}
		}
	})
}

func TestDroppedRecordsAreCounted(t *testing.T) {
	c := DefaultConfig()
	c.Local, c.Cells = prefixesOf("192.0.2.0/24"), 6
	table := New(c)
	e := exporter(table, ModeSingle)
	for _, source := range []string{"192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5"} {
		table.Add(e, record(source, "198.51.100.7", 100, 1), received)
	}
	table.Add(e, record("192.0.2.1", "198.51.100.7", octetsMax+1, 1), received)
	a := table.flushed(true).Accounts[0]
	if a.Records != 3 || a.Octets != 300 || len(a.Dropped) != 2 || a.Dropped[0].Reason != "table_full" || a.Dropped[0].Count != 2 || a.Dropped[1].Reason != "implausible_octets" || a.Dropped[1].Count != 1 {
		t.Errorf("%v", a)
	}
}

// TestAnExporterLeavesRoomToOthers: one that makes cells without end does not keep another's records out.
// Records whose cells were not looked for yet are not taken for as many cells: neither the table's bound nor that of
// what is remembered is reached by many records of few meters.
func TestManyRecordsOfFewMetersAreNoManyCells(t *testing.T) {
	c := DefaultConfig()
	c.Local, c.Cells, c.AssumedCells = prefixesOf("192.0.2.0/24"), 100, 20
	table := New(c)
	e := exporter(table, ModeSingle)
	table.Assume(e, true)
	const records, meters = 5000, 8
	for i := range records {
		r := record("192.0.2."+strconv.Itoa(i%meters), "198.51.100.7", 1000, 1)
		r.SamplingNumerator, r.SamplingDenominator, r.SamplingOrigin = 1, 1, schemas.SamplingDefault
		table.Add(e, r, received)
	}
	f := table.flushed(true)
	if len(f.Tallies) != meters || len(f.Accounts) != 1 || f.Accounts[0].Records != records || len(f.Accounts[0].Dropped) != 0 {
		t.Fatalf("%d tallies, accounts %v", len(f.Tallies), f.Accounts)
	}
	if len(table.Assumed(e)) != 1 || table.assumed != meters {
		t.Fatalf("%v are assumed, %d cells remembered", table.Assumed(e), table.assumed)
	}
}

func TestAnExporterLeavesRoomToOthers(t *testing.T) {
	c := DefaultConfig()
	c.Local, c.Cells = prefixesOf("10.0.0.0/16", "192.0.2.0/24"), 1000
	table := New(c)
	flooding := [2]*Exporter{exporter(table, ModeSingle), exporter(table, ModeSingle)}
	quiet := table.Exporter(ExporterConfig{Address: addr("192.0.2.251"), Name: "edge-2", Protocol: schemas.NetFlow9, Mode: ModeSingle})
	for round := range uint64(2) { // the share is given back with a flush
		for i := range 3000 {
			table.Add(flooding[i%2], record(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}).String(), "198.51.100.7", 100, 1), received)
		}
		for i := range 100 {
			table.Add(quiet, record(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}).String(), "198.51.100.7", 100, 1), received)
		}
		var flooded, dropped uint64
		for _, a := range table.flushed(true).Accounts {
			switch {
			case a.Exporter == "edge-2":
				if a.Records != 100 || len(a.Dropped) != 0 {
					t.Errorf("round %d: %v", round, a)
				}
			default:
				flooded += a.Records
				dropped += uint64(a.Dropped[0].Count)
			}
		}
		if flooded+dropped != 3000 || flooded < 800 || flooded > 880 {
			t.Errorf("round %d: %d counted of those that flood, %d dropped", round, flooded, dropped)
		}
	}
}

func TestAddPort(t *testing.T) {
	table := newTable()
	e := table.Exporter(ExporterConfig{Name: "libvirt/hv1", Protocol: schemas.Libvirt, SamplingNumerator: 100})
	meter := schemas.VNICMeter("B4F6-1", "52:54:00:00:00:01")
	from := time.Unix(minute0*60+50, 0)
	table.AddPort(e, meter, from, from.Add(20*time.Second), PortDelta{InOctets: 1000, InPackets: 1, OutOctets: 3000, OutPackets: 4}, VNICOverhead)
	f := table.flushed(true)
	if len(f.Tallies) != 2 || f.Tallies[0].Meter != string(meter) || (Config{}).ClassNames()[f.Tallies[0].Class] != schemas.ClassPort {
		t.Fatalf("%v", f.Tallies)
	}
	var in, out, reportedOut, packets uint64
	for _, tally := range f.Tallies {
		in, out = in+tally.In.GetOctets(), out+tally.Out.GetOctets()
		reportedOut, packets = reportedOut+tally.Out.GetReportedOctets(), packets+tally.Out.GetPackets()
	}
	if in != 986 || out != 3000-4*14 || reportedOut != 3000 || packets != 4 {
		t.Errorf("in %d, out %d of %d, %d packets", in, out, reportedOut, packets)
	}
	if a := f.Accounts[0]; a.Exporter != "libvirt/hv1" || a.OctetsOnce != in+out || a.ReportedOctets != 4000 || a.Packets != 5 {
		t.Errorf("%v", a)
	}
	table.AddPort(e, meter, from, from, PortDelta{InOctets: 10, InPackets: 5}, PortOverhead)
	if f := table.flushed(true); f.Tallies[0].In.Octets != 0 || f.Tallies[0].In.ReportedOctets != 10 {
		t.Errorf("fewer octets than headers: %v", f.Tallies)
	}
}

// Where many meters have traffic to speak of, flushes of busy meters soon take the heaviest alone, and
// all again once they are few.
func TestFloorOfBusyMetersFollowsTheirNumber(t *testing.T) {
	c := DefaultConfig()
	c.Local = prefixesOf("10.0.0.0/8")
	table := New(c)
	e := exporter(table, ModeSingle)
	send := func(meters int, octets uint64) {
		for i := range meters {
			r := record("192.0.2.9", "198.51.100.7", octets, 1000)
			r.Source = netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
			table.Add(e, r, received)
		}
		r := record("10.1.0.0", "198.51.100.7", 1<<40, 1000) // a flood
		table.Add(e, r, received)
	}
	for range 10 {
		send(5000, 2<<20)
		if f := table.flushed(false); len(f.Tallies) != 1 || f.Tallies[0].Meter != "address:10.1.0.0" {
			t.Fatalf("%d meters are taken, want the flood alone", len(f.Tallies))
		}
	}
	table.flushed(true)
	send(5000, 2<<20)
	if n := len(table.flushed(false).Tallies); n != 1 {
		t.Errorf("%d meters are busy, want the flood alone", n)
	}
	table.flushed(true)
	for range 10 {
		table.flushed(false)
	}
	send(100, 2<<20)
	if n := len(table.flushed(false).Tallies); n != 101 {
		t.Errorf("%d meters are busy, want all 101", n)
	}
}
