package udp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"

	"github.com/coreos/go-systemd/v22/activation"
)

// Sockets are bound sockets that live longer than the collector that reads them: those that the
// service manager bound and handed over, and those of the collector that ran before a reload. What
// arrives while nobody reads waits in the kernel's queue. The zero value holds none.
type Sockets struct {
	mu   sync.Mutex
	kept []*keptSocket
}

// keptSocket is a bound socket; a Socket works on a duplicate of it.
type keptSocket struct {
	at         netip.AddrPort // where it was asked to listen; the port may be 0
	descriptor *descriptor
	dropsSeen  uint32 // the kernel's count when the last reader left
	inherited  bool   // and nobody in this process has read it yet
	read       bool   // a Socket reads it
}

// Inherited returns the sockets that the service manager handed over (sd_listen_fds(3)), none
// where nobody did. It may be called once in a process.
//
// Errors: of what was handed over and is not a UDP socket.
func Inherited() (*Sockets, error) {
	conns, err := activation.PacketConns()
	if err != nil {
		return nil, fmt.Errorf("take over the sockets of the service manager: %w", err)
	}
	s := &Sockets{}
	for i, packets := range conns {
		conn, ok := packets.(*net.UDPConn)
		if !ok {
			return nil, errors.Join(fmt.Errorf("file descriptor %d of the service manager is no UDP socket: the socket unit wants ListenDatagram only", 3+i), s.Close())
		}
		bound, err := take(conn)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("take over the sockets of the service manager: %w", err), s.Close())
		}
		s.kept = append(s.kept, &keptSocket{at: bound.localAddr(), descriptor: bound, inherited: true})
	}
	return s, nil
}

// Listen returns a socket for cfg: a kept one that is bound there and that nobody reads, else a new
// one, which is kept from then on.
//
// Errors: as of the function Listen.
func (s *Sockets) Listen(ctx context.Context, cfg Config, deps Deps) (*Socket, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	at := cfg.address()
	kept := s.find(at)
	if kept == nil {
		bound, err := bind(ctx, cfg)
		if err != nil {
			return nil, err
		}
		kept = &keptSocket{at: at, descriptor: bound}
		s.kept = append(s.kept, kept)
	}
	bound, err := kept.descriptor.duplicate()
	if err != nil {
		return nil, fmt.Errorf("take over the udp socket %s: %w", cfg.Listen, err)
	}
	socket, err := newSocket(bound, cfg, deps)
	if err != nil {
		return nil, err
	}
	if kept.inherited { // what it dropped until now another process has counted
		kept.inherited, kept.dropsSeen = false, socket.kernelDrops()
	}
	socket.dropsSeen, kept.read = kept.dropsSeen, true
	socket.released = func(dropsSeen uint32) {
		s.mu.Lock()
		defer s.mu.Unlock()
		kept.read, kept.dropsSeen = false, dropsSeen
	}
	return socket, nil
}

// find returns the kept socket that listens there and that nobody reads.
func (s *Sockets) find(at netip.AddrPort) *keptSocket {
	for _, k := range s.kept {
		if !k.read && k.at.Port() == at.Port() && sameHost(k.at.Addr(), at.Addr()) {
			return k
		}
	}
	return nil
}

// sameHost is true for two wildcards too: which family a service manager chose for one does not matter.
func sameHost(a, b netip.Addr) bool {
	return a == b || a.IsUnspecified() && b.IsUnspecified()
}

// DropUnread closes the sockets that nobody reads, and returns where they were bound.
func (s *Sockets) DropUnread() (closed []netip.AddrPort, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var kept []*keptSocket
	var errs []error
	for _, k := range s.kept {
		if k.read {
			kept = append(kept, k)
			continue
		}
		closed = append(closed, k.at)
		errs = append(errs, k.descriptor.close())
	}
	s.kept = kept
	return closed, errors.Join(errs...)
}

// Close closes what is kept. A Socket that is read goes on until it is closed itself.
func (s *Sockets) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, k := range s.kept {
		errs = append(errs, k.descriptor.close())
	}
	s.kept = nil
	return errors.Join(errs...)
}
