package collector_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"hostmeter/collector"
	"hostmeter/collector/netflow/netflowtest"
	"hostmeter/collector/sflow/sflowtest"
	"hostmeter/schemas"
)

// A flood from one exporter costs others nothing, and itself what is beyond its budget: each of its
// datagrams is counted or dropped, and lost are those alone that never came.
func TestAFloodCostsOthersNothing(t *testing.T) {
	flooder, quiet := netip.MustParseAddrPort(sflowtest.Agent+":2055"), edge
	ipfixTemplate := netflowtest.TemplateIPFIX(256, netflowtest.Field{ID: 8, Length: 4}, netflowtest.Field{ID: 12, Length: 4}, netflowtest.Field{ID: 1, Length: 4}, netflowtest.Field{ID: 2, Length: 4})
	ipfixRecord := netflowtest.Set(256, netflowtest.Address("203.0.113.5"), netflowtest.Address("192.0.2.10"), netflowtest.U32(100), netflowtest.U32(1))
	f := func(protocol schemas.Protocol, lostUnit string, wantLost int64, datagram func(number uint32, at time.Time) []byte) {
		t.Helper()
		log := newMemLog()
		c := newCollector(t, config(
			collector.ExporterConfig{Address: collector.Network{Prefix: netip.PrefixFrom(flooder.Addr(), 32)}, DatagramsPerSecond: 100},
			collector.ExporterConfig{Address: network("198.51.100.1")},
		), collector.Deps{Log: log})
		sent := uint64(0)
		const seconds, perSecond = 3, 2000
		for i := range uint32(seconds * perSecond) {
			at := begin.Add(time.Duration(i) * time.Second / perSecond)
			if i%100 != 50 { // those are lost on the way
				c.Feed(flooder, at, datagram(i, at))
				sent++
			}
			if i%200 == 0 {
				c.Feed(quiet, at, v5(at, i/200, 0, download))
			}
		}
		flush(t, c, after(time.Minute))
		b := log.books(t)
		b.checkLaws(t)
		if got, want := b.in[meter], uint64(seconds*perSecond/200*10_000); got != want {
			t.Errorf("%s: %d octets of the quiet exporter, want %d", protocol, got, want)
		}
		for key, n := range b.counts {
			if n != 0 && key[:len("198.51.100.1/")] == "198.51.100.1/" {
				t.Errorf("%s: the quiet exporter has %s: %d", protocol, key, n)
			}
		}
		a := b.accounts[sflowtest.Agent+" "+string(protocol)]
		refused := uint64(b.counts[sflowtest.Agent+"/dropped/datagrams/datagram_budget"])
		if a.GetDatagrams() != sent || a.GetRecords()+refused != sent || a.GetRecords() < 100*seconds || a.GetRecords() > 100*(seconds+1) {
			t.Errorf("%s: %d sent, %d received, %d counted, %d refused", protocol, sent, a.GetDatagrams(), a.GetRecords(), refused)
		}
		if got, want := b.in["address:192.0.2.10"], 100*a.GetRecords(); got != want {
			t.Errorf("%s: %d octets of the one that floods, want %d", protocol, got, want)
		}
		if got := b.counts[fmt.Sprintf("%s/lost/%s/sequence", sflowtest.Agent, lostUnit)]; got != wantLost {
			t.Errorf("%s: %d %s lost, want %d", protocol, got, lostUnit, wantLost)
		}
	}
	small := flow{theirs, ours2, 1, 100}
	f(schemas.NetFlow5, "flows", 60, func(n uint32, at time.Time) []byte { return v5(at, n, 0, small) })
	f(schemas.NetFlow9, "datagrams", 60, func(n uint32, at time.Time) []byte { return v9(at, n, 1, flowTemplate(false), flowData(false, small)) })
	// In IPFIX what is missing next to a refused message is not declared. All that is declared is missing: one,
	// while the budget lasts.
	f(schemas.IPFIX, "records", 1, func(n uint32, at time.Time) []byte {
		return netflowtest.IPFIX(n, 1, uint32(at.Unix()), ipfixTemplate, ipfixRecord)
	})
	packet := sflowtest.Header(1, 118, sflowtest.Ethernet(0x0800, sflowtest.IPv4(100, 17, 0, "203.0.113.5", "192.0.2.10", 0, sflowtest.UDP(53, 4000))))
	for _, unit := range []string{"datagrams", "samples"} {
		f(schemas.SFlow5, unit, 60, func(n uint32, _ time.Time) []byte {
			return sflowtest.Datagram(0, n, n, sflowtest.Flow(n, 3, 1, 3, 4, packet))
		})
		f(schemas.SFlow5, unit, 60, func(n uint32, _ time.Time) []byte {
			return sflowtest.Datagram(0, n, n, sflowtest.ExpandedFlow(n, 3, 1, [2]uint32{0, 3}, [2]uint32{0, 4}, packet))
		})
	}
}

