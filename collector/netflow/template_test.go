package netflow_test

import (
	"net/netip"
	"testing"
	"time"

	"hostmeter/collector/netflow"
	. "hostmeter/collector/netflow/netflowtest"
	"hostmeter/schemas"
)

func TestDataBeforeItsTemplate(t *testing.T) {
	d := newDecoder()
	if r := decode(t, d, from, IPFIX(0, 1, seconds, Set(256, flow(10, 1), flow(20, 1))), IPFIX(2, 1, seconds, Set(256, flow(30, 1)))); len(r) != 0 {
		t.Fatalf("%d records before the template", len(r))
	}
	if s := d.TakeStats(); s.HeldSets != 2 || s.HeldOctets != 48 || s.Records != 0 {
		t.Errorf("held %d sets, %d octets", s.HeldSets, s.HeldOctets)
	}
	// The template stands behind more data in the same message.
	r := decode(t, d, from, IPFIX(3, 1, seconds, Set(256, flow(40, 1)), TemplateIPFIX(256, basic...), Set(256, flow(50, 1))))
	if len(r) != 5 || octetsOf(r) != 150 || r[0].Octets != 10 || r[4].Octets != 50 {
		t.Errorf("%+v", r)
	}
	if s := d.TakeStats(); s.HeldSets != -2 || s.HeldOctets != -48 || s.Records != 5 || s.LostRecords != 0 {
		t.Errorf("held %d sets, %d octets; %d records, lost %d", s.HeldSets, s.HeldOctets, s.Records, s.LostRecords)
	}
}

func TestHeldIsTimedByItsOwnHeader(t *testing.T) {
	fields := append([]Field{{ID: 22, Length: 4}, {ID: 21, Length: 4}}, basic...)
	d := newDecoder()
	decode(t, d, from, V9(0, 1, 100_000, seconds, Set(256, U32(40_000), U32(90_000), flow(10, 1))))
	r := decode(t, d, from, V9(1, 1, 400_000, seconds+300, Template9(256, fields...)))
	if len(r) != 1 || r[0].FlowStart != (seconds-60)*1e9 || r[0].FlowEnd != (seconds-10)*1e9 {
		t.Errorf("%+v", r)
	}
}

func TestHeldIsBounded(t *testing.T) {
	limits := netflow.DefaultLimits()
	limits.HeldOctets = 10_000
	d := netflow.NewDecoder(limits)
	const sets = 100
	for i := range uint32(sets) {
		decode(t, d, from, V9(i, 1, 1, seconds, Set(256, flow(1, 1))))
	}
	s := d.Stats()
	if s.HeldSets+int64(s.Dropped[netflow.DroppedHeldFull]) != sets || s.HeldSets < 40 || s.HeldSets > 80 {
		t.Errorf("%d held, %d pushed out", s.HeldSets, s.Dropped[netflow.DroppedHeldFull])
	}
	held := s.HeldSets
	if r := decode(t, d, from, V9(sets, 1, 1, seconds, Template9(256, basic...))); len(r) != int(held) {
		t.Errorf("%d records, want the %d that were held", len(r), held)
	}
	if s.HeldSets != 0 || s.HeldOctets != 0 {
		t.Errorf("%d sets, %d octets still held", s.HeldSets, s.HeldOctets)
	}
}

func TestHeldExpires(t *testing.T) {
	d := newDecoder()
	decode(t, d, from, V9(0, 1, 1, seconds, Set(256, flow(1, 1))))
	d.Expire(received.Add(29 * time.Minute))
	if d.Stats().HeldSets != 1 {
		t.Error("expired too early")
	}
	d.Expire(received.Add(30 * time.Minute))
	if s := d.Stats(); s.HeldSets != 0 || s.HeldOctets != 0 || s.Dropped[netflow.DroppedHeldExpired] != 1 {
		t.Errorf("%+v", s)
	}
}

func TestRedefinition(t *testing.T) {
	swapped := []Field{basic[0], basic[1], basic[3], basic[2]} // packets before octets
	d := newDecoder()
	r := decode(t, d, from,
		V9(0, 1, 1, seconds, Template9(256, basic...), Set(256, flow(100, 7))),
		V9(1, 1, 1, seconds, Template9(256, basic...)), // a refresh
		V9(2, 1, 1, seconds, Set(256, flow(100, 7)), Template9(256, swapped...), Set(256, flow(7, 100))))
	if len(r) != 3 {
		t.Fatalf("%d records", len(r))
	}
	for i, rec := range r {
		if rec.Octets != 100 || rec.Packets != 7 {
			t.Errorf("record %d: %d octets in %d packets", i, rec.Octets, rec.Packets)
		}
	}
	if n := d.Stats().Templates; n != 3 {
		t.Errorf("%d templates, want 3", n)
	}
}

