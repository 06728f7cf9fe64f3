// Package disk is the log on local disk: a stream.Log and a stream.Source in one folder.
//
// Each opening writes under a new log id, into a folder of its own, in segments whose header tells
// each shard's next index. Appends that come together share one fsync, and nothing can be read
// before it. It promises that
//
//   - what Append returned without error survives a kill and a power cut, in order;
//   - what Append refused is never read: after a full disk, a torn write or a failed fsync the segment
//     is sealed at its last good octet and the next append begins a new log id (a failed fsync is
//     never tried again, because the kernel may have forgotten what it did not write);
//   - readers get the batches of all shards in the order in which they were appended, over all openings;
//   - nothing unconfirmed is deleted; damage and deletions are told to each reader as a gap, and so is what the disk
//     does not give after several tries, while it works otherwise.
//
// It does not promise that what a crash interrupted is absent: its outcome was never told to anybody.
// Nor, where a disk refuses to be cut back and to take the seal too, and the process is killed before
// any further append succeeded, that what was refused last is absent from the next run; nor where the seal itself
// is damaged.
package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"time"

	"hostmeter/internal/failpoint"
	"hostmeter/internal/stream"
	"hostmeter/internal/stream/disk/files"
	"hostmeter/schemas"
)

var (
	// ErrClosed is returned by a log or a reader that was closed.
	ErrClosed = errors.New("log is closed")
	// ErrFull is returned when what is not confirmed has reached Config.MaxSize.
	ErrFull = errors.New("log has reached max_size and nothing in it may be deleted")
	// ErrShard is returned for a batch that cannot be of this log: shard or collector do not fit.
	ErrShard = errors.New("batch does not belong to this log")
)

// Log is an open log. It is safe for concurrent use.
type Log struct {
	config    Config
	deps      Deps
	collector string
	shards    uint32
	metrics   *metrics
	lock      io.Closer
	openTries int        // how often an opening log tries to read a place
	probing   sync.Mutex // see answers

	queueMu sync.Mutex
	queue   []*request

	// commitMu is held by whoever writes; it guards the fields up to mu.
	commitMu sync.Mutex
	current  files.File // the segment that is written, or nil
	broken   *run       // a run that must be sealed before anything else is written
	buf      []byte
	scratch  []uint64
	closed   bool

	// mu guards what readers see.
	mu          sync.Mutex
	runs        []*run // by id
	active      *run   // nil until something is appended
	confirmed   stream.Watermarks
	confirmedAt time.Time         // when that last moved
	saved       stream.Watermarks // see Keep; nil where nobody says
	size        int64
	alarmed     bool
	accounted   time.Time
	changed     chan struct{} // closed and replaced at each change
	done        chan struct{} // closed by Close
}

var (
	_ stream.Log    = (*Log)(nil)
	_ stream.Source = (*Log)(nil)
)

// Open takes the folder, which is made where it is missing, and finds what earlier runs left in it.
// Batches that are appended must be of this collector and of a shard below shards.
//
// Errors: stream.ErrLocked, ErrVersion, what the disk said.
func Open(ctx context.Context, cfg Config, collector string, shards uint32, deps Deps) (*Log, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("log.%w", err)
	}
	if shards == 0 || shards > maxShards || len(collector) > 255 {
		return nil, fmt.Errorf("open log: %d shards and a collector's name of %d octets, want 1 to %d and at most 255",
			shards, len(collector), maxShards)
	}
	deps = deps.withDefaults()
	if err := deps.Files.MkdirAll(cfg.Path); err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	lock, err := deps.Files.Lock(cfg.Path)
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	l := &Log{
		config: cfg, deps: deps, collector: collector, shards: shards, lock: lock,
		metrics:   newMetrics(deps.Metrics),
		openTries: readTries,
		confirmed: make(stream.Watermarks),
		changed:   make(chan struct{}),
		done:      make(chan struct{}),
	}
	if err := l.recover(ctx); err != nil {
		_ = lock.Close()
		return nil, fmt.Errorf("open log %s: %w", cfg.Path, err)
	}
	l.metrics.limit.Set(float64(cfg.MaxSize))
	l.account()
	return l, nil
}

// Close seals what was written and gives the folder free. It may be called twice.
func (l *Log) Close() error {
	l.commitMu.Lock()
	defer l.commitMu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	close(l.done)
	if l.broken == nil {
		l.broken = l.active
	}
	if l.broken != nil {
		if err := l.seal(l.broken); err != nil { // the next opening scans instead
			l.deps.Logger.Warn("log was closed without a seal", "log_id", runName(l.broken.id), "err", err)
		}
	}
	var err error
	if l.current != nil {
		err = l.current.Close()
	}
	return errors.Join(err, l.lock.Close())
}

