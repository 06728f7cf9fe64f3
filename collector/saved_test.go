package collector_test

import (
	"context"
	"testing"
	"time"

	"hostmeter/collector"
	"hostmeter/internal/clock"
	"hostmeter/internal/stream"
	"hostmeter/internal/stream/disk"
	"hostmeter/schemas"
)

// confirmed is a log on disk of which the ledger books everything at once.
type confirmed struct {
	*disk.Log
	lost int64 // flows that accounts declare
}

func (l *confirmed) Append(ctx context.Context, batches []*schemas.Batch) error {
	if err := l.Log.Append(ctx, batches); err != nil {
		return err
	}
	marks := stream.Watermarks{}
	for _, b := range batches {
		marks[stream.KeyOf(b)] = b.GetIndex()
		for _, a := range b.GetAccounts() {
			for _, c := range a.GetLost() {
				l.lost += c.GetCount()
			}
		}
	}
	return l.Confirm(ctx, marks)
}

// A log that keeps nothing that is booked deletes it while the file of positions is seconds behind: a
// collector that is killed then still declares what it lost.
func TestLossIsDeclaredAlthoughTheLogKeepsNothing(t *testing.T) {
	cfg, dir, path := config(), t.TempDir(), t.TempDir()
	now := clock.NewManual(begin)
	open := func() (*confirmed, *collector.Collector) {
		d, err := disk.Open(t.Context(), disk.Config{Path: path, SegmentSize: 4096}, cfg.ID, cfg.Shards, disk.Deps{Clock: now})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = d.Close() })
		log := &confirmed{Log: d}
		c := newCollector(t, cfg, collector.Deps{Log: log, StateDir: dir, Clock: now})
		if err := c.Open(background); err != nil {
			t.Fatal(err)
		}
		return log, c
	}
	log, c := open()
	sequence := uint32(0)
	for range 20 {
		c.Feed(edge, now.Now(), v5(now.Now(), sequence, 0, download))
		sequence++
	}
	for range 9 { // the file is written every 10 s; positions that stand still are not told again
		now.Advance(time.Second)
		flush(t, c, now.Now())
	}
	if err := log.Close(); err != nil { // killed, as far as the collector goes
		t.Fatal(err)
	}
	sequence += 5
	log, c = open()
	c.Feed(edge, now.Now(), v5(now.Now(), sequence, 0, download))
	flush(t, c, now.Now())
	if log.lost != 5 {
		t.Errorf("%d flows are declared as lost, want 5", log.lost)
	}
}
