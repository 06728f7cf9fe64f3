package collector_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"hostmeter/collector"
	"hostmeter/collector/udp"
	"hostmeter/internal/clock"
	"hostmeter/internal/stream"
	"hostmeter/internal/stream/disk"
	"hostmeter/schemas"
)

// Real datagrams over loopback, through the real log, to sums: from two ports at once, flushed at
// the collector's own pace, and whole after it was told to stop.
func TestRunOverLoopback(t *testing.T) {
	cfg := config(collector.ExporterConfig{Address: network("127.0.0.0/8")})
	cfg.UDP = []udp.Config{{Listen: "127.0.0.1:0"}, {Listen: "127.0.0.1:0"}}
	logConfig := disk.DefaultConfig()
	logConfig.Path = t.TempDir()
	log, err := disk.Open(t.Context(), logConfig, cfg.ID, cfg.Shards, disk.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	registry := prometheus.NewRegistry()
	c, err := collector.New(cfg, collector.Deps{
		Log: log, Clock: clock.Real{}, Logger: slog.New(slog.DiscardHandler), Metrics: registry, StateDir: t.TempDir(),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	const each = 500
	sending := make(chan error, 2)
	for i, to := range c.Addresses() {
		go func() {
			conn, err := net.DialUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, byte(i+2))}, net.UDPAddrFromAddrPort(to))
			for n := 0; n < each && err == nil; n++ {
				_, err = conn.Write(v5(time.Now(), uint32(n*2), 0, download, flow{ours, theirs, 1, 40}))
			}
			sending <- err
		}()
	}
	for range 2 {
		if err := <-sending; err != nil {
			t.Fatal(err)
		}
	}
	cancel() // what is queued is still counted
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	read := &memLog{}
	reader, err := log.OpenReader(t.Context(), "test", stream.Watermarks{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = reader.Close() }()
	var b books
	waitCtx, stop := context.WithTimeout(t.Context(), 20*time.Second)
	defer stop()
	for b.in[meter] < 2*each*10_000 {
		batches, err := reader.Next(waitCtx, 100)
		if err != nil {
			t.Fatalf("in %v of %v: %v", b.in, 2*each*10_000, err)
		}
		read.batches = append(read.batches, batches...)
		b = read.books(t)
	}
	b.checkLaws(t)
	if b.in[meter] != 2*each*10_000 || b.out[meter] != 2*each*40 || b.counts["127.0.0.2/lost/flows/sequence"] != 0 {
		t.Fatalf("in %v, out %v, %v", b.in, b.out, b.counts)
	}
	for name, want := range map[string]float64{
		"hostmeter_collector_datagrams_total netflow5": 2 * each,
		"hostmeter_collector_records_total netflow5":   4 * each,
		"hostmeter_collector_octets_total netflow5":    2 * each * 10_040,
		"hostmeter_collector_kernel_drops_total":       0,
	} {
		if got := values(t, registry)[name]; got != want {
			t.Fatalf("%s is %v, want %v", name, got, want)
		}
	}
}

// Nothing is ever sent to an exporter, whoever it is and whatever it sent: the collector's sockets cannot be made
// to multiply traffic.
func TestNothingIsSentBack(t *testing.T) {
	cfg := config(collector.ExporterConfig{Address: network("127.0.0.2"), DatagramsPerSecond: 10})
	cfg.UDP = []udp.Config{{Listen: "127.0.0.1:0"}}
	registry := prometheus.NewRegistry()
	c := newCollector(t, cfg, collector.Deps{Log: newMemLog(), Clock: clock.Real{}, Metrics: registry})
	if err := c.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	var senders []*net.UDPConn
	sent := 0.0
	for _, host := range []byte{2, 3} { // one that may send, and one that may not
		conn, err := net.DialUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, host)}, net.UDPAddrFromAddrPort(c.Addresses()[0]))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		senders = append(senders, conn)
		for i := range 30 { // within the budget and beyond it
			for _, payload := range [][]byte{{}, []byte("garbage"), v5(time.Now(), uint32(i), 0, download), v9(time.Now(), uint32(i), 1, flowData(false, download))} {
				if _, err := conn.Write(payload); err != nil {
					t.Fatal(err)
				}
				sent++
			}
		}
	}
	received := func() (n float64) {
		for name, value := range values(t, registry) {
			if strings.HasPrefix(name, "hostmeter_collector_datagrams_total ") {
				n += value
			}
		}
		return n
	}
	for deadline := time.Now().Add(10 * time.Second); received() < sent && time.Now().Before(deadline); {
		runtime.Gosched()
	}
	cancel()
	if err := <-done; err != nil || received() != sent {
		t.Fatalf("%v datagrams received of %v; %v", received(), sent, err)
	}
	for _, conn := range senders {
		if err := conn.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		n, err := conn.Read(make([]byte, 2000))
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%v got %d octets back (%v)", conn.LocalAddr(), n, err)
		}
	}
}

