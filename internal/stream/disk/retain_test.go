package disk

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"hostmeter/internal/clock"
	"hostmeter/internal/stream"
	"hostmeter/internal/stream/streamtest"
	"hostmeter/schemas"
)

// metricValue returns a counter or a gauge.
func metricValue(t *testing.T, registry *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == name {
			m := family.GetMetric()[0]
			return m.GetCounter().GetValue() + m.GetGauge().GetValue() // one of them is not there
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

func segmentFiles(t *testing.T, path string) int {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(path, "*", "*.log"))
	if err != nil {
		t.Fatal(err)
	}
	return len(names)
}

func fill(t *testing.T, l *Log, from, to uint64) stream.Watermarks {
	t.Helper()
	marks := make(stream.Watermarks)
	for n := from; n <= to; n++ {
		b := streamtest.Batch(0, n, 4000) // fills a segment
		if err := l.Append(t.Context(), []*schemas.Batch{b}); err != nil {
			t.Fatalf("append %d: %v", n, err)
		}
		marks[stream.KeyOf(b)] = b.GetIndex()
	}
	return marks
}

func openWith(t *testing.T, cfg Config, now clock.Clock, registry prometheus.Registerer) *Log {
	t.Helper()
	l, err := Open(t.Context(), cfg, "c", testShards, Deps{Clock: now, Metrics: registry})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func TestOnlyConfirmedAndOldIsDeleted(t *testing.T) {
	now := clock.NewManual(time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC))
	cfg := DefaultConfig()
	cfg.Path, cfg.SegmentSize = t.TempDir(), 4096
	l := openWith(t, cfg, now, nil)
	marks := fill(t, l, 1, 5)
	key, _ := l.KeyOf(0)
	f := func(confirmed uint64, wait time.Duration, want int) {
		t.Helper()
		now.Advance(wait)
		if err := l.Confirm(t.Context(), stream.Watermarks{key: confirmed}); err != nil {
			t.Fatal(err)
		}
		if got := segmentFiles(t, cfg.Path); got != want {
			t.Fatalf("%d segments, want %d", got, want)
		}
	}
	f(3, 0, 5)                  // confirmed and young
	f(0, 73*time.Hour, 2)       // a lower confirmation takes nothing back
	f(marks[key], time.Hour, 1) // the one that is written stays
	f(marks[key], time.Hour, 1) //
	fill(t, l, 6, 6)            //
	f(marks[key], time.Hour, 2) // young again
	f(marks[key], 99*time.Hour, 1)

	_ = l.Close()
	l = openWith(t, cfg, now, nil)
	now.Advance(73 * time.Hour)
	f(marks[key]+1, 0, 0)
	_ = l.Close()

	// A consumer that comes after all that is told what it missed, also by the next process.
	l = openWith(t, cfg, now, nil)
	fill(t, l, 7, 7)
	numbers, gaps := readWithGaps(t, l)
	if len(gaps) != 1 || gaps[0] != (stream.GapError{Key: key, From: 1, To: 6}) || len(numbers) != 1 {
		t.Fatalf("gaps %v and batches %v, want the gap 1 to 6 and one batch", gaps, numbers)
	}
	now.Advance(91 * 24 * time.Hour)
	f(6, 0, 1)
	if _, err := os.Stat(filepath.Join(cfg.Path, runName(key.LogID))); !os.IsNotExist(err) {
		t.Fatalf("the folder of a log that is long gone is still there (%v)", err)
	}
}

func TestMaxSize(t *testing.T) {
	now := clock.NewManual(time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC))
	cfg := DefaultConfig()
	cfg.Path, cfg.SegmentSize, cfg.MaxSize = t.TempDir(), 4096, 41000
	registry := prometheus.NewRegistry()
	l := openWith(t, cfg, now, registry)
	marks := fill(t, l, 1, 9)
	if alarms := metricValue(t, registry, "hostmeter_log_alarms_total"); alarms != 1 {
		t.Fatalf("%v alarms before the bound, want 1", alarms)
	}
	var full error
	for n := uint64(10); full == nil && n < 20; n++ {
		full = l.Append(t.Context(), []*schemas.Batch{streamtest.Batch(0, n, 4000)})
	}
	if !errors.Is(full, ErrFull) {
		t.Fatalf("got %v, want ErrFull", full)
	}
	_ = l.Close()
	l = openWith(t, cfg, now, prometheus.NewRegistry())
	first := func() error { return l.Append(t.Context(), []*schemas.Batch{streamtest.Batch(0, 30, 4000)}) }
	if err := first(); err != nil {
		t.Fatalf("a collector cannot begin on a full log: %v", err)
	}
	if err := first(); !errors.Is(err, ErrFull) {
		t.Fatalf("got %v, want ErrFull behind the first", err)
	}
	key, _ := l.KeyOf(0)
	if err := l.Confirm(t.Context(), marks); err != nil {
		t.Fatal(err)
	}
	fill(t, l, 20, 24) // young, confirmed segments give way
	if after, _ := l.KeyOf(0); after != key {
		t.Fatalf("log id changed from %s to %s: a full log is no damage", key, after)
	}
	if l.size > int64(cfg.MaxSize) {
		t.Fatalf("%d octets, want at most %d", l.size, cfg.MaxSize)
	}
}

