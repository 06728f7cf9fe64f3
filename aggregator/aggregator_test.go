package aggregator

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"hostmeter/aggregator/ledger"
	"hostmeter/internal/clock"
	"hostmeter/internal/store"
	"hostmeter/internal/store/storetest"
	"hostmeter/internal/stream"
	"hostmeter/schemas"
)

// deadline ends a test that waits for what never comes.
func deadline(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// running starts an aggregator and returns it with what stops it.
func running(t *testing.T, deps Deps) (*Aggregator, func()) {
	t.Helper()
	cfg := DefaultConfig()
	cfg.CommitEvery = 5 * time.Millisecond
	cfg.MaxBatches = 7
	a, err := New(cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run ended with %v", err)
		}
	})
	t.Cleanup(stop)
	return a, stop
}

func octets(t *testing.T, l *ledger.Ledger) (sum schemas.Octets) {
	t.Helper()
	err := l.Rows(context.Background(), ledger.Query{}, func(r ledger.UsageRow) error {
		sum += r.In.Octets
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

func TestRunBooksConfirmsAndGoesOn(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		source := newMemorySource()
		source.failConfirms = 1
		metrics := prometheus.NewRegistry()
		for i := range uint32(100) {
			source.append(i%testShards, time.Duration(i)*time.Second, 1)
		}
		a, stop := running(t, Deps{Ledger: ledger.New(db, ledger.DefaultConfig()), Source: source, Metrics: metrics})
		if err := a.WaitFor(deadline(t), source.end()); err != nil {
			t.Fatal(err)
		}
		source.append(0, time.Minute, 1000)
		if err := a.WaitFor(deadline(t), source.end()); err != nil {
			t.Fatal(err)
		}
		stop()
		if got := octets(t, a.Ledger()); got != 1100 {
			t.Fatalf("got %d octets, want 1100", got)
		}
		// Another process goes on, and confirms what this one may have kept to itself.
		source.append(1, time.Minute, 10_000)
		b, stop := running(t, Deps{Ledger: ledger.New(db, ledger.DefaultConfig()), Source: source})
		if err := b.WaitFor(deadline(t), source.end()); err != nil {
			t.Fatal(err)
		}
		stop()
		if got := octets(t, a.Ledger()); got != 11_100 {
			t.Fatalf("got %d octets, want 11100", got)
		}
		if !reflect.DeepEqual(source.confirmed, source.end()) {
			t.Fatalf("confirmed %v, want %v", source.confirmed, source.end())
		}
		if got := counter(t, metrics, "hostmeter_ledger_batches_total"); got != 101 {
			t.Fatalf("%v batches, want 101", got)
		}
		if got := counter(t, metrics, "hostmeter_ledger_octets_total"); got != 1100 {
			t.Fatalf("%v octets, want 1100", got)
		}
	})
}

func counter(t *testing.T, metrics prometheus.Gatherer, name string) float64 {
	t.Helper()
	families, err := metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

func TestTwoAggregatorsBookOneLogOnce(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		source := newMemorySource()
		one, _ := running(t, Deps{Ledger: ledger.New(db, ledger.DefaultConfig()), Source: source})
		_, _ = running(t, Deps{Ledger: ledger.New(db, ledger.DefaultConfig()), Source: source})
		for i := range uint32(200) {
			source.append(i%testShards, time.Duration(i)*time.Second, 1)
		}
		if err := one.WaitFor(deadline(t), source.end()); err != nil {
			t.Fatal(err)
		}
		if got := octets(t, one.Ledger()); got != 200 {
			t.Fatalf("got %d octets, want 200", got)
		}
	})
}

func TestGapIsDeclaredAndRunGoesOn(t *testing.T) {
	source := newMemorySource()
	for range 5 {
		source.append(0, 0, 1)
		source.append(1, 0, 100)
	}
	key := stream.Key{Collector: "c", LogID: 1, Shard: 0}
	source.lostTo[key] = 3
	a, _ := running(t, Deps{Ledger: ledger.New(storetest.SQLite(t, clock.Real{}), ledger.DefaultConfig()), Source: source})
	if err := a.WaitFor(deadline(t), source.end()); err != nil {
		t.Fatal(err)
	}
	if got := octets(t, a.Ledger()); got != 502 {
		t.Fatalf("got %d octets, want 502", got)
	}
	gaps, err := a.Ledger().Gaps(context.Background())
	if err != nil || len(gaps) != 1 || gaps[0].GapError != (stream.GapError{Key: key, From: 1, To: 3}) {
		t.Fatalf("gaps %+v, %v", gaps, err)
	}
}