// values are a registry's metrics by name and label values.
func values(t *testing.T, registry *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			name := family.GetName()
			for _, label := range m.GetLabel() {
				name += " " + label.GetValue()
			}
			out[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return out
}

func TestAPortInUseIsNamed(t *testing.T) {
	taken, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	cfg := config()
	cfg.UDP = []udp.Config{{Listen: "127.0.0.1:0"}, {Listen: taken.LocalAddr().String()}}
	c := newCollector(t, cfg, collector.Deps{Log: newMemLog()})
	if err := c.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "collector.udp[1]") {
		t.Fatalf("error %v", err)
	}
}

// A collector that is told to stop books what waits for a rate at the default.
func TestStoppingReleasesWhatIsHeld(t *testing.T) {
	log := newMemLog()
	c := newCollector(t, config(), collector.Deps{Log: log})
	c.Feed(edge, begin, v9(begin, 0, 1, flowTemplate(true), flowData(true, download)))
	flush(t, c, begin)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Run(ctx); err != nil {
		t.Fatal(err)
	}
	b := log.books(t)
	b.checkLaws(t)
	if b.in[meter] != 10_000 || b.counts["198.51.100.1/held/records/sampling"] != 0 {
		t.Fatalf("in %v, %v", b.in, b.counts)
	}
}

func TestGuestsAndCountersAreBooked(t *testing.T) {
	log := newMemLog()
	c := newCollector(t, config(), collector.Deps{Log: log})
	reading := func(cpu uint64, state schemas.GuestState) []schemas.GuestReading {
		return []schemas.GuestReading{{UUID: "g", State: state, VCPUs: 1, CPUKnown: true, CPUNanoseconds: cpu}}
	}
	on, off := schemas.GuestState_GUEST_STATE_RUNNING, schemas.GuestState_GUEST_STATE_OFF
	c.FeedGuests("hv1", begin, reading(100e9, on))
	c.FeedGuests("hv1", after(10*time.Second), reading(109e9, on))
	c.FeedGuests("hv1", after(5*time.Second), reading(119e9, on)) // late: passed over
	c.FeedGuests("hv1", after(20*time.Second), reading(490e6, off))
	flush(t, c, after(30*time.Second))
	b := log.books(t)
	a := b.accounts["libvirt/hv1 libvirt"]
	if b.guestCPU["g"] != 9e9 || a.GetDatagrams() != 4 || a.GetRecords() != 3 ||
		b.counts["libvirt/hv1/dropped/datagrams/disordered"] != 1 || b.counts["libvirt/hv1/lost/samples/guest_stopped"] != 1 {
		t.Fatalf("cpu %v, account %v, %v", b.guestCPU, a, b.counts)
	}
	if got := b.complete["libvirt/hv1"].GetThrough(); got != begin.UnixNano() {
		t.Fatalf("complete through %d, want %d", got, begin.UnixNano())
	}
}