// A quiet collector writes one file for days, which always holds what has just come: while the ledger confirms the rest,
// nothing waits for it.
func TestAYoungBatchInAnOldFileRaisesNoAlarm(t *testing.T) {
	now := clock.NewManual(time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC))
	cfg := DefaultConfig()
	cfg.Path = t.TempDir()
	registry := prometheus.NewRegistry()
	l := openWith(t, cfg, now, registry)
	marks := fill(t, l, 1, 1)
	for number := range uint64(70) {
		now.Advance(time.Hour)
		next := fill(t, l, number+2, number+2)
		if err := l.Confirm(t.Context(), marks); err != nil {
			t.Fatal(err)
		}
		marks = next
	}
	if alarms := metricValue(t, registry, "hostmeter_log_alarms_total"); alarms != 0 {
		t.Errorf("%v alarms", alarms)
	}
}

// The ledger has not confirmed for most of the time that batches are kept: the alarm goes off, once, and again
// after it was confirmed and waits anew.
func TestAgeRaisesTheAlarm(t *testing.T) {
	now := clock.NewManual(time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC))
	cfg := DefaultConfig()
	cfg.Path = t.TempDir()
	registry := prometheus.NewRegistry()
	l := openWith(t, cfg, now, registry)
	number := uint64(0)
	f := func(wait time.Duration, confirm bool, want float64) {
		t.Helper()
		now.Advance(wait)
		number++
		marks := fill(t, l, number, number)
		if confirm {
			if err := l.Confirm(t.Context(), marks); err != nil {
				t.Fatal(err)
			}
		}
		if got := metricValue(t, registry, "hostmeter_log_alarms_total"); got != want {
			t.Fatalf("%v alarms after batch %d, want %v", got, number, want)
		}
	}
	f(0, false, 0)
	f(57*time.Hour, false, 0)
	f(time.Hour, false, 1)
	f(time.Hour, false, 1)
	f(time.Hour, true, 1)
	if err := l.roll(); err != nil { // the age is a file's
		t.Fatal(err)
	}
	f(time.Hour, false, 1)
	f(59*time.Hour, false, 2)
	if n := segmentFiles(t, cfg.Path); n != 2 {
		t.Fatalf("%d segments: what is not confirmed is kept, however old", n)
	}
}

func TestLock(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Path = t.TempDir()
	l := openWith(t, cfg, clock.Real{}, nil)
	if _, err := Open(t.Context(), cfg, "c", testShards, Deps{}); !errors.Is(err, stream.ErrLocked) {
		t.Fatalf("second opening: got %v, want ErrLocked", err)
	}
	for range 2 {
		if err := l.Close(); err != nil {
			t.Fatalf("close: %v", err)
		}
	}
	openWith(t, cfg, clock.Real{}, nil)
}

func TestClosedLog(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Path = t.TempDir()
	l := openWith(t, cfg, clock.Real{}, nil)
	r, err := l.OpenReader(t.Context(), "test", nil)
	if err != nil {
		t.Fatal(err)
	}
	waited := make(chan error)
	go func() {
		_, err := r.Next(context.Background(), 1)
		waited <- err
	}()
	_ = l.Close()
	if err := <-waited; !errors.Is(err, ErrClosed) {
		t.Fatalf("Next: got %v, want ErrClosed", err)
	}
	if err := l.Append(t.Context(), []*schemas.Batch{streamtest.Batch(0, 1, 1)}); !errors.Is(err, ErrClosed) {
		t.Fatalf("Append: got %v, want ErrClosed", err)
	}
}

func TestConfigNamesTheKey(t *testing.T) {
	f := func(change func(*Config), want string) {
		t.Helper()
		cfg := DefaultConfig()
		change(&cfg)
		got := ""
		if err := cfg.Validate(); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
	f(func(*Config) {}, "")
	f(func(c *Config) { c.Path = "" }, "path: missing folder")
	f(func(c *Config) { c.SegmentSize = 1 }, "segment_size: 1 bytes are too few, want at least 4 KiB")
	f(func(c *Config) { c.Retain = -time.Hour }, "retain: -1h0m0s is negative")
	f(func(c *Config) { c.MaxSize = 1 }, "max_size: 1 bytes, want 0 (no bound) or at least four times segment_size (67108864)")
}

// A collector that is killed reads back what it has not saved elsewhere: that is not deleted because it is
// confirmed and old, only where there is no other room.
func TestWhatTheCollectorHasNotSavedIsKept(t *testing.T) {
	now := clock.NewManual(time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC))
	cfg := Config{Path: t.TempDir(), SegmentSize: 4096, MaxSize: 10 * 4096}
	l := openWith(t, cfg, now, prometheus.NewRegistry())
	defer func() { _ = l.Close() }()
	saved := fill(t, l, 1, 2)
	l.Keep(saved)
	all := fill(t, l, 3, 6)
	now.Advance(time.Hour)
	files := func(want int) {
		t.Helper()
		if err := l.Confirm(t.Context(), all); err != nil {
			t.Fatal(err)
		}
		if got := segmentFiles(t, cfg.Path); got != want {
			t.Errorf("%d segments are left, want %d", got, want)
		}
	}
	files(4)                          // 3 to 6
	for n := uint64(7); n < 40; n++ { // the bound takes it, and refuses nothing
		if err := l.Confirm(t.Context(), fill(t, l, n, n)); err != nil {
			t.Fatal(err)
		}
	}
}
