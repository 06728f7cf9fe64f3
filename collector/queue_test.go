package collector

import (
	"encoding/binary"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"hostmeter/internal/stream"
	"hostmeter/schemas"
)

// A gap across which our own receive queue overflowed is its doing; other gaps are the network's.
func TestGapsAreAttributed(t *testing.T) {
	at := time.Date(2026, 10, 1, 12, 30, 0, 0, time.UTC)
	from := netip.MustParseAddrPort("198.51.100.1:2055")
	cfg := DefaultConfig()
	cfg.Local = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	cfg.Exporters = []ExporterConfig{{Address: Network{netip.PrefixFrom(from.Addr(), 32)}}}
	c, err := New(cfg, Deps{Log: nowhere{}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	l := c.lanes[c.laneOf(from.Addr())]
	send := func(sequence, drops uint32) {
		d := make([]byte, 24+48)
		binary.BigEndian.PutUint16(d, 5)
		binary.BigEndian.PutUint16(d[2:], 1)
		binary.BigEndian.PutUint32(d[8:], uint32(at.Unix()))
		binary.BigEndian.PutUint32(d[16:], sequence)
		l.feed(from, at, d, l.repeated.hash(d), queue{1, drops})
	}
	send(0, 0)
	send(11, 0) // 10 lost on the way
	send(32, 3) // 20 lost in the queue
	send(63, 3) // 30 lost on the way
	for _, e := range l.exporters {
		e.settle(l, at)
	}
	got := map[string]int64{}
	for _, l := range l.account(accountKey{"198.51.100.1", schemas.NetFlow5, hourOf(at)}).Lost {
		got[l.Reason] += l.Count
	}
	if got["sequence"] != 40 || got["receive_queue"] != 20 {
		t.Errorf("lost %v, want 40 by sequence and 20 by receive_queue", got)
	}
}

// nowhere is a log that nothing is appended to.
type nowhere struct{ stream.Log }

// What an sFlow agent says it could not send is the agent's, whatever our queue did meanwhile.
func TestAgentsOwnLossIsNotTheQueues(t *testing.T) {
	s := &source{overflowed: true}
	lost := s.attribute([]*schemas.Count{count("samples", "sequence", 6), count("unsent_samples", "agent", 7)})
	if lost[0].Reason != "receive_queue" || lost[1].Reason != "agent" {
		t.Errorf("lost %v", lost)
	}
}
