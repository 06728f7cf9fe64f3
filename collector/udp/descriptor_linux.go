package udp

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// descriptor is a bound socket that the runtime's poller does not know of: that would wake a thread for each
// datagram that comes while who receives is at work or naps, which costs more than to receive it.
type descriptor struct {
	at   netip.AddrPort
	fd   int
	stop int // an eventfd that ends waiting

	mu     sync.Mutex
	users  int // they keep the descriptors open
	closed bool
}

// take owns a connection.
func take(conn *net.UDPConn) (*descriptor, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	var d *descriptor
	var inner error
	err = raw.Control(func(fd uintptr) {
		d, inner = newDescriptor(int(fd), conn.LocalAddr().(*net.UDPAddr).AddrPort())
	})
	// Its own descriptor leaves the poller here; the socket stays open.
	return d, errors.Join(err, inner, conn.Close())
}

// newDescriptor duplicates a file descriptor.
func newDescriptor(fd int, at netip.AddrPort) (*descriptor, error) {
	fd, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("fcntl F_DUPFD_CLOEXEC", err)
	}
	stop, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, errors.Join(os.NewSyscallError("eventfd", err), unix.Close(fd))
	}
	return &descriptor{at: at, fd: fd, stop: stop}, nil
}

func (d *descriptor) duplicate() (other *descriptor, err error) {
	err = d.use(func(fd int) error {
		other, err = newDescriptor(fd, d.at)
		return err
	})
	return other, err
}

func (d *descriptor) localAddr() netip.AddrPort { return d.at }

// use calls f with the file descriptor, which stays open meanwhile, or returns net.ErrClosed.
func (d *descriptor) use(f func(fd int) error) error {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return net.ErrClosed
	}
	d.users++
	d.mu.Unlock()
	err := f(d.fd)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.users--
	return errors.Join(err, d.release())
}

// close ends waiting; what is used is closed by its last user.
func (d *descriptor) close() error {
	d.interrupt()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return net.ErrClosed
	}
	d.closed = true
	return d.release()
}

// release closes what is closed and not used. Its caller holds the lock.
func (d *descriptor) release() error {
	if !d.closed || d.users > 0 {
		return nil
	}
	return os.NewSyscallError("close", errors.Join(unix.Close(d.fd), unix.Close(d.stop)))
}

// interrupt ends waiting, now and later.
func (d *descriptor) interrupt() {
	_ = d.use(func(int) error {
		_, err := unix.Write(d.stop, binary.NativeEndian.AppendUint64(nil, 1))
		return err
	})
}

// wait returns once something is queued, or waiting was ended. It is called in use.
func (d *descriptor) wait() error {
	events := []unix.PollFd{{Fd: int32(d.fd), Events: unix.POLLIN}, {Fd: int32(d.stop), Events: unix.POLLIN}}
	for {
		_, err := unix.Poll(events, -1)
		if err != unix.EINTR {
			return os.NewSyscallError("poll", err)
		}
	}
}

// isClosed is true in use only.
func (d *descriptor) isClosed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.closed
}
