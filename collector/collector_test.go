package collector_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"pgregory.net/rapid"

	"hostmeter/collector"
	"hostmeter/internal/clock"
	"hostmeter/schemas"
)

var (
	begin    = time.Date(2026, 10, 1, 12, 30, 0, 0, time.UTC)
	edge     = netip.MustParseAddrPort("198.51.100.1:40000")
	ours     = ip("192.0.2.9")
	ours2    = ip("192.0.2.10")
	theirs   = ip("203.0.113.5")
	theirs2  = ip("203.0.113.6")
	download = flow{theirs, ours, 10, 10_000}
)

const meter = "address:192.0.2.9"

// tester is a *testing.T or a *rapid.T.
type tester interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

func config(exporters ...collector.ExporterConfig) collector.Config {
	cfg := collector.DefaultConfig()
	cfg.Local = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	cfg.Exporters = exporters
	if len(exporters) == 0 {
		cfg.Exporters = []collector.ExporterConfig{{Address: network("198.51.100.1")}}
	}
	return cfg
}

func network(text string) collector.Network {
	var n collector.Network
	if err := n.UnmarshalText([]byte(text)); err != nil {
		panic(err)
	}
	return n
}

func newCollector(t tester, cfg collector.Config, deps collector.Deps) *collector.Collector {
	t.Helper()
	if deps.Clock == nil {
		deps.Clock = clock.NewManual(begin)
	}
	if deps.Logger == nil {
		deps.Logger = slog.New(slog.DiscardHandler)
	}
	c, err := collector.New(cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func flush(t tester, c *collector.Collector, at time.Time) {
	t.Helper()
	if err := c.Flush(context.Background(), at, true); err != nil {
		t.Fatal(err)
	}
}

func after(d time.Duration) time.Time { return begin.Add(d) }

func TestDatagramToTally(t *testing.T) {
	log := newMemLog()
	c := newCollector(t, config(), collector.Deps{Log: log})
	c.Feed(edge, begin, v5(begin, 0, 0, download, flow{ours, theirs, 1, 60}))
	c.Feed(netip.AddrPortFrom(ip("::ffff:198.51.100.1"), 9), after(time.Minute), v5(after(time.Minute), 2, 0, flow{ours, ours2, 3, 300}))
	flush(t, c, after(2*time.Minute))
	b := log.books(t)
	b.checkLaws(t)
	if b.in[meter] != 10_000 || b.out[meter] != 360 || b.in["address:192.0.2.10"] != 300 {
		t.Fatalf("in %v, out %v", b.in, b.out)
	}
	a := b.accounts["198.51.100.1 netflow5"]
	if a.Datagrams != 2 || a.Records != 3 || a.OctetsOnce != 10_060 || a.OctetsBoth != 300 || a.MinutesObserved != 0b11<<30 {
		t.Fatalf("account %v", a)
	}
	if b.batches != 16 {
		t.Fatalf("%d batches, want one for each of 16 shards", b.batches)
	}
	complete := b.complete["198.51.100.1"]
	if want := after(time.Minute - 2*time.Minute).UnixNano(); complete.GetThrough() != want || complete.GetSilent() {
		t.Fatalf("complete %v, want through %d", complete, want)
	}
}

func TestWhoIsNotAllowedIsRefusedAndRemembered(t *testing.T) {
	log := newMemLog()
	c := newCollector(t, config(collector.ExporterConfig{Address: network("198.51.100.0/24")}), collector.Deps{Log: log})
	stranger := netip.MustParseAddrPort("198.51.101.1:40000")
	for i := range 3 {
		c.Feed(stranger, begin, v5(begin, uint32(i), 0, download))
	}
	for i := range 1000 { // made-up senders do not push out the one that knocks again and again
		c.Feed(netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, byte(i >> 8), byte(i)}), 1), after(time.Duration(i)*time.Second), nil)
	}
	flush(t, c, begin)
	if b := log.books(t); b.rows != 0 || len(b.accounts) != 0 {
		t.Fatalf("booked %d octets of %v", b.rows, b.accounts)
	}
	knocks := c.Knocks()
	if len(knocks) != 256 || knocks[0].Address != stranger.Addr() || knocks[0].Datagrams != 3 || knocks[0].Protocol != schemas.NetFlow5 {
		t.Fatalf("%d knocks, first %+v", len(knocks), knocks[0])
	}
}

