package udp_test

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"hostmeter/collector/udp"
	"hostmeter/internal/clock"
	"hostmeter/internal/config"
)

type datagram struct {
	from    netip.AddrPort
	at      time.Time
	payload string
}

// expected is a handler that sees to it that each datagram was expected before it is taken.
func expected(take func(lane int, d *udp.Datagram)) udp.Handler {
	return udp.Handler{
		Expect: func(lane int, d *udp.Datagram) { d.Mark = uint64(lane + len(d.Payload) + 1) },
		Take: func(lane int, d *udp.Datagram) {
			if d.Mark != uint64(lane+len(d.Payload)+1) {
				panic("a datagram was not expected")
			}
			d.Mark = 0
			take(lane, d)
		},
	}
}

func oneLane(netip.Addr) int { return 0 }

// serving runs a socket until the test ends, or stop is called, and gives what it received.
func serving(t *testing.T, cfg udp.Config, deps udp.Deps, want int) (s *udp.Socket, received func() []datagram, stop func()) {
	t.Helper()
	s, err := udp.Listen(t.Context(), cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var all []datagram
	enough, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		err := s.Serve(ctx, 1, oneLane, expected(func(_ int, d *udp.Datagram) {
			all = append(all, datagram{d.From, d.ReceivedAt, string(d.Payload)})
			if len(all) == want {
				close(enough)
			}
		}))
		if err != nil {
			t.Errorf("Serve: %v", err)
		}
	}()
	stop = func() { cancel(); <-done; _ = s.Close() }
	t.Cleanup(stop)
	return s, func() []datagram {
		t.Helper()
		select {
		case <-enough:
		case <-time.After(20 * time.Second):
			t.Fatalf("did not receive %d datagrams", want)
		}
		stop()
		return all
	}, stop
}

