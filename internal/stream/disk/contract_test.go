package disk

import (
	"testing"
	"time"

	"hostmeter/internal/clock"
	"hostmeter/internal/stream"
	"hostmeter/internal/stream/streamtest"
	"hostmeter/schemas"
)

func TestContract(t *testing.T) {
	streamtest.Run(t, func(t *testing.T) *streamtest.Fixture {
		now := clock.NewManual(time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC))
		cfg := DefaultConfig()
		cfg.Path, cfg.SegmentSize = t.TempDir(), 4096
		f := &streamtest.Fixture{Collector: "collector-1", Shards: 4}
		var l *Log
		open := func(t *testing.T) {
			t.Helper()
			var err error
			if l, err = Open(t.Context(), cfg, f.Collector, f.Shards, Deps{Clock: now}); err != nil {
				t.Fatal(err)
			}
			f.Log, f.Source = l, l
		}
		open(t)
		t.Cleanup(func() { _ = l.Close() })
		f.Reopen = func(t *testing.T) {
			t.Helper()
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			open(t)
		}
		f.Lose = func(t *testing.T, batches []*schemas.Batch) {
			t.Helper()
			for _, b := range batches { // each fills a segment
				b.Exporters = append(b.Exporters, string(make([]byte, 5000)))
				if err := l.Append(t.Context(), []*schemas.Batch{b}); err != nil {
					t.Fatal(err)
				}
			}
			if err := l.roll(); err != nil {
				t.Fatal(err)
			}
			confirmed := make(stream.Watermarks)
			for _, b := range batches {
				confirmed[stream.KeyOf(b)] = b.GetIndex()
			}
			now.Advance(73 * time.Hour)
			if err := l.Confirm(t.Context(), confirmed); err != nil {
				t.Fatal(err)
			}
		}
		return f
	})
}
