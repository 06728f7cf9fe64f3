package sflow_test

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"testing"
	"time"

	"hostmeter/collector/sflow"
	. "hostmeter/collector/sflow/sflowtest"
	"hostmeter/schemas"
)

var (
	received = time.Unix(1_790_000_000, 0)
	ours     = "192.0.2.9"
	theirs   = "198.51.100.7"
	ours6    = "2001:db8::9"
	theirs6  = "2001:db8:ffff::7"
)

func newDecoder() *sflow.Decoder { return sflow.NewDecoder(sflow.DefaultLimits()) }

func decode(t *testing.T, d *sflow.Decoder, datagrams ...[]byte) (records []schemas.FlowRecord) {
	t.Helper()
	for _, b := range datagrams {
		var err error
		if records, err = d.Decode(records, received, b); err != nil {
			t.Fatal(err)
		}
	}
	return records
}

var plain = Header(1, 1518, Ethernet(0x0800, IPv4(1500, 6, 0, ours, theirs, 0, TCP(443, 50_000, 0x12))))

func TestFlowSample(t *testing.T) {
	want := schemas.FlowRecord{
		Source: netip.MustParseAddr(ours), Destination: netip.MustParseAddr(theirs), SourcePort: 443, DestinationPort: 50_000,
		IPProtocol: 6, TCPFlags: 0x12, Direction: schemas.DirectionIngress, InInterface: 3, OutInterface: 4,
		Octets: 1500, Packets: 1, OctetsL2: 1518,
		SamplingNumerator: 1024, SamplingDenominator: 1, SamplingOrigin: schemas.SamplingRecord, ObservationDomain: 9,
	}
	d := newDecoder()
	r := decode(t, d, Datagram(9, 0, 1, Flow(0, 3, 1024, 3, 4, plain), ExpandedFlow(1, 3, 1024, [2]uint32{0, 3}, [2]uint32{0, 4}, plain)))
	if len(r) != 2 || r[0] != want || r[1] != want {
		t.Errorf("got  %+v\nwant %+v", r, want)
	}
	if s := d.Stats(); s.Records != 2 || s.ReportedOctets != 3036 || s.ReportedPackets != 2 || s.Datagrams() != 1 {
		t.Errorf("%+v", s)
	}
}

func TestInterfaces(t *testing.T) {
	f := func(name string, sample []byte, in, out schemas.IfIndex, direction schemas.FlowDirection) {
		t.Helper()
		r := decode(t, newDecoder(), Datagram(0, 0, 1, sample))
		if len(r) != 1 || r[0].InInterface != in || r[0].OutInterface != out || r[0].Direction != direction {
			t.Errorf("%s: %+v", name, r)
		}
	}
	f("egress", Flow(0, 4, 1, 3, 4, plain), 3, 4, schemas.DirectionEgress)
	f("flooded to two", Flow(0, 3, 1, 3, 0x80000002, plain), 3, 0, schemas.DirectionIngress)
	f("discarded", Flow(0, 3, 1, 3, 0x40000102, plain), 3, 0, schemas.DirectionIngress)
	f("the device itself", Flow(0, 9, 1, 0x3fffffff, 0x3fffffff, plain), 0, 0, schemas.DirectionUnknown)
	f("expanded and flooded", ExpandedFlow(0, 3, 1, [2]uint32{0, 3}, [2]uint32{2, 2}, plain), 3, 0, schemas.DirectionIngress)
	f("expanded, beyond 24 bits", ExpandedFlow(0, 1<<28, 1, [2]uint32{0, 1 << 28}, [2]uint32{0, 5}, plain), 1<<28, 5, schemas.DirectionIngress)
	f("a source that is no interface", Flow(0, 1<<24|3, 1, 3, 4, plain), 3, 4, schemas.DirectionUnknown)
}

