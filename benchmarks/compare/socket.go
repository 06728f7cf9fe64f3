//go:build linux

package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// sockets is what the kernel says of all UDP sockets at a port: a receiver may have several.
type sockets struct {
	count int
	// queued is memory of datagrams that wait; dropped are datagrams that found the queue full.
	queued, dropped uint64
}

func socketsAt(port int) (sockets, error) {
	var sum sockets
	for _, file := range []string{"/proc/net/udp", "/proc/net/udp6"} {
		text, err := os.ReadFile(file)
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			return sum, err
		}
		sum.add(string(text), port)
	}
	return sum, nil
}

// add reads a table as in /proc/net/udp. A connected socket at the port is the sender's or none of ours.
func (s *sockets) add(text string, port int) {
	ending := fmt.Sprintf(":%04X", port)
	for _, line := range strings.Split(text, "\n") {
		f := strings.Fields(line)
		if len(f) < 13 || !strings.HasSuffix(f[1], ending) || !strings.HasSuffix(f[2], ":0000") {
			continue
		}
		_, queued, _ := strings.Cut(f[4], ":")
		bytes, _ := strconv.ParseUint(queued, 16, 64)
		drops, _ := strconv.ParseUint(f[len(f)-1], 10, 64)
		s.count++
		s.queued += bytes
		s.dropped += drops
	}
}
