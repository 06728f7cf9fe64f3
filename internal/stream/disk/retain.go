package disk

import (
	"context"
	"fmt"
	"time"

	"hostmeter/internal/failpoint"
	"hostmeter/internal/stream"
)

// tombstone is for how long a run whose segments are gone is remembered, so that a reader that
// comes late is told what it missed.
const tombstone = 90 * 24 * time.Hour

// Shares of Config.MaxSize, and of Config.Retain, at which the alarm goes off and is armed again.
const (
	alarmAbove = 0.80
	alarmBelow = 0.70
)

// Confirm implements stream.Source: it deletes segments of which everything is confirmed and that
// are older than Config.Retain.
func (l *Log) Confirm(ctx context.Context, booked stream.Watermarks) error {
	l.mu.Lock()
	for key, index := range booked {
		if index > l.confirmed[key] {
			l.confirmed[key], l.confirmedAt = index, l.deps.Clock.Now()
		}
	}
	l.mu.Unlock()
	l.expire(0, anyConfirmed)
	l.account()
	return ctx.Err()
}

// firstMost is how large the first append of an opening may be that is taken beyond Config.MaxSize: a collector begins
// with batches without content, and what frees a full log, the ledger's confirmations, comes after that.
const firstMost = 64 << 10

// makeRoom keeps the log below Config.MaxSize with size octets more.
//
// Errors: ErrFull.
func (l *Log) makeRoom(size int64) error {
	if l.config.MaxSize == 0 {
		return nil
	}
	l.mu.Lock()
	over := l.size + size - int64(l.config.MaxSize)
	l.mu.Unlock()
	if over <= 0 || l.active == nil && size <= firstMost {
		return nil
	}
	freed := l.expire(over, anyConfirmed)
	l.account()
	if freed < over {
		return fmt.Errorf("append %d octets to log %s of at most %d: %w", size, l.config.Path, l.config.MaxSize, ErrFull)
	}
	return nil
}

// giveWaySegments is how much is freed at a time on a full disk, in segments: each time costs a log id, whose seal stays.
const giveWaySegments = 4

// giveWay frees room on a disk that is full, for size octets and more: confirmed segments, the oldest first. What the
// collector has not saved stays, because saving needs the full disk, too. It says whether it freed any.
func (l *Log) giveWay(size int64) bool {
	freed := l.expire(size+giveWaySegments*int64(l.config.SegmentSize), savedOnly)
	if freed == 0 {
		return false
	}
	l.account()
	l.deps.Logger.Warn("the disk is full: confirmed batches are deleted before their time", "path", l.config.Path, "freed_bytes", freed,
		"retain", l.config.Retain, "hint", "give the disk room, or lower log.max_size or log.retain to what it has")
	return true
}

// sparing says which confirmed segments give way before they are old.
type sparing bool

const (
	anyConfirmed sparing = false
	savedOnly    sparing = true // those that the collector would not need after a kill; see Keep
)

// expire deletes confirmed segments that are older than Config.Retain, and younger ones that may give way, the oldest
// first, until need octets are free. It returns how many it freed.
func (l *Log) expire(need int64, younger sparing) (freed int64) {
	now := l.deps.Clock.Now()
	var paths, folders []string
	l.mu.Lock()
	kept := l.runs[:0:0]
	for _, r := range l.runs {
		left := 0
		for i, s := range r.segments {
			if s.gone {
				continue
			}
			old, kept := now.Sub(closedAt(r, i)) > l.config.Retain, l.keeps(r, s)
			if l.isConfirmed(r, s) && (old && !kept || freed < need && !(kept && younger == savedOnly)) {
				s.gone = true
				freed += s.size
				paths = append(paths, s.path)
				continue
			}
			left++
		}
		if r.sealed && left == 0 && now.Sub(r.ended) > max(tombstone, l.config.Retain) {
			folders = append(folders, r.folder)
			continue
		}
		kept = append(kept, r)
	}
	l.runs = kept
	l.size -= freed
	l.mu.Unlock()
	l.remove(paths, folders)
	return freed
}

