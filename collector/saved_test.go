package collector_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

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
		l.note(b)
	}
	return l.Confirm(ctx, marks)
}

func (l *confirmed) note(b *schemas.Batch) {
	for _, a := range b.GetAccounts() {
		for _, c := range a.GetLost() {
			l.lost += c.GetCount()
		}
	}
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

// The positions are lost with their file, and the log holds days: the newest day is read back, which is where they
// are, and what was lost since is declared.
func TestLostPositionsAreReadBackFromTheNewestDay(t *testing.T) {
	cfg, dir, path := config(), t.TempDir(), t.TempDir()
	now, registry := clock.NewManual(begin), prometheus.NewRegistry()
	open := func() (*disk.Log, *collector.Collector) {
		log, err := disk.Open(t.Context(), disk.Config{Path: path, SegmentSize: 4096, Retain: 1000 * time.Hour}, cfg.ID, cfg.Shards, disk.Deps{Clock: now, Metrics: registry})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = log.Close() })
		c := newCollector(t, cfg, collector.Deps{Log: log, StateDir: dir, Clock: now})
		if err := c.Open(background); err != nil {
			t.Fatal(err)
		}
		return log, c
	}
	log, c := open()
	sequence := uint32(0)
	const hours, each = 60, 3
	for range hours * each {
		c.Feed(edge, now.Now(), v5(now.Now(), sequence, 0, download))
		sequence++
		flush(t, c, now.Now())
		now.Advance(time.Hour / each)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "positions.json")); err != nil {
		t.Fatal(err)
	}
	now.Advance(10 * 24 * time.Hour) // it was away
	sequence += 5
	registry = prometheus.NewRegistry()
	log, c = open()
	lossy := &confirmed{Log: log}
	if read := readBatches(t, registry); read < 24*each*int(cfg.Shards) || read > 30*each*int(cfg.Shards) {
		t.Errorf("%d batches were read back, want those of a day: about %d", read, 24*each*cfg.Shards)
	}
	c.Feed(edge, now.Now(), v5(now.Now(), sequence, 0, download))
	flush(t, c, now.Now())
	reader, err := log.OpenReader(t.Context(), "test", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = reader.Close() }()
	key, _ := log.KeyOf(0)
	for end := false; !end; {
		batches, err := reader.Next(t.Context(), 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range batches {
			lossy.note(b)
			end = end || b.GetLogId() == key.LogID && b.GetIndex() == 2 && b.GetShard() == cfg.Shards-1
		}
	}
	if lossy.lost != 5 {
		t.Errorf("%d flows are declared as lost, want 5", lossy.lost)
	}
}

func readBatches(t *testing.T, registry *prometheus.Registry) int {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == "hostmeter_log_read_batches_total" {
			return int(family.GetMetric()[0].GetCounter().GetValue())
		}
	}
	return 0
}

// slow is a log of which each batch takes long to read.
type slow struct {
	*disk.Log
	clock     *clock.Manual
	deadlines []time.Time
}

func (l *slow) OpenReader(ctx context.Context, consumer string, after stream.Watermarks) (stream.Reader, error) {
	r, err := l.Log.OpenReader(ctx, consumer, after)
	return slowReader{r, l}, err
}

type slowReader struct {
	stream.Reader
	log *slow
}

func (r slowReader) Next(ctx context.Context, _ int) ([]*schemas.Batch, error) {
	deadline, _ := ctx.Deadline()
	r.log.deadlines = append(r.log.deadlines, deadline)
	r.log.clock.Advance(15 * time.Second)
	return r.Reader.Next(ctx, 1)
}

// Reading back may take as long as it takes while there is progress, and tells of it.
func TestReadingBackIsPatient(t *testing.T) {
	cfg, dir, path := config(), t.TempDir(), t.TempDir()
	now := clock.NewManual(begin)
	var text strings.Builder
	open := func() (*slow, *collector.Collector) {
		d, err := disk.Open(t.Context(), disk.Config{Path: path, SegmentSize: 4096}, cfg.ID, cfg.Shards, disk.Deps{Clock: now})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = d.Close() })
		log := &slow{Log: d, clock: now}
		c := newCollector(t, cfg, collector.Deps{Log: log, StateDir: dir, Clock: now, Logger: slog.New(slog.NewTextHandler(&text, nil))})
		if err := c.Open(background); err != nil {
			t.Fatal(err)
		}
		return log, c
	}
	log, c := open()
	for n := range uint32(10) {
		c.Feed(edge, now.Now(), v5(now.Now(), n, 0, download))
		flush(t, c, now.Now())
	}
	_ = log.Close()
	_ = os.Remove(filepath.Join(dir, "positions.json"))
	text.Reset()
	log, _ = open()
	if n := len(log.deadlines); n < 20 || !log.deadlines[n-1].After(log.deadlines[0]) {
		t.Errorf("%d reads, the last until %s, the first until %s: the deadline does not move on", n, log.deadlines[n-1], log.deadlines[0])
	}
	if told := strings.Count(text.String(), "reading the log back"); told < 10 {
		t.Errorf("progress was told %d times", told)
	}
}