// TestHeaders holds what is read of a sampled frame: layer 3 octets, and ports where there are any.
func TestHeaders(t *testing.T) {
	f := func(name string, protocol uint32, packet []byte, wantOctets uint64, wantPort uint16, wantFragment bool) {
		t.Helper()
		r := decode(t, newDecoder(), Datagram(0, 0, 1, Flow(0, 3, 1, 3, 4, Header(protocol, 1000, packet))))
		if len(r) != 1 || r[0].Octets != wantOctets || r[0].SourcePort != wantPort || r[0].Fragment != wantFragment || r[0].OctetsL2 != 1000 {
			t.Errorf("%s: %+v", name, r)
			return
		}
		if wantOctets > 0 && r[0].Source != netip.MustParseAddr(ours) && r[0].Source != netip.MustParseAddr(ours6) {
			t.Errorf("%s: from %s", name, r[0].Source)
		}
	}
	four := IPv4(900, 17, 0, ours, theirs, 0, UDP(53, 4000))
	six := func(next uint8, payload ...[]byte) []byte { return IPv6(860, next, ours6, theirs6, payload...) }
	f("Ethernet", 1, Ethernet(0x0800, four), 900, 53, false)
	f("one tag", 1, Ethernet(0x8100, Tag(7, 0x0800), four), 900, 53, false)
	f("QinQ 88a8", 1, Ethernet(0x88a8, Tag(7, 0x8100), Tag(9, 0x0800), four), 900, 53, false)
	f("QinQ 9100", 1, Ethernet(0x9100, Tag(7, 0x8100), Tag(9, 0x86dd), six(17, UDP(53, 1))), 900, 53, false)
	f("MPLS", 1, Ethernet(0x8847, Words(100<<12, 200<<12|0x100), four), 900, 53, false)
	f("pseudowire", 1, Ethernet(0x8847, Words(100<<12|0x100, 0), Ethernet(0x0800, four)), 900, 53, false)
	f("PPPoE", 1, Ethernet(0x8864, []byte{0x11, 0, 0, 1, 3, 0, 0, 0x21}, four), 900, 53, false)
	f("PPPoE in QinQ, IPv6", 1, Ethernet(0x88a8, Tag(7, 0x8100), Tag(9, 0x8864), []byte{0x11, 0, 0, 1, 3, 0, 0, 0x57}, six(17, UDP(53, 1))), 900, 53, false)
	f("PPPoE discovery", 1, Ethernet(0x8863, []byte{0x11, 9, 0, 1, 3, 0, 0, 0x21}, four), 0, 0, false)
	f("MPLS in a VLAN", 1, Ethernet(0x8100, Tag(7, 0x8847), Words(100<<12|0x100), six(17, UDP(53, 1))), 900, 53, false)
	f("a tagged pseudowire", 1, Ethernet(0x8847, Words(100<<12|0x100, 0), Ethernet(0x8100, Tag(7, 0x0800), four)), 900, 53, false)
	f("nine tags", 1, Ethernet(0x8100, Tag(1, 0x8100), Tag(2, 0x8100), Tag(3, 0x8100), Tag(4, 0x8100), Tag(5, 0x8100), Tag(6, 0x8100), Tag(7, 0x8100), Tag(8, 0x8100), Tag(9, 0x0800), four), 900, 53, false)
	f("tags and nothing else", 1, Ethernet(0x8100, Tag(1, 0x8100), Tag(2, 0x8100)), 0, 0, false)
	f("an IPv6 header whose extension is cut off", 12, six(43, []byte{17, 9}, make([]byte, 6)), 900, 0, false)
	f("SNAP", 1, Ethernet(100, []byte{0xaa, 0xaa, 3, 0, 0, 0, 8, 0}, four), 900, 53, false)
	f("raw IPv4", 11, four, 900, 53, false)
	f("raw IPv6", 12, six(17, UDP(53, 1)), 900, 53, false)
	f("PPP", 7, Join([]byte{0xff, 3, 0, 0x21}, four), 900, 53, false)
	f("MPLS without Ethernet", 13, Join(Words(100<<12|0x100), four), 900, 53, false)
	f("IP options move the ports", 1, Ethernet(0x0800, IPv4(900, 17, 0, ours, theirs, 12, UDP(53, 4000))), 900, 53, false)
	f("the first fragment", 1, Ethernet(0x0800, IPv4(900, 17, 0x2000, ours, theirs, 0, UDP(53, 4000))), 900, 53, true)
	f("a later fragment has no ports", 1, Ethernet(0x0800, IPv4(900, 17, 0x00b9, ours, theirs, 0, UDP(53, 4000))), 900, 0, true)
	f("don't fragment is no fragment", 1, Ethernet(0x0800, IPv4(900, 17, 0x4000, ours, theirs, 0, UDP(53, 4000))), 900, 53, false)
	f("IPv6 extension headers", 12, six(0, []byte{60, 0}, make([]byte, 6), []byte{43, 1}, make([]byte, 14), []byte{17, 0}, make([]byte, 6), UDP(53, 1)), 900, 53, false)
	f("IPv6 authentication", 12, six(51, []byte{17, 4}, make([]byte, 22), UDP(53, 1)), 900, 53, false)
	f("IPv6 first fragment", 12, six(44, []byte{17, 0, 0, 1, 0, 0, 0, 9}, UDP(53, 1)), 900, 53, true)
	f("IPv6 later fragment", 12, six(44, []byte{17, 0, 0, 9, 0, 0, 0, 9}, UDP(53, 1)), 900, 0, true)
	f("IPv6 of a length left open", 12, IPv6(0, 17, ours6, theirs6, UDP(53, 1)), 1000, 53, false)
	f("IPv6 without a payload", 1, Ethernet(0x86dd, IPv6(0, 59, ours6, theirs6)), 40, 0, false)
	f("packet over SONET, PPP", 14, Join([]byte{0xff, 3, 0, 0x57}, six(17, UDP(53, 1))), 900, 53, false)
	f("packet over SONET, HDLC", 14, Join([]byte{0x0f, 0, 8, 0}, four), 900, 53, false)
	f("segmentation offload leaves the length open", 1, Ethernet(0x8100, Tag(7, 0x0800), IPv4(0, 17, 0, ours, theirs, 0, UDP(53, 1))), 1000-18-4, 53, false)
	f("ports cut off", 1, Ethernet(0x0800, four)[:34], 900, 0, false)
	f("half of the IP header", 1, Ethernet(0x0800, four)[:30], 0, 0, false)
	f("ARP", 1, Ethernet(0x0806, make([]byte, 28)), 0, 0, false)
	f("a version that is none", 11, []byte{0x75, 0, 0, 0}, 0, 0, false)
	f("an endless label stack", 1, Ethernet(0x8847, make([]byte, 100)), 0, 0, false)
	f("an unknown header protocol", 4, four, 0, 0, false)
}

