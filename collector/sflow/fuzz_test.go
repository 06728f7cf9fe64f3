package sflow_test

import (
	"testing"
	"time"

	"hostmeter/collector/fuzztest"
	"hostmeter/collector/sflow/frame"
	. "hostmeter/collector/sflow/sflowtest"
)

// FuzzDecode feeds one datagram, with and without a look into tunnels: it must end, and make no more
// records than the octets can hold.
func FuzzDecode(f *testing.F) {
	f.Add(Datagram(0, 0, 1, Flow(0, 3, 1024, 3, 4, plain), Counters(1, 7, 1, 2, 3)))
	f.Add(Datagram(0, 0, 1, ExpandedFlow(0, 3, 1, [2]uint32{0, 3}, [2]uint32{2, 2}, Tagged(3, make([]byte, 32)), Tagged(4, make([]byte, 56)))))
	f.Add(Datagram(0, 0, 1, Flow(0, 3, 1, 3, 4, Header(1, 99, Ethernet(0x8847, Words(0x100, 0), Ethernet(0x86dd, IPv6(9, 44, ours6, theirs6, make([]byte, 40))))))))
	f.Add(Datagram(0, 0, 1, Tagged(3, Words(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1<<32-1)), Tagged(5, make([]byte, 40))))
	outer := func(protocol uint8, inner ...[]byte) []byte {
		return Header(1, 500, Ethernet(0x0800, IPv4(400, protocol, 0, ours, theirs, 0, inner...)))
	}
	six := IPv6(60, 17, ours6, theirs6, UDP(53, 1))
	f.Add(Datagram(0, 0, 1, Flow(0, 3, 1, 3, 4, outer(17, VXLAN(9, 7), Ethernet(0x86dd, six)), outer(47, []byte{0x20, 0, 0x65, 0x58, 0, 0, 0, 1}, Ethernet(0x86dd, six)), outer(41, six))))
	fuzztest.AddCorpus(f)
	f.Fuzz(func(t *testing.T, datagram []byte) {
		d := newDecoder()
		d.LookInto(frame.Tunnels(len(datagram) % 8))
		begun := time.Now()
		r, _ := d.Decode(nil, received, datagram)
		if len(r)*40 > len(datagram) || len(d.Counters())*88 > len(datagram) {
			t.Fatalf("%d records, %d counters out of %d octets", len(r), len(d.Counters()), len(datagram))
		}
		if s := d.Stats(); s.Records != uint64(len(r)) || s.ReportedPackets != uint64(len(r)) {
			t.Fatalf("%+v", s)
		}
		d = newDecoder()
		if d.Skip(datagram); len(d.Stats().DroppedCounts()) != 1 || d.Stats().Datagrams() != 1 {
			t.Fatalf("%+v", d.Stats())
		}
		if took := time.Since(begun); took > 2*time.Second {
			t.Fatalf("took %s", took)
		}
	})
}
