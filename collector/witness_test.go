package collector_test

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"math"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"hostmeter/collector"
	"hostmeter/collector/sflow/sflowtest"
)

// agent is a simulated sFlow agent of one data source, which takes each packet with a chance of 1 in takes,
// says 1 in states, and of whose samples some are lost on the way.
type agent struct {
	random        *rand.Rand
	takes, states uint32
	lost          float64
	source, pool  uint32
	sequence      uint32
	datagrams     uint32
}

var sampledPacket = sflowtest.Header(1, 118, sflowtest.Ethernet(0x0800, sflowtest.IPv4(100, 17, 0, "203.0.113.5", "192.0.2.9", 0, sflowtest.UDP(53, 4000))))

// send samples until so many have arrived.
func (a *agent) send(c *collector.Collector, at time.Time, samples int) {
	for range samples {
		for arrived := false; !arrived; {
			a.pool += uint32(math.Ceil(math.Log(1-a.random.Float64()) / math.Log1p(-1/float64(a.takes)))) // to the next that is taken
			a.sequence++
			arrived = a.random.Float64() >= a.lost
		}
		a.datagrams++
		c.Feed(netip.MustParseAddrPort(sflowtest.Agent+":6343"), at,
			sflowtest.Datagram(0, a.datagrams, a.datagrams, sflowtest.PooledFlow(a.sequence, a.source, a.states, a.pool, 0, sampledPacket)))
	}
}

func sampled(t *testing.T, log *memLog, agents ...*agent) collector.ExporterStatus {
	t.Helper()
	c := newCollector(t, config(collector.ExporterConfig{Address: network(sflowtest.Agent)}), collector.Deps{Log: log})
	for i, a := range agents {
		a.random = rand.New(rand.NewPCG(7, uint64(i)))
		a.source = uint32(i + 1)
		a.datagrams = uint32(i) * 1_000_000
		a.send(c, begin, 2001)
	}
	flush(t, c, begin)
	return c.Exporters()[0]
}

// TestHonestSamplersAreNotDoubted: chance alone brings no doubt, in a hundred sources.
func TestHonestSamplersAreNotDoubted(t *testing.T) {
	var agents []*agent
	for range 100 {
		agents = append(agents, &agent{takes: 1000, states: 1000})
	}
	s := sampled(t, newMemLog(), agents...)
	if len(s.Doubts) != 0 || math.Abs(s.InEffect/1000-1) > 0.01 {
		t.Errorf("in effect %v, doubts %+v", s.InEffect, s.Doubts)
	}
}

// TestRatesInDoubt: a sampler that says another rate than it has, and one whose samples are lost, are named,
// and billed by what they say.
func TestRatesInDoubt(t *testing.T) {
	f := func(name string, a agent, inEffect float64, doubted bool) {
		t.Helper()
		log := newMemLog()
		s := sampled(t, log, &a)
		if math.Abs(s.InEffect/inEffect-1) > 0.08 || (len(s.Doubts) == 1) != doubted {
			t.Errorf("%s: in effect %v, want %v; doubts %+v", name, s.InEffect, inEffect, s.Doubts)
		}
		if doubted && (s.Doubts[0].Source != "interface 1" || s.Doubts[0].Stated != a.states || s.Doubts[0].Samples != 2000) {
			t.Errorf("%s: %+v", name, s.Doubts[0])
		}
		if got, want := log.books(t).in[meter], 2001*100*uint64(a.states); got != want {
			t.Errorf("%s: %d octets, want %d, by the stated rate", name, got, want)
		}
	}
	f("as stated", agent{takes: 500, states: 500}, 500, false)
	f("a third more", agent{takes: 400, states: 300}, 400, true)
	f("a third less", agent{takes: 200, states: 300}, 200, true)
	f("a fifth of the samples lost", agent{takes: 100, states: 100, lost: 0.2}, 125, true)
}

