package detector_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"hostmeter/detector"
	"hostmeter/internal/clock"
	"hostmeter/internal/store/storetest"
	"hostmeter/internal/stream"
	"hostmeter/internal/stream/streamtest"
	"hostmeter/schemas"
)

// memory is a log in memory. Its reader loses the batches of lost.
type memory struct {
	*streamtest.Memory
	lost   *stream.GapError
	opened chan stream.Watermarks
}

func newMemory() *memory {
	return &memory{Memory: streamtest.NewMemory(), opened: make(chan stream.Watermarks, 8)}
}

func (m *memory) OpenReader(ctx context.Context, consumer string, after stream.Watermarks) (stream.Reader, error) {
	if consumer != "detector" {
		return nil, errors.New("unknown consumer " + consumer)
	}
	m.opened <- after
	reader, err := m.Memory.OpenReader(ctx, consumer, after)
	return &losingReader{reader, m.lost}, err
}

// losingReader tells a gap first.
type losingReader struct {
	stream.Reader
	gap *stream.GapError
}

func (r *losingReader) Next(ctx context.Context, most int) ([]*schemas.Batch, error) {
	if gap := r.gap; gap != nil {
		r.gap = nil
		return nil, gap
	}
	return r.Reader.Next(ctx, most)
}

func batch(index uint64, to time.Time) *schemas.Batch {
	b := &schemas.Batch{Collector: "c", LogId: 1, Index: index, Shards: 1, ReceivedFrom: to.Add(-time.Minute).UnixNano(), ReceivedTo: to.UnixNano(),
		Exporters: []string{exporter}, Classes: []string{schemas.ClassExternal},
		Complete: []*schemas.Completeness{{Exporter: exporter, Through: to.UnixNano()}}}
	addTallies(b, address, to.Add(-time.Minute), to, 100)
	return b
}

// TestRunReadsOnAndWaitForEnds runs a detector, waits for what it was given, stops it, and sees the next
// one go on behind it.
func TestRunReadsOnAndWaitForEnds(t *testing.T) {
	log := newMemory()
	log.lost = &stream.GapError{Key: stream.Key{Collector: "c", LogID: 1}, From: 1, To: 4}
	c := clock.NewManual(begin)
	db := storetest.SQLite(t, c)
	run := func(upTo uint64) {
		t.Helper()
		d, err := detector.New(detector.DefaultConfig(), detector.Deps{DB: db, Source: log, Clock: c})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- d.Run(ctx) }()
		waiting, cancel := context.WithTimeout(ctx, 20*time.Second)
		defer cancel()
		if err := d.WaitFor(waiting, stream.Watermarks{{Collector: "c", LogID: 1}: upTo}); err != nil {
			t.Fatalf("wait for batch %d: %v", upTo, err)
		}
		stop()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for i := uint64(5); i <= 40; i++ {
		log.Add(batch(i, begin.Add(time.Duration(i)*time.Minute)))
	}
	run(40)
	if after := <-log.opened; len(after) != 0 {
		t.Fatalf("the first one began behind %v", after)
	}
	log.Add(batch(41, begin.Add(41*time.Minute)))
	run(41)
	if after := <-log.opened; after[stream.Key{Collector: "c", LogID: 1}] != 40 {
		t.Fatalf("the second one began behind %v, want 40", after)
	}
}

// TestDeadCollectorHoldsNothingBack: two collectors tell of the address; one of them is gone for good.
func TestDeadCollectorHoldsNothingBack(t *testing.T) {
	l := newLab(t, packetsRule)
	dead := &schemas.Batch{Collector: "dead", LogId: 1, Index: 1, Shards: 1, ReceivedTo: begin.UnixNano(),
		Complete: []*schemas.Completeness{{Exporter: exporter, Through: begin.Add(-time.Minute).UnixNano()}, {Exporter: "192.0.2.251", Through: begin.UnixNano()}}}
	if err := l.detector.Process(context.Background(), []*schemas.Batch{dead}); err != nil {
		t.Fatal(err)
	}
	l.play(begin, begin.Add(6*time.Hour), 2000)
	l.one() // the living one is as far as it is: an exporter has one owner at a time
	for range 30 {
		l.clock.Advance(time.Minute)
		if err := l.detector.Tick(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	for range 60 {
		l.clock.Advance(2 * time.Minute)
		if err := l.detector.Tick(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	if i := l.one(); i.Condition != "unknown" {
		t.Fatalf("after two hours without a collector the condition is %s, want unknown", i.Condition)
	}
}
