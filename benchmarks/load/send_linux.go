package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// rest is how long the sender rests at least between bursts.
	rest = time.Millisecond
	// batchMost is how many datagrams one system call sends at most.
	batchMost = 64
	// turn is how many datagrams a stream sends before it is the next one's turn, where there are several.
	turn = 8
	// templatesEvery is how often a stream that sends repeats its templates.
	templatesEvery = 10 * time.Second
)

// plan is what to send.
type plan struct {
	to   netip.AddrPort
	from netip.Addr // of the first exporter; the others follow it
	// exporters have an address each, and each of them so many source ports; each port is a stream with
	// numbers of its own.
	exporters, ports int
	perSecond        float64 // records; 0: as fast as it goes
	length           time.Duration
	tail             time.Duration // rest before each stream's last datagram; 0: none
}

// stream is one source address and port.
type stream struct {
	fd          int
	header      header
	templatesAt time.Time // zero: never
}

// sender sends the datagrams of a pool by turns of its streams, from one thread.
type sender struct {
	pool     *Pool
	streams  []*stream
	at       int // whose turn it is
	messages [batchMost]struct {
		header unix.Msghdr
		length uint32
	}
	vectors [batchMost]unix.Iovec
	sent    Sent
}

// send sends what the plan says.
//
// Errors: of the sockets; the first ends the run. A receiver that is not there is one.
func send(pool *Pool, p plan) (Sent, error) {
	runtime.LockOSThread()
	s := &sender{pool: pool}
	defer s.close()
	if err := s.open(p); err != nil {
		return s.sent, err
	}
	start := time.Now()
	err := s.run(p, start)
	s.sent.Seconds = time.Since(start).Seconds()
	if err == nil && p.tail > 0 {
		err = s.tail(p.tail)
	}
	s.sent.count(pool)
	var usage unix.Rusage
	if unix.Getrusage(unix.RUSAGE_THREAD, &usage) == nil {
		s.sent.CPUSeconds = float64(usage.Utime.Nano()+usage.Stime.Nano()) / 1e9
	}
	return s.sent, err
}

func (s *sender) open(p plan) error {
	for i := range s.messages {
		s.messages[i].header.Iov = &s.vectors[i]
		s.messages[i].header.SetIovlen(1)
	}
	address := p.from
	for exporter := range p.exporters {
		for range p.ports {
			fd, err := dial(address, p.to)
			if err != nil {
				return fmt.Errorf("socket from %v to %v: %w", address, p.to, err)
			}
			agent := address.As4()
			s.streams = append(s.streams, &stream{fd: fd, header: header{
				exporter: exporter,
				agent:    uint32(agent[0])<<24 | uint32(agent[1])<<16 | uint32(agent[2])<<8 | uint32(agent[3]),
				domain:   uint32(len(s.streams)%p.ports) + 1,
			}})
		}
		address = address.Next()
	}
	return nil
}

func dial(from netip.Addr, to netip.AddrPort) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: from.As4()}); err != nil {
		return fd, errors.Join(os.NewSyscallError("bind", err), unix.Close(fd))
	}
	if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())}); err != nil {
		return fd, errors.Join(os.NewSyscallError("connect", err), unix.Close(fd))
	}
	return fd, nil
}

func (s *sender) close() {
	for _, stream := range s.streams {
		_ = unix.Close(stream.fd)
	}
}

func (s *sender) run(p plan, start time.Time) error {
	if p.perSecond == 0 {
		for now := start; now.Sub(start) < p.length; now = time.Now() {
			if err := s.burst(now, batchMost); err != nil {
				return err
			}
		}
		return nil
	}
	size := float64(s.pool.Size)
	pace := newPace(p.perSecond/size, p.length, start)
	defer func() { s.sent.Skipped = uint64(pace.skipped * size) }()
	for !pace.done() {
		now := time.Now()
		if err := s.burst(now, pace.allow(now)); err != nil {
			return err
		}
		time.Sleep(rest)
	}
	return nil
}

// tailPause lies between the last datagrams, which shall not be lost themselves.
const tailPause = 100 * time.Microsecond

// tail sends one datagram of each stream after a rest.
func (s *sender) tail(after time.Duration) error {
	time.Sleep(after)
	for range s.streams {
		if _, err := s.turn(time.Now(), 1); err != nil {
			return err
		}
		time.Sleep(tailPause)
	}
	return nil
}

// burst sends n datagrams, by turns of the streams.
func (s *sender) burst(now time.Time, n int) error {
	for n > 0 {
		most := batchMost
		if len(s.streams) > 1 {
			most = turn
		}
		sent, err := s.turn(now, min(n, most))
		if err != nil {
			return err
		}
		n -= sent
	}
	return nil
}

// turn sends up to n datagrams of the next stream, and before them its templates where they are due.
func (s *sender) turn(now time.Time, n int) (int, error) {
	stream := s.streams[s.at%len(s.streams)]
	s.at++
	stream.header.millis = at(now)
	if len(s.pool.Templates) > 0 && now.Sub(stream.templatesAt) >= templatesEvery {
		if err := s.templates(stream); err != nil {
			return 0, err
		}
		stream.templatesAt = now
	}
	n = min(n, len(s.pool.Data[stream.header.exporter])) // each datagram is one memory
	for i := range n {
		d := s.pool.Next(&stream.header)
		s.vectors[i].Base = &d.Payload[0]
		s.vectors[i].SetLen(len(d.Payload))
	}
	for from := 0; from < n; {
		sent, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(stream.fd),
			uintptr(unsafe.Pointer(&s.messages[from])), uintptr(n-from), 0, 0, 0)
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 {
			s.pool.Undo(&stream.header, n-from)
			return from, os.NewSyscallError("sendmmsg", errno)
		}
		from += int(sent)
	}
	return n, nil
}

func (s *sender) templates(stream *stream) error {
	for _, payload := range s.pool.Templates {
		s.pool.patchTemplate(payload, &stream.header)
		if _, err := unix.Write(stream.fd, payload); err != nil {
			return os.NewSyscallError("write", err)
		}
		stream.header.sequenced++
		s.sent.Templates++
	}
	return nil
}
