package kafka

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	kafkago "github.com/segmentio/kafka-go"

	"hostmeter/internal/stream"
	"hostmeter/internal/stream/streamtest"
)

// beginnings are the offsets from which a reader that has just been opened reads the partitions.
func beginnings(t *testing.T, r *streamtest.Checked) (offsets []int64) {
	t.Helper()
	for _, p := range r.Reader.(*reader).partitions {
		offsets = append(offsets, p.next)
	}
	return offsets
}

var fromTheStart = []int64{kafkago.FirstOffset, kafkago.FirstOffset, kafkago.FirstOffset}

// TestAStartReadsFromALandmark: who has all that lies before it passes over nothing, and who lacks one batch, or finds
// another topic under the name, reads it from its start.
func TestAStartReadsFromALandmark(t *testing.T) {
	each(t, func(t *testing.T, broker string) {
		g := newRig(t, heldConfig(t, broker))
		g.source.landmarkEvery = 0
		appendGroups(t, g, 1, 10)
		first := open(t, g, nil)
		if got := beginnings(t, first); !slices.Equal(got, fromTheStart) {
			t.Errorf("without a landmark it reads from %v", got)
		}
		first.Read(t, 4*10)
		had := maps.Clone(first.Last)
		if err := g.source.Confirm(t.Context(), had); err != nil {
			t.Fatal(err)
		}
		appendGroups(t, g, 11, 12)

		beyond := open(t, g, had)
		sum := int64(0)
		for _, offset := range beginnings(t, beyond) {
			sum += offset
		}
		if sum != 4*10-3 { // the last one of each partition shows that it is still the same
			t.Errorf("it reads from %v, want behind all 40 batches but three", beginnings(t, beyond))
		}
		beyond.Read(t, 4*2)
		wantEnds(t, beyond, 12)

		lacks := maps.Clone(had)
		for key := range lacks {
			lacks[key]--
			break
		}
		behind := open(t, g, lacks)
		if got := beginnings(t, behind); !slices.Equal(got, fromTheStart) {
			t.Errorf("with one batch less it reads from %v", got)
		}
		behind.Read(t, 4*2+1)
		wantEnds(t, behind, 12)

		remake(t, g)
		anew := open(t, g, had)
		if got := beginnings(t, anew); !slices.Equal(got, fromTheStart) {
			t.Errorf("in another topic it reads from %v", got)
		}
		anew.Read(t, 4*2)
		wantEnds(t, anew, 12)
	})
}

func wantEnds(t *testing.T, r *streamtest.Checked, index uint64) {
	t.Helper()
	for key, last := range r.Last {
		if last != index {
			t.Errorf("%s ends at %d, want %d", key, last, index)
		}
	}
}

// TestALandmarkOfALostEnd: a broker lost its end, and others have filled it again beyond the place of the landmark. What
// they wrote before it is read.
func TestALandmarkOfALostEnd(t *testing.T) {
	each(t, func(t *testing.T, broker string) {
		g := newRig(t, heldConfig(t, broker))
		appendGroups(t, g, 1, 10)
		r := open(t, g, nil)
		r.Read(t, 4*10)
		before := r.Reader.(*reader).landmark()
		for i := range before.Passed {
			before.Passed[i].Index = 5 // as if the others had come in their place
		}
		before.Last[1] = "collector-2/00000000000000aa/1/7"
		g.source.landmarks.offer(before)
		g.source.leaveLandmark(t.Context())
		had := maps.Clone(r.Last)
		for key := range had {
			had[key] = 5
		}
		next := open(t, g, had)
		if slices.Equal(beginnings(t, next), fromTheStart) {
			t.Error("it does not begin at the landmark")
		}
		next.Read(t, 4*5)
		wantEnds(t, next, 10)
	})
}

// TestNoLandmarkWithoutATopic: where nobody made it, reading and confirming go on.
func TestNoLandmarkWithoutATopic(t *testing.T) {
	g := newRig(t, heldConfig(t, fake(t).ListenAddrs()[0]))
	g.source.landmarkEvery = 0
	appendGroups(t, g, 1, 2)
	r := open(t, g, nil)
	r.Read(t, 4*2)
	if _, err := g.source.client.DeleteTopics(t.Context(), &kafkago.DeleteTopicsRequest{Topics: []string{g.source.landmarksTopic()}}); err != nil {
		t.Fatal(err)
	}
	if err := g.source.Confirm(t.Context(), r.Last); err != nil {
		t.Fatal(err)
	}
	if !g.source.landmarks.failing {
		t.Error("the landmark was left")
	}
	if l, err := g.source.findLandmark(t.Context(), r.Reader.(*reader).topic, r.Last); l != nil || err == nil {
		t.Errorf("found %v, %v", l, err)
	}
}

