//go:build !linux

package udp

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"time"
)

// descriptor is a bound socket.
type descriptor struct{ conn *net.UDPConn }

// take owns a connection.
func take(conn *net.UDPConn) (*descriptor, error) { return &descriptor{conn}, nil }

func (d *descriptor) duplicate() (*descriptor, error) {
	f, err := d.conn.File()
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	packets, err := net.FilePacketConn(f)
	if err != nil {
		return nil, err
	}
	return take(packets.(*net.UDPConn))
}

func (d *descriptor) localAddr() netip.AddrPort { return d.conn.LocalAddr().(*net.UDPAddr).AddrPort() }

func (d *descriptor) close() error { return d.conn.Close() }

// interrupt ends waiting, now and later.
func (d *descriptor) interrupt() { _ = d.conn.SetReadDeadline(time.Unix(1, 0)) }

// prepare asks for the receive buffer. Elsewhere than on Linux the kernel tells neither what it
// granted nor what it dropped, so that only sequence numbers declare a loss.
func (s *Socket) prepare() error {
	s.buffer = s.asked
	return s.descriptor.conn.SetReadBuffer(s.asked)
}

func (s *Socket) kernelDrops() uint32 { return 0 }

func (s *Socket) receive(ctx context.Context, _ int, laneOf func(netip.Addr) int, handler Handler) error {
	payload := make([]byte, 1<<16)
	for {
		n, from, err := s.descriptor.conn.ReadFromUDPAddrPort(payload)
		if errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		d := Datagram{From: plainAddrPort(from), ReceivedAt: s.deps.Clock.Now().UTC(), Payload: payload[:n]}
		lane := laneOf(d.From.Addr())
		handler.Expect(lane, &d)
		handler.Take(lane, &d)
	}
}
