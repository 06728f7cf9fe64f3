package tally

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"hostmeter/schemas"
)

var watchFrom = time.Unix(1_790_000_400, 0).UTC() // a window begins

// watchFlow is the n-th flow, from a local address out.
func watchFlow(n int, octets uint64) *schemas.FlowRecord {
	return &schemas.FlowRecord{
		Source:      netip.AddrFrom4([4]byte{192, 0, 2, byte(n)}),
		Destination: netip.AddrFrom4([4]byte{198, 51, byte(n >> 8), byte(n)}),
		SourcePort:  uint16(n), DestinationPort: 443, IPProtocol: 6, Octets: octets, Packets: 1 + octets/1000,
	}
}

func newWatch(t *testing.T) (*Watch, func(name string, protocol schemas.Protocol, mode Mode, customers ...schemas.IfIndex) *Exporter) {
	t.Helper()
	config := DefaultConfig()
	config.Local = prefixesOf("192.0.2.0/24")
	table := New(config)
	return NewWatch(table), func(name string, protocol schemas.Protocol, mode Mode, customers ...schemas.IfIndex) *Exporter {
		return table.Exporter(ExporterConfig{Address: addr("203.0.113.1"), Name: name, Protocol: protocol, Mode: mode, CustomerInterfaces: customers})
	}
}

