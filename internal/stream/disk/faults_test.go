package disk

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"hostmeter/internal/clock"
	"hostmeter/internal/stream"
	"hostmeter/internal/stream/disk/faultdisk"
	"hostmeter/internal/stream/disk/files"
	"hostmeter/internal/stream/streamtest"
	"hostmeter/schemas"
)

// harness drives a log and remembers what it promised.
type harness struct {
	t       rapidOrTest
	cfg     Config
	disk    *faultdisk.Disk
	files   files.System // instead of disk, where set
	clock   clock.Clock  // the machine's where nil
	metrics prometheus.Registerer
	log     *Log
	number  uint64
	kept    map[stream.Key][]uint64 // numbers of acknowledged batches, by index
	refused map[uint64]bool
}

type rapidOrTest interface {
	Helper()
	Fatalf(format string, args ...any)
}

const testShards = 3

func newHarness(t rapidOrTest) *harness {
	h := &harness{t: t, cfg: DefaultConfig(), disk: faultdisk.New(), kept: make(map[stream.Key][]uint64), refused: make(map[uint64]bool)}
	h.cfg.Path, h.cfg.SegmentSize = "/log", 4096
	h.open()
	return h
}

func (h *harness) open() {
	h.t.Helper()
	if err := h.tryOpen(); err != nil {
		h.t.Fatalf("open: %v", err)
	}
}

func (h *harness) tryOpen() (err error) {
	system := h.files
	if system == nil {
		system = h.disk.Mount()
	}
	h.log, err = Open(context.Background(), h.cfg, "c", testShards, Deps{Files: system, Clock: h.clock, Metrics: h.metrics, Logger: slog.New(slog.DiscardHandler)})
	return err
}

// append appends one batch a shard, and notes the outcome.
func (h *harness) append(size int) error {
	h.t.Helper()
	var group []*schemas.Batch
	for shard := range uint32(testShards) {
		h.number++
		group = append(group, streamtest.Batch(shard, h.number, size))
	}
	err := h.log.Append(context.Background(), group)
	for _, b := range group {
		if err != nil {
			h.refused[streamtest.Number(b)] = true
			if b.GetIndex() != 0 || b.GetLogId() != 0 {
				h.t.Fatalf("refused batch has the identity %s %d", stream.KeyOf(b), b.GetIndex())
			}
			continue
		}
		key := stream.KeyOf(b)
		if h.kept[key] = append(h.kept[key], streamtest.Number(b)); uint64(len(h.kept[key])) != b.GetIndex() {
			h.t.Fatalf("%s: index %d for the %d-th acknowledged batch", key, b.GetIndex(), len(h.kept[key]))
		}
	}
	return err
}

// check reads everything: nothing acknowledged is missing, nothing refused is there.
func (h *harness) check() {
	h.t.Helper()
	total := 0
	for _, numbers := range h.kept {
		total += len(numbers)
	}
	got, batches := readAll(h.t, h.log, total)
	if batches != total {
		h.t.Fatalf("read %d batches, want %d", batches, total)
	}
	for key, numbers := range h.kept {
		if fmt.Sprint(got[key]) != fmt.Sprint(numbers) {
			h.t.Fatalf("%s holds %v, want %v", key, got[key], numbers)
		}
	}
}

// readAll reads what is in a log now, and fails on a gap.
func readAll(t rapidOrTest, l *Log, atLeast int) (map[stream.Key][]uint64, int) {
	t.Helper()
	r, _ := l.OpenReader(context.Background(), "test", nil) // has no error
	defer func() { _ = r.Close() }()
	got, count := make(map[stream.Key][]uint64), 0
	for {
		batches, err := r.(*reader).read(100)
		if err != nil {
			t.Fatalf("read after %d of %d batches: %v", count, atLeast, err)
		}
		if len(batches) == 0 {
			return got, count
		}
		for _, b := range batches {
			got[stream.KeyOf(b)] = append(got[stream.KeyOf(b)], streamtest.Number(b))
			count++
		}
	}
}

func (h *harness) reopen() {
	h.t.Helper()
	if err := h.log.Close(); err != nil {
		h.t.Fatalf("close: %v", err)
	}
	h.open()
}

// kill leaves the log as a killed process does: without a seal.
func (h *harness) kill() {
	h.t.Helper()
	if h.files != nil {
		_ = h.log.lock.Close() // as the kernel does
	}
	h.disk.Kill()
	h.open()
}

// Fill the disk, fail, free it, write on, reopen: nothing acknowledged vanishes and nothing refused
// appears. Source: the recipe of issue 13027 of Prometheus, whose log lost what came after a torn
// record.
func TestFullDisk(t *testing.T) {
	for _, room := range []int64{0, 1, 40, 500, 3000, 5000, 9001} {
		t.Run(fmt.Sprint(room), func(t *testing.T) {
			h := newHarness(t)
			for range 5 {
				if err := h.append(300); err != nil {
					t.Fatal(err)
				}
			}
			h.disk.Set(faultdisk.Faults{Bounded: true, Room: room})
			refused := 0
			for range 20 {
				if err := h.append(300); err != nil {
					if !isNoSpace(err) {
						t.Fatalf("got %v, want ENOSPC", err)
					}
					refused++
				}
			}
			if refused == 0 {
				t.Fatal("the disk never ran full: this test proves nothing")
			}
			h.check()
			h.disk.Heal()
			for range 5 {
				if err := h.append(300); err != nil {
					t.Fatalf("append after room was made: %v", err)
				}
			}
			h.check()
			h.kill()
			h.check()
			h.reopen()
			h.check()
		})
	}
}