// written is a message of the test.
type written struct {
	key   stream.Key
	index uint64
}

// drawTopic draws what forwarders may leave in a partition: each sequence in order, with batches that are missing at first,
// and with stretches that are sent again.
func drawTopic(random *rand.Rand, keys []stream.Key, length uint64) (messages []written) {
	next, ended := map[stream.Key]uint64{}, 0
	for ended < len(keys) {
		key := keys[random.IntN(len(keys))]
		index := max(next[key], 1)
		if index > length {
			continue
		}
		switch random.IntN(8) {
		case 0: // sent again from an earlier one on
			index = 1 + random.Uint64N(index)
		case 1: // some are missing: they are sent, with all behind them, later
			for ahead := index + 1; ahead <= min(index+3, length); ahead++ {
				messages = append(messages, written{key, ahead})
			}
			next[key] = index
			continue
		}
		messages = append(messages, written{key, index})
		if next[key] = index + 1; index == length {
			ended++
		}
	}
	return messages
}

// TestLandmarksAreTrue holds what landmarks say against what lies before them, wherever the reader is, and reads the rest
// from there.
func TestLandmarksAreTrue(t *testing.T) {
	broker := fake(t).ListenAddrs()[0]
	const length, partitions = 12, 3
	for seed := range uint64(12) {
		random := rand.New(rand.NewPCG(seed, 7))
		s, err := New(heldConfig(t, broker), Deps{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		if err := s.EnsureTopics(t.Context()); err != nil {
			t.Fatal(err)
		}
		var topic [partitions][]written
		for partition := range partitions {
			keys := []stream.Key{{Collector: "a", LogID: 1, Shard: uint32(partition)}, {Collector: "a", LogID: 2, Shard: uint32(partition)}, {Collector: "b", LogID: 3, Shard: uint32(partition + partitions)}}
			topic[partition] = drawTopic(random, keys, length)
			write(t, s, partition, topic[partition])
		}
		const all = partitions * 3 * length
		r := (&streamtest.Fixture{Source: s}).Open(t, "ledger", nil)
		had := 1 + random.IntN(all)
		r.Read(t, had)
		l := r.Reader.(*reader).landmark()
		for partition, next := range l.Next {
			for _, m := range topic[partition][:max(next, 0)] {
				known := slices.ContainsFunc(l.Passed, func(p passed) bool {
					return p.Key == m.key.String() && p.Partition == partition && p.Index >= m.index
				})
				if !known {
					t.Errorf("seed %d: batch %d of %s lies before %d in partition %d, and is not in %+v", seed, m.index, m.key, next, partition, l.Passed)
				}
			}
		}
		if !l.behindOf(r.Last) {
			t.Errorf("seed %d: the reader itself has not what lies before its landmark", seed)
		}
		s.landmarks.offer(l)
		s.leaveLandmark(t.Context())
		rest := (&streamtest.Fixture{Source: s}).Open(t, "detector", maps.Clone(r.Last))
		for partition, got := range beginnings(t, rest) {
			if want := l.Next[partition]; got != want && got != want-1 {
				t.Errorf("seed %d: partition %d is read from %d, want %d", seed, partition, got, want)
			}
		}
		rest.Read(t, all-had)
	}
}

func write(t *testing.T, s *Source, partition int, messages []written) {
	t.Helper()
	put(t, s, partition, func() []kafkago.Record {
		records := make([]kafkago.Record, len(messages))
		for i, m := range messages {
			b := streamtest.Batch(m.key.Shard, m.index, 10)
			b.Collector, b.LogId, b.Index = m.key.Collector, m.key.LogID, m.index
			value, err := b.MarshalVT()
			if err != nil {
				t.Fatal(err)
			}
			records[i] = kafkago.Record{Key: kafkago.NewBytes([]byte(m.key.String())), Value: kafkago.NewBytes(value),
				Headers: header{m.index, m.index - 1, 0}.records()}
		}
		return records
	})
}

// TestTrimmedLandmarks: what the topic no longer holds a message of binds nobody.
func TestTrimmedLandmarks(t *testing.T) {
	a, b := stream.Key{Collector: "a", LogID: 1}, stream.Key{Collector: "b", LogID: 2, Shard: 1}
	l := &landmark{Passed: []passed{{a.String(), 0, 9, 99}, {a.String(), 1, 12, 100}, {b.String(), 1, 4, 7}}}
	l.trim([]extent{{100, 200}, {100, 200}})
	if len(l.Passed) != 1 || l.Passed[0].Key != a.String() || l.Passed[0].Partition != 1 {
		t.Fatalf("%+v", l.Passed)
	}
	for index, want := range map[uint64]bool{11: false, 12: true} {
		if got := l.behindOf(stream.Watermarks{a: index}); got != want {
			t.Errorf("with %d of 12: %t", index, got)
		}
	}
}