// newLogID returns an id that is larger than every one in the folder, and that no other folder has:
// the seconds of the clock, then 24 random bits.
func (l *Log) newLogID() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	random := rand.Uint64N(1 << 24)
	id := uint64(max(l.deps.Clock.Now().Unix(), 0))<<24 | random
	if n := len(l.runs); n > 0 && id <= l.runs[n-1].id {
		id = l.runs[n-1].id + 1 + random
	}
	return id
}

// beginRun makes a folder with an empty segment under a new log id, durably.
func (l *Log) beginRun() error {
	id := l.newLogID()
	r := &run{id: id, folder: filepath.Join(l.config.Path, runName(id)), collector: l.collector, next: make([]uint64, l.shards)}
	for i := range r.next {
		r.next[i] = 1
	}
	if err := l.deps.Files.Mkdir(r.folder); err != nil {
		return err
	}
	f, s, err := l.createSegment(r, 1)
	if err == nil {
		if err = l.deps.Files.SyncDir(l.config.Path); err != nil {
			_ = f.Close()
			_ = l.deps.Files.Remove(s.path)
		}
	}
	if err != nil {
		_ = l.deps.Files.Remove(r.folder)
		return err
	}
	r.segments = []*segment{s}
	l.current = f
	l.mu.Lock()
	defer l.mu.Unlock()
	l.runs = append(l.runs, r)
	l.active = r
	l.size += s.size
	return nil
}

// roll goes on in a new segment. After an error a part of that one may be there: nothing more is written to the old.
func (l *Log) roll() error {
	r := l.active
	old := r.segments[len(r.segments)-1]
	failpoint.Hit(failpoint.DiskRolling)
	f, s, err := l.createSegment(r, old.number+1)
	if err != nil {
		return err
	}
	failpoint.Hit(failpoint.DiskRolled)
	_ = l.current.Close() // all of it is durable
	l.current = f
	l.mu.Lock()
	old.closed = true
	r.segments = append(r.segments, s)
	l.size += s.size
	l.mu.Unlock()
	l.account()
	return nil
}

// createSegment makes a durable segment that holds its header only.
func (l *Log) createSegment(r *run, number uint64) (files.File, *segment, error) {
	s := &segment{
		number: number, path: filepath.Join(r.folder, segmentName(number)), begun: l.deps.Clock.Now(),
		base: append([]uint64(nil), r.next...), next: append([]uint64(nil), r.next...),
	}
	content := header{logID: r.id, segment: number, at: s.begun, next: s.base, collector: r.collector}.encode(segmentMagic)
	s.begin, s.size = int64(len(content)), int64(len(content))
	if err := writeWhole(l.deps.Files, s.path, content); err != nil {
		_ = l.deps.Files.Remove(s.path)
		return nil, nil, err
	}
	f, err := l.deps.Files.OpenWrite(s.path)
	if err != nil {
		_ = l.deps.Files.Remove(s.path)
		return nil, nil, err
	}
	return f, s, nil
}

// seal writes down where a run ends. What lies behind is not there any more, whatever the disk holds.
func (l *Log) seal(r *run) error {
	if r.sealed || len(r.segments) == 0 {
		return nil
	}
	failpoint.Hit(failpoint.DiskSealing)
	last := r.segments[len(r.segments)-1]
	at := l.deps.Clock.Now()
	content := header{logID: r.id, segment: last.number, at: at, size: last.size, next: r.next, collector: r.collector}.encode(sealMagic)
	if err := writeWhole(l.deps.Files, filepath.Join(r.folder, sealName), content); err != nil {
		return fmt.Errorf("seal log %s: %w", runName(r.id), err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	last.closed, r.sealed, r.ended = true, true, at
	return nil
}

// wake tells every reader to look again. The caller holds mu.
func (l *Log) wake() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// KeyOf returns the sequence of a shard of the log id that is written now; ok is false before the
// first append.
func (l *Log) KeyOf(shard uint32) (key stream.Key, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.active == nil {
		return stream.Key{}, false
	}
	return stream.Key{Collector: l.collector, LogID: l.active.id, Shard: shard}, true
}

// belongs says why a batch cannot be appended here, and completes its identity otherwise.
func (l *Log) belongs(b *schemas.Batch) error {
	if b.GetShard() >= l.shards || b.GetCollector() != "" && b.GetCollector() != l.collector {
		return fmt.Errorf("batch of collector %q, shard %d, in a log of %q with %d shards: %w",
			b.GetCollector(), b.GetShard(), l.collector, l.shards, ErrShard)
	}
	b.Collector, b.Shards, b.LogId, b.Index = l.collector, l.shards, 0, 0
	return nil
}