func wantTwice(t *testing.T, name string, w *Watch, want ...string) {
	t.Helper()
	var got []string
	for _, p := range w.Twice(watchFrom.Add(watchWindow)) {
		got = append(got, fmt.Sprintf("%s %s %d and %s %s %d: %.0f %%", p.First.Exporter, p.First.Protocol, p.First.Direction,
			p.Second.Exporter, p.Second.Protocol, p.Second.Direction, 100*p.Share))
		if !p.At.Equal(watchFrom) {
			t.Errorf("%s: at %s", name, p.At)
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: %q, want %q", name, got, want)
	}
}

func TestWatch(t *testing.T) {
	const flows = 200
	f := func(name string, see func(w *Watch, exporter func(string, schemas.Protocol, Mode, ...schemas.IfIndex) *Exporter), want ...string) {
		t.Helper()
		w, exporter := newWatch(t)
		see(w, exporter)
		wantTwice(t, name, w, want...)
		if again := w.Twice(watchFrom.Add(watchWindow)); len(again) != 0 {
			t.Errorf("%s: told twice: %v", name, again)
		}
	}
	type newExporter = func(string, schemas.Protocol, Mode, ...schemas.IfIndex) *Exporter
	overlap := func(first, last int) func(w *Watch, exporter newExporter) {
		return func(w *Watch, exporter newExporter) {
			a, b := exporter("a", schemas.NetFlow9, ModeSingle), exporter("b", schemas.NetFlow9, ModeSingle)
			for n := range flows {
				w.See(a, watchFlow(n, 5000), watchFrom)
			}
			for n := first; n < last; n++ {
				w.See(b, watchFlow(n, 5000), watchFrom.Add(time.Minute))
			}
		}
	}
	f("two see everything", overlap(0, flows), "a netflow9 0 and b netflow9 0: 100 %")
	f("one sees a part of the other's", overlap(0, 50), "a netflow9 0 and b netflow9 0: 100 %")
	f("a fifth is seen by both", overlap(160, 360), "a netflow9 0 and b netflow9 0: 20 %")
	f("some routes changed", overlap(195, 395))
	f("routes of one flow in twenty changed", func(w *Watch, exporter newExporter) {
		a, b := exporter("a", schemas.NetFlow9, ModeSingle), exporter("b", schemas.NetFlow9, ModeSingle)
		for n := range 400 {
			w.See(a, watchFlow(n, 5000), watchFrom)
			w.See(b, watchFlow(n+380, 5000), watchFrom)
		}
	})
	f("different flows", overlap(200, 400))
	f("a few flows only", overlap(0, 10))
	f("out here, in there", func(w *Watch, exporter newExporter) {
		a, b := exporter("a", schemas.NetFlow9, ModeBorder), exporter("b", schemas.NetFlow9, ModeBorder)
		for n := range flows {
			r := watchFlow(n, 5000)
			w.See(a, r, watchFrom)
			r.Source, r.Destination, r.SourcePort, r.DestinationPort = r.Destination, r.Source, r.DestinationPort, r.SourcePort
			w.See(b, r, watchFrom)
		}
	})
	edge := func(mode Mode) func(w *Watch, exporter newExporter) {
		return func(w *Watch, exporter newExporter) { // local to local, through two switches
			a, b := exporter("a", schemas.SFlow5, mode, 1), exporter("b", schemas.SFlow5, mode, 1)
			for n := range flows {
				r := watchFlow(n, 5000)
				r.Destination = netip.AddrFrom4([4]byte{192, 0, 2, byte(n + 1)})
				r.InInterface, r.OutInterface, r.Direction = 1, 9, schemas.DirectionIngress
				w.See(a, r, watchFrom)
				r.InInterface, r.OutInterface, r.Direction = 9, 1, schemas.DirectionEgress
				w.See(b, r, watchFrom)
			}
		}
	}
	f("the two edges of a path", edge(ModeEdge))
	f("the two edges of a path, each as if it were the only one", edge(ModeSingle), "a sflow5 1 and b sflow5 2: 100 %")
	f("ingress and egress of one exporter", func(w *Watch, exporter newExporter) {
		a := exporter("a", schemas.IPFIX, ModeSingle)
		for n := range flows {
			r := watchFlow(n, 5000)
			for _, r.Direction = range []schemas.FlowDirection{schemas.DirectionIngress, schemas.DirectionEgress} {
				w.See(a, r, watchFrom)
			}
		}
	}, "a ipfix 1 and a ipfix 2: 100 %")
	f("two protocols of one exporter", func(w *Watch, exporter newExporter) {
		a, b := exporter("a", schemas.IPFIX, ModeSingle), exporter("a", schemas.SFlow5, ModeSingle)
		for n := range flows {
			w.See(a, watchFlow(n, 5000), watchFrom)
			w.See(b, watchFlow(n, 5000), watchFrom)
		}
	}, "a ipfix 0 and a sflow5 0: 100 %")
	f("nobody's addresses", func(w *Watch, exporter newExporter) {
		a, b := exporter("a", schemas.IPFIX, ModeSingle), exporter("b", schemas.IPFIX, ModeSingle)
		for n := range flows {
			r := watchFlow(n, 5000)
			r.Source = addr("203.0.113.9")
			w.See(a, r, watchFrom)
			w.See(b, r, watchFrom)
			w.See(b, &schemas.FlowRecord{Octets: 1}, watchFrom)
		}
	})
	f("between windows", func(w *Watch, exporter newExporter) {
		a, b := exporter("a", schemas.IPFIX, ModeSingle), exporter("b", schemas.IPFIX, ModeSingle)
		for n := range flows {
			w.See(a, watchFlow(n, 5000), watchFrom.Add(-time.Second))
			w.See(b, watchFlow(n, 5000), watchFrom.Add(-time.Second))
		}
	})
}

// TestWatchIsBounded: among half a million flows a tenth is seen twice, and few of all are looked at.
func TestWatchIsBounded(t *testing.T) {
	w, exporter := newWatch(t)
	a, b := exporter("a", schemas.NetFlow9, ModeSingle), exporter("b", schemas.NetFlow9, ModeSingle)
	flow := func(n int) *schemas.FlowRecord {
		r := watchFlow(n, 5000)
		r.DestinationPort = uint16(n >> 16)
		return r
	}
	for n := range 500_000 {
		w.See(a, flow(n), watchFrom)
		if n%5 == 0 {
			w.See(b, flow(n), watchFrom)
		}
		if len(w.flows) > watchFlows {
			t.Fatalf("%d flows are looked at", len(w.flows))
		}
	}
	if len(w.flows) < watchFlows/4 {
		t.Errorf("only %d flows are looked at", len(w.flows))
	}
	wantTwice(t, "many flows", w, "a netflow9 0 and b netflow9 0: 100 %")
	for n := range 10_000 {
		w.See(a, flow(n), watchFrom.Add(watchPeriod)) // the next window begins with all hashes
	}
	if w.narrow > 3 {
		t.Errorf("the next window looks at 1 in %d", w.narrow+1)
	}
}

// TestWatchOfSamples: both exporters sample 1 in 100; their common flows show where flows are large.
func TestWatchOfSamples(t *testing.T) {
	w, exporter := newWatch(t)
	a, b := exporter("a", schemas.SFlow5, ModeSingle), exporter("b", schemas.SFlow5, ModeSingle)
	for packet := range 40_000 { // of 100 flows; each exporter takes another packet of a hundred
		for i, e := range []*Exporter{a, b} {
			if packet%100 == 37*i {
				w.See(e, watchFlow(packet/100%100, 1500), watchFrom)
			}
		}
	}
	wantTwice(t, "samples", w, "a sflow5 0 and b sflow5 0: 100 %")
}

func BenchmarkWatch(b *testing.B) {
	config := DefaultConfig()
	config.Local = prefixesOf("192.0.2.0/24")
	table := New(config)
	w := NewWatch(table)
	e := table.Exporter(ExporterConfig{Name: "a"})
	records := make([]*schemas.FlowRecord, 1<<16)
	for n := range records {
		records[n] = watchFlow(n, 5000)
	}
	f := func(name string, at time.Time) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				w.See(e, records[n&(1<<16-1)], at)
				n++
			}
		})
	}
	f("in a window", watchFrom)
	f("between", watchFrom.Add(watchWindow))
}
