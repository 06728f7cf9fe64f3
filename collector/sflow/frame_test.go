package sflow_test

import (
	"net/netip"
	"reflect"
	"testing"

	"hostmeter/collector/sflow"
	"hostmeter/collector/sflow/frame"
	. "hostmeter/collector/sflow/sflowtest"
)

// TestLengthIsNotBelievedBeyondTheFrame: anybody can write 65535 into the IP header of a small packet.
func TestLengthIsNotBelievedBeyondTheFrame(t *testing.T) {
	f := func(name string, frameLength uint32, packet []byte, want, wantCut uint64) {
		t.Helper()
		d := newDecoder()
		r := decode(t, d, Datagram(0, 0, 1, Flow(0, 3, 1000, 3, 4, Header(1, frameLength, packet))))
		if len(r) != 1 || r[0].Octets != want || d.Stats().LengthsCut != wantCut {
			t.Errorf("%s: %d octets, %d cut, want %d, %d", name, r[0].Octets, d.Stats().LengthsCut, want, wantCut)
		}
	}
	claims := func(octets uint16, payload int) []byte {
		return Ethernet(0x0800, IPv4(octets, 17, 0, ours, theirs, 0, UDP(53, 4000), make([]byte, payload)))
	}
	f("as long as the frame", 1518, claims(1500, 72), 1500, 0)
	f("without FCS", 1514, claims(1500, 72), 1500, 0)
	f("one octet more", 1514, claims(1501, 72), 1496, 1)
	f("65535 in a frame of 64", 64, claims(65535, 18), 46, 1)
	f("65535 in a frame of 60, without FCS", 60, claims(65535, 18), 42, 1)
	f("IPv6", 100, Ethernet(0x86dd, IPv6(60_000, 17, ours6, theirs6, UDP(53, 1))), 82, 1)
	f("a jumbogram that is none", 100, Ethernet(0x86dd, IPv6(0, 0, ours6, theirs6, []byte{17, 0, 0xc2, 4, 0, 1, 0x86, 0xa0}, UDP(53, 1))), 82, 1)
	f("a jumbogram", 100_100, Ethernet(0x86dd, IPv6(0, 0, ours6, theirs6, []byte{17, 0, 0xc2, 4, 0, 1, 0x86, 0xa0}, UDP(53, 1))), 100_040, 0)
	f("an agent that tells what it kept instead of the frame", 114, claims(1500, 72), 1500, 0)
	f("a frame of no octets", 0, claims(1500, 72), 0, 1)
}

