package udp

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestRuntimeDoesNotPollTheSocket: a socket in the runtime's poller, under whatever file descriptor, would wake a
// thread for each datagram.
func TestRuntimeDoesNotPollTheSocket(t *testing.T) {
	var sockets Sockets
	t.Cleanup(func() { _ = sockets.Close() })
	s, err := sockets.Listen(t.Context(), Config{Listen: "127.0.0.1:0"}, Deps{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	var socket unix.Stat_t
	if err := s.descriptor.use(func(fd int) error { return unix.Fstat(fd, &socket) }); err != nil {
		t.Fatal(err)
	}
	// The runtime opens its poller with the first file that it polls.
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = read.Close(), write.Close() }()
	pollers := 0
	files, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if target, _ := os.Readlink(file); target != "anon_inode:[eventpoll]" {
			continue
		}
		pollers++
		info, err := os.ReadFile("/proc/self/fdinfo/" + filepath.Base(file))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(info)) {
			if strings.Contains(line, fmt.Sprintf(" ino:%x ", socket.Ino)) {
				t.Errorf("the poller has the socket: %s", line)
			}
		}
	}
	if pollers == 0 {
		t.Fatal("found no poller")
	}
}