func TestFailedSyncIsNeverRetried(t *testing.T) {
	h := newHarness(t)
	for round := range 5 {
		if err := h.append(50); err != nil {
			t.Fatal(err)
		}
		before, _ := h.log.KeyOf(0)
		h.disk.Set(faultdisk.Faults{FailSync: unix.EIO})
		if err := h.append(50); !errors.Is(err, unix.EIO) {
			t.Fatalf("got %v, want EIO", err)
		}
		if err := h.append(50); err != nil {
			t.Fatalf("round %d: append after a failed fsync: %v", round, err)
		}
		if after, _ := h.log.KeyOf(0); after.LogID <= before.LogID {
			t.Fatalf("log id %x after %x: want a new, larger one", after.LogID, before.LogID)
		}
	}
	h.check()
	h.kill()
	h.check()
	if n := h.disk.SyncsAfterFailure(); n != 0 {
		t.Fatalf("fsync was tried again %d times on a file where it had failed", n)
	}
}

func TestNothingIsTakenUntilTheSealIsDurable(t *testing.T) {
	h := newHarness(t)
	_ = h.append(50)
	h.disk.Set(faultdisk.Faults{Broken: unix.EIO})
	for range 3 {
		if err := h.append(50); !errors.Is(err, unix.EIO) {
			t.Fatalf("got %v, want EIO", err)
		}
	}
	h.check()
	h.disk.Heal()
	if err := h.append(50); err != nil {
		t.Fatal(err)
	}
	if sealed := h.disk.Glob(filepath.Join(h.cfg.Path, "*", sealName)); len(sealed) != 1 {
		t.Fatalf("seals %v, want one for the broken log id", sealed)
	}
	h.check()
	h.kill()
	h.check()
}

// A model of the log: any mixture of appends, faults, kills and reopenings.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		h := newHarness(rt)
		fault := func(faults func(*rapid.T) faultdisk.Faults) func(*rapid.T) {
			return func(rt *rapid.T) {
				f := faults(rt)
				h.disk.Set(f)
				if err := h.append(rapid.IntRange(1, 3000).Draw(rt, "size")); err == nil && !f.Bounded {
					rt.Fatalf("a fault was not told")
				}
				h.disk.Heal()
			}
		}
		always := func(f faultdisk.Faults) func(*rapid.T) faultdisk.Faults {
			return func(*rapid.T) faultdisk.Faults { return f }
		}
		rt.Repeat(map[string]func(*rapid.T){
			"append": func(rt *rapid.T) {
				if err := h.append(rapid.IntRange(1, 3000).Draw(rt, "size")); err != nil {
					rt.Fatalf("append: %v", err)
				}
			},
			"full disk": fault(func(rt *rapid.T) faultdisk.Faults {
				return faultdisk.Faults{Bounded: true, Room: rapid.Int64Range(0, 4000).Draw(rt, "room")}
			}),
			"torn write":   fault(always(faultdisk.Faults{Tear: unix.EIO})),
			"failed fsync": fault(always(faultdisk.Faults{FailSync: unix.EIO})),
			"broken disk":  fault(always(faultdisk.Faults{Broken: unix.EIO})),
			"reopen":       func(rt *rapid.T) { h.reopen() },
			"kill":         func(rt *rapid.T) { h.kill() },
			"power cut": func(rt *rapid.T) {
				h.disk.PowerCut(rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "lost"), 0)))
				h.open()
			},
			"": func(rt *rapid.T) { h.t = rt; h.check() },
		})
	})
}

func TestCallsShareAnFsync(t *testing.T) {
	h := newHarness(t)
	_ = h.append(1)
	h.log.commitMu.Lock() // as if a commit were under way
	const calls = 8
	var wg sync.WaitGroup
	for n := range uint64(calls) {
		wg.Go(func() {
			if err := h.log.Append(t.Context(), []*schemas.Batch{streamtest.Batch(0, n, 1)}); err != nil {
				t.Errorf("append: %v", err)
			}
		})
	}
	for { // until all calls wait
		h.log.queueMu.Lock()
		waiting := len(h.log.queue)
		h.log.queueMu.Unlock()
		if waiting == calls {
			break
		}
	}
	before := h.disk.Syncs()
	h.log.commitMu.Unlock()
	wg.Wait()
	if n := h.disk.Syncs() - before; n != 1 {
		t.Fatalf("%d fsyncs for %d calls that waited together, want 1", n, calls)
	}
}