func TestRatesAreForgottenAndNeedSamples(t *testing.T) {
	c := newCollector(t, config(collector.ExporterConfig{Address: network(sflowtest.Agent)}), collector.Deps{Log: newMemLog()})
	a := agent{random: rand.New(rand.NewPCG(1, 1)), takes: 300, states: 100, source: 7}
	f := func(at time.Time, samples int, judged bool) {
		t.Helper()
		a.send(c, at, samples)
		flush(t, c, at)
		if s := c.Exporters()[0]; (s.InEffect > 0) != judged || (len(s.Doubts) > 0) != judged {
			t.Errorf("%v: %+v", at.Sub(begin), s)
		}
	}
	f(begin, 20, false)
	f(begin, 200, true)
	f(after(time.Hour), 1, true)
	f(after(2*time.Hour), 0, false) // one sample is left, of the hour before
}

// An agent that does not count its pool is not doubted.
func TestPoolThatIsNotCounted(t *testing.T) {
	c := newCollector(t, config(collector.ExporterConfig{Address: network(sflowtest.Agent)}), collector.Deps{Log: newMemLog()})
	for i := range uint32(1000) {
		c.Feed(netip.MustParseAddrPort(sflowtest.Agent+":6343"), begin, sflowtest.Datagram(0, i, i, sflowtest.PooledFlow(i, 3, 1000, 0, 0, sampledPacket)))
	}
	flush(t, c, begin)
	if s := c.Exporters()[0]; s.InEffect != 0 || len(s.Doubts) != 0 {
		t.Errorf("%+v", s)
	}
}

// oneTurn is a clock that stands still: the first to sleep wakes at once, and the next tells that it is over and
// sleeps until it is stopped.
type oneTurn struct {
	at    time.Time
	slept bool
	over  chan struct{}
}

func (o *oneTurn) Now() time.Time { return o.at }

func (o *oneTurn) Sleep(ctx context.Context, _ time.Duration) error {
	if !o.slept {
		o.slept = true
		return nil
	}
	close(o.over)
	<-ctx.Done()
	return ctx.Err()
}

// TestStatusFile: commands beside a running collector read who knocks and whose rate is in doubt.
func TestStatusFile(t *testing.T) {
	dir := t.TempDir()
	if _, err := collector.ReadStatus(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("before a collector ran: %v", err)
	}
	turn := &oneTurn{at: begin, over: make(chan struct{})}
	c := newCollector(t, config(collector.ExporterConfig{Address: network(sflowtest.Agent)}),
		collector.Deps{Log: newMemLog(), StateDir: dir, Clock: turn})
	a := agent{random: rand.New(rand.NewPCG(1, 1)), takes: 300, states: 100, source: 7}
	a.send(c, begin, 500)
	c.Feed(edge, begin, v5(begin, 0, 0, download))
	ctx, stop := context.WithCancel(background)
	stopped := make(chan error, 1)
	go func() { stopped <- c.Run(ctx) }()
	<-turn.over
	s, err := collector.ReadStatus(dir)
	stop()
	if err := errors.Join(err, <-stopped); err != nil {
		t.Fatal(err)
	}
	if len(s.Knocks) != 1 || s.Knocks[0].Address != edge.Addr() || s.Knocks[0].Datagrams != 1 || len(s.Exporters) != 1 || len(s.Exporters[0].Doubts) != 1 {
		t.Errorf("%+v", s)
	}
	if want := throughJSON(t, c.Status(s.At)); !reflect.DeepEqual(s, want) {
		t.Errorf("got  %+v\nwant %+v", s, want)
	}
	for _, text := range []string{"", "{", `{"version":2}`} {
		if err := os.WriteFile(filepath.Join(dir, "status.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if s, err := collector.ReadStatus(dir); err == nil || strings.Contains(err.Error(), "panic") {
			t.Errorf("%q is read as %+v", text, s)
		}
	}
}

func throughJSON(t *testing.T, s collector.Status) (back collector.Status) {
	t.Helper()
	text, err := json.Marshal(s)
	if err == nil {
		err = json.Unmarshal(text, &back)
	}
	if err != nil {
		t.Fatal(err)
	}
	return back
}