// A bucket holds a second's worth, and fills evenly; a clock that is set back does not close it.
func TestBudget(t *testing.T) {
	log := newMemLog()
	c := newCollector(t, config(collector.ExporterConfig{Address: network("198.51.100.1"), DatagramsPerSecond: 10}), collector.Deps{Log: log})
	sequence := uint32(0)
	f := func(name string, at time.Time, want uint64) {
		t.Helper()
		before := log.books(t).in[meter] / 10_000
		for range 30 {
			c.Feed(edge, at, v5(at, sequence, 0, download))
			sequence++
		}
		flush(t, c, at)
		if got := log.books(t).in[meter]/10_000 - before; got != want {
			t.Errorf("%s: %d of 30 are counted, want %d", name, got, want)
		}
	}
	f("a full bucket", begin, 10)
	f("an empty one", begin, 0)
	f("half a second later", after(500*time.Millisecond), 5)
	f("an hour later", after(time.Hour), 10)
	f("a day back", after(-24*time.Hour), 0) // no time has passed
	f("a second later", after(-24*time.Hour+time.Second), 10)
	f("a minute later", after(-24*time.Hour+time.Minute), 10)
	f("a second and a half back", after(-24*time.Hour+58500*time.Millisecond), 0)
	f("half a second later", after(-24*time.Hour+59*time.Second), 5)
	if n := log.books(t).counts["198.51.100.1/lost/flows/sequence"]; n != 0 {
		t.Errorf("%d flows lost", n)
	}
}

// What the protocols' parsers refuse, and what cannot even be numbered, is skipped as well, without a panic.
func TestSkippedGarbage(t *testing.T) {
	log := newMemLog()
	c := newCollector(t, config(collector.ExporterConfig{Address: network("198.51.100.1"), DatagramsPerSecond: 1}), collector.Deps{Log: log})
	sent := uint64(0)
	for _, whole := range [][]byte{
		v5(begin, 0, 0, download, download), v9(begin, 0, 1, flowTemplate(false)), netflowtest.IPFIX(0, 1, 1, netflowtest.Set(256, netflowtest.U32(1))),
		sflowtest.Datagram(0, 1, 1, sflowtest.Flow(1, 3, 1, 3, 4, sampledPacket), sflowtest.ExpandedFlow(1, 3, 1, [2]uint32{}, [2]uint32{}, sampledPacket)),
	} {
		for n := range len(whole) + 1 {
			c.Feed(edge, begin, whole[:n])
			sent++
		}
	}
	flush(t, c, begin)
	b := log.books(t)
	received := uint64(0)
	for _, a := range b.accounts {
		received += a.GetDatagrams()
	}
	if received != sent || b.counts["198.51.100.1/dropped/datagrams/datagram_budget"] < int64(sent)-20 {
		t.Errorf("%d sent, %d received, %v", sent, received, b.counts)
	}
}

// What one exporter sends to fill a decoder's memory is its own: another's templates, rates and held data
// stay.
func TestMemoryOfExportersIsApart(t *testing.T) {
	log := newMemLog()
	c := newCollector(t, config(collector.ExporterConfig{Address: network("198.51.100.0/24")}), collector.Deps{Log: log})
	flooder := netip.MustParseAddrPort("198.51.100.66:2055")
	c.Feed(edge, begin, v9(begin, 0, 1, flowData(true, download))) // waits for its template
	junk := make([]byte, 1200)
	for i := range uint32(8192) { // 10 MB of data without a template, of more domains, ports and templates than there may be
		from := netip.AddrPortFrom(flooder.Addr(), uint16(i))
		c.Feed(from, begin, v9(begin, i, i%300, set(uint16(400+i%5000), junk), set(0, words(uint16(5000+i%4000), 2, 8, 4, 12, 4))))
		c.Feed(from, begin, v9(begin, i, i%300, samplingOptions(i+2)...))
	}
	c.Feed(edge, begin, v9(begin, 1, 1, flowTemplate(true)))
	options := set(1, words(262, 4, 8, 1, 4, 48, 1, 50, 4))
	c.Feed(edge, begin, v9(begin, 2, 1, options, set(262, append(append(words(0, 0), 7), 0, 0, 0, 100))))
	flush(t, c, after(time.Second))
	b := log.books(t)
	if got, want := b.in[meter], uint64(100*10_000); got != want {
		t.Errorf("%d octets in, want %d", got, want)
	}
	for key, n := range b.counts {
		if n != 0 && key[:len("198.51.100.1/")] == "198.51.100.1/" {
			t.Errorf("%s: %d", key, n)
		}
	}
	if b.counts["198.51.100.66/dropped/sets/held_full"]+b.counts["198.51.100.66/dropped/datagrams/domain_limit"] == 0 {
		t.Errorf("the flood met no limit: %v", b.counts)
	}
}