func TestSummaries(t *testing.T) {
	four := Tagged(3, Join(Words(1400, 6), Address(ours), Address(theirs), Words(443, 50_000, 0x10, 0)))
	six := Tagged(4, Join(Words(1300, 17), Address(ours6), Address(theirs6), Words(53, 9, 0, 0)))
	ethernet := Tagged(2, Join(Words(1418), make([]byte, 16), Words(0x0800)))
	f := func(name string, octets, layer2 uint64, port uint16, records ...[]byte) {
		t.Helper()
		r := decode(t, newDecoder(), Datagram(0, 0, 1, Flow(0, 3, 1, 3, 4, records...)))
		if len(r) != 1 || r[0].Octets != octets || r[0].OctetsL2 != layer2 || r[0].SourcePort != port {
			t.Errorf("%s: %+v", name, r)
		}
	}
	f("IPv4", 1400, 0, 443, four)
	f("IPv6", 1300, 0, 53, six)
	f("Ethernet and IPv4", 1400, 1418, 443, ethernet, four)
	f("the header wins over the summary behind it", 1500, 1518, 443, plain, four)
	f("and before it", 1500, 1518, 443, four, plain)
	f("a header that is not IP leaves it to the summary", 1400, 64, 443, Header(1, 64, Ethernet(0x0806)), four)
	f("an extension is passed over", 1500, 1518, 443, Tagged(1001, make([]byte, 16)), plain, Tagged(1003, make([]byte, 5+3)))
	f("only Ethernet", 0, 1418, 0, ethernet)
}

