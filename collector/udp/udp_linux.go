package udp

import (
	"context"
	"encoding/binary"
	"net/netip"
	"os"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	batchSize = 64
	// payloadSize is more than the longest UDP payload.
	payloadSize = 1 << 16
	// payloadStride is not a power of two: the beginnings of 64 buffers that lie 64 KiB apart would
	// share the same few cache lines.
	payloadStride = payloadSize + 2112
	controlSize   = 128
)

// prepare asks for the receive buffer, the receive time and the drop counter.
func (s *Socket) prepare() error {
	return s.descriptor.use(func(fd int) error {
		// FORCE passes over net.core.rmem_max but needs CAP_NET_ADMIN.
		if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, s.asked) != nil {
			if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, s.asked); err != nil {
				return os.NewSyscallError("setsockopt SO_RCVBUF", err)
			}
		}
		granted, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF)
		if err != nil {
			return os.NewSyscallError("getsockopt SO_RCVBUF", err)
		}
		s.buffer = granted / 2 // the kernel doubles what it is told, for its own headers
		for _, option := range []int{unix.SO_TIMESTAMPNS, unix.SO_RXQ_OVFL} {
			if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, option, 1); err != nil {
				return os.NewSyscallError("setsockopt", err)
			}
		}
		return nil
	})
}

// kernelDrops reads the kernel's running count of what it dropped at the socket, of 32 bits; of a
// closed socket it is what was seen last.
func (s *Socket) kernelDrops() uint32 {
	drops := s.seenDrops()
	_ = s.descriptor.use(func(fd int) error {
		var info [16]uint32 // SK_MEMINFO_VARS is 9 so far
		size := uint32(unsafe.Sizeof(info))
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_MEMINFO,
			uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
		if errno == 0 && size >= 36 {
			drops = info[8] // SK_MEMINFO_DROPS
		}
		return nil
	})
	return drops
}

// message is the kernel's struct mmsghdr.
type message struct {
	header unix.Msghdr
	length uint32
}

// batch is the memory that one recvmmsg fills. Nothing in it moves once it is made.
type batch struct {
	messages [batchSize]message
	vectors  [batchSize]unix.Iovec
	names    [batchSize]unix.RawSockaddrInet6 // the longer of the two kinds
	controls [batchSize][controlSize]byte
	payloads []byte
	// What was received, as it is handed over, and who takes it.
	datagrams [batchSize]Datagram
	lanes     [batchSize]int32
	n         int
	waiting   atomic.Int32 // lanes that are not done with it
}

// newBatch takes the payloads' memory from the system: most of it is never touched, and stays unused.
func newBatch() (*batch, error) {
	payloads, err := unix.Mmap(-1, 0, batchSize*payloadStride, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	b := &batch{payloads: payloads}
	for i := range b.messages {
		payload := b.payload(i, payloadSize)
		b.vectors[i].Base = &payload[0]
		b.vectors[i].SetLen(payloadSize)
		header := &b.messages[i].header
		header.Iov = &b.vectors[i]
		header.SetIovlen(1)
		header.Name = (*byte)(unsafe.Pointer(&b.names[i]))
		header.Control = &b.controls[i][0]
	}
	return b, nil
}

func (b *batch) free() { _ = unix.Munmap(b.payloads) }

func (b *batch) payload(i, length int) []byte {
	return b.payloads[i*payloadStride:][:length:length]
}

// read fills the batch with what is queued, at most batchSize datagrams, without waiting.
func (b *batch) read(fd int) unix.Errno {
	for i := range b.messages {
		header := &b.messages[i].header
		header.Namelen = unix.SizeofSockaddrInet6
		header.SetControllen(controlSize)
		header.Flags = 0
	}
	n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.messages[0])),
		batchSize, unix.MSG_DONTWAIT, 0, 0)
	if b.n = int(n); errno != 0 {
		b.n = 0
	}
	return errno
}

func (s *Socket) receive(ctx context.Context, lanes int, laneOf func(netip.Addr) int, handler Handler) error {
	r := &receiver{socket: s, laneOf: laneOf, handler: handler, base: s.seenDrops()}
	if err := r.open(lanes); err != nil {
		return err
	}
	defer r.close()
	return s.descriptor.use(func(fd int) error { return r.receive(ctx, fd) })
}

func (r *receiver) receive(ctx context.Context, fd int) error {
	d := r.socket.descriptor
	for {
		switch {
		case ctx.Err() != nil:
			r.drain(fd)
			return nil
		case d.isClosed():
			return nil
		}
		b := <-r.spare
		switch errno := b.read(fd); errno {
		case 0, unix.EINTR:
		case unix.EAGAIN:
			r.spare <- b
			if err := d.wait(); err != nil {
				return err
			}
			continue
		default:
			r.spare <- b
			return os.NewSyscallError("recvmmsg", errno)
		}
		whole := b.n == batchSize // hand gives it away
		r.hand(b)
		if !whole && ctx.Err() == nil {
			time.Sleep(r.socket.nap)
		}
	}
}

// drain hands over what is queued at the end, and no more than a queue can hold, so that a sender
// who does not stop cannot keep the program from stopping.
func (r *receiver) drain(fd int) {
	for range r.socket.buffer/(batchSize*256) + 1 {
		b := <-r.spare
		if errno := b.read(fd); errno != 0 || b.n == 0 {
			r.spare <- b
			return
		}
		r.hand(b)
	}
}

func addrPortOf(name *unix.RawSockaddrInet6) netip.AddrPort {
	switch name.Family {
	case unix.AF_INET:
		v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(name))
		return netip.AddrPortFrom(netip.AddrFrom4(v4.Addr), portOf(&v4.Port))
	case unix.AF_INET6:
		return plainAddrPort(netip.AddrPortFrom(netip.AddrFrom16(name.Addr), portOf(&name.Port)))
	}
	return netip.AddrPort{}
}

// portOf reads a port that lies in memory in network order.
func portOf(port *uint16) uint16 {
	return binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(port))[:])
}

// parseControl finds the receive time, in nanoseconds since the epoch or 0, and the drop counter.
func parseControl(control []byte) (at int64, drops uint32, dropsTold bool) {
	for len(control) >= unix.SizeofCmsghdr {
		header := (*unix.Cmsghdr)(unsafe.Pointer(&control[0]))
		length := int(header.Len)
		if length < unix.SizeofCmsghdr || length > len(control) {
			return at, drops, dropsTold
		}
		data := control[unix.CmsgLen(0):length]
		if header.Level == unix.SOL_SOCKET {
			switch {
			case header.Type == unix.SO_TIMESTAMPNS && len(data) >= int(unsafe.Sizeof(unix.Timespec{})):
				at = (*unix.Timespec)(unsafe.Pointer(&data[0])).Nano()
			case header.Type == unix.SO_RXQ_OVFL && len(data) >= 4:
				drops, dropsTold = binary.NativeEndian.Uint32(data), true
			}
		}
		control = control[min(unix.CmsgSpace(length-unix.CmsgLen(0)), len(control)):]
	}
	return at, drops, dropsTold
}
