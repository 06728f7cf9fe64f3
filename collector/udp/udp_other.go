//go:build !linux

package udp

import (
	"context"
	"errors"
	"net/netip"
	"os"
)

// prepare asks for the receive buffer. Elsewhere than on Linux the kernel tells neither what it
// granted nor what it dropped, so that only sequence numbers declare a loss.
func (s *Socket) prepare() error {
	s.buffer = s.asked
	return s.conn.SetReadBuffer(s.asked)
}

func (s *Socket) kernelDrops() uint32 { return 0 }

func (s *Socket) receive(ctx context.Context, _ int, laneOf func(netip.Addr) int, handle Handler) error {
	payload := make([]byte, 1<<16)
	for {
		n, from, err := s.conn.ReadFromUDPAddrPort(payload)
		if errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		d := Datagram{From: plainAddrPort(from), ReceivedAt: s.deps.Clock.Now().UTC(), Payload: payload[:n]}
		handle(laneOf(d.From.Addr()), &d)
	}
}