func TestLongestPrefixCounts(t *testing.T) {
	log := newMemLog()
	c := newCollector(t, config(
		collector.ExporterConfig{Address: network("198.51.100.0/24")},
		collector.ExporterConfig{Address: network("198.51.100.0/28"), Sampling: 100},
	), collector.Deps{Log: log})
	c.Feed(edge, begin, v5(begin, 0, 0, download))
	c.Feed(netip.MustParseAddrPort("198.51.100.200:1"), begin, v5(begin, 0, 0, download))
	flush(t, c, begin)
	if b := log.books(t); b.in[meter] != 10_000*100+10_000 {
		t.Fatalf("in %v", b.in)
	}
}

// An exporter is the same in either form of an IPv4 address, in the configuration and on the wire.
func TestMappedAddresses(t *testing.T) {
	for _, allowed := range []string{"198.51.100.1", "::ffff:198.51.100.1", "198.51.100.0/24", "::ffff:198.51.100.0/120"} {
		for _, sender := range []string{"198.51.100.1", "::ffff:198.51.100.1"} {
			log := newMemLog()
			c := newCollector(t, config(collector.ExporterConfig{Address: network(allowed)}), collector.Deps{Log: log})
			c.Feed(netip.AddrPortFrom(ip(sender), 1), begin, v5(begin, 0, 0, download))
			flush(t, c, begin)
			if b := log.books(t); b.in[meter] != 10_000 || b.accounts["198.51.100.1 netflow5"].GetRecords() != 1 {
				t.Errorf("allowed %s, sent by %s: in %v", allowed, sender, b.in)
			}
		}
	}
}

func TestGarbageOfAnAllowedExporterIsCounted(t *testing.T) {
	log := newMemLog()
	c := newCollector(t, config(), collector.Deps{Log: log})
	c.Feed(edge, begin, nil)
	c.Feed(edge, begin, []byte("not a flow"))
	c.Feed(edge, begin, v5(begin, 0, 0, download)[:30])
	flush(t, c, begin)
	b := log.books(t)
	dropped, datagrams := int64(0), uint64(0)
	for key, n := range b.counts {
		if key[:len("198.51.100.1/dropped/datagrams/")] == "198.51.100.1/dropped/datagrams/" {
			dropped += n
		}
	}
	for _, a := range b.accounts {
		datagrams += a.Datagrams
	}
	if dropped != 3 || datagrams != 3 {
		t.Fatalf("%d datagrams, %d dropped: %v", datagrams, dropped, b.counts)
	}
}

func TestAFlushThatTheLogRefusesIsTriedAgain(t *testing.T) {
	log := newMemLog()
	c := newCollector(t, config(), collector.Deps{Log: log})
	c.Feed(edge, begin, v5(begin, 0, 0, download))
	log.refuse = 3
	for i := range 3 {
		if err := c.Flush(t.Context(), after(time.Duration(i)*time.Second), i > 0); i > 0 && !errors.Is(err, errDisk) {
			t.Fatalf("flush %d: %v", i, err)
		}
		c.Feed(edge, begin, v5(begin, uint32(i+1), 0, download))
	}
	log.refuse = 0
	flush(t, c, after(time.Minute))
	flush(t, c, after(time.Minute))
	b := log.books(t)
	b.checkLaws(t)
	if a := b.accounts["198.51.100.1 netflow5"]; b.in[meter] != 40_000 || a.Records != 4 || a.Datagrams != 4 {
		t.Fatalf("in %v, account %v: want four downloads once", b.in, a)
	}
}

