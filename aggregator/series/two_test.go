package series

import (
	"context"
	"errors"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/influxdata/influxdb-client-go/v2/api/write"

	"hostmeter/internal/clock"
	"hostmeter/internal/config"
	"hostmeter/internal/store"
	"hostmeter/internal/store/storetest"
	"hostmeter/internal/stream/streamtest"
	"hostmeter/schemas"
)

// desk is one of the sinks that share a store, a log and an InfluxDB. Its clock is moved by hand, and its writes
// can be paused.
type desk struct {
	sink  *Sink
	clock *clock.Manual
	ended chan error
	stop  context.CancelFunc

	mu     sync.Mutex
	paused chan struct{} // closed when writes go on
	held   chan struct{} // closed when a write waits
}

func newDesk(t *testing.T, db *store.DB, log *streamtest.Memory, influx *fakeInflux, standby bool) *desk {
	t.Helper()
	d := &desk{clock: clock.NewManual(time.Unix(1_800_000_000, 0)), ended: make(chan error, 1)}
	var err error
	d.sink, err = New(Config{InfluxDB: &InfluxConfig{URL: "http://127.0.0.1:1", Bucket: "b", Token: config.NewSecret("t")}},
		Deps{DB: db, Source: log, Clock: d.clock, Owners: owned("s1"), Standby: standby})
	if err != nil {
		t.Fatal(err)
	}
	d.sink.gatherFor = time.Millisecond
	d.sink.write = func(ctx context.Context, points ...*write.Point) error {
		d.mu.Lock()
		paused, held := d.paused, d.held
		d.mu.Unlock()
		if paused != nil {
			select {
			case <-held:
			default:
				close(held)
			}
			<-paused
			return errors.New("the request was cut off") // nothing was sent before the pause
		}
		return influx.write(ctx, points...)
	}
	ctx, stop := context.WithCancel(context.Background())
	d.stop = stop
	go func() { d.ended <- d.sink.Run(ctx) }()
	return d
}

// end stops the sink as a planned stop does.
func (d *desk) end(t *testing.T) {
	t.Helper()
	d.stop()
	if err := <-d.ended; err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("the sink ended with %v", err)
	}
}

// pause has the next write wait until wake, as in a process that is stopped.
func (d *desk) pause() (held <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.paused, d.held = make(chan struct{}), make(chan struct{})
	return d.held
}

func (d *desk) wake() {
	d.mu.Lock()
	defer d.mu.Unlock()
	close(d.paused)
	d.paused = nil
}

// until moves the clocks of sinks, one second after the other, until f holds.
func until(t *testing.T, what string, f func() bool, desks ...*desk) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for look := time.NewTicker(2 * time.Millisecond); !f(); <-look.C {
		if time.Now().After(deadline) {
			t.Fatalf("it does not come: %s", what)
		}
		for _, d := range desks {
			d.clock.Advance(time.Second)
		}
	}
}