func TestTunnels(t *testing.T) {
	const all = frame.VXLAN | frame.GRE | frame.IPIP
	const hostA, hostB = "203.0.113.1", "203.0.113.2"
	outer := func(octets uint16, protocol uint8, payload ...[]byte) []byte {
		return Ethernet(0x0800, IPv4(octets, protocol, 0, hostA, hostB, 0, payload...))
	}
	inner := IPv4(900, 17, 0, ours, theirs, 0, UDP(53, 4000))
	inner6 := IPv6(860, 17, ours6, theirs6, UDP(53, 4000))
	f := func(name string, tunnels frame.Tunnels, packet []byte, wantSource string, wantOctets uint64, wantPort uint16) {
		t.Helper()
		d := newDecoder()
		d.LookInto(tunnels)
		r := decode(t, d, Datagram(0, 0, 1, Flow(0, 3, 1, 3, 4, Header(1, 1018, packet))))
		if len(r) != 1 || r[0].Source != netip.MustParseAddr(wantSource) || r[0].Octets != wantOctets || r[0].SourcePort != wantPort || r[0].OctetsL2 != 1018 {
			t.Errorf("%s: %+v", name, r)
		}
	}
	vxlan := outer(950, 17, VXLAN(1234, 7), Ethernet(0x8100, Tag(5, 0x0800), inner))
	f("VXLAN", all, vxlan, ours, 900, 53)
	f("VXLAN outside", 0, vxlan, hostA, 950, 1234)
	f("VXLAN while GRE is looked into", frame.GRE, vxlan, hostA, 950, 1234)
	f("VXLAN without its flag", all, outer(950, 17, UDP(1234, 4789), make([]byte, 8), Ethernet(0x0800, inner)), hostA, 950, 1234)
	f("VXLAN with ARP", all, outer(950, 17, VXLAN(1234, 7), Ethernet(0x0806, make([]byte, 28))), hostA, 950, 1234)
	f("VXLAN cut off", all, outer(950, 17, VXLAN(1234, 7), Ethernet(0x0800, inner[:12])), hostA, 950, 1234)
	f("another UDP port", all, outer(950, 17, UDP(1234, 4790), make([]byte, 8), Ethernet(0x0800, inner)), hostA, 950, 1234)
	f("GRE", all, outer(924, 47, []byte{0, 0, 8, 0}, inner), ours, 900, 53)
	f("GRE outside", frame.IPIP, outer(924, 47, []byte{0, 0, 8, 0}, inner), hostA, 924, 0)
	f("GRE with checksum, key and number, IPv6", all, outer(924, 47, []byte{0xb0, 0, 0x86, 0xdd}, make([]byte, 12), inner6), ours6, 900, 53)
	f("GRE with Ethernet", all, outer(938, 47, []byte{0x20, 0, 0x65, 0x58}, make([]byte, 4), Ethernet(0x0800, inner)), ours, 900, 53)
	f("GRE of version 1", all, outer(938, 47, []byte{0x20, 1, 0x88, 0x0b}, make([]byte, 4), inner), hostA, 938, 0)
	f("IPv4 in IPv4", all, outer(920, 4, inner), ours, 900, 53)
	f("IPv6 in IPv4", all, outer(920, 41, inner6), ours6, 900, 53)
	f("IPv4 in IPv6", all, Ethernet(0x86dd, IPv6(900, 4, "2001:db8:1::1", "2001:db8:1::2", inner)), ours, 900, 53)
	f("IPv4 in IPv6 behind options", all, Ethernet(0x86dd, IPv6(908, 60, "2001:db8:1::1", "2001:db8:1::2", []byte{4, 0}, make([]byte, 6), inner)), ours, 900, 53)
	f("a later fragment of a tunnel", all, Ethernet(0x0800, IPv4(920, 4, 0x00b9, hostA, hostB, 0, inner)), hostA, 920, 0)
	f("only the outermost tunnel is removed", all, outer(970, 17, VXLAN(1, 7), Ethernet(0x0800, IPv4(924, 47, 0, ours, theirs, 0, []byte{0, 0, 8, 0}, inner))), ours, 924, 0)
	f("a length left open inside", all, outer(1000, 4, IPv4(0, 17, 0, ours, theirs, 0, UDP(53, 1))), ours, 1018-14-20-4, 53)
	f("an inner length beyond the frame", all, outer(1000, 4, IPv4(60_000, 17, 0, ours, theirs, 0, UDP(53, 1))), ours, 1018-14-20-4, 53)
}

// TestEffectiveRate holds the witness: the pool that grew over the samples that were received.
func TestEffectiveRate(t *testing.T) {
	const source = 3
	sample := func(number, pool, drops uint32) []byte {
		return Datagram(0, number, number*1000, PooledFlow(number, source, 1000, pool, drops, plain))
	}
	f := func(name string, pool, samples, unsent uint64, datagrams ...[]byte) {
		t.Helper()
		d := newDecoder()
		decode(t, d, datagrams...)
		want := []sflow.SourceRate{{Agent: netip.MustParseAddr(Agent), Source: source, Stated: 1000, Pool: pool, Samples: samples, Unsent: unsent}}
		if got := d.TakeRates(); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
		if d.Stats().LostAtAgent != unsent {
			t.Errorf("%s: %d lost at the agent", name, d.Stats().LostAtAgent)
		}
		if again := d.TakeRates(); len(again) != 0 {
			t.Errorf("%s: taken twice: %+v", name, again)
		}
	}
	f("as stated", 3000, 3, 0, sample(1, 5000, 7), sample(2, 6000, 7), sample(3, 7000, 7), sample(4, 8000, 7))
	f("one of them lost", 3000, 2, 0, sample(1, 5000, 7), sample(2, 6000, 7), sample(4, 8000, 7))
	f("two overtook each other", 3000, 3, 0, sample(1, 5000, 7), sample(3, 7000, 7), sample(2, 6000, 7), sample(4, 8000, 7))
	f("the agent was short of resources", 2000, 2, 5, sample(1, 5000, 7), sample(2, 6000, 9), sample(3, 7000, 12))
	f("the counters wrap", 2000, 2, 3, sample(1, 1<<32-500, 1<<32-1), sample(2, 500, 1), sample(3, 1500, 2))
	f("the agent began anew", 2000, 2, 0, sample(500, 900_000, 40), sample(501, 901_000, 40), sample(1, 10, 0), sample(2, 1010, 0))
}

func TestUnsentSamplesAreToldApart(t *testing.T) {
	d := newDecoder()
	decode(t, d, Datagram(0, 1, 1, PooledFlow(1, 3, 10, 100, 5, plain)), Datagram(0, 2, 2, PooledFlow(2, 3, 10, 110, 9, plain)))
	c := d.Stats().LostCounts()
	if len(c) != 1 || c[0].Unit != "unsent_samples" || c[0].Count != 4 {
		t.Errorf("%v", c)
	}
}
