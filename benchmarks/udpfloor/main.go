// Command udpfloor receives datagrams and counts them, and does nothing else: what receiving alone
// costs on this machine, as the control of a comparison.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/net/ipv4"
)

const (
	batch  = 64
	buffer = 32 << 20
)

func main() {
	listen := flag.String("listen", "127.0.0.1:2055", "HOST:PORT")
	flag.Parse()
	if err := run(*listen); err != nil {
		fmt.Fprintln(os.Stderr, "udpfloor: error:", err)
		os.Exit(1)
	}
}

// run counts until SIGTERM and prints what it counted.
func run(listen string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	address, err := net.ResolveUDPAddr("udp4", listen)
	if err != nil {
		return err
	}
	conn, err := net.ListenUDP("udp4", address)
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { conn.Close() })
	if err := conn.SetReadBuffer(buffer); err != nil {
		return err
	}
	messages := make([]ipv4.Message, batch)
	for i := range messages {
		messages[i].Buffers = [][]byte{make([]byte, 65536)}
	}
	var counted struct {
		Datagrams uint64 `json:"datagrams"`
		Octets    uint64 `json:"payload_octets"`
	}
	reader := ipv4.NewPacketConn(conn)
	for {
		n, err := reader.ReadBatch(messages, 0)
		if errors.Is(err, net.ErrClosed) {
			return json.NewEncoder(os.Stdout).Encode(counted)
		}
		if err != nil {
			return err
		}
		for _, m := range messages[:n] {
			counted.Datagrams++
			counted.Octets += uint64(m.N)
		}
	}
}
