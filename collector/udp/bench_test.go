package udp_test

import (
	"context"
	"net"
	"testing"

	"hostmeter/collector/udp"
)

// BenchmarkReceive reads a queue that has been filled before: the cost of a datagram when busy.
func BenchmarkReceive(b *testing.B) {
	s, err := udp.Listen(b.Context(), udp.Config{Listen: "127.0.0.1:0"}, udp.Deps{})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	conn, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(s.LocalAddr()))
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	payload := make([]byte, 1400)
	b.ReportAllocs()
	received, sent := 0, 0
	ctx, cancel := context.WithCancel(b.Context())
	cancel()
	for received+int(s.KernelDrops()) < b.N {
		b.StopTimer()
		for range min(1000, b.N-sent) {
			if _, err := conn.Write(payload); err != nil {
				b.Fatal(err)
			}
			sent++
		}
		b.StartTimer()
		if err := s.Serve(ctx, 1, oneLane, expected(func(int, *udp.Datagram) { received++ })); err != nil {
			b.Fatal(err)
		}
	}
	if drops := s.KernelDrops(); drops != 0 {
		b.Fatalf("%d datagrams were dropped", drops)
	}
}