func dial(t *testing.T, network string, to netip.AddrPort) *net.UDPConn {
	t.Helper()
	conn, err := net.DialUDP(network, nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func send(t *testing.T, conn *net.UDPConn, payload string) {
	t.Helper()
	if _, err := conn.Write([]byte(payload)); err != nil {
		t.Fatal(err)
	}
}

func TestDatagramsComeInOrderWithSenderAndKernelTime(t *testing.T) {
	const n = 300 // several batches
	s, received, _ := serving(t, udp.Config{Listen: "127.0.0.1:0"}, udp.Deps{}, n)
	conn := dial(t, "udp4", s.LocalAddr())
	before := time.Now()
	var want []string
	for i := range n {
		payload := strings.Repeat(string(rune('a'+i%26)), i*7%1400)
		want = append(want, payload)
		send(t, conn, payload)
	}
	after := time.Now()
	for i, d := range received() {
		if d.payload != want[i] {
			t.Fatalf("datagram %d has %d octets, want %d: order or length is wrong", i, len(d.payload), len(want[i]))
		}
		if from := conn.LocalAddr().(*net.UDPAddr).AddrPort(); d.from != from {
			t.Fatalf("from %v, want %v", d.from, from)
		}
		// The kernel's time is when it was queued, not when it was read.
		if d.at.Before(before.Add(-time.Millisecond)) || d.at.After(after.Add(time.Millisecond)) {
			t.Fatalf("received at %v, sent between %v and %v", d.at, before, after)
		}
		if d.at.Location() != time.UTC {
			t.Fatalf("received at %v, want UTC", d.at)
		}
	}
}

func TestLongestDatagram(t *testing.T) {
	s, received, _ := serving(t, udp.Config{Listen: "127.0.0.1:0"}, udp.Deps{}, 2)
	conn := dial(t, "udp4", s.LocalAddr())
	long := strings.Repeat("x", 65507)
	send(t, conn, long)
	send(t, conn, "")
	if got := received(); got[0].payload != long || got[1].payload != "" {
		t.Fatalf("lengths %d and %d, want 65507 and 0", len(got[0].payload), len(got[1].payload))
	}
}

func TestBothFamiliesOnOneSocket(t *testing.T) {
	probe, err := net.ListenPacket("udp6", "[::1]:0")
	if err != nil {
		t.Skipf("SKIPPED: this machine has no IPv6 loopback: %v", err)
	}
	_ = probe.Close()
	s, received, _ := serving(t, udp.Config{Listen: "[::]:0"}, udp.Deps{}, 2)
	port := s.LocalAddr().Port()
	v4 := dial(t, "udp4", netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port))
	send(t, v4, "four")
	v6 := dial(t, "udp6", netip.AddrPortFrom(netip.MustParseAddr("::1"), port))
	send(t, v6, "six")
	for _, d := range received() {
		want := netip.MustParseAddr("127.0.0.1") // not ::ffff:127.0.0.1
		if d.payload == "six" {
			want = netip.MustParseAddr("::1")
		}
		if d.from.Addr() != want {
			t.Fatalf("%q is from %v, want %v", d.payload, d.from.Addr(), want)
		}
	}
}

func TestReceiveTimeFollowsTheProgramsClock(t *testing.T) {
	shifted := clock.ShiftedTo(time.Date(2031, 3, 4, 5, 6, 7, 0, time.UTC))
	s, received, _ := serving(t, udp.Config{Listen: "127.0.0.1:0"}, udp.Deps{Clock: shifted}, 1)
	before := shifted.Now()
	send(t, dial(t, "udp4", s.LocalAddr()), "now")
	got := received()[0].at
	if got.Before(before.Add(-10*time.Millisecond)) || got.After(shifted.Now().Add(10*time.Millisecond)) {
		t.Fatalf("received at %v, the clock says %v to %v", got, before, shifted.Now())
	}
}

// What the kernel throws away is counted: sent = received + dropped, to the datagram, also when no
// later datagram comes to tell of it.
func TestKernelDropsAreCounted(t *testing.T) {
	var mu sync.Mutex
	var told uint64
	s, err := udp.Listen(t.Context(), udp.Config{Listen: "127.0.0.1:0", ReceiveBuffer: 16 << 10}, udp.Deps{
		Dropped: func(n uint64) { mu.Lock(); defer mu.Unlock(); told += n },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	conn := dial(t, "udp4", s.LocalAddr())
	const sent = 500
	payload := make([]byte, 1000)
	for i := range sent {
		binary.BigEndian.PutUint32(payload, uint32(i))
		send(t, conn, string(payload))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // Serve hands over what is queued and returns
	received, last := 0, -1
	err = s.Serve(ctx, 1, oneLane, expected(func(_ int, d *udp.Datagram) {
		received++
		i := int(binary.BigEndian.Uint32(d.Payload))
		if i <= last {
			t.Errorf("datagram %d after %d", i, last)
		}
		last = i
	}))
	if err != nil {
		t.Fatal(err)
	}
	drops := s.KernelDrops()
	t.Logf("sent %d, received %d, dropped %d", sent, received, drops)
	if received == 0 || drops == 0 {
		t.Fatalf("received %d, dropped %d: the test did not fill the queue", received, drops)
	}
	if uint64(received)+drops != sent || told != drops {
		t.Fatalf("received %d + dropped %d (told %d) != sent %d", received, drops, told, sent)
	}
}

// Several lanes work at a time, and the datagrams of a sender stay in their order, however they alternate
// between few and many.
func TestLanesKeepTheOrderOfASender(t *testing.T) {
	const lanes, senders, each = 3, 7, 2000
	s, err := udp.Listen(t.Context(), udp.Config{Listen: "127.0.0.1:0", ReceiveBuffer: 32 << 20}, udp.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	lane := func(addr netip.Addr) int { return int(addr.As4()[3]) % lanes }
	var next [lanes]map[netip.Addr]uint32 // each of its lane's goroutine alone
	for i := range next {
		next[i] = map[netip.Addr]uint32{}
	}
	var received, lost atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() {
		done <- s.Serve(ctx, lanes, lane, expected(func(l int, d *udp.Datagram) {
			addr := d.From.Addr()
			if l != lane(addr) {
				t.Errorf("%s in lane %d", addr, l)
			}
			n := binary.BigEndian.Uint32(d.Payload)
			if want := next[l][addr]; n < want {
				t.Errorf("%s: datagram %d after %d", addr, n, want-1)
			} else {
				lost.Add(int64(n - want))
			}
			next[l][addr] = n + 1
			received.Add(1)
		}))
	}()
	to := net.UDPAddrFromAddrPort(s.LocalAddr())
	var sending sync.WaitGroup
	for i := range senders {
		sending.Go(func() {
			conn, err := net.DialUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 2, 0, byte(i+1))}, to)
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = conn.Close() }()
			for n := range uint32(each) {
				_, _ = conn.Write(binary.BigEndian.AppendUint32(nil, n))
			}
		})
	}
	sending.Wait()
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	drops := int64(s.KernelDrops())
	if received.Load()+drops != senders*each || lost.Load() > drops {
		t.Fatalf("received %d, %d of them missing before others, and the kernel dropped %d of %d", received.Load(), lost.Load(), drops, senders*each)
	}
}

func TestCloseEndsServe(t *testing.T) {
	s, _, stop := serving(t, udp.Config{Listen: "127.0.0.1:0"}, udp.Deps{}, 1)
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	stop() // returns only when Serve did
}

func TestValidate(t *testing.T) {
	f := func(cfg udp.Config, want string) {
		t.Helper()
		err := cfg.Validate()
		if got := ""; err != nil {
			got = err.Error()
			if want == "" || !strings.Contains(got, want) {
				t.Fatalf("%+v: %q, want %q", cfg, got, want)
			}
		} else if want != "" {
			t.Fatalf("%+v was accepted, want %q", cfg, want)
		}
	}
	f(udp.Config{Listen: "0.0.0.0:2055", ReceiveBuffer: config.Size(1 << 20)}, "")
	f(udp.Config{Listen: ":2055"}, "")
	f(udp.Config{Listen: "[2001:db8::1]:6343"}, "")
	f(udp.Config{}, "listen: missing")
	f(udp.Config{Listen: "0.0.0.0"}, "listen: missing port")
	f(udp.Config{Listen: "edge-1:2055"}, "listen: \"edge-1\" is not an IP address")
	f(udp.Config{Listen: "0.0.0.0:netflow"}, "listen: port \"netflow\"")
	f(udp.Config{Listen: "0.0.0.0:2055", ReceiveBuffer: -1}, "receive_buffer")
}
