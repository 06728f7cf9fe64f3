package disk

import (
	"maps"
	"time"

	"hostmeter/internal/stream"
)

// Keep says how far the collector has saved what it would need of the log after a kill: the positions of its
// sources. What is behind that is not deleted because of its age, confirmed or not; it gives way where
// Config.MaxSize is reached, because a log that refuses costs more. Before the first call nothing is kept
// for it.
func (l *Log) Keep(saved stream.Watermarks) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.saved = maps.Clone(saved)
	if l.saved == nil {
		l.saved = stream.Watermarks{}
	}
}

// keeps says whether a segment holds what the collector has not saved. Of runs before the newest that it has
// saved anything of, it has saved all. The caller holds mu.
func (l *Log) keeps(r *run, s *segment) bool {
	if l.saved == nil {
		return false
	}
	newest := uint64(0)
	for key := range l.saved {
		newest = max(newest, key.LogID)
	}
	if r.id != newest {
		return r.id > newest
	}
	for shard := range s.next {
		key := stream.Key{Collector: r.collector, LogID: r.id, Shard: uint32(shard)}
		if s.next[shard] > nextAt(s.base, uint32(shard)) && s.next[shard]-1 > l.saved[key] {
			return true
		}
	}
	return false
}

// Newest returns watermarks behind which a reader is handed the newest part of the log alone: the segments that were
// written to in the span before the last one was begun.
func (l *Log) Newest(span time.Duration) stream.Watermarks {
	l.mu.Lock()
	defer l.mu.Unlock()
	var from time.Time
	for _, r := range l.runs {
		for _, s := range r.segments {
			if at := s.begun.Add(-span); at.After(from) {
				from = at
			}
		}
	}
	marks := stream.Watermarks{}
	pass := func(r *run, next []uint64) {
		for shard, n := range next {
			if n > 1 {
				marks[stream.Key{Collector: r.collector, LogID: r.id, Shard: uint32(shard)}] = n - 1
			}
		}
	}
	for _, r := range l.runs {
		if len(r.segments) == 0 {
			pass(r, r.next)
		}
		for i, s := range r.segments {
			if closedAt(r, i).Before(from) && s.closed {
				pass(r, s.next)
			}
		}
	}
	return marks
}