func TestBusyMetersAreFlushedOften(t *testing.T) {
	log := newMemLog()
	c := newCollector(t, config(), collector.Deps{Log: log})
	busy := func() {
		t.Helper()
		if err := c.Flush(t.Context(), begin, false); err != nil {
			t.Fatal(err)
		}
	}
	c.Feed(edge, begin, v5(begin, 0, 0, download))
	busy()
	if b := log.books(t); b.batches != 0 {
		t.Fatalf("%d batches for a little traffic", b.batches)
	}
	c.Feed(edge, begin, v5(begin, 1, 0, flow{theirs, ours, 10_000, 10_000_000}))
	busy()
	b := log.books(t)
	b.checkLaws(t)
	if b.in[meter] != 10_010_000 || b.accounts["198.51.100.1 netflow5"].GetRecords() != 2 {
		t.Fatalf("in %v, accounts %v", b.in, b.accounts)
	}
}

func TestSilenceIsTold(t *testing.T) {
	log := newMemLog()
	c := newCollector(t, config(collector.ExporterConfig{Address: network("198.51.100.1")},
		collector.ExporterConfig{Address: network("198.51.100.2")}), collector.Deps{Log: log})
	flush(t, c, begin)
	c.Feed(edge, after(10*time.Minute), v5(after(10*time.Minute), 0, 0, download))
	flush(t, c, after(16*time.Minute))
	b := log.books(t)
	if b.complete["198.51.100.1"].GetSilent() || !b.complete["198.51.100.2"].GetSilent() {
		t.Fatalf("complete %v", b.complete)
	}
}

