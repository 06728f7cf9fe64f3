//go:build linux

// Command udpfloor receives datagrams and counts them, and does nothing else: what receiving alone
// costs on this machine, as the control of a comparison.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	batch  = 64
	buffer = 32 << 20
	// stride is more than the longest payload, and no power of two: see the collector's socket.
	stride = 1<<16 + 2112
)

type counted struct {
	Datagrams uint64 `json:"datagrams"`
	Octets    uint64 `json:"payload_octets"`
}

func main() {
	listen := flag.String("listen", "127.0.0.1:2055", "HOST:PORT, IPv4")
	flag.Parse()
	if err := run(*listen); err != nil {
		fmt.Fprintln(os.Stderr, "udpfloor: error:", err)
		os.Exit(1)
	}
}

// run counts until SIGTERM and prints what it counted.
func run(listen string) error {
	fd, err := bind(listen)
	if err != nil {
		return err
	}
	var stopped atomic.Bool
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		stopped.Store(true)
	}()
	sums, err := receive(fd, &stopped)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(sums)
}

// bind returns a socket that waits at most a tenth of a second.
func bind(listen string) (int, error) {
	at, err := netip.ParseAddrPort(listen)
	if err != nil {
		return -1, err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, buffer) != nil {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, buffer); err != nil {
			return -1, os.NewSyscallError("setsockopt SO_RCVBUF", err)
		}
	}
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 100_000}); err != nil {
		return -1, os.NewSyscallError("setsockopt SO_RCVTIMEO", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: at.Addr().As4(), Port: int(at.Port())}); err != nil {
		return -1, os.NewSyscallError("bind", err)
	}
	return fd, nil
}

func receive(fd int, stopped *atomic.Bool) (sums counted, err error) {
	var messages [batch]struct {
		header unix.Msghdr
		length uint32
	}
	var vectors [batch]unix.Iovec
	payloads := make([]byte, batch*stride)
	for i := range messages {
		vectors[i].Base = &payloads[i*stride]
		vectors[i].SetLen(1 << 16)
		messages[i].header.Iov = &vectors[i]
		messages[i].header.SetIovlen(1)
	}
	for !stopped.Load() {
		n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&messages[0])),
			batch, unix.MSG_WAITFORONE, 0, 0)
		if errno == unix.EAGAIN || errno == unix.EINTR {
			continue
		}
		if errno != 0 {
			return sums, os.NewSyscallError("recvmmsg", errno)
		}
		sums.Datagrams += uint64(n)
		for i := range int(n) {
			sums.Octets += uint64(messages[i].length)
		}
	}
	return sums, nil
}
