package sflow_test

import (
	"runtime"
	"testing"

	. "hostmeter/collector/sflow/sflowtest"
	"hostmeter/schemas"
)

// allocationMost is the stated multiple: what a decoder allocates is at most so many times the octets of
// the datagrams, beside the caller's slice of records, of which 40 octets make one at most.
const allocationMost = 16

// TestAllocationIsBounded sends what makes a decoder remember the most for the fewest octets, and counts of
// what is not there.
func TestAllocationIsBounded(t *testing.T) {
	f := func(name string, datagram func(n uint32) []byte) {
		t.Helper()
		d := newDecoder()
		records := make([]schemas.FlowRecord, 0, 100)
		var all [][]byte
		octets := 0
		for n := range uint32(200) {
			all = append(all, datagram(n))
			octets += len(all[n])
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for _, b := range all {
			records, _ = d.Decode(records[:0], received, b)
		}
		runtime.ReadMemStats(&after)
		got := after.TotalAlloc - before.TotalAlloc
		t.Logf("%s: %d octets for %d, %.1f times", name, got, octets, float64(got)/float64(octets))
		if got > uint64(allocationMost*octets) {
			t.Errorf("%s: allocates %d octets for %d, more than %d times", name, got, octets, allocationMost)
		}
	}
	f("samples of new sources", func(n uint32) []byte {
		var samples [][]byte
		for i := range uint32(20) {
			samples = append(samples, Flow(1, n*20+i+1, 1, 3, 4, Tagged(2, make([]byte, 16))))
		}
		return Datagram(0, n, 1, samples...)
	})
	f("new sub-agents", func(n uint32) []byte { return Datagram(n, 0, 1) })
	f("counters", func(n uint32) []byte {
		return Datagram(0, n, 1, Counters(n, 1, 1, 1, 1), Counters(n, 2, 1, 1, 1), Counters(n, 3, 1, 1, 1))
	})
	f("4 thousand million records that are not there", func(n uint32) []byte {
		return Datagram(0, n, 1, Tagged(3, Words(n, 0, 3, 1, 0, 0, 0, 3, 0, 4, 1<<32-1)), Tagged(2, Words(n, 1, 1<<32-1)))
	})
}