func TestWithdrawal(t *testing.T) {
	f := func(name string, withdrawal []byte, wantRecords int) {
		t.Helper()
		d := newDecoder()
		decode(t, d, from, IPFIX(0, 1, seconds, TemplateIPFIX(256, basic...)), IPFIX(0, 1, seconds, withdrawal))
		if r := decode(t, d, from, IPFIX(0, 1, seconds, Set(256, flow(5, 1)))); len(r) != wantRecords {
			t.Errorf("%s: %d records, want %d", name, len(r), wantRecords)
		}
		// What comes again is read again, and what waited with it.
		if r := decode(t, d, from, IPFIX(1, 1, seconds, TemplateIPFIX(256, basic...))); len(r) != 1-wantRecords {
			t.Errorf("%s: %d records after the template came again", name, len(r))
		}
	}
	f("of the template", Set(2, U16(256), U16(0)), 0)
	f("of another", Set(2, U16(257), U16(0)), 1)
	f("of all templates", Set(2, U16(2), U16(0)), 0)
	f("of all option templates", Set(3, U16(3), U16(0)), 1)
}

func TestTemplatesOfAnotherPort(t *testing.T) {
	d := newDecoder()
	decode(t, d, from, V9(0, 1, 1, seconds, Template9(256, basic...)))
	if r := decode(t, d, other, V9(0, 1, 1, seconds, Set(256, flow(5, 1)))); len(r) != 1 {
		t.Fatalf("%d records by the template of another port of the domain, want 1", len(r))
	}
	if r := decode(t, d, other, V9(1, 2, 1, seconds, Set(256, flow(5, 1)))); len(r) != 0 {
		t.Fatalf("%d records by the template of another domain", len(r))
	}
}

func TestTwoLiveLayouts(t *testing.T) {
	swapped := []Field{basic[0], basic[1], basic[3], basic[2]}
	third := from
	d := newDecoder()
	decode(t, d, from, V9(0, 1, 1, seconds, Template9(256, basic...)))
	decode(t, d, other, V9(0, 1, 1, seconds, Template9(256, swapped...)))
	third = nextPort(third)
	if r := decode(t, d, third, V9(0, 1, 1, seconds, Set(256, flow(100, 7)))); len(r) != 0 {
		t.Fatal("data of a third port was read though two layouts are alive")
	}
	if d.Stats().HeldSets != 1 {
		t.Error("it is not held either")
	}
	// Each session reads its own.
	if r := decode(t, d, from, V9(1, 1, 1, seconds, Set(256, flow(100, 7)))); r[0].Octets != 100 {
		t.Errorf("%+v", r[0])
	}
	if r := decode(t, d, other, V9(1, 1, 1, seconds, Set(256, flow(7, 100)))); r[0].Octets != 100 {
		t.Errorf("%+v", r[0])
	}
	if r := decode(t, d, third, V9(1, 1, 1, seconds, Template9(256, basic...))); len(r) != 1 || r[0].Octets != 100 {
		t.Errorf("%+v", r)
	}
}

// TestLayoutsOfEndedSessions: an exporter that began anew sends its templates from one new port and its
// data from another. The old layout contradicts the new one only while its session may be alive.
func TestLayoutsOfEndedSessions(t *testing.T) {
	swapped := []Field{basic[0], basic[1], basic[3], basic[2]}
	templates, data := nextPorts(1), nextPorts(2)
	d := newDecoder()
	decode(t, d, from, V9(0, 1, 1, seconds, Template9(256, basic...)))
	send := func(minute int, port netip.AddrPort, set []byte) int {
		t.Helper()
		r, err := d.Decode(nil, port, received.Add(time.Duration(minute)*time.Minute), V9(uint32(minute), 1, 1, seconds, set))
		if err != nil {
			t.Fatal(err)
		}
		for _, rec := range r {
			if rec.Octets != 100 {
				t.Errorf("minute %d: %+v", minute, rec)
			}
		}
		return len(r)
	}
	send(1, templates, Template9(256, swapped...))
	if n := send(2, data, Set(256, flow(7, 100))); n != 0 || d.Stats().HeldSets != 1 {
		t.Errorf("%d records while two layouts are alive", n)
	}
	if n := send(9, templates, Template9(256, swapped...)); n != 0 {
		t.Errorf("%d records while two layouts are alive", n)
	}
	if n := send(11, templates, Template9(256, swapped...)); n != 1 || d.Stats().HeldSets != 0 {
		t.Errorf("%d records with the refresh after the old session ended, want the one that waited", n)
	}
	if n := send(12, data, Set(256, flow(7, 100))); n != 1 {
		t.Errorf("%d records, want 1", n)
	}
}

