package collector_test

import (
	"context"
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
	"time"

	"hostmeter/collector"
	"hostmeter/internal/clock"
	"hostmeter/schemas"
)

// nothing is a log that encodes everything, as one on disk does, and keeps the sums of the accounts.
type nothing struct {
	octets uint64
	buffer []byte
}

func (n *nothing) Append(_ context.Context, batches []*schemas.Batch) error {
	for _, b := range batches {
		n.buffer = slices.Grow(n.buffer[:0], b.SizeVT())
		if _, err := b.MarshalToSizedBufferVT(n.buffer[:b.SizeVT()]); err != nil {
			return err
		}
		for _, a := range b.Accounts {
			n.octets += a.Octets
		}
	}
	return nil
}

func (*nothing) Close() error { return nil }

// BenchmarkFeed is the whole path of a v9 datagram of 24 records, from below the socket to batches:
// 50,000 local addresses, a flush every 10,000 datagrams.
func BenchmarkFeed(b *testing.B) {
	const records = 24
	log := &nothing{}
	cfg := config()
	cfg.Local = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	c := newCollector(b, cfg, collector.Deps{Log: log})
	c.Feed(edge, begin, v9(begin, 0, 1, append([][]byte{flowTemplate(false)}, samplingOptions(1)...)...))
	var datagrams [][]byte
	n := uint32(0)
	for range 4096 {
		flows := make([]flow, records)
		for i := range flows {
			n++
			local := netip.AddrFrom4([4]byte{10, 0, byte(n % 50_000 >> 8), byte(n % 50_000)})
			flows[i] = flow{local, theirs, 10, 1000}
		}
		datagrams = append(datagrams, v9(begin, 0, 1, flowData(false, flows...)))
	}
	b.ReportAllocs()
	b.ResetTimer()
	at := begin
	for i := range b.N {
		d := datagrams[i%len(datagrams)]
		binary.BigEndian.PutUint32(d[12:], uint32(i+1))
		at = at.Add(100 * time.Microsecond)
		c.Feed(edge, at, d)
		if i%10_000 == 9_999 {
			flush(b, c, at)
		}
	}
	flush(b, c, at)
	b.StopTimer()
	if want := uint64(b.N) * records * 1000; log.octets != want {
		b.Fatalf("%d octets, want %d", log.octets, want)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*records), "ns/record")
}

// BenchmarkFirstContact saves what 2,000 exporters of 50 templates of 20 fields told, as after a first start.
func BenchmarkFirstContact(b *testing.B) {
	const exporters, templates = 2000, 50
	fields := words()
	for i := range uint16(20) {
		fields = append(fields, words(i+1, 4)...)
	}
	var sets [2][]byte
	for i := range uint16(templates) {
		sets[i%2] = append(sets[i%2], set(0, append(words(256+i, 20), fields...))...)
	}
	for b.Loop() {
		c := newCollector(b, config(collector.ExporterConfig{Address: network("10.0.0.0/16")}),
			collector.Deps{Log: newMemLog(), StateDir: b.TempDir(), Clock: clock.NewManual(begin)})
		if err := c.Open(context.Background()); err != nil {
			b.Fatal(err)
		}
		for half := range sets {
			for i := range exporters {
				c.Feed(netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 2055), begin, v9(begin, uint32(half), 1, sets[half]))
			}
			for i := range exporters/128 + 1 {
				if err := c.Flush(context.Background(), after(time.Duration(i)*time.Second), false); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
}