// remove deletes files. One that cannot be deleted now is found again when the log is next opened.
func (l *Log) remove(paths, folders []string) {
	if len(paths) > 0 {
		failpoint.Hit(failpoint.DiskDeleting)
	}
	for _, folder := range folders {
		paths = append(paths, folder+"/"+sealName, folder)
	}
	for _, path := range paths {
		if err := l.deps.Files.Remove(path); err != nil {
			l.deps.Logger.Warn("cannot delete a part of the log that is no longer needed", "path", path, "err", err)
		}
	}
	l.metrics.deleted.Add(float64(len(paths)))
}

// isConfirmed says whether a finished segment holds nothing that is not confirmed.
func (l *Log) isConfirmed(r *run, s *segment) bool {
	if !s.closed || s == r.segments[len(r.segments)-1] && !r.sealed {
		return false
	}
	if failpoint.Fault(failpoint.DeleteUnconfirmed) {
		return true
	}
	return !l.holdsUnconfirmed(r, s)
}

// holdsUnconfirmed says whether a segment holds what is not confirmed.
func (l *Log) holdsUnconfirmed(r *run, s *segment) bool {
	for shard := range s.next {
		key := stream.Key{Collector: r.collector, LogID: r.id, Shard: uint32(shard)}
		if s.next[shard] > nextAt(s.base, uint32(shard)) && s.next[shard]-1 > l.confirmed[key] {
			return true
		}
	}
	return false
}

// closedAt is when the last record was written to a segment.
func closedAt(r *run, i int) time.Time {
	if i+1 < len(r.segments) {
		return r.segments[i+1].begun
	}
	return r.ended
}

// nextAt is a shard's next index; a shard that is not known has nothing yet.
func nextAt(next []uint64, shard uint32) uint64 {
	if uint64(shard) < uint64(len(next)) {
		return next[shard]
	}
	return 1
}

// account sets the gauges and raises the alarm when what may not be deleted nears the bounds: it takes too
// much room, or has waited for nearly as long as confirmed batches are kept.
func (l *Log) account() {
	now := l.deps.Clock.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.accounted = now
	pinned, age := int64(0), time.Duration(0)
	for _, r := range l.runs {
		for _, s := range r.segments {
			if s.gone || l.isConfirmed(r, s) {
				continue
			}
			pinned += s.size
			if !l.holdsUnconfirmed(r, s) {
				continue
			}
			since := s.begun
			if !s.closed && l.confirmedAt.After(since) { // it always holds what has just come
				since = l.confirmedAt
			}
			age = max(age, now.Sub(since))
		}
	}
	l.metrics.size.Set(float64(l.size))
	l.metrics.pinned.Set(float64(pinned))
	l.metrics.age.Set(age.Seconds())
	share := 0.0
	if l.config.MaxSize > 0 {
		share = float64(pinned) / float64(l.config.MaxSize)
	}
	if l.config.Retain > 0 {
		share = max(share, float64(age)/float64(l.config.Retain))
	}
	if share > alarmAbove && !l.alarmed {
		l.alarmed = true
		l.metrics.alarms.Inc()
		l.deps.Logger.Error("log nears its bounds: the ledger does not confirm", "unconfirmed_bytes", pinned,
			"max_size", int64(l.config.MaxSize), "unconfirmed_for", age.Round(time.Second), "retain", l.config.Retain,
			"hint", "look at the aggregator and its store; until it books, nothing is deleted, and at max_size appends are refused")
	} else if share < alarmBelow {
		l.alarmed = false
	}
}

// accountEvery is how often an appending log looks at its bounds although nobody confirms.
const accountEvery = time.Minute

// watchBounds accounts if it is due.
func (l *Log) watchBounds() {
	l.mu.Lock()
	due := l.deps.Clock.Now().Sub(l.accounted).Abs() >= accountEvery
	l.mu.Unlock()
	if due {
		l.account()
	}
}