func TestUnknownRate(t *testing.T) {
	r := decode(t, newDecoder(), Datagram(0, 0, 1, Flow(0, 3, 0, 3, 4, plain)))
	if len(r) != 1 || r[0].SamplingOrigin != schemas.SamplingUnknown || r[0].SamplingNumerator != 0 {
		t.Errorf("%+v", r)
	}
}

func TestCounterSamples(t *testing.T) {
	d := newDecoder()
	expanded := Tagged(4, Join(Words(5, 0, 70_000, 2), Tagged(2, make([]byte, 52)), Interface(70_000, 1<<40, 2, 3)))
	unsupported := Counters(1, 8, 1<<64-1, 1<<64-1, 0)
	decode(t, d, Datagram(0, 0, 555, Counters(1, 7, 1<<33, 1<<34, 100), expanded, unsupported))
	c := d.Counters()
	if len(c) != 2 || d.Stats().CounterSamples != 3 {
		t.Fatalf("%d counters of %d samples", len(c), d.Stats().CounterSamples)
	}
	want := sflow.CounterSample{
		IfIndex: 7, SpeedBitsPerSecond: 10_000_000_000, InOctets: 1 << 33, OutOctets: 1 << 34,
		InUnicast: 100, InMulticast: 100, InBroadcast: 100, InDiscards: 7, InErrors: 8,
		OutUnicast: 100, OutMulticast: 100, OutBroadcast: 100, OutDiscards: 10, OutErrors: 11, UptimeMilliseconds: 555,
	}
	if c[0] != want || c[0].InPackets() != 300 || c[0].OutPackets() != 300 {
		t.Errorf("%+v", c[0])
	}
	if c[1].IfIndex != 70_000 || c[1].InOctets != 1<<40 {
		t.Errorf("%+v", c[1])
	}
	if decode(t, d, Datagram(0, 1, 556)); len(d.Counters()) != 0 {
		t.Error("counters of the datagram before")
	}
}

