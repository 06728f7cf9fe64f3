package storetest

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
)

// Fate is what becomes of a commit on its way to PostgreSQL.
type Fate int

// The fates. After each of the last two the connection is gone, and the client cannot tell which it was.
const (
	Delivered   Fate = iota
	RequestLost      // the server never saw it
	ReplyLost        // the server has committed and said so
)

// Lossy returns a DSN that reaches the same database through a proxy, which asks fate about each commit.
func Lossy(t testing.TB, dsn string, fate func() Fate) string {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var open sync.WaitGroup
	server := u.Host
	open.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			open.Go(func() { proxy(client, server, fate) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		open.Wait()
	})
	u.Host = listener.Addr().String()
	return u.String()
}

// proxy carries one connection until either side ends it, or fate does.
func proxy(client net.Conn, address string, fate func() Fate) {
	defer client.Close()
	server, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer server.Close()
	p := &lossy{client: client, server: server}
	var both sync.WaitGroup
	both.Go(func() {
		p.toClient()
		_ = client.Close()
	})
	p.toServer(fate)
	_ = server.Close()
	both.Wait()
}

type lossy struct {
	client, server net.Conn
	mu             sync.Mutex
	mute           bool // nothing more reaches the client
}

// toServer carries whole messages, so that a commit is seen as one. The first has no type (PostgreSQL's
// protocol 3.0, section "Message Formats"): four octets of length, which counts itself.
func (p *lossy) toServer(fate func() Fate) {
	first := true
	for {
		head := make([]byte, 5)
		if first {
			head = head[:4]
		}
		if _, err := io.ReadFull(p.client, head); err != nil {
			return
		}
		body := make([]byte, max(int(binary.BigEndian.Uint32(head[len(head)-4:]))-4, 0))
		if _, err := io.ReadFull(p.client, body); err != nil {
			return
		}
		message := append(head, body...)
		if !first && head[0] == 'Q' && bytes.EqualFold(bytes.TrimRight(body, "\x00"), []byte("commit")) {
			switch fate() {
			case RequestLost:
				return
			case ReplyLost:
				p.mu.Lock()
				p.mute = true
				p.mu.Unlock()
			}
		}
		first = false
		if _, err := p.server.Write(message); err != nil {
			return
		}
	}
}

// toClient carries what the server says. When a reply is to be lost, it ends after the server has given it.
func (p *lossy) toClient() {
	buffer := make([]byte, 64<<10)
	for {
		n, err := p.server.Read(buffer)
		if err != nil {
			return
		}
		p.mu.Lock()
		mute := p.mute
		p.mu.Unlock()
		if mute {
			return
		}
		if _, err := p.client.Write(buffer[:n]); err != nil {
			return
		}
	}
}
