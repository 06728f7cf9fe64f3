package collector

import (
	"math"
	"testing"

	"hostmeter/schemas"
)

func TestLayer2RecordsAreConvertedByPackets(t *testing.T) {
	f := func(octets, packets, want uint64) {
		t.Helper()
		r := schemas.FlowRecord{Octets: octets, Packets: packets}
		toLayer3(&r)
		if r.Octets != want || r.OctetsL2 != octets {
			t.Fatalf("%d octets of layer 2 in %d packets: %d of layer 3, %d kept as they were, want %d", octets, packets, r.Octets, r.OctetsL2, want)
		}
	}
	f(1_042_000, 1000, 1_028_000)
	f(14, 1, 0)
	f(13, 1, 13) // no such frame: left as it is
	f(5000, math.MaxUint64, 5000)
}