func TestSamplingAuto(t *testing.T) {
	type want struct {
		in, packets uint64
		unknown     uint64
	}
	f := func(name string, cfg collector.ExporterConfig, sampler bool, run func(c *collector.Collector, log *memLog), w want) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			cfg.Address = network("198.51.100.1")
			log := newMemLog()
			c := newCollector(t, config(cfg), collector.Deps{Log: log})
			c.Feed(edge, begin, v9(begin, 0, 1, flowTemplate(sampler), flowData(sampler, download)))
			run(c, log)
			b := log.books(t)
			b.checkLaws(t)
			a := b.accounts["198.51.100.1 netflow9"]
			if b.in[meter] != w.in || b.packetsIn[meter] != w.packets || a.GetUnknownSamplingRecords() != w.unknown {
				t.Fatalf("in %d, packets %d, unknown %d; want %+v", b.in[meter], b.packetsIn[meter], a.GetUnknownSamplingRecords(), w)
			}
			if held := b.counts["198.51.100.1/held/records/sampling"]; held != 0 {
				t.Fatalf("%d records still count as held", held)
			}
		})
	}
	tell := func(c *collector.Collector, at time.Time, rate uint32) {
		c.Feed(edge, at, v9(at, 1, 1, samplingOptions(rate)...))
	}
	auto := collector.ExporterConfig{}
	f("an unsampled exporter that never tells is counted at once", auto, false, func(c *collector.Collector, log *memLog) {
		flush(t, c, after(time.Second))
		if b := log.books(t); b.in[meter] != 10_000 {
			t.Fatalf("after a second: in %d", b.in[meter])
		}
		flush(t, c, after(31*time.Minute))
		c.Feed(edge, after(32*time.Minute), v9(after(32*time.Minute), 1, 1, flowData(false, download)))
		flush(t, c, after(33*time.Minute))
	}, want{20_000, 20, 2})
	f("a rate told late corrects what was counted at 1", auto, false, func(c *collector.Collector, log *memLog) {
		flush(t, c, after(time.Second))
		if b := log.books(t); b.in[meter] != 10_000 {
			t.Fatalf("after a second: in %d", b.in[meter])
		}
		tell(c, after(20*time.Minute), 64)
		flush(t, c, after(21*time.Minute))
	}, want{640_000, 640, 1})
	f("a rate told in the same flush", auto, false, func(c *collector.Collector, _ *memLog) {
		tell(c, after(time.Second), 64)
		c.Feed(edge, after(2*time.Second), v9(after(2*time.Second), 2, 1, flowData(false, download)))
		flush(t, c, after(3*time.Second))
	}, want{1_280_000, 1280, 1})
	f("a rate of 2", auto, false, func(c *collector.Collector, _ *memLog) {
		flush(t, c, after(time.Second))
		tell(c, after(2*time.Second), 2)
		flush(t, c, after(3*time.Second))
	}, want{20_000, 20, 1})
	f("a rate of 1 told late changes nothing", auto, false, func(c *collector.Collector, _ *memLog) {
		flush(t, c, after(time.Second))
		tell(c, after(2*time.Second), 1)
		flush(t, c, after(3*time.Second))
	}, want{10_000, 10, 1})
	f("a rate told after half an hour is for what comes then", auto, false, func(c *collector.Collector, _ *memLog) {
		flush(t, c, after(31*time.Minute))
		tell(c, after(32*time.Minute), 64)
		c.Feed(edge, after(33*time.Minute), v9(after(33*time.Minute), 2, 1, flowData(false, download)))
		flush(t, c, after(34*time.Minute))
	}, want{650_000, 650, 1})
	f("records that name a sampler wait for its rate", auto, true, func(c *collector.Collector, log *memLog) {
		flush(t, c, after(time.Second))
		if b := log.books(t); b.in[meter] != 0 || b.counts["198.51.100.1/held/records/sampling"] != 1 {
			t.Fatalf("after a second: in %d, %v", b.in[meter], b.counts)
		}
		tell(c, after(20*time.Minute), 64)
		flush(t, c, after(21*time.Minute))
	}, want{640_000, 640, 0})
	f("with a default above 1 records wait", collector.ExporterConfig{SamplingDefault: 100}, false, func(c *collector.Collector, log *memLog) {
		flush(t, c, after(29*time.Minute))
		if b := log.books(t); b.in[meter] != 0 {
			t.Fatalf("after 29 minutes: in %d", b.in[meter])
		}
		flush(t, c, after(30*time.Minute))
	}, want{1_000_000, 1000, 1})
	f("a configured rate wins over what is told", collector.ExporterConfig{Sampling: 10}, false, func(c *collector.Collector, _ *memLog) {
		tell(c, after(time.Second), 64)
		c.Feed(edge, after(2*time.Second), v9(after(2*time.Second), 2, 1, flowData(false, download)))
		flush(t, c, after(3*time.Second))
	}, want{200_000, 200, 0})
	f("none wins too", collector.ExporterConfig{Sampling: collector.SamplingNone}, false, func(c *collector.Collector, _ *memLog) {
		tell(c, after(time.Second), 64)
		c.Feed(edge, after(2*time.Second), v9(after(2*time.Second), 2, 1, flowData(false, download)))
		flush(t, c, after(3*time.Second))
	}, want{20_000, 20, 0})
}

// What waits holds completeness back: its usage is still to come.
func TestHeldRecordsHoldCompletenessBack(t *testing.T) {
	log := newMemLog()
	c := newCollector(t, config(), collector.Deps{Log: log})
	flush(t, c, after(-time.Minute))
	c.Feed(edge, begin, v9(begin, 0, 1, flowTemplate(true), flowData(true, download)))
	flush(t, c, after(10*time.Second))
	c.Feed(edge, after(5*time.Minute), v9(after(5*time.Minute), 1, 1, flowTemplate(true)))
	flush(t, c, after(5*time.Minute+10*time.Second))
	through := time.Unix(0, log.books(t).complete["198.51.100.1"].GetThrough()).UTC()
	if through.After(after(-2 * time.Minute)) {
		t.Fatalf("complete through %v while a record of %v waits", through, begin)
	}
	c.Feed(edge, after(6*time.Minute), v9(after(6*time.Minute), 2, 1, samplingOptions(10)...))
	flush(t, c, after(6*time.Minute+10*time.Second))
	flush(t, c, after(6*time.Minute+20*time.Second))
	if got := log.books(t).complete["198.51.100.1"].GetThrough(); got != after(4*time.Minute).UnixNano() {
		t.Fatalf("complete through %v", time.Unix(0, got).UTC())
	}
}