func TestCallThatIsGivenUpInTheQueueIsNotWritten(t *testing.T) {
	h := newHarness(t)
	_ = h.append(1)
	h.log.commitMu.Lock()
	ctx, cancel := context.WithCancel(t.Context())
	outcome := make(chan error)
	go func() { outcome <- h.log.Append(ctx, []*schemas.Batch{streamtest.Batch(0, 99, 1)}) }()
	cancel()
	h.log.commitMu.Unlock()
	if err := <-outcome; !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want the context's error", err)
	}
	_ = h.append(1)
	h.check()
}

// syncing calls back while a file is being synced.
type syncing struct {
	files.System
	hook func()
}

func (s *syncing) OpenWrite(name string) (files.File, error) {
	f, err := s.System.OpenWrite(name)
	return &syncingFile{f, s}, err
}

type syncingFile struct {
	files.File
	of *syncing
}

func (f *syncingFile) Sync() error {
	if f.of.hook != nil {
		f.of.hook()
	}
	return f.File.Sync()
}

func TestNothingIsReadableBeforeItsFsync(t *testing.T) {
	h := newHarness(t)
	_ = h.log.Close()
	disk := &syncing{System: h.disk.Mount()}
	h.files = disk
	h.open()
	_ = h.append(50)
	looked := 0
	disk.hook = func() {
		looked++
		if _, n := readAll(t, h.log, testShards); n != testShards {
			t.Errorf("%d batches are readable while the second group is synced, want %d", n, testShards)
		}
	}
	_ = h.append(50)
	disk.hook = nil
	if looked == 0 {
		t.Fatal("nothing was synced")
	}
	h.check()
}

// Each failure is told: by its reason, and as a file that was given up.
func TestFailuresAreCounted(t *testing.T) {
	f := func(faults faultdisk.Faults, reason string) {
		t.Helper()
		disk, registry := faultdisk.New(), prometheus.NewRegistry()
		cfg := DefaultConfig()
		cfg.Path = "/log"
		l, err := Open(t.Context(), cfg, "c", testShards, Deps{Files: disk.Mount(), Metrics: registry, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		fill(t, l, 1, 1)
		disk.Set(faults)
		if err := l.Append(t.Context(), []*schemas.Batch{streamtest.Batch(0, 2, 4000)}); err == nil {
			t.Fatalf("%s: no error", reason)
		}
		disk.Heal()
		fill(t, l, 3, 3)
		if n := metricValue(t, registry, "hostmeter_log_abandoned_segments_total"); n != 1 {
			t.Errorf("%s: %v files given up, want 1", reason, n)
		}
		if n := metricValue(t, registry, "hostmeter_log_refused_batches_total"); n != 1 {
			t.Errorf("%s: %v batches refused, want 1", reason, n)
		}
		if deleted := l.metrics.refused.DeleteLabelValues(reason); !deleted {
			t.Errorf("nothing was refused for the reason %s", reason)
		}
	}
	f(faultdisk.Faults{Bounded: true, Room: 100}, "disk_full")
	f(faultdisk.Faults{FailSync: unix.EIO}, "disk_error")
	f(faultdisk.Faults{Tear: unix.EIO}, "disk_error")
	f(faultdisk.Faults{Broken: unix.EIO}, "disk_error")
}

// stubborn makes no name durable and removes nothing, while it is so.
type stubborn struct {
	files.System
	so bool
}

func (s *stubborn) SyncDir(path string) error {
	if s.so {
		return unix.EIO
	}
	return s.System.SyncDir(path)
}

func (s *stubborn) Remove(path string) error {
	if s.so {
		return unix.EIO
	}
	return s.System.Remove(path)
}

// The next segment was begun and not made durable, and could not be removed: what is appended afterwards does not stand
// before it, and it goes.
func TestSegmentOfAFailedRoll(t *testing.T) {
	for _, killed := range []bool{true, false} {
		h := newHarness(t)
		_ = h.log.Close()
		disk := &stubborn{System: h.disk.Mount()}
		h.files = disk
		h.open()
		if err := h.append(300); err != nil {
			t.Fatal(err)
		}
		disk.so = true
		if err := h.append(3000); !errors.Is(err, unix.EIO) {
			t.Fatalf("got %v, want EIO", err)
		}
		disk.so = false
		strays := h.disk.Glob(filepath.Join(h.cfg.Path, "*", segmentName(2)))
		if len(strays) != 1 {
			t.Fatalf("%d segments were left by the attempt: this test proves nothing", len(strays))
		}
		if err := h.append(10); err != nil {
			t.Fatal(err)
		}
		h.check()
		if killed {
			h.files = h.disk.Mount()
			_ = h.log.lock.Close()
			h.open()
		} else {
			h.reopen()
		}
		h.check()
		for _, r := range h.log.runs {
			for _, s := range r.segments {
				if _, err := h.disk.ReadFile(s.path); err != nil || len(s.next) == 0 || s.next[0] != uint64(1+len(h.kept[stream.Key{Collector: "c", LogID: r.id}])) {
					t.Fatalf("segment %s ends before %v (%v)", s.path, s.next, err)
				}
			}
		}
		if left := h.disk.Glob(filepath.Join(h.cfg.Path, "*", segmentName(2))); len(left) != 0 {
			t.Fatalf("%s is still there", left)
		}
	}
}
