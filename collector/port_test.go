package collector_test

import (
	"encoding/binary"
	"testing"
	"time"

	"hostmeter/collector"
)

// counterSample writes an sFlow v5 datagram with the generic counters of interface 17.
func counterSample(sequence, uptime uint32, inOctets, outOctets uint64, inPackets, outPackets uint32) []byte {
	be := binary.BigEndian
	body := be.AppendUint32(nil, 17) // ifIndex
	body = be.AppendUint32(body, 6)  // ethernetCsmacd
	body = be.AppendUint64(body, 10_000_000_000)
	body = be.AppendUint32(body, 1)
	body = be.AppendUint32(body, 3)
	body = be.AppendUint64(body, inOctets)
	for _, n := range []uint32{inPackets, 0, 0, 0, 0, 0} {
		body = be.AppendUint32(body, n)
	}
	body = be.AppendUint64(body, outOctets)
	for _, n := range []uint32{outPackets, 0, 0, 0, 0, 0} {
		body = be.AppendUint32(body, n)
	}
	sample := be.AppendUint32(nil, sequence)
	sample = be.AppendUint32(sample, 17) // source: interface 17
	sample = be.AppendUint32(sample, 1)  // one record
	sample = be.AppendUint32(sample, 1)  // generic interface counters
	sample = be.AppendUint32(sample, uint32(len(body)))
	sample = append(sample, body...)
	d := be.AppendUint32(nil, 5)
	d = be.AppendUint32(d, 1)
	d = append(d, 198, 51, 100, 1)
	d = be.AppendUint32(d, 0)
	d = be.AppendUint32(d, sequence)
	d = be.AppendUint32(d, uptime)
	d = be.AppendUint32(d, 1)
	d = be.AppendUint32(d, 2) // counters sample
	d = be.AppendUint32(d, uint32(len(sample)))
	return append(d, sample...)
}

// What the switch received at a port is what the customer behind it sent.
func TestPortCounters(t *testing.T) {
	const port = "port:198.51.100.1/17"
	type sample struct {
		at                    time.Duration
		uptime                uint32
		inOctets, outOctets   uint64
		inPackets, outPackets uint32
	}
	f := func(name string, wantSent, wantReceived uint64, reason string, samples ...sample) {
		t.Helper()
		log := newMemLog()
		c := newCollector(t, config(), collector.Deps{Log: log})
		for i, s := range samples {
			c.Feed(edge, after(s.at), counterSample(uint32(i+1), s.uptime, s.inOctets, s.outOctets, s.inPackets, s.outPackets))
		}
		flush(t, c, after(time.Hour))
		b := log.books(t)
		b.checkLaws(t)
		if b.in[port] != wantReceived || b.out[port] != wantSent {
			t.Fatalf("%s: in %d, out %d, want %d, %d", name, b.in[port], b.out[port], wantReceived, wantSent)
		}
		if reason != "" && b.counts["198.51.100.1/dropped/samples/"+reason] != 1 {
			t.Fatalf("%s: %v, want one sample dropped as %s", name, b.counts, reason)
		}
		a := b.accounts["198.51.100.1 sflow5"]
		if a.GetCounterSamples() != uint64(len(samples)) || a.GetOctets() != 0 {
			t.Fatalf("%s: account %v: counters are no flows", name, a)
		}
	}
	f("the first sample is a baseline; octets are layer 3", 9_820, 19_820, "",
		sample{0, 1000, 1e9, 2e9, 100, 200}, sample{20 * time.Second, 21_000, 1e9 + 10_000, 2e9 + 20_000, 110, 210})
	f("packets wrap at 32 bits", 10_000-10*18, 0, "",
		sample{0, 1000, 1e9, 2e9, 1<<32 - 4, 200}, sample{20 * time.Second, 21_000, 1e9 + 10_000, 2e9, 6, 200})
	f("a restarted agent begins a baseline", 1000-18, 0, "",
		sample{0, 900_000, 1e9, 2e9, 100, 200}, sample{20 * time.Second, 1000, 5000, 0, 5, 0}, sample{40 * time.Second, 21_000, 6000, 0, 6, 0})
	f("an older sample that comes late is passed over", 20_000-20*18, 0, "reordered",
		sample{0, 100_000, 1e9, 0, 100, 0}, sample{20 * time.Second, 120_000, 1e9 + 15_000, 0, 115, 0},
		sample{21 * time.Second, 110_000, 1e9 + 9_000, 0, 109, 0}, sample{40 * time.Second, 140_000, 1e9 + 20_000, 0, 120, 0})
	f("a counter that falls begins a baseline", 5000-5*18, 0, "counter_reset",
		sample{0, 100_000, 1e9, 0, 100, 0}, sample{20 * time.Second, 120_000, 1e6, 0, 100, 0}, sample{40 * time.Second, 140_000, 1e6 + 5000, 0, 105, 0})
	f("a jump beyond the line rate begins a baseline", 5000-5*18, 0, "counter_reset",
		sample{0, 100_000, 1e9, 0, 100, 0}, sample{20 * time.Second, 120_000, 1e15, 0, 100, 0}, sample{40 * time.Second, 140_000, 1e15 + 5000, 0, 105, 0})
}