// The laws hold whatever is sent, in whatever mode, flushed whenever.
func TestAccountLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		log := newMemLog()
		modes := []string{"single", "edge", "border"}
		var exporters []collector.ExporterConfig
		for i := range 3 {
			exporters = append(exporters, collector.ExporterConfig{
				Address:         network(fmt.Sprintf("198.51.100.%d", i+1)),
				Mode:            modes[i],
				Sampling:        rapid.SampledFrom([]collector.Sampling{0, 0, 1, 7}).Draw(t, "sampling"),
				SamplingDefault: 0,
			})
		}
		c := newCollector(t, config(exporters...), collector.Deps{Log: log})
		addresses := []netip.Addr{ours, ours2, theirs, theirs2}
		var sent [3]uint64 // v5 flows
		var sequences, sequences9 [3]uint32
		now := begin
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 900).Draw(t, "seconds")) * time.Second)
			i := rapid.IntRange(0, 2).Draw(t, "exporter")
			from := netip.AddrPortFrom(exporters[i].Address.Addr(), 4000)
			var flows []flow
			for range rapid.IntRange(0, 5).Draw(t, "flows") {
				flows = append(flows, flow{
					rapid.SampledFrom(addresses).Draw(t, "source"), rapid.SampledFrom(addresses).Draw(t, "destination"),
					rapid.Uint32Range(1, 1000).Draw(t, "packets"), rapid.Uint32().Draw(t, "octets"),
				})
			}
			switch rapid.IntRange(0, 5).Draw(t, "what") {
			case 0, 1:
				lost := rapid.Uint32Range(0, 3).Draw(t, "lost")
				if sent[i] == 0 {
					lost = 0 // nobody can know of a loss before the first datagram
				}
				sequences[i] += lost
				c.Feed(from, now, v5(now, sequences[i], rapid.SampledFrom([]uint16{0, 0, 64}).Draw(t, "interval"), flows...))
				sequences[i] += uint32(len(flows))
				sent[i] += uint64(lost) + uint64(len(flows))
			case 2:
				sets := [][]byte{flowData(true, flows...)}
				if rapid.Bool().Draw(t, "template") {
					sets = append([][]byte{flowTemplate(true)}, sets...)
				}
				if rapid.IntRange(0, 3).Draw(t, "options") == 0 {
					sets = append(sets, samplingOptions(rapid.Uint32Range(1, 3000).Draw(t, "rate"))...)
				}
				c.Feed(from, now, v9(now, sequences9[i], 1, sets...))
				sequences9[i]++
			case 3:
				c.Feed(from, now, rapid.SliceOfN(rapid.Byte(), 0, 60).Draw(t, "garbage"))
			case 4:
				flush(t, c, now)
			case 5:
				if err := c.Flush(context.Background(), now, false); err != nil {
					t.Fatal(err)
				}
			}
		}
		flush(t, c, now)
		flush(t, c, now.Add(31*time.Minute)) // what was held is held no longer
		b := log.books(t)
		b.checkLaws(t)
		for i, e := range exporters {
			key := e.Address.String()
			a := b.accounts[key+" netflow5"]
			if a.GetRecords()+uint64(b.counts[key+"/lost/flows/sequence"]) != sent[i] {
				t.Fatalf("%s: %d records + %d lost != %d sent", key, a.GetRecords(), b.counts[key+"/lost/flows/sequence"], sent[i])
			}
			for _, held := range []string{"records/sampling", "octets/sampling", "sets/template", "octets/template"} {
				if n := b.counts[key+"/held/"+held]; n != 0 {
					t.Fatalf("%s: %d %s are held for ever", key, n, held)
				}
			}
		}
	})
}