func generation(t *testing.T, db *store.DB) (n int64) {
	t.Helper()
	if err := db.View(t.Context(), func(tx *store.Tx) error {
		return tx.QueryRow(t.Context(), `SELECT generation FROM series_lease WHERE id = 1`).Scan(&n)
	}); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestTwoSinksDrawAsOne has two sinks on one store. The one that draws is paused in the middle of a write, the other
// takes over, closes minutes and writes what comes late for them; the first wakes up; the second is stopped. At the end
// the points are those of one sink that was alone.
func TestTwoSinksDrawAsOne(t *testing.T) {
	const shards = 2
	next := map[uint32]uint64{}
	numbered := func(shard uint32, reached, minute int64, octets uint64) *schemas.Batch {
		next[shard]++
		b := batch(shard, minute, octets)
		b.ReceivedTo = reached * int64(time.Minute)
		b.Collector, b.LogId, b.Index, b.Shards = "c", 1, next[shard], shards
		return b
	}
	var all []*schemas.Batch
	var octets int64
	minutes := func(from, to int64, late bool) (out []*schemas.Batch) {
		for m := from; m < to; m++ {
			for shard := range uint32(shards) {
				out = append(out, numbered(shard, firstMinute+m, firstMinute+m, uint64(1000+m)))
				octets += 1000 + m
			}
			if late && m >= 60 {
				out = append(out, numbered(uint32(m%shards), firstMinute+m, firstMinute+m-60, 7))
				octets += 7
			}
		}
		all = append(all, out...)
		return out
	}
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		clear(next)
		all, octets = nil, 0
		influx, log := &fakeInflux{points: map[string]int64{}}, streamtest.NewMemory()
		drawn := func() bool { return influx.sum("out_octets") == octets }
		a := newDesk(t, db, log, influx, true)
		until(t, "the first draws", func() bool { return generation(t, db) == 1 }, a)
		b := newDesk(t, db, log, influx, true)
		log.Add(minutes(0, 100, true)...)
		until(t, "the first drew all", drawn, a, b)
		if n := generation(t, db); n != 1 {
			t.Fatalf("the lease was taken %d times, want once", n)
		}
		held := a.pause()
		log.Add(minutes(100, 101, true)...)
		<-held
		log.Add(minutes(101, 200, true)...)
		until(t, "the second took over", func() bool { return generation(t, db) == 2 }, b) // a's clock stands still
		until(t, "the second drew all", drawn, b)
		a.wake()
		log.Add(minutes(200, 260, true)...)
		until(t, "the second drew all, beside the first", drawn, a, b)
		b.end(t) // a planned stop: the other takes over at once
		log.Add(minutes(260, 300, true)...)
		until(t, "the first took over", func() bool { return generation(t, db) == 3 }, a)
		until(t, "the first drew all again", drawn, a)
		a.end(t)

		alone := &fakeInflux{points: map[string]int64{}}
		whole := streamtest.NewMemory()
		c := newDesk(t, storetest.SQLite(t, clock.Real{}), whole, alone, false)
		whole.Add(all...)
		until(t, "one alone drew all", func() bool { return alone.sum("out_octets") == octets }, c)
		c.end(t)
		if got, want := octetsByMinute(influx), octetsByMinute(alone); !maps.Equal(got, want) {
			t.Fatalf("two sinks drew\n%v\nand one alone\n%v", got, want)
		}
	})
}

// octetsByMinute are the sums of each minute, by its time, whether they came late or not.
func octetsByMinute(f *fakeInflux) map[string]int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := map[string]int64{}
	for id, v := range f.points {
		if words := strings.Fields(id); words[2] == "out_octets" {
			out[words[1]] += v
		}
	}
	return out
}

// TestAFaultOfTheStoreLosesNothing has a sink end at each fault of its store, and begin again, as the process does.
func TestAFaultOfTheStoreLosesNothing(t *testing.T) {
	db, influx, log := storetest.SQLite(t, clock.Real{}), &fakeInflux{points: map[string]int64{}}, streamtest.NewMemory()
	full := errors.New("database or disk is full")
	var mu sync.Mutex
	transactions, failed := 0, 0
	db.Inject(store.Faults{BeforeCommit: func() error {
		mu.Lock()
		defer mu.Unlock()
		if transactions++; transactions%3 == 0 && failed < 20 {
			failed++
			return full
		}
		return nil
	}})
	d := newDesk(t, db, log, influx, false)
	var octets int64
	again := make(chan error, 1)
	ctx, stop := context.WithCancel(t.Context())
	go func() {
		err := <-d.ended
		for errors.Is(err, full) {
			err = d.sink.Run(ctx)
		}
		again <- err
	}()
	for i := range int64(300) {
		b := batch(0, firstMinute+i, uint64(1000+i))
		b.Collector, b.LogId, b.Index, b.Shards = "c", 1, uint64(i+1), 1
		octets += 1000 + i
		log.Add(b)
	}
	until(t, "all is drawn", func() bool { return influx.sum("out_octets") == octets }, d)
	stop()
	d.stop()
	if err := <-again; err != nil && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if failed == 0 {
		t.Error("the store never failed")
	}
}