// TestBadInput holds what is refused, by which reason, and that the neighbours are still read.
func TestBadInput(t *testing.T) {
	good := Flow(0, 3, 1, 3, 4, plain)
	f := func(name string, want sflow.Reason, wantRecords int, datagram []byte) {
		t.Helper()
		d := newDecoder()
		r, _ := d.Decode(nil, received, datagram)
		if s := d.Stats(); len(r) != wantRecords || s.Dropped[want] != 1 || len(s.DroppedCounts()) != 1 {
			t.Errorf("%s: %d records, want %d; dropped %v, want %s", name, len(r), wantRecords, s.DroppedCounts(), want)
		}
	}
	patched := func(b []byte, at int, n uint32) []byte {
		b = Join(b)
		binary.BigEndian.PutUint32(b[at:], n)
		return b
	}
	f("cut short", sflow.DroppedShort, 0, Datagram(0, 0, 1)[:27])
	f("an agent of another kind", sflow.DroppedShort, 0, patched(Datagram(0, 0, 1), 4, 7))
	f("version 4", sflow.DroppedVersion, 0, Words(4, 1, 2, 3, 4, 5, 6, 7))
	f("more samples than there are", sflow.DroppedSampleLength, 1, patched(Datagram(0, 0, 1, good), 24, 4_000_000_000))
	f("a sample longer than the datagram", sflow.DroppedSampleLength, 1, Datagram(0, 0, 1, good, Words(1, 4_000_000_000, 1)))
	f("a flow sample of 8 octets", sflow.DroppedSampleLength, 2, Datagram(0, 0, 1, good, Tagged(1, make([]byte, 8)), good))
	f("an expanded flow sample of 40 octets", sflow.DroppedSampleLength, 2, Datagram(0, 0, 1, good, Tagged(3, make([]byte, 40)), good))
	f("a counter sample of 8 octets", sflow.DroppedSampleLength, 2, Datagram(0, 0, 1, good, Tagged(2, make([]byte, 8)), good))
	f("4 thousand million records in an expanded sample", sflow.DroppedRecordLength, 2,
		Datagram(0, 0, 1, good, patched(ExpandedFlow(0, 3, 1, [2]uint32{}, [2]uint32{}), 8+40, 1<<32-1), good))
	f("4 thousand million counters", sflow.DroppedRecordLength, 2, Datagram(0, 0, 1, good, Tagged(2, Words(1, 1, 1<<32-1)), good))
	f("a record longer than its sample", sflow.DroppedRecordLength, 2, Datagram(0, 0, 1, good, Flow(0, 3, 1, 3, 4, Words(1, 1<<31, 1)), good))
	f("no record that tells of the packet", sflow.DroppedNoPacket, 2, Datagram(0, 0, 1, good, Flow(0, 3, 1, 3, 4, Tagged(1001, make([]byte, 16))), good))
	f("a sample of an unknown kind", sflow.DroppedUnknown, 2, Datagram(0, 0, 1, good, Tagged(4413<<12|1, make([]byte, 8)), good))
	f("a notice of a discarded packet", sflow.DroppedDiscarded, 2, Datagram(0, 0, 1, good, Tagged(5, Join(Words(1, 0, 3, 0, 3, 4, 256, 1), plain)), good))
	if _, err := newDecoder().Decode(nil, received, nil); !errors.Is(err, sflow.ErrShort) {
		t.Error(err)
	}
}

func TestHeaderLengthIsNotBelieved(t *testing.T) {
	record := Join(plain)
	binary.BigEndian.PutUint32(record[8+12:], 1<<31)
	if r := decode(t, newDecoder(), Datagram(0, 0, 1, Flow(0, 3, 1, 3, 4, record))); len(r) != 1 || r[0].Octets != 1500 {
		t.Errorf("%+v", r)
	}
}

func TestLost(t *testing.T) {
	d := newDecoder()
	sample := func(sequence, source uint32) []byte { return Flow(sequence, source, 1, 3, 4, plain) }
	decode(t, d, Datagram(0, 5, 1000, sample(1, 3), sample(100, 4)), Datagram(0, 9, 2000, sample(2, 3), sample(108, 4)), Datagram(1, 7, 1, sample(1, 3)))
	if s := d.Stats(); s.LostDatagrams != 3 || s.LostSamples != 7 {
		t.Errorf("lost %d datagrams, %d samples, want 3, 7", s.LostDatagrams, s.LostSamples)
	}
	after := newDecoder()
	after.Restore(append(d.Positions(), &schemas.SourcePosition{Key: "sflow5/agent/x"}, &schemas.SourcePosition{Key: "sflow5/agent/x/sub/1", Values: []uint64{1, 2}}))
	decode(t, after, Datagram(0, 12, 9000, sample(5, 3), sample(109, 4)))
	if s := after.Stats(); s.LostDatagrams != 2 || s.LostSamples != 2 || len(after.Positions()) != len(d.Positions()) {
		t.Errorf("after a restart lost %d datagrams, %d samples, want 2, 2", s.LostDatagrams, s.LostSamples)
	}
	rebooted := newDecoder()
	rebooted.Restore(d.Positions())
	decode(t, rebooted, Datagram(0, 1, 100, sample(1, 3)))
	if s := rebooted.Stats(); s.LostDatagrams != 0 || s.LostSamples != 0 || s.Restarts != 0 {
		t.Errorf("after a reboot within the minute: %+v", s)
	}
}

