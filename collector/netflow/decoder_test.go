package netflow_test

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"hostmeter/collector/netflow"
	. "hostmeter/collector/netflow/netflowtest"
	"hostmeter/schemas"
)

const seconds = 1_790_000_000

var (
	received = time.Unix(seconds+1, 0)
	from     = netip.MustParseAddrPort("192.0.2.250:2055")
	other    = netip.MustParseAddrPort("192.0.2.250:40000")
)

// basic is a template of source, destination, octets and packets of 4 octets each.
var basic = []Field{{ID: 8, Length: 4}, {ID: 12, Length: 4}, {ID: 1, Length: 4}, {ID: 2, Length: 4}}

func flow(octets, packets uint32) []byte {
	return join(Address("192.0.2.9"), Address("198.51.100.7"), U32(octets), U32(packets))
}

func join(parts ...[]byte) (b []byte) {
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

// decode sends datagrams from one port through one decoder and returns all records.
func decode(t *testing.T, d *netflow.Decoder, from netip.AddrPort, datagrams ...[]byte) (records []schemas.FlowRecord) {
	t.Helper()
	for _, b := range datagrams {
		var err error
		if records, err = d.Decode(records, from, received, b); err != nil {
			t.Fatal(err)
		}
	}
	return records
}

func newDecoder() *netflow.Decoder { return netflow.NewDecoder(netflow.DefaultLimits()) }

func octetsOf(records []schemas.FlowRecord) (octets uint64) {
	for _, r := range records {
		octets += r.Octets
	}
	return octets
}

func TestV5(t *testing.T) {
	d := newDecoder()
	records := decode(t, d, from, V5(7, 100_000, seconds, 0x0102, 1<<14|1000, Record5{
		Source: "192.0.2.9", Destination: "198.51.100.7", In: 3, Out: 65535, Packets: 10, Octets: 14_000,
		FirstMS: 70_000, LastMS: 90_000, SourcePort: 80, DestinationPort: 40000, Flags: 0x1b, Protocol: 6,
	}))
	want := schemas.FlowRecord{
		Source: netip.MustParseAddr("192.0.2.9"), Destination: netip.MustParseAddr("198.51.100.7"),
		SourcePort: 80, DestinationPort: 40000, IPProtocol: 6, TCPFlags: 0x1b, InInterface: 3, OutInterface: 65535,
		Octets: 14_000, Packets: 10, SamplingNumerator: 1000, SamplingDenominator: 1, SamplingOrigin: schemas.SamplingHeader,
		FlowStart: (seconds - 30) * 1e9, FlowEnd: (seconds - 10) * 1e9, ObservationDomain: 0x0102,
	}
	if len(records) != 1 || records[0] != want {
		t.Errorf("got  %+v\nwant %+v", records, want)
	}
	if s := d.Stats(); s.Records != 1 || s.ReportedOctets != 14_000 || s.ReportedPackets != 10 || s.Datagrams() != 1 {
		t.Errorf("stats %+v", s)
	}
}

func TestV5Sampling(t *testing.T) {
	f := func(field uint16, want uint32) {
		t.Helper()
		r := decode(t, newDecoder(), from, V5(0, 1, seconds, 0, field, Record5{Source: "192.0.2.9", Destination: "192.0.2.8"}))
		if r[0].SamplingNumerator != want || r[0].SamplingDenominator != 1 {
			t.Errorf("%#x: %d/%d, want %d", field, r[0].SamplingNumerator, r[0].SamplingDenominator, want)
		}
	}
	f(0, 1)
	f(1, 1)
	f(1<<14, 1) // a mode without an interval
	f(1<<14|10, 10)
	f(2<<14|16383, 16383)
	f(100, 100) // an interval without a mode
}

func TestTimesOfUptime(t *testing.T) {
	f := func(name string, uptime, first, last uint32, wantStart, wantEnd int64) {
		t.Helper()
		fields := append([]Field{{ID: 22, Length: 4}, {ID: 21, Length: 4}}, basic...)
		v9 := decode(t, newDecoder(), from, V9(0, 1, uptime, seconds, Template9(256, fields...), Set(256, U32(first), U32(last), flow(1, 1))))
		v5 := decode(t, newDecoder(), from, V5(0, uptime, seconds, 0, 0, Record5{Source: "192.0.2.9", Destination: "192.0.2.8", FirstMS: first, LastMS: last}))
		for protocol, r := range map[string]schemas.FlowRecord{"v9": v9[0], "v5": v5[0]} {
			if start, end := r.FlowStart-seconds*1e9, r.FlowEnd-seconds*1e9; start != wantStart*1e6 || end != wantEnd*1e6 {
				t.Errorf("%s, %s: %d ms to %d ms from the export, want %d to %d", name, protocol, start/1e6, end/1e6, wantStart, wantEnd)
			}
		}
	}
	f("plain", 100_000, 40_000, 90_000, -60_000, -10_000)
	f("the uptime wrapped since the flow began", 5_000, 1<<32-5_000, 4_000, -10_000, -1_000)
	f("the flow ends 2 ms after the header's uptime", 100_000, 99_000, 100_002, -1_000, 2)
	f("the end is before the start", 100_000, 90_000, 80_000, -10_000, -10_000)
}

func TestAbsoluteTimes(t *testing.T) {
	const start, end = int64(1_789_999_000), int64(1_789_999_030)
	ntp := func(unix int64, fraction uint32) []byte { return join(U32(uint32(unix+2_208_988_800)), U32(fraction)) }
	f := func(name string, wantStart, wantEnd int64, fields []Field, values ...[]byte) {
		t.Helper()
		r := decode(t, newDecoder(), from, IPFIX(0, 1, seconds, TemplateIPFIX(256, append(fields, basic...)...), Set(256, join(values...), flow(1, 1))))
		if r[0].FlowStart != wantStart || r[0].FlowEnd != wantEnd {
			t.Errorf("%s: %d to %d, want %d to %d", name, r[0].FlowStart, r[0].FlowEnd, wantStart, wantEnd)
		}
	}
	f("seconds", start*1e9, end*1e9, []Field{{ID: 150, Length: 4}, {ID: 151, Length: 4}}, U32(uint32(start)), U32(uint32(end)))
	f("milliseconds", start*1e9+7e6, end*1e9, []Field{{ID: 152, Length: 8}, {ID: 153, Length: 8}}, U64(uint64(start*1000+7)), U64(uint64(end*1000)))
	f("microseconds", start*1e9+5e8, end*1e9, []Field{{ID: 154, Length: 8}, {ID: 155, Length: 8}}, ntp(start, 1<<31), ntp(end, 0))
	f("nanoseconds", start*1e9+25e7, end*1e9, []Field{{ID: 156, Length: 8}, {ID: 157, Length: 8}}, ntp(start, 1<<30), ntp(end, 0))
	f("microseconds before the export", (seconds-2)*1e9, (seconds-1)*1e9, []Field{{ID: 158, Length: 4}, {ID: 159, Length: 4}}, U32(2_000_000), U32(1_000_000))
	f("uptime with systemInit", (seconds-60)*1e9, (seconds-10)*1e9, []Field{{ID: 160, Length: 8}, {ID: 22, Length: 4}, {ID: 21, Length: 4}},
		U64((seconds-3600)*1000), U32(3_540_000), U32(3_590_000))
	f("uptime without systemInit", 0, 0, []Field{{ID: 22, Length: 4}, {ID: 21, Length: 4}}, U32(1), U32(2))
	f("an end and a duration", (end-5)*1e9, end*1e9, []Field{{ID: 151, Length: 4}, {ID: 161, Length: 4}}, U32(uint32(end)), U32(5000))
}

// TestCounters holds the rules for which of many counters count.
func TestCounters(t *testing.T) {
	type counters struct{ octets, packets, reverseOctets, reversePackets, layer2 uint64 }
	f := func(name string, want counters, fields ...Field) {
		t.Helper()
		var record []byte
		for i, f := range fields {
			value := make([]byte, f.Length)
			value[f.Length-1] = byte(10 * (i + 1)) // the first is 10, the second 20 ...
			record = append(record, value...)
		}
		r := decode(t, newDecoder(), from, IPFIX(0, 1, seconds, TemplateIPFIX(256, fields...), Set(256, record)))
		got := counters{r[0].Octets, r[0].Packets, r[0].ReverseOctets, r[0].ReversePackets, r[0].OctetsL2}
		if len(r) != 1 || got != want {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
	id := func(id uint16) Field { return Field{ID: id, Length: 8} }
	reverse := func(id uint16) Field { return Field{ID: id, Length: 8, PEN: 29305} }
	f("delta", counters{octets: 10, packets: 20}, id(1), id(2))
	f("reduced to 1, 3, 5 and 7 octets", counters{octets: 10, packets: 20, reverseOctets: 30, reversePackets: 40},
		Field{ID: 1, Length: 1}, Field{ID: 2, Length: 3}, Field{ID: 1, Length: 5, PEN: 29305}, Field{ID: 2, Length: 7, PEN: 29305})
	f("delta beside totals", counters{octets: 10, packets: 30}, id(1), id(85), id(2), id(86))
	f("totals beside delta", counters{octets: 20, packets: 40}, id(85), id(1), id(86), id(2))
	f("only totals", counters{octets: 10, packets: 20}, id(85), id(86))
	f("delta and total mixed", counters{octets: 10, packets: 20}, id(85), id(2))
	f("post counters do not overwrite", counters{octets: 10, packets: 20}, id(1), id(2), id(23), id(24))
	f("post counters first", counters{octets: 30, packets: 40}, id(23), id(24), id(1), id(2))
	f("only post counters", counters{octets: 10, packets: 20}, id(23), id(24))
	f("initiator and responder", counters{octets: 10, packets: 30, reverseOctets: 20, reversePackets: 40}, id(231), id(232), id(298), id(299))
	f("initiator beside delta", counters{octets: 30}, id(231), id(232), id(1))
	f("biflow", counters{octets: 10, packets: 20, reverseOctets: 30, reversePackets: 40}, id(1), id(2), reverse(1), reverse(2))
	f("biflow of totals", counters{octets: 10, packets: 20, reverseOctets: 30, reversePackets: 40}, id(85), id(86), reverse(85), reverse(86))
	f("layer 2", counters{octets: 10, layer2: 20}, id(1), id(352))
	f("another enterprise's 1 is not octets", counters{octets: 20}, Field{ID: 1, Length: 4, PEN: 9}, id(1))
	f("9 octets are no counter", counters{octets: 0, packets: 20}, Field{ID: 1, Length: 9}, id(2))
	f("the first of two equal fields", counters{octets: 10}, id(1), id(1))
}

func TestOnlyLayer2(t *testing.T) {
	f := func(frames, packets uint32, want uint64) {
		t.Helper()
		r := decode(t, newDecoder(), from, IPFIX(0, 1, seconds, TemplateIPFIX(256, Field{ID: 352, Length: 4}, Field{ID: 2, Length: 4}), Set(256, U32(frames), U32(packets))))
		if r[0].Octets != want || r[0].OctetsL2 != uint64(frames) {
			t.Errorf("%d octets of %d frames: %d at layer 3, want %d", frames, packets, r[0].Octets, want)
		}
	}
	f(1000, 10, 860)
	f(140, 10, 0)
	f(139, 10, 139) // no frames are so short: it cannot count them
}

// TestFirewallEvents holds Cisco's NSEL: updates tell differences, the end of a flow its total.
func TestFirewallEvents(t *testing.T) {
	const deleted, updated = 2, 5
	fields := []Field{{ID: 148, Length: 4}, {ID: 8, Length: 4}, {ID: 12, Length: 4}, {ID: 233, Length: 1}, {ID: 323, Length: 8},
		{ID: 231, Length: 4}, {ID: 232, Length: 4}, {ID: 298, Length: 4}}
	type event struct {
		id, at, kind            uint32
		octets, reverse, packet uint32
	}
	f := func(name string, wantOctets, wantReverse, wantPackets uint64, events ...event) {
		t.Helper()
		d := newDecoder()
		decode(t, d, from, V9(0, 1, 1, seconds, Template9(256, fields...)))
		var octets, reverse, packets uint64
		for _, e := range events {
			for _, r := range decode(t, d, from, V9(0, 1, 1, seconds, Set(256, U32(e.id), Address("192.0.2.9"), Address("198.51.100.7"), U8(uint8(e.kind)),
				U64(uint64(seconds+e.at)*1000), U32(e.octets), U32(e.reverse), U32(e.packet)))) {
				octets, reverse, packets = octets+r.Octets, reverse+r.ReverseOctets, packets+r.Packets
			}
		}
		if octets != wantOctets || reverse != wantReverse || packets != wantPackets {
			t.Errorf("%s: %d, %d octets, %d packets, want %d, %d, %d", name, octets, reverse, packets, wantOctets, wantReverse, wantPackets)
		}
	}
	f("a short flow", 900, 90, 9, event{1, 0, deleted, 900, 90, 9})
	f("updates and a total", 900, 90, 9, event{1, 0, updated, 500, 50, 5}, event{1, 60, updated, 400, 40, 4}, event{1, 61, deleted, 900, 90, 9})
	f("what came behind the last update", 950, 90, 9, event{1, 0, updated, 900, 90, 9}, event{1, 61, deleted, 950, 90, 9})
	f("the last update behind the end", 900, 90, 9, event{1, 0, updated, 500, 50, 5}, event{1, 60, deleted, 900, 90, 9}, event{1, 60, updated, 400, 40, 4})
	f("an update behind the end of a short flow", 900, 90, 9, event{1, 60, deleted, 900, 90, 9}, event{1, 60, updated, 900, 90, 9})
	f("two flows", 1800, 180, 18, event{1, 0, updated, 900, 90, 9}, event{2, 1, deleted, 900, 90, 9}, event{1, 2, deleted, 900, 90, 9})
	f("a number used again", 1500, 150, 15, event{1, 0, updated, 900, 90, 9}, event{1, 1, deleted, 900, 90, 9}, event{1, 70, updated, 600, 60, 6}, event{1, 71, deleted, 600, 60, 6})
	f("a number used again with updates", 2000, 200, 20, event{1, 0, updated, 900, 90, 9}, event{1, 1, deleted, 900, 90, 9},
		event{1, 70, updated, 600, 60, 6}, event{1, 130, updated, 500, 50, 5}, event{1, 131, deleted, 1100, 110, 11})
	f("an end that is no total", 1000, 100, 10, event{1, 0, updated, 900, 90, 9}, event{1, 61, deleted, 100, 10, 1})
	f("creation and denial count as they stand", 30, 3, 2, event{1, 0, 1, 10, 1, 1}, event{1, 1, 3, 20, 2, 1})
}

// TestRunningTotalsAreOfTheirTime: what a flow added since its last record is not spread over the time
// before that.
func TestRunningTotalsAreOfTheirTime(t *testing.T) {
	d := newDecoder()
	decode(t, d, from, IPFIX(0, 1, seconds, TemplateIPFIX(256, Field{ID: 8, Length: 4}, Field{ID: 85, Length: 8}, Field{ID: 150, Length: 4}, Field{ID: 151, Length: 4})))
	f := func(end, total, wantStart uint32, wantOctets uint64) {
		t.Helper()
		r := decode(t, d, from, IPFIX(0, 1, seconds, Set(256, Address("192.0.2.9"), U64(uint64(total)), U32(seconds-600), U32(seconds-600+end))))
		if got := r[0].FlowStart - (seconds-600)*1e9; got != int64(wantStart)*1e9 || r[0].Octets != wantOctets {
			t.Errorf("the record of %d s begins at %d s with %d octets, want %d, %d", end, got/1e9, r[0].Octets, wantStart, wantOctets)
		}
	}
	f(60, 1000, 0, 1000)
	f(120, 5000, 60, 4000)
	f(120, 5000, 120, 0) // sent twice
	f(90, 3000, 0, 0)    // overtaken by a later total, which holds it
	f(300, 9000, 120, 4000)
	f(360, 700, 300, 700) // began anew
}

func TestRunningTotals(t *testing.T) {
	d := newDecoder()
	fields := []Field{{ID: 8, Length: 4}, {ID: 12, Length: 4}, {ID: 85, Length: 8}, {ID: 85, Length: 8, PEN: 29305}, {ID: 152, Length: 8}}
	record := func(octets, reverse, start uint64) []byte {
		return Set(256, Address("192.0.2.9"), Address("198.51.100.7"), U64(octets), U64(reverse), U64(start))
	}
	decode(t, d, from, IPFIX(0, 1, seconds, TemplateIPFIX(256, fields...)))
	f := func(octets, reverse, start, wantOctets, wantReverse uint64) {
		t.Helper()
		r := decode(t, d, from, IPFIX(0, 1, seconds, record(octets, reverse, start)))
		if r[0].Octets != wantOctets || r[0].ReverseOctets != wantReverse {
			t.Errorf("%d, %d: %d, %d, want %d, %d", octets, reverse, r[0].Octets, r[0].ReverseOctets, wantOctets, wantReverse)
		}
	}
	f(1000, 0, 1, 1000, 0)
	f(1500, 70, 1, 500, 70)
	f(1500, 90, 1, 0, 20)
	f(300, 5, 2, 300, 5)    // another flow of the same ends
	f(200, 100, 1, 200, 10) // a total that fell began anew
}

func TestDetails(t *testing.T) {
	fields := []Field{
		{ID: 4, Length: 1}, {ID: 6, Length: 2}, {ID: 7, Length: 2}, {ID: 11, Length: 2}, {ID: 10, Length: 4}, {ID: 14, Length: 2},
		{ID: 61, Length: 1}, {ID: 88, Length: 2}, {ID: 27, Length: 16}, {ID: 28, Length: 16}, {ID: 1, Length: 8},
	}
	r := decode(t, newDecoder(), from, IPFIX(0, 9, seconds, TemplateIPFIX(256, fields...), Set(256,
		U8(17), U16(0x112), U16(53), U16(4000), U32(70000), U16(3), U8(1), U16(185), Address("2001:db8::1"), Address("::ffff:192.0.2.4"), U64(99))))
	want := schemas.FlowRecord{
		Source: netip.MustParseAddr("2001:db8::1"), Destination: netip.MustParseAddr("192.0.2.4"), SourcePort: 53, DestinationPort: 4000,
		IPProtocol: 17, TCPFlags: 0x12, InInterface: 70000, OutInterface: 3, Direction: schemas.DirectionEgress, Fragment: true,
		Octets: 99, ObservationDomain: 9,
	}
	if len(r) != 1 || r[0] != want {
		t.Errorf("got  %+v\nwant %+v", r, want)
	}
}

func TestVariableLength(t *testing.T) {
	fields := []Field{{ID: 371, Length: Variable}, {ID: 8, Length: 4}, {ID: 12, Length: 4}, {ID: 1, Length: 4}, {ID: 96, Length: Variable}, {ID: 2, Length: 4}}
	record := func(name []byte, octets, packets uint32) []byte {
		return join(name, Address("192.0.2.9"), Address("198.51.100.7"), U32(octets), U8(0), U32(packets))
	}
	d := newDecoder()
	long := append([]byte{255, 1, 4}, make([]byte, 260)...)
	r := decode(t, d, from, IPFIX(0, 1, seconds, TemplateIPFIX(256, fields...),
		Set(256, record([]byte{3, 'a', 'd', 'a'}, 100, 1), record([]byte{0}, 200, 2), record(long, 300, 3), []byte{0, 0, 0}),
		Set(256, record([]byte{0}, 400, 4), []byte{250}, make([]byte, 30), []byte{1}))) // the second is cut short
	if len(r) != 4 || octetsOf(r) != 1000 || r[2].Packets != 3 {
		t.Errorf("%+v", r)
	}
	if n := d.Stats().Dropped[netflow.DroppedRecordLength]; n != 1 {
		t.Errorf("%d records cut short, want 1", n)
	}
}

func TestSectionOfPacket(t *testing.T) {
	frame := join(make([]byte, 12), U16(0x0800), []byte{0x45, 0}, U16(1400), make([]byte, 5), []byte{6, 0, 0},
		Address("192.0.2.9"), Address("198.51.100.7"), U16(443), U16(50000), make([]byte, 9), []byte{0x18})
	r := decode(t, newDecoder(), from, IPFIX(0, 1, seconds, TemplateIPFIX(256, Field{ID: 10, Length: 4}, Field{ID: 315, Length: Variable}),
		Set(256, U32(5), U8(uint8(len(frame))), frame)))
	if len(r) != 1 || r[0].Octets != 1400 || r[0].Packets != 1 || r[0].SourcePort != 443 || r[0].TCPFlags != 0x18 || r[0].InInterface != 5 {
		t.Errorf("%+v", r)
	}
}

func TestFrameSizeBoundsTheSection(t *testing.T) {
	f := func(claimed, size uint16, want uint64) {
		t.Helper()
		frame := join(make([]byte, 12), U16(0x0800), []byte{0x45, 0}, U16(claimed), make([]byte, 5), []byte{6, 0, 0}, Address("192.0.2.9"), Address("198.51.100.7"))
		r := decode(t, newDecoder(), from, IPFIX(0, 1, seconds, TemplateIPFIX(256, Field{ID: 312, Length: 2}, Field{ID: 315, Length: uint16(len(frame))}),
			Set(256, U16(size), frame)))
		if len(r) != 1 || r[0].Octets != want || r[0].Packets != 1 || r[0].OctetsL2 != uint64(size) {
			t.Errorf("%d octets claimed in a frame of %d: %+v, want %d", claimed, size, r, want)
		}
	}
	f(1400, 1414, 1400)
	f(65535, 64, 50)
	f(0, 1514, 1500)
	f(1400, 0, 1400)
}

// TestBadInput holds what is refused, by which reason, and that the rest is still read.
func TestBadInput(t *testing.T) {
	good := Template9(300, basic...)
	data := Set(300, flow(70, 1))
	f := func(name string, want netflow.Reason, times, wantRecords int, datagrams ...[]byte) {
		t.Helper()
		d := newDecoder()
		var records []schemas.FlowRecord
		for _, b := range datagrams {
			records, _ = d.Decode(records, from, received, b)
		}
		s := d.Stats()
		if len(records) != wantRecords || s.Dropped[want] != uint64(times) || len(s.DroppedCounts()) != 1 {
			t.Errorf("%s: %d records, want %d; dropped %v, want %d of %s", name, len(records), wantRecords, s.DroppedCounts(), times, want)
		}
	}
	v9 := func(sets ...[]byte) []byte { return V9(0, 1, 1, seconds, sets...) }
	f("nothing", netflow.DroppedShort, 1, 0, []byte{})
	f("v5 header cut short", netflow.DroppedShort, 1, 0, V5(0, 1, seconds, 0, 0)[:20])
	f("v9 header cut short", netflow.DroppedShort, 1, 0, v9()[:19])
	f("IPFIX longer than told", netflow.DroppedTrailing, 1, 0, append(IPFIX(0, 1, seconds), 1, 2, 3, 4))
	f("IPFIX shorter than told", netflow.DroppedShort, 1, 0, IPFIX(0, 1, seconds, TemplateIPFIX(256, basic...))[:20])
	f("version 7", netflow.DroppedVersion, 1, 0, []byte{0, 7, 0, 0})
	f("v5 count of 30 over one record", netflow.DroppedCount, 1, 0, func() []byte {
		b := V5(0, 1, seconds, 0, 0, Record5{Source: "192.0.2.9", Destination: "192.0.2.8"})
		b[3] = 30
		return b
	}())
	f("zero-field template", netflow.DroppedTemplateEmpty, 1, 1, v9(Template9(256), good, data))
	f("fields of no octets", netflow.DroppedTemplateEmpty, 1, 1, v9(Template9(256, Field{ID: 1, Length: 0}), good, data))
	f("a template cut short", netflow.DroppedTemplateInvalid, 1, 1, v9(Set(0, U16(256), U16(9), U16(1), U16(4)), good, data))
	f("a template with a set's id", netflow.DroppedTemplateInvalid, 1, 1, v9(Template9(255, basic...), good, data))
	f("a template of 70,000 octets", netflow.DroppedTemplateInvalid, 1, 1, v9(Template9(256, Field{ID: 1, Length: 65530}, Field{ID: 2, Length: 60000}), good, data))
	f("a reserved set", netflow.DroppedReservedSet, 1, 1, v9(Set(7, U32(1)), good, data))
	f("a set of 3 octets", netflow.DroppedSetLength, 1, 1, v9(good, data, []byte{1, 44, 0, 3}))
	f("a set longer than the datagram", netflow.DroppedSetLength, 1, 1, v9(good, data, append(U16(300), U16(400)...)))
	f("too many domains", netflow.DroppedDomains, 3, 0, func() (b [][]byte) {
		for i := range uint32(259) {
			b = append(b, V9(0, i, 1, seconds))
		}
		return b
	}()...)
}

func TestZeroFieldDataWaitsForever(t *testing.T) {
	// Data of a template that was refused is held, not looped over.
	d := newDecoder()
	decode(t, d, from, V9(0, 1, 1, seconds, Template9(256), Set(256, make([]byte, 64))))
	if s := d.Stats(); s.HeldSets != 1 || s.HeldOctets != 64 {
		t.Errorf("held %d sets of %d octets, want 1 of 64", s.HeldSets, s.HeldOctets)
	}
}

func TestErrors(t *testing.T) {
	for b, want := range map[string]error{"\x00\x05": netflow.ErrShort, "\x00\x07\x00": netflow.ErrVersion} {
		if _, err := newDecoder().Decode(nil, from, received, []byte(b)); !errors.Is(err, want) {
			t.Errorf("%x: %v, want %v", b, err, want)
		}
	}
}

func TestPaddingIsNoError(t *testing.T) {
	d := newDecoder()
	r := decode(t, d, from, V9(0, 1, 1, seconds, Template9(256, basic...), Set(256, flow(50, 1), []byte{0, 0}), make([]byte, 600)))
	if len(r) != 1 || len(d.Stats().DroppedCounts()) != 0 {
		t.Errorf("%d records, dropped %v", len(r), d.Stats().DroppedCounts())
	}
}

func TestHeaderCountIsNotBelieved(t *testing.T) {
	b := V9(0, 1, 1, seconds, Template9(256, basic...), Set(256, flow(10, 1)), Set(256, flow(20, 1)), Set(256, flow(30, 1)))
	b[3] = 1
	if r := decode(t, newDecoder(), from, b); octetsOf(r) != 60 {
		t.Errorf("%d octets, want 60", octetsOf(r))
	}
}
