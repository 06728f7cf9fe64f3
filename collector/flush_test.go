package collector

import (
	"context"
	"encoding/binary"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"hostmeter/internal/stream"
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

// kept is a log that adds up the octets of the accounts that it is given.
type kept struct {
	stream.Log
	octets uint64
}

func (k *kept) Append(_ context.Context, batches []*schemas.Batch) error {
	for _, b := range batches {
		for _, account := range b.Accounts {
			k.octets += account.Octets
		}
	}
	return nil
}

// A lane that holds its part of many meters makes everything be flushed, the other lanes' too, though no meter is busy.
func TestOneCrowdedLaneFlushesAll(t *testing.T) {
	at := time.Date(2026, 10, 1, 12, 30, 0, 0, time.UTC)
	cfg := DefaultConfig()
	cfg.Local = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	cfg.Exporters = []ExporterConfig{{Address: Network{netip.MustParsePrefix("198.51.100.0/24")}, Sampling: 1}}
	log := &kept{}
	c, err := New(cfg, Deps{Log: log, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	c.lanes = []*lane{newLane(&c.shared, 2), newLane(&c.shared, 2)}
	c.crowdedCells = 20
	feed := func(l *lane, meter byte) {
		d := make([]byte, 24+48)
		binary.BigEndian.PutUint16(d, 5)
		binary.BigEndian.PutUint16(d[2:], 1)
		binary.BigEndian.PutUint32(d[8:], uint32(at.Unix()))
		binary.BigEndian.PutUint32(d[16:], uint32(meter))
		copy(d[24+4:], []byte{192, 0, 2, meter})
		binary.BigEndian.PutUint32(d[24+16:], 1)
		binary.BigEndian.PutUint32(d[24+20:], 1000)
		l.feed(netip.MustParseAddrPort("198.51.100.1:2055"), at, d, l.repeated.hash(d), queue{})
	}
	flushed := func(want uint64) {
		t.Helper()
		if err := c.Flush(context.Background(), at, false); err != nil {
			t.Fatal(err)
		}
		if log.octets != want {
			t.Errorf("%d octets flushed, want %d", log.octets, want)
		}
	}
	feed(c.lanes[1], 0)
	for meter := range byte(9) {
		feed(c.lanes[0], meter)
	}
	flushed(0)
	feed(c.lanes[0], 9)
	flushed(11_000)
}