// TestCountOfV9IsNotBelieved: some exporters write the number of sets, some 1, some nothing.
func TestCountOfV9IsNotBelieved(t *testing.T) {
	for _, count := range []uint16{0, 1, 2, 7, 65535} {
		b := V9(0, 1, 1, seconds, Template9(256, basic...), Set(256, flow(1, 1), flow(2, 1)), Set(256, flow(3, 1)), Template9(257, basic...), Set(257, flow(4, 1)))
		copy(b[2:], U16(count))
		d := newDecoder()
		if r := decode(t, d, from, b); len(r) != 4 || octetsOf(r) != 10 || len(d.Stats().DroppedCounts()) != 0 {
			t.Errorf("a count of %d: %d records, dropped %v", count, len(r), d.Stats().DroppedCounts())
		}
	}
}

func TestTemplateFlood(t *testing.T) {
	d := newDecoder()
	for id := uint16(256); id < 2256; id++ {
		decode(t, d, from, V9(uint32(id), 1, 1, seconds, Template9(id, basic...)))
	}
	s := d.Stats()
	if s.Templates != 256 || s.Dropped[netflow.DroppedTemplateLimit] != 2000-256 {
		t.Errorf("%d templates, %d refused", s.Templates, s.Dropped[netflow.DroppedTemplateLimit])
	}
	// A flood in one domain leaves the others alone, and old ones give way in time.
	if r := decode(t, d, from, V9(0, 2, 1, seconds, Template9(256, basic...), Set(256, flow(1, 1)))); len(r) != 1 {
		t.Error("another domain suffers")
	}
	late, err := d.Decode(nil, from, received.Add(time.Hour), V9(9000, 1, 1, seconds, Template9(5000, basic...), Set(5000, flow(1, 1))))
	if err != nil || len(late) != 1 {
		t.Errorf("%d records an hour later, %v", len(late), err)
	}
}

func TestTemplatesOfAllDomainsAreBounded(t *testing.T) {
	limits := netflow.DefaultLimits()
	limits.FieldsTotal = 10 * len(basic)
	d := netflow.NewDecoder(limits)
	for domain := range uint32(100) {
		decode(t, d, from, V9(0, domain, 1, seconds, Template9(256, basic...)))
	}
	if s := d.Stats(); s.Templates != 10 || s.Dropped[netflow.DroppedTemplateLimit] != 90 {
		t.Errorf("%d templates, %d refused", s.Templates, s.Dropped[netflow.DroppedTemplateLimit])
	}
}

func TestLost(t *testing.T) {
	v9 := newDecoder()
	decode(t, v9, from, V9(10, 1, 1000, seconds), V9(11, 1, 2000, seconds), V9(15, 1, 3000, seconds), V9(3, 2, 1, seconds))
	v5 := newDecoder()
	r := Record5{Source: "192.0.2.9", Destination: "192.0.2.8"}
	decode(t, v5, from, V5(100, 1, seconds, 0, 0, r, r), V5(102, 1, seconds, 0, 0, r), V5(113, 1, seconds, 0, 0, r), V5(0, 1, seconds, 7, 0, r))
	ipfix := newDecoder()
	decode(t, ipfix, from, IPFIX(0, 1, seconds, TemplateIPFIX(256, basic...), Set(256, flow(1, 1), flow(1, 1))), IPFIX(7, 1, seconds, Set(256, flow(1, 1))))
	for name, got := range map[string]int64{
		"v9 datagrams": v9.Stats().LostDatagrams - 3, "v5 flows": v5.Stats().LostFlows - 10, "IPFIX records": ipfix.Stats().LostRecords - 5,
	} {
		if got != 0 {
			t.Errorf("%s: %d too many", name, got)
		}
	}
}

func TestRestoreCountsWhatWasMissed(t *testing.T) {
	before := newDecoder()
	decode(t, before, from, V9(10, 7, 1000, seconds), V5(100, 1, seconds, 3, 0, Record5{Source: "192.0.2.9", Destination: "192.0.2.8"}))
	positions := before.Positions()
	if len(positions) != 2 || positions[0].Key != "netflow5/domain/3/port/2055" || positions[1].Key != "netflow9/domain/7/port/2055" {
		t.Fatalf("%v", positions)
	}
	after := newDecoder()
	after.Restore(append(positions, &schemas.SourcePosition{Key: "guest/x"}, &schemas.SourcePosition{Key: "netflow9/domain/x/port/1"}))
	decode(t, after, from, V9(16, 7, 9000, seconds), V5(105, 9000, seconds, 3, 0))
	if s := after.Stats(); s.LostDatagrams != 5 || s.LostFlows != 4 {
		t.Errorf("lost %d datagrams, %d flows, want 5, 4", s.LostDatagrams, s.LostFlows)
	}
	rebooted := newDecoder()
	rebooted.Restore([]*schemas.SourcePosition{{Key: "netflow9/domain/7/port/2055", Values: []uint64{500, 9_000_000}}})
	decode(t, rebooted, from, V9(0, 7, 1000, seconds))
	if s := rebooted.Stats(); s.LostDatagrams != 0 || s.Restarts != 1 {
		t.Errorf("lost %d datagrams, %d restarts, want 0, 1", s.LostDatagrams, s.Restarts)
	}
}