func TestRunBeginsAgainAfterAFault(t *testing.T) {
	source := newMemorySource()
	source.failReads = 3
	source.append(0, 0, 1)
	manual := clock.NewManual(start)
	a, _ := running(t, Deps{Ledger: ledger.New(storetest.SQLite(t, manual), ledger.DefaultConfig()), Source: source, Clock: manual})
	ctx, cancel := context.WithCancel(deadline(t))
	defer cancel()
	go func() { // the pauses between attempts pass
		for ctx.Err() == nil {
			manual.Advance(time.Second)
			_ = clock.Real{}.Sleep(ctx, time.Millisecond)
		}
	}()
	if err := a.WaitFor(ctx, source.end()); err != nil {
		t.Fatal(err)
	}
	source.locked(func() {
		if source.opened != 4 {
			t.Errorf("the log was opened %d times, want 4", source.opened)
		}
	})
}

// TestMaintainWaitsForTheLog: an aggregator that comes back after three days does not seal the hours of
// which usage still waits in the log.
func TestMaintainWaitsForTheLog(t *testing.T) {
	source := newMemorySource()
	db := storetest.SQLite(t, clock.Real{})
	l := ledger.New(db, ledger.DefaultConfig())
	a, err := New(DefaultConfig(), Deps{Ledger: l, Source: source, Clock: clock.NewManual(start.Add(72 * time.Hour))})
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	through := func() time.Duration {
		t.Helper()
		if err := a.Maintain(ctx); err != nil {
			t.Fatal(err)
		}
		sealed, _, err := l.SealedThrough(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if sealed.IsZero() {
			return 0
		}
		return sealed.Sub(start)
	}
	source.append(0, 0, 1)
	source.append(0, 49*time.Hour, 1)
	source.append(0, 72*time.Hour-time.Minute, 1)
	a.setRunning(true)
	if got := through(); got != 0 {
		t.Fatalf("sealed through %s before anything was read", got)
	}
	if err := a.take(ctx, portion{behind: true}); err != nil { // it reads what it had booked before
		t.Fatal(err)
	}
	if got := through(); got != 0 {
		t.Fatalf("sealed through %s before the end of the log was reached", got)
	}
	for i, want := range []time.Duration{0, 25 * time.Hour, 48 * time.Hour} {
		if err := a.take(ctx, portion{batches: source.batches[i : i+1]}); err != nil {
			t.Fatal(err)
		}
		if got := through(); got != want {
			t.Fatalf("after batch %d: sealed through %s, want %s", i+1, got, want)
		}
	}
}

func TestMaintainCallsAfterSeal(t *testing.T) {
	refused := errors.New("refused")
	var calls atomic.Int32
	a, err := New(DefaultConfig(), Deps{
		Ledger: ledger.New(storetest.SQLite(t, clock.Real{}), ledger.DefaultConfig()), Source: newMemorySource(),
		AfterSeal: func(context.Context) error { calls.Add(1); return refused },
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Maintain(context.Background()); !errors.Is(err, refused) || calls.Load() != 1 {
		t.Fatalf("got %v after %d calls", err, calls.Load())
	}
}

func TestConfigNamesTheKey(t *testing.T) {
	f := func(change func(*Config), key string) {
		t.Helper()
		cfg := DefaultConfig()
		change(&cfg)
		if err := cfg.Validate(); err == nil || !strings.HasPrefix(err.Error(), key+": ") {
			t.Fatalf("got %v, want the key %s", err, key)
		}
	}
	f(func(c *Config) { c.CommitEvery = 0 }, "commit_every")
	f(func(c *Config) { c.MaxBatches = 0 }, "max_batches")
	f(func(c *Config) { c.MaxTallies = 0 }, "max_tallies")
	f(func(c *Config) { c.MaintainEvery = 0 }, "maintain_every")
}