// TestSequences holds what is lost of datagrams and of samples, each with one sample, when they are lost, overtake
// each other, come twice, wrap and begin anew.
func TestSequences(t *testing.T) {
	type step struct{ number, uptime uint32 }
	f := func(name string, wantLost int64, steps ...step) {
		t.Helper()
		for kind, sample := range map[string]func(uint32) []byte{
			"compact":  func(n uint32) []byte { return Flow(n, 3, 1, 3, 4, plain) },
			"expanded": func(n uint32) []byte { return ExpandedFlow(n, 3, 1, [2]uint32{0, 3}, [2]uint32{0, 4}, plain) },
		} {
			d := newDecoder()
			for _, s := range steps {
				decode(t, d, Datagram(0, s.number, s.uptime, sample(s.number)))
			}
			if s := d.Stats(); s.LostDatagrams != wantLost || s.LostSamples != wantLost || s.Records != uint64(len(steps)) {
				t.Errorf("%s, %s: lost %d datagrams, %d samples, want %d", name, kind, s.LostDatagrams, s.LostSamples, wantLost)
			}
		}
	}
	f("in order", 0, step{1, 1000}, step{2, 2000}, step{3, 3000})
	f("two are lost", 2, step{1, 1000}, step{2, 2000}, step{5, 3000})
	f("two overtake each other", 0, step{1, 1000}, step{3, 3000}, step{2, 2000}, step{4, 4000})
	f("one comes twice", 0, step{1, 1000}, step{2, 2000}, step{2, 2000}, step{3, 3000})
	f("numbers wrap", 1, step{1<<32 - 1, 1000}, step{0, 2000}, step{2, 3000})
	f("the agent begins anew", 0, step{5000, 9_000_000}, step{1, 1000}, step{2, 2000})
	f("it begins anew, and loses one", 1, step{5000, 9_000_000}, step{1, 1000}, step{3, 2000})
	f("the uptime wraps", 1, step{10, 1<<32 - 1000}, step{11, 500}, step{13, 1500})
}

// TestAgentsBehindOneSender: agents, with IPv4, IPv6 or no address, and sub-agents number for themselves.
func TestAgentsBehindOneSender(t *testing.T) {
	sample := Flow(1, 3, 1, 3, 4, plain)
	agent := func(head []byte, sub, number uint32) []byte { return Join(head, Words(sub, number, 1000, 1), sample) }
	heads := [][]byte{
		Join(Words(5, 1), Address("192.0.2.250")), Join(Words(5, 1), Address("192.0.2.251")), Join(Words(5, 2), Address("2001:db8::250")), Words(5, 0),
	}
	d := newDecoder()
	records := 0
	for round := range uint32(3) {
		for i, head := range heads {
			for sub := range uint32(2) {
				records += len(decode(t, d, agent(head, sub, uint32(i)*1000+sub*100_000+round)))
			}
		}
	}
	if s := d.Stats(); records != 24 || s.LostDatagrams != 0 || s.Restarts != 0 || len(s.DroppedCounts()) != 0 {
		t.Errorf("%d records, %+v", records, s)
	}
	decode(t, d, agent(heads[2], 1, 2000+100_000+5))
	if s := d.Stats(); s.LostDatagrams != 2 {
		t.Errorf("%d datagrams lost, want 2 of the agent with an IPv6 address", s.LostDatagrams)
	}
}

func BenchmarkDecode(b *testing.B) {
	var samples [][]byte
	for i := range uint32(6) {
		samples = append(samples, Flow(i, 3, 1024, 3, 4, Header(1, 1518, Ethernet(0x0800, IPv4(1500, 6, 0, ours, theirs, 0, TCP(443, 50_000, 0x12), make([]byte, 74))))))
	}
	datagram := Datagram(0, 0, 1, samples...)
	d := newDecoder()
	var dst []schemas.FlowRecord
	b.ReportAllocs()
	for b.Loop() {
		dst, _ = d.Decode(dst[:0], received, datagram)
		if len(dst) != 6 || dst[5].Octets != 1500 {
			b.Fatalf("%+v", dst)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*6), "ns/sample")
}
