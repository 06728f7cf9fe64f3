package kafka

import (
	"maps"
	"testing"

	kafkago "github.com/segmentio/kafka-go"
	"pgregory.net/rapid"

	"hostmeter/internal/stream"
)

// TestWaitedMissesNothing compares it with a twin that keeps the offset of every batch: what waits for the ledger and
// has gone from Kafka is always seen, and where nothing waits nothing is.
func TestWaitedMissesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const partitions = 3
		type at struct {
			key       stream.Key
			index     uint64
			partition int
			offset    int64
		}
		w := newWaited(partitions)
		var all []at
		extents := make([]extent, partitions)
		for p := range extents { // others were there before
			extents[p].end = rapid.Int64Range(0, 5).Draw(t, "before")
		}
		sent, confirmed := stream.Watermarks{}, stream.Watermarks{}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			p := rapid.IntRange(0, partitions-1).Draw(t, "partition")
			key := stream.Key{Collector: "c", Shard: uint32(p), LogID: rapid.Uint64Range(1, 2).Draw(t, "log id")}
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			case 0: // a request
				base := extents[p].end
				var messages []message
				for range rapid.IntRange(1, 4).Draw(t, "messages") {
					sent[key]++
					all = append(all, at{key, sent[key], p, base + int64(len(messages))})
					messages = append(messages, message{key: key, header: header{index: sent[key]}})
				}
				w.acknowledged(p, base, messages)
				extents[p].end += int64(len(messages))
			case 1: // somebody else's
				extents[p].end += rapid.Int64Range(1, 4).Draw(t, "foreign")
			case 2:
				confirmed[key] = rapid.Uint64Range(confirmed[key], sent[key]).Draw(t, "confirmed")
			case 3:
				extents[p].first = rapid.Int64Range(extents[p].first, extents[p].end).Draw(t, "first")
			}
			want, waiting := false, false
			for _, a := range all {
				if a.index > confirmed[a.key] {
					waiting = true
					want = want || a.offset < extents[a.partition].first
				}
			}
			if _, gone := w.gone(extents, maps.Clone(confirmed)); want && !gone || gone && !waiting {
				t.Fatalf("gone %v, want %v; something waits: %v", gone, want, waiting)
			}
		}
	})
}

func TestHeaderIsReadBack(t *testing.T) {
	f := func(h header) {
		t.Helper()
		if got, ok := parseHeader(h.records()); !ok || got != h {
			t.Fatalf("got %+v, %v, want %+v", got, ok, h)
		}
	}
	f(header{index: 1, after: 0, confirmed: 0})
	f(header{index: 20, after: 19, confirmed: 18})
	f(header{index: 20, after: 3, confirmed: 2}) // 4 to 19 are lost
	index := kafkago.Header{Key: indexHeader, Value: []byte("7")}
	if h, ok := parseHeader([]kafkago.Header{index}); !ok || h != (header{index: 7, after: 6}) {
		t.Fatalf("a message of the version before is read as %+v, %v", h, ok)
	}
	wrong := []kafkago.Header{index, {Key: afterHeader, Value: []byte("9")}, {Key: confirmedHeader, Value: []byte("x")}, {Key: "other"}}
	if h, ok := parseHeader(wrong); !ok || h != (header{index: 7, after: 6}) {
		t.Fatalf("a header that contradicts itself is read as %+v, %v", h, ok)
	}
	if _, ok := parseHeader(nil); ok {
		t.Fatal("a message without a header has one")
	}
}
