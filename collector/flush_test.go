package collector

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"hostmeter/schemas"
)

// A tally that a reader may refuse travels alone, so that nothing is refused with it.
func TestOutsizedTalliesTravelAlone(t *testing.T) {
	b := newCut(1, nil)
	b.exporters = []string{"198.51.100.1"}
	b.shards[0].accounts = []*schemas.ExporterAccount{{Exporter: "198.51.100.1"}}
	b.addGuest(&schemas.GuestUsage{Guest: "g"})
	for _, octets := range []uint64{outsized, 1, outsized + 1, 2, 3} {
		b.tallies.add(&schemas.Tally{Meter: "address:192.0.2.1", Out: &schemas.Traffic{Octets: octets}})
	}
	var octets uint64
	guests, accounts := 0, 0
	for _, batch := range b.batches("c", false) {
		encoded, err := batch.MarshalVT()
		if err != nil {
			t.Fatal(err)
		}
		read := &schemas.Batch{}
		if err := proto.Unmarshal(encoded, read); err != nil {
			t.Fatal(err)
		}
		guests, accounts = guests+len(read.Guests), accounts+len(read.Accounts)
		for _, tally := range read.Tallies {
			octets += tally.Out.Octets
			if tally.Out.Octets >= outsized && len(read.Tallies)+len(read.Guests)+len(read.Accounts) > 1 {
				t.Errorf("an outsized tally is not alone: %v", read)
			}
		}
	}
	if octets != 2*outsized+1+6 || guests != 1 || accounts != 1 {
		t.Errorf("%d octets, %d guests, %d accounts", octets, guests, accounts)
	}
}
