package kafka

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	kafkago "github.com/segmentio/kafka-go"

	"hostmeter/internal/stream"
	"hostmeter/internal/stream/streamtest"
	"hostmeter/schemas"
)

// What a collector holds is never declared lost, whatever Kafka does with it.

// heldConfig has the patience of a real installation: no wait that runs out hides what is tested.
func heldConfig(t *testing.T, broker string) Config {
	cfg := testConfig(t, broker)
	cfg.Patience = time.Hour
	return cfg
}

// forwarded waits until Kafka has so many groups.
func forwarded(t *testing.T, g *rig, groups int) { open(t, g, nil).Read(t, 4*groups) }

// remake deletes the topic and makes it again.
func remake(t *testing.T, g *rig) {
	t.Helper()
	name := g.source.batchesTopic()
	if _, err := g.source.client.DeleteTopics(t.Context(), &kafkago.DeleteTopicsRequest{Topics: []string{name}}); err != nil {
		t.Fatal(err)
	}
	if err := g.source.EnsureTopics(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// noise puts 50 messages of somebody else into each partition.
func noise(t *testing.T, g *rig) {
	t.Helper()
	for partition := range 3 {
		put(t, g.source, partition, func() []kafkago.Record {
			records := make([]kafkago.Record, 50)
			for i := range records {
				records[i].Value = kafkago.NewBytes([]byte{0})
			}
			return records
		})
	}
}

// put writes what make returns into a partition of the batches, as soon as it is there: an attempt reads the records up.
func put(t *testing.T, s *Source, partition int, make func() []kafkago.Record) {
	t.Helper()
	err := s.retry(t.Context(), "write", func() error {
		return s.produce(t.Context(), s.batchesTopic(), partition, 0, make()...)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// waits fails unless the reader comes to wait for missing batches, and takes nothing for lost.
func waits(t *testing.T, g *rig, r *streamtest.Checked, consumer string) {
	t.Helper()
	missing := g.source.metrics.missing.WithLabelValues(consumer)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	go func() {
		defer cancel()
		for m := new(dto.Metric); missing.Write(m) == nil && m.GetGauge().GetValue() == 0 && ctx.Err() == nil; {
			<-tick.C
		}
	}()
	batches, err := r.Next(ctx, 1)
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v and %v, want a reader that waits for what is missing", batches, err)
	}
}

// TestRetentionPassesWhatIsNotBooked: the ledger is down for longer than Kafka keeps. The collector is there all along.
func TestRetentionPassesWhatIsNotBooked(t *testing.T) {
	each(t, func(t *testing.T, broker string) {
		g := newRig(t, heldConfig(t, broker))
		appendGroups(t, g, 1, 20)
		forwarded(t, g, 20)
		deleteBefore(t, broker, g.source, 10)
		r := open(t, g, nil)
		r.Read(t, 4*20)
		wantComplete(t, r, 20)
	})
}

// TestRetentionPassedWhileNobodyWasThere: everything was down for longer than Kafka keeps, and the ledger comes first.
func TestRetentionPassedWhileNobodyWasThere(t *testing.T) {
	each(t, func(t *testing.T, broker string) {
		g := newRig(t, heldConfig(t, broker))
		appendGroups(t, g, 1, 20)
		forwarded(t, g, 20)
		g.stop()
		deleteBefore(t, broker, g.source, 10)
		r := open(t, g, nil)
		waits(t, g, r, "ledger")
		g.forward(t)
		r.Read(t, 4*20)
		wantComplete(t, r, 20)
	})
}

// TestTopicIsMadeAnewAndGrowsPastEverybody: the topic is deleted and made again while the collector sends nothing, and
// others fill it beyond what collector and ledger remember.
func TestTopicIsMadeAnewAndGrowsPastEverybody(t *testing.T) {
	each(t, func(t *testing.T, broker string) {
		g := newRigThatLooks(t, heldConfig(t, broker), 3*time.Second)
		appendGroups(t, g, 1, 10)
		forwarded(t, g, 10)
		r := open(t, g, nil)
		r.Read(t, 4*5)
		remake(t, g)
		noise(t, g)
		appendGroups(t, g, 11, 20)
		r.Read(t, 4*15)
		wantComplete(t, r, 20)
		fresh := open(t, g, nil)
		fresh.Read(t, 4*20)
		wantComplete(t, fresh, 20)
	})
}

// TestTopicIsMadeAnewUnderAnIdleCollector: nothing more is sent that could show a hole.
func TestTopicIsMadeAnewUnderAnIdleCollector(t *testing.T) {
	each(t, func(t *testing.T, broker string) {
		g := newRigThatLooks(t, heldConfig(t, broker), 3*time.Second)
		appendGroups(t, g, 1, 10)
		forwarded(t, g, 10)
		remake(t, g)
		noise(t, g)
		r := open(t, g, nil)
		r.Read(t, 4*10)
		wantComplete(t, r, 10)
	})
}

// gate makes connections that can be shut for a while.
type gate struct {
	mu    sync.Mutex
	shut  chan struct{} // nil while it is open
	conns []net.Conn
}

func (g *gate) dial(ctx context.Context, network, address string) (net.Conn, error) {
	g.mu.Lock()
	shut := g.shut
	g.mu.Unlock()
	if shut != nil {
		select {
		case <-shut:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err == nil {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.conns = append(g.conns, conn)
	}
	return conn, err
}

func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = make(chan struct{})
	for _, conn := range g.conns {
		_ = conn.Close()
	}
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.shut)
	g.shut = nil
}

// TestReaderComesBackToATopicMadeAnew: it was cut off while the topic was made anew and what it lacks was sent there, and
// the topic has grown beyond its old place. Nothing comes behind that would show a hole.
func TestReaderComesBackToATopicMadeAnew(t *testing.T) {
	each(t, func(t *testing.T, broker string) {
		g := newRig(t, heldConfig(t, broker))
		source, err := New(g.cfg, Deps{})
		if err != nil {
			t.Fatal(err)
		}
		defer source.Close()
		source.lookEvery = 50 * time.Millisecond
		way := new(gate)
		source.dialer.DialFunc = way.dial
		appendGroups(t, g, 1, 10)
		r := (&streamtest.Fixture{Source: source}).Open(t, "ledger", nil)
		r.Read(t, 4*10)
		if err := g.source.Confirm(t.Context(), r.Last); err != nil {
			t.Fatal(err)
		}
		g.stop()
		way.close()
		remake(t, g)
		appendGroups(t, g, 11, 13)
		g.forward(t)
		open(t, g, r.Last).Read(t, 4*3)
		noise(t, g)
		way.open()
		r.Read(t, 4*3)
		wantComplete(t, r, 13)
	})
}

// losing is a log on disk that has lost some batches.
type losing struct {
	stream.Source
	gap *stream.GapError
}

type losingReader struct {
	stream.Reader
	gap  *stream.GapError
	told bool
}

func (l losing) OpenReader(ctx context.Context, consumer string, after stream.Watermarks) (stream.Reader, error) {
	r, err := l.Source.OpenReader(ctx, consumer, after)
	return &losingReader{Reader: r, gap: l.gap}, err
}

func (l *losingReader) Next(ctx context.Context, _ int) (batches []*schemas.Batch, err error) {
	for {
		batches, err = l.Reader.Next(ctx, 1)
		if err != nil || stream.KeyOf(batches[0]) != l.gap.Key || batches[0].GetIndex() < l.gap.From || batches[0].GetIndex() > l.gap.To {
			return batches, err
		}
		if !l.told {
			l.told = true
			return nil, l.gap
		}
	}
}

// TestWhatTheCollectorHasLostIsAGapAtOnce: no patience is needed where the collector says that there is nothing.
func TestWhatTheCollectorHasLostIsAGapAtOnce(t *testing.T) {
	each(t, func(t *testing.T, broker string) {
		g := newRig(t, heldConfig(t, broker))
		appendGroups(t, g, 1, 10)
		r := open(t, g, nil)
		r.Read(t, 4*10)
		g.stop()
		appendGroups(t, g, 11, 14)
		key, _ := g.log.KeyOf(2)
		g.forwardFrom(t, losing{g.log, &stream.GapError{Key: key, From: 11, To: 12}})
		r.Read(t, 4*4-2)
		if want := []stream.GapError{{Key: key, From: 11, To: 12}}; !slices.Equal(r.Gaps, want) {
			t.Fatalf("gaps %v, want %v", r.Gaps, want)
		}
	})
}

// TestWhatBothHaveLostIsAGap: what Kafka has let go has meanwhile been damaged on the collector's disk, in part.
func TestWhatBothHaveLostIsAGap(t *testing.T) {
	for _, lost := range [][2]uint64{{1, 2}, {3, 4}, {9, 10}, {1, 10}} {
		g := newRig(t, heldConfig(t, fake(t).ListenAddrs()[0]))
		appendGroups(t, g, 1, 20)
		forwarded(t, g, 20)
		g.stop()
		deleteBefore(t, g.cfg.Brokers[0], g.source, 10)
		r := open(t, g, nil)
		waits(t, g, r, "ledger")
		key, _ := g.log.KeyOf(2) // alone in its partition: 1 to 10 are gone
		gap := stream.GapError{Key: key, From: lost[0], To: lost[1]}
		g.forwardFrom(t, losing{g.log, &gap})
		r.Read(t, int(4*20-(gap.To-gap.From+1)))
		if want := []stream.GapError{gap}; !slices.Equal(r.Gaps, want) {
			t.Fatalf("gaps %v, want %v", r.Gaps, want)
		}
	}
}

// TestWhatIsConfirmedAndGoneIsAGapToOthers: a detector that falls behind what Kafka keeps is told, and goes on; nobody
// sends again what the ledger has.
func TestWhatIsConfirmedAndGoneIsAGapToOthers(t *testing.T) {
	each(t, func(t *testing.T, broker string) {
		g := newRig(t, heldConfig(t, broker))
		appendGroups(t, g, 1, 20)
		ledger := open(t, g, nil)
		ledger.Read(t, 4*20)
		g.stop()
		if err := g.source.Confirm(t.Context(), ledger.Last); err != nil {
			t.Fatal(err)
		}
		deleteBefore(t, broker, g.source, 10) // of partition 0, which has two shards, five of each
		r := (&streamtest.Fixture{Source: g.source}).Open(t, "detector", nil)
		waits(t, g, r, "detector")
		g.forward(t)
		appendGroups(t, g, 21, 21) // tells what is confirmed
		r.Read(t, 15+10+10+15+4)
		for shard, to := range []uint64{5, 10, 10, 5} {
			key, _ := g.log.KeyOf(uint32(shard))
			if !slices.Contains(r.Gaps, stream.GapError{Key: key, From: 1, To: to}) {
				t.Fatalf("gaps %v, want one of shard %d up to %d", r.Gaps, shard, to)
			}
		}
	})
}

// TestWhatComesInPiecesIsReadWhole: a session that sent the first half again was cut short.
func TestWhatComesInPiecesIsReadWhole(t *testing.T) {
	each(t, func(t *testing.T, broker string) {
		g := newRig(t, heldConfig(t, broker))
		appendGroups(t, g, 1, 20)
		forwarded(t, g, 20)
		g.stop()
		deleteBefore(t, broker, g.source, 10)
		g.forwardFrom(t, upTo{g.log, 11})
		r := open(t, g, nil)
		r.Read(t, 4*20) // behind 11 it is in the topic, before that
		wantComplete(t, r, 20)
	})
}

// upTo ends a log on disk behind an index.
type upTo struct {
	stream.Source
	last uint64
}

type upToReader struct {
	stream.Reader
	last uint64
}

func (u upTo) OpenReader(ctx context.Context, consumer string, after stream.Watermarks) (stream.Reader, error) {
	r, err := u.Source.OpenReader(ctx, consumer, after)
	return &upToReader{r, u.last}, err
}

func (u *upToReader) Next(ctx context.Context, most int) ([]*schemas.Batch, error) {
	for {
		batches, err := u.Reader.Next(ctx, most)
		batches = slices.DeleteFunc(batches, func(b *schemas.Batch) bool { return b.GetIndex() > u.last })
		if err != nil || len(batches) > 0 {
			return batches, err
		}
	}
}

// TestRepeatsAreBounded: what a topic cannot hold is not sent to it over and over, and what the ledger has is not sent.
func TestRepeatsAreBounded(t *testing.T) {
	each(t, func(t *testing.T, broker string) {
		g := newRig(t, heldConfig(t, broker))
		appendGroups(t, g, 1, 20)
		forwarded(t, g, 20)
		g.stop()
		into, err := g.source.topic(t.Context(), g.source.batchesTopic())
		if err != nil {
			t.Fatal(err)
		}
		s := &session{Forwarder: NewForwarder(g.source, g.log), topic: into, waited: newWaited(3), stalls: stalls{}}
		key, _ := g.log.KeyOf(1)
		for index := range uint64(20) {
			s.waited.acknowledged(1, int64(index), []message{{key: key, header: header{index: index + 1}}})
		}
		f := func(passed time.Time, want error) {
			t.Helper()
			if err := s.look(t.Context(), into, passed); !errors.Is(err, want) {
				t.Fatalf("got %v, want %v", err, want)
			}
		}
		f(time.Time{}, nil)
		deleteBefore(t, broker, g.source, 10)
		f(time.Now(), nil) // it has just happened
		f(time.Now().Add(-time.Hour), errPassed)
		s.confirm(stream.Watermarks{key: 9})
		f(time.Time{}, errPassed)
		s.confirm(stream.Watermarks{key: 20})
		f(time.Time{}, nil)
		s.waited.acknowledged(1, 20, []message{{key: key, header: header{index: 21}}})
		f(time.Time{}, nil)
		s.stalls[key] = stall{confirmed: 20, since: time.Now().Add(-stallAfter)}
		s.confirm(stream.Watermarks{stream.Key{Collector: "another"}: 1})
		f(time.Now(), nil)
		f(time.Time{}, errStalled)
	})
}

// TestConfirmationsAreMadeAnew: a collector is told all that is booked also where the topic of confirmations was deleted.
func TestConfirmationsAreMadeAnew(t *testing.T) {
	each(t, func(t *testing.T, broker string) {
		g := newRig(t, heldConfig(t, broker))
		appendGroups(t, g, 1, 2)
		r := open(t, g, nil)
		r.Read(t, 4*2)
		if err := g.source.Confirm(t.Context(), r.Last); err != nil {
			t.Fatal(err)
		}
		if _, err := g.source.client.DeleteTopics(t.Context(), &kafkago.DeleteTopicsRequest{Topics: []string{g.source.confirmationsTopic()}}); err != nil {
			t.Fatal(err)
		}
		appendGroups(t, g, 3, 3)
		r.Read(t, 4)
		key, _ := g.log.KeyOf(0)
		err := g.source.retry(t.Context(), "confirm", func() error { return g.source.Confirm(t.Context(), stream.Watermarks{key: 3}) })
		if err != nil {
			t.Fatal(err)
		}
		confirmed, err := g.source.Confirmed(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for shard, want := range []uint64{3, 2, 2, 2} {
			if key, _ := g.log.KeyOf(uint32(shard)); confirmed[key] != want {
				t.Fatalf("confirmed %v, want %d of shard %d", confirmed, want, shard)
			}
		}
	})
}
