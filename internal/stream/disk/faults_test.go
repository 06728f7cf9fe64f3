package disk

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"hostmeter/internal/stream"
	"hostmeter/internal/stream/streamtest"
	"hostmeter/schemas"
)

// faultyFiles is the machine's disk with faults on order. The zero value has none and is endless.
type faultyFiles struct {
	osFiles
	mu sync.Mutex
	// room is how many octets fit yet, where bounded is set.
	bounded bool
	room    int64
	// failSync makes the next Sync of a file fail. What was written stays in the file, as on a kernel
	// that wrote a part of it before the error.
	failSync error
	// tear makes the next write that is longer than 64 octets stop in its middle with this error.
	tear error
	// broken fails every write, sync, truncation and creation.
	broken error
	syncs  int
	// lazy leaves syncing out, for tests that never lose power.
	lazy   bool
	failed map[string]int // syncs of a file after one of its syncs failed
}

func (d *faultyFiles) fault() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.broken
}

func (d *faultyFiles) Create(path string) (file, error) {
	if err := d.fault(); err != nil {
		return nil, err
	}
	return d.wrap(d.osFiles.Create(path))
}

func (d *faultyFiles) SyncDir(path string) error {
	if d.lazy {
		return nil
	}
	return d.osFiles.SyncDir(path)
}

func (d *faultyFiles) OpenWrite(path string) (file, error) { return d.wrap(d.osFiles.OpenWrite(path)) }

func (d *faultyFiles) Mkdir(path string) error {
	if err := d.fault(); err != nil {
		return err
	}
	return d.osFiles.Mkdir(path)
}

func (d *faultyFiles) wrap(f file, err error) (file, error) {
	if err != nil {
		return nil, err
	}
	return &faultyFile{osFile: f.(osFile), disk: d}, nil
}

type faultyFile struct {
	osFile
	disk       *faultyFiles
	syncFailed bool
}

func (f *faultyFile) WriteAt(b []byte, offset int64) (int, error) {
	d := f.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.broken != nil {
		return 0, d.broken
	}
	allowed, fault := len(b), error(nil)
	if d.tear != nil && len(b) > 64 {
		allowed, fault, d.tear = len(b)/2, d.tear, nil
	}
	if d.bounded && d.room < int64(allowed) {
		allowed, fault = int(d.room), unix.ENOSPC
	}
	n, err := f.osFile.WriteAt(b[:allowed], offset)
	d.room -= int64(n)
	return n, errors.Join(err, fault)
}

func (f *faultyFile) Sync() error {
	d := f.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	if f.syncFailed {
		if d.failed == nil {
			d.failed = make(map[string]int)
		}
		d.failed[f.Name()]++
	}
	if err := errors.Join(d.broken, d.failSync); err != nil {
		d.failSync, f.syncFailed = nil, true
		return err
	}
	d.syncs++
	if d.lazy {
		return nil
	}
	return f.osFile.Sync()
}

func (f *faultyFile) Truncate(size int64) error {
	d := f.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.broken != nil {
		return d.broken
	}
	before, err := f.osFile.Size()
	if err == nil {
		d.room += before - size
		err = f.osFile.Truncate(size)
	}
	return err
}

