// Package udp owns the sockets that datagrams come in at. It knows no protocol.
//
// It promises that the datagrams of one sender at one socket reach the handler one at a time and in the
// order in which the kernel queued them, each with the time at which the kernel received it, and that
// what the kernel threw away because the queue was full is counted. It does not promise that what was
// sent has arrived, and it never sends.
package udp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"hostmeter/internal/clock"
)

// Datagram is what a socket received.
type Datagram struct {
	// From is the sender with the IPv4-mapped form and the zone removed.
	From netip.AddrPort
	// ReceivedAt is the kernel's time, in UTC, moved to the clock of Deps.
	ReceivedAt time.Time
	// Drops is how many datagrams the kernel had dropped at the socket when it queued this one, modulo 2^32,
	// since the serving began.
	Drops   uint32
	Payload []byte
	Mark    uint64 // what Handler.Expect leaves for Take
}

// Handler takes datagrams. Both are called for several lanes at a time, for one lane one at a time.
type Handler struct {
	// Expect is called with each datagram of a lane before Take is called with the one before it: what is asked of memory
	// here is there when it is needed.
	Expect func(lane int, d *Datagram)
	// Take takes one datagram, which is valid until it returns.
	Take func(lane int, d *Datagram)
}

// Deps are what a socket needs of the program; the zero value works.
type Deps struct {
	Logger *slog.Logger
	Clock  clock.Clock
	// Dropped, when set, is told how many datagrams the kernel has dropped since the last call.
	Dropped func(n uint64)
	// Truncated, when set, is told of a datagram that was longer than 65535 octets of buffer.
	Truncated func(from netip.AddrPort)
}

// Socket is one bound socket.
type Socket struct {
	descriptor *descriptor
	deps       Deps
	buffer     int // bytes that the kernel granted, of payload and its own headers together
	asked      int
	nap        time.Duration // after a batch that did not fill up

	dropped   atomic.Uint64
	dropsSeen uint32 // the kernel's own count, which wraps; of the serving goroutine and Close
	dropsMu   sync.Mutex
	released  func(dropsSeen uint32) // set where Sockets keeps the socket
	closeOnce sync.Once
	closeErr  error
}

// Listen binds a socket that ends with its reader; Sockets.Listen keeps it. What the kernel grants of
// the receive buffer is logged when it is less than what was asked for.
//
// Errors: of Config.Validate, and what the system said, with the address.
func Listen(ctx context.Context, cfg Config, deps Deps) (*Socket, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	bound, err := bind(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return newSocket(bound, cfg, deps)
}

func bind(ctx context.Context, cfg Config) (*descriptor, error) {
	var listener net.ListenConfig
	packets, err := listener.ListenPacket(ctx, "udp", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen on udp %s: %w", cfg.Listen, err)
	}
	bound, err := take(packets.(*net.UDPConn))
	if err != nil {
		return nil, fmt.Errorf("listen on udp %s: %w", cfg.Listen, err)
	}
	return bound, nil
}

// newSocket prepares a bound socket for reading, and owns it.
func newSocket(bound *descriptor, cfg Config, deps Deps) (*Socket, error) {
	if deps.Logger == nil {
		deps.Logger = slog.Default()
	}
	if deps.Clock == nil {
		deps.Clock = clock.Real{}
	}
	s := &Socket{descriptor: bound, deps: deps, asked: cfg.receiveBuffer()}
	if err := s.prepare(); err != nil {
		_ = bound.close()
		return nil, fmt.Errorf("prepare udp socket %s: %w", cfg.Listen, err)
	}
	if s.buffer < s.asked {
		deps.Logger.Warn("the kernel granted a smaller receive buffer than asked for: bursts may be lost",
			"listen", cfg.Listen, "asked_bytes", s.asked, "granted_bytes", s.buffer,
			"hint", "raise net.core.rmem_max, or give the process CAP_NET_ADMIN")
	}
	s.nap = napFor(s.buffer)
	return s, nil
}

// LocalAddr is where the socket listens; it has the port that the system chose for port 0.
func (s *Socket) LocalAddr() netip.AddrPort {
	return s.descriptor.localAddr()
}

// ReceiveBuffer is the number of bytes that the kernel granted.
func (s *Socket) ReceiveBuffer() int { return s.buffer }

// KernelDrops is how many datagrams the kernel has dropped at this socket since it was bound.
func (s *Socket) KernelDrops() uint64 {
	s.pollDrops()
	return s.dropped.Load()
}

// Close may be called twice. A Serve that runs returns.
func (s *Socket) Close() error {
	s.closeOnce.Do(func() {
		s.pollDrops()
		s.closeErr = s.descriptor.close()
		if s.released != nil {
			s.released(s.seenDrops())
		}
	})
	return s.closeErr
}

// Serve hands datagrams to the handler until ctx is done or the socket is closed, and returns nil
// then. What is in the kernel's queue when ctx is done is still handed over, up to a queue's length.
//
// laneOf is the lane of a sender, from 0 to lanes-1. While there is little to do, who receives handles all
// lanes; else each lane has a goroutine of its own.
func (s *Socket) Serve(ctx context.Context, lanes int, laneOf func(netip.Addr) int, handler Handler) error {
	stop := context.AfterFunc(ctx, s.descriptor.interrupt)
	defer stop()
	err := s.receive(ctx, lanes, laneOf, handler)
	s.pollDrops()
	if errors.Is(err, net.ErrClosed) || ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return fmt.Errorf("receive on udp %s: %w", s.LocalAddr(), err)
	}
	return nil
}

const (
	// napMost lets datagrams gather. At 100,000 records a second 20 ms cost a third less than 5 ms, and those half of
	// what no nap costs; 1 ms was measured to make it worse.
	napMost = 20 * time.Millisecond
	// napBuffer is a receive buffer that surely holds what arrives during the longest nap: of 100,000 datagrams a
	// second 2,000, with 2.3 kB of the kernel's memory each, and seven times as many.
	napBuffer = 16 << 20
)

// napFor is how long a reader of a receive buffer may rest: not at all with a small one.
func napFor(buffer int) time.Duration {
	if buffer < napBuffer/4 {
		return 0
	}
	return napMost * time.Duration(min(buffer, napBuffer)) / napBuffer
}

// addDrops takes the kernel's running count, of 32 bits, and counts the difference.
func (s *Socket) addDrops(kernel uint32) {
	s.dropsMu.Lock()
	defer s.dropsMu.Unlock()
	n := kernel - s.dropsSeen
	if n == 0 || n > 1<<31 { // an older value, read beside a newer one
		return
	}
	s.dropsSeen = kernel
	s.dropped.Add(uint64(n))
	if s.deps.Dropped != nil {
		s.deps.Dropped(uint64(n))
	}
}

// pollDrops reads the socket's drop counter itself: the one in the control messages is as old as
// the datagram that it came with, and none comes after the last.
func (s *Socket) pollDrops() { s.addDrops(s.kernelDrops()) }

// seenDrops is the kernel's own count as far as it has been taken over.
func (s *Socket) seenDrops() uint32 {
	s.dropsMu.Lock()
	defer s.dropsMu.Unlock()
	return s.dropsSeen
}

// clockOffset is what has to be added to the machine's time to get the time of the program's clock.
// Below a millisecond it is the noise of reading two clocks.
func (s *Socket) clockOffset() time.Duration {
	offset := s.deps.Clock.Now().Round(0).Sub(time.Now().Round(0))
	if offset.Abs() < time.Millisecond {
		return 0
	}
	return offset
}

func plainAddrPort(from netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(from.Addr().Unmap().WithZone(""), from.Port())
}
