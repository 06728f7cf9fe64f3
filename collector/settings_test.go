package collector_test

import (
	"net/netip"
	"testing"
	"time"

	"hostmeter/collector"
	"hostmeter/schemas"
)

func TestUnexpectedProtocolsAreRefused(t *testing.T) {
	log := newMemLog()
	c := newCollector(t, config(collector.ExporterConfig{Address: network("198.51.100.1"), Protocols: []schemas.Protocol{schemas.NetFlow9}}), collector.Deps{Log: log})
	c.Feed(edge, begin, v5(begin, 0, 0, download))
	c.Feed(edge, begin, v9(begin, 0, 1, append([][]byte{flowTemplate(false), flowData(false, download)}, samplingOptions(1)...)...))
	flush(t, c, begin)
	b := log.books(t)
	b.checkLaws(t)
	if n := b.counts["198.51.100.1/dropped/datagrams/protocol_not_expected"]; n != 1 {
		t.Errorf("%d datagrams refused, want 1", n)
	}
	if b.in[meter] != uint64(download.octets) {
		t.Errorf("%d octets in, want those of one flow", b.in[meter])
	}
}

// A clock that is an hour ahead is told of, and with clock_ahead its flows are in the minute in which
// they were.
func TestClockOfAnExporter(t *testing.T) {
	ahead := time.Hour
	for _, setting := range []time.Duration{0, ahead} {
		log := newMemLog()
		c := newCollector(t, config(collector.ExporterConfig{Address: network("198.51.100.1"), ClockAhead: setting}), collector.Deps{Log: log})
		for i := range 3 { // the network delays the second
			sent := after(time.Duration(i) * 10 * time.Second)
			received := sent.Add(time.Duration(i%2) * 5 * time.Second)
			c.Feed(edge, received, v5(sent.Add(ahead), uint32(i), 0, download))
		}
		flush(t, c, after(time.Minute))
		status := c.Exporters()[0]
		if want := ahead - setting; (status.ClockAhead - want).Abs() > time.Second {
			t.Errorf("clock_ahead %v: %v ahead, want %v", setting, status.ClockAhead, want)
		}
		clamped := log.books(t).accounts["198.51.100.1 netflow5"].GetClampedRecords()
		if want := uint64(3); setting == 0 && clamped != want || setting != 0 && clamped != 0 {
			t.Errorf("clock_ahead %v: %d records at the time of receipt", setting, clamped)
		}
	}
}

func TestStatusTellsTheRates(t *testing.T) {
	c := newCollector(t, config(), collector.Deps{Log: newMemLog()})
	c.Feed(edge, begin, v9(begin, 0, 1, append(append([][]byte{flowTemplate(false)}, samplingOptions(512)...), flowData(false, download))...))
	if s := c.Exporters()[0]; len(s.Rates) != 1 || s.Rates[0] != 512 || s.SamplingUnknown {
		t.Errorf("%+v", s)
	}
}

// Two exporters that tell of the same flows are named, and metered all the same.
func TestTrafficThatIsToldTwiceIsNamed(t *testing.T) {
	c := newCollector(t, config(
		collector.ExporterConfig{Address: network("198.51.100.1")}, collector.ExporterConfig{Address: network("198.51.100.2")},
		collector.ExporterConfig{Address: network("198.51.100.3")},
	), collector.Deps{Log: newMemLog()})
	window := begin.Truncate(10 * time.Minute).Add(10 * time.Minute)
	for i := range 100 {
		far := netip.AddrFrom4([4]byte{203, 0, 113, byte(i)})
		other := netip.AddrFrom4([4]byte{203, 0, 112, byte(i)})
		for n, d := range map[byte][]byte{
			1: v5(window, uint32(i), 0, flow{far, ours, 10, 10_000}),
			2: v5(window, uint32(i), 0, flow{far, ours, 10, 10_000}),
			3: v5(window, uint32(i), 0, flow{other, ours, 10, 10_000}),
		} {
			c.Feed(netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, n}), 2055), window, d)
		}
	}
	flush(t, c, window.Add(5*time.Minute))
	twice := c.Twice()
	if len(twice) != 1 || twice[0].First.Exporter != "198.51.100.1" || twice[0].Second.Exporter != "198.51.100.2" || twice[0].Flows != 100 {
		t.Fatalf("%+v", twice)
	}
	flush(t, c, window.Add(48*time.Hour))
	if twice := c.Twice(); len(twice) != 0 {
		t.Errorf("two days later: %+v", twice)
	}
}