// harness drives a log and remembers what it promised.
type harness struct {
	t       rapidOrTest
	cfg     Config
	files   *faultyFiles
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

func newHarness(t rapidOrTest, path string) *harness {
	h := &harness{t: t, cfg: DefaultConfig(), files: &faultyFiles{}, kept: make(map[stream.Key][]uint64), refused: make(map[uint64]bool)}
	h.cfg.Path, h.cfg.SegmentSize = path, 4096
	h.open()
	return h
}

func (h *harness) open() {
	h.t.Helper()
	var err error
	if h.log, err = Open(context.Background(), h.cfg, "c", testShards, Deps{files: h.files, Logger: slog.New(slog.DiscardHandler)}); err != nil {
		h.t.Fatalf("open: %v", err)
	}
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
	h.log.commitMu.Lock()
	if h.log.current != nil {
		_ = h.log.current.Close()
	}
	h.log.closed = true
	close(h.log.done)
	_ = h.log.lock.Close()
	h.log.commitMu.Unlock()
	h.open()
}

// Fill the disk, fail, free it, write on, reopen: nothing acknowledged vanishes and nothing refused
// appears. Source: the recipe of issue 13027 of Prometheus, whose log lost what came after a torn
// record.
func TestFullDisk(t *testing.T) {
	for _, room := range []int64{0, 1, 40, 500, 3000, 5000, 9001} {
		t.Run(fmt.Sprint(room), func(t *testing.T) {
			h := newHarness(t, t.TempDir())
			for range 5 {
				if err := h.append(300); err != nil {
					t.Fatal(err)
				}
			}
			h.files.bounded, h.files.room = true, room
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
			h.files.bounded = false
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
	h := newHarness(t, t.TempDir())
	for round := range 5 {
		if err := h.append(50); err != nil {
			t.Fatal(err)
		}
		before, _ := h.log.KeyOf(0)
		h.files.failSync = unix.EIO
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
	if len(h.files.failed) != 0 {
		t.Fatalf("fsync was tried again on a file where it had failed: %v", h.files.failed)
	}
}

func TestNothingIsTakenUntilTheSealIsDurable(t *testing.T) {
	h := newHarness(t, t.TempDir())
	_ = h.append(50)
	h.files.broken = unix.EIO
	for range 3 {
		if err := h.append(50); !errors.Is(err, unix.EIO) {
			t.Fatalf("got %v, want EIO", err)
		}
	}
	h.check()
	h.files.broken = nil
	if err := h.append(50); err != nil {
		t.Fatal(err)
	}
	sealed, err := filepath.Glob(filepath.Join(h.cfg.Path, "*", sealName))
	if err != nil || len(sealed) != 1 {
		t.Fatalf("seals %v, want one for the broken log id (%v)", sealed, err)
	}
	h.check()
	h.kill()
	h.check()
}

// A model of the log: any mixture of appends, faults, kills and reopenings.
func TestModel(t *testing.T) {
	dir := t.TempDir()
	round := 0
	rapid.Check(t, func(rt *rapid.T) {
		round++
		h := newHarness(rt, filepath.Join(dir, fmt.Sprint(round)))
		h.files.lazy = true
		defer func() { _ = h.log.Close() }()
		fault := func(set func()) func(*rapid.T) {
			return func(rt *rapid.T) {
				set()
				if err := h.append(rapid.IntRange(1, 3000).Draw(rt, "size")); err == nil && !h.files.bounded {
					rt.Fatalf("a fault was not told")
				}
				h.files.bounded, h.files.tear, h.files.failSync, h.files.broken = false, nil, nil, nil
			}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"append": func(rt *rapid.T) {
				if err := h.append(rapid.IntRange(1, 3000).Draw(rt, "size")); err != nil {
					rt.Fatalf("append: %v", err)
				}
			},
			"full disk": func(rt *rapid.T) {
				fault(func() { h.files.bounded, h.files.room = true, rapid.Int64Range(0, 4000).Draw(rt, "room") })(rt)
			},
			"torn write":   fault(func() { h.files.tear = unix.EIO }),
			"failed fsync": fault(func() { h.files.failSync = unix.EIO }),
			"broken disk":  fault(func() { h.files.broken = unix.EIO }),
			"reopen":       func(rt *rapid.T) { h.reopen() },
			"kill":         func(rt *rapid.T) { h.kill() },
			"":             func(rt *rapid.T) { h.t = rt; h.check() },
		})
	})
}

func TestCallsShareAnFsync(t *testing.T) {
	h := newHarness(t, t.TempDir())
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
	h.files.syncs = 0
	h.log.commitMu.Unlock()
	wg.Wait()
	if h.files.syncs != 1 {
		t.Fatalf("%d fsyncs for %d calls that waited together, want 1", h.files.syncs, calls)
	}
}

func TestCallThatIsGivenUpInTheQueueIsNotWritten(t *testing.T) {
	h := newHarness(t, t.TempDir())
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
