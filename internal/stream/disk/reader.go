package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"sync"

	"hostmeter/internal/stream"
	"hostmeter/internal/stream/disk/files"
	"hostmeter/schemas"
)

// reader is one consumer's place in the log. It holds one open file and one buffer.
type reader struct {
	log      *Log
	consumer string

	mu      sync.Mutex // Next is called by one goroutine; it keeps Close from the file in use
	last    stream.Watermarks
	gaps    []*stream.GapError
	run     *run // where it is, or nil before the first segment
	segment *segment
	file    files.File
	window  *window
	offset  int64
	// searching says that a record need not begin at offset: the next one behind it is looked for.
	searching bool
	trouble   trouble

	closeOnce sync.Once
	closed    chan struct{}
}

// OpenReader implements stream.Source.
func (l *Log) OpenReader(_ context.Context, consumer string, after stream.Watermarks) (stream.Reader, error) {
	last := maps.Clone(after)
	if last == nil {
		last = make(stream.Watermarks)
	}
	return &reader{log: l, consumer: consumer, last: last, closed: make(chan struct{})}, nil
}

// Close implements stream.Reader.
func (r *reader) Close() error {
	r.closeOnce.Do(func() { close(r.closed) })
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.leave()
}

// Next implements stream.Reader. It waits without polling. What the disk does not give it tries again; a part that
// stays unreadable on a disk that works otherwise is told as a gap. After the log or the reader was closed it returns
// ErrClosed.
func (r *reader) Next(ctx context.Context, most int) ([]*schemas.Batch, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		select {
		case <-ctx.Done():
			if r.trouble.tries > 0 {
				return nil, fmt.Errorf("%w: %w", stream.ErrBehind, ctx.Err())
			}
			return nil, ctx.Err()
		case <-r.closed:
			return nil, ErrClosed
		case <-r.log.done:
			return nil, ErrClosed
		default:
		}
		if pause := r.pause(); pause > 0 {
			r.sleep(ctx, pause)
			continue
		}
		r.log.mu.Lock()
		changed := r.log.changed
		r.log.mu.Unlock()
		batches, err := r.read(max(most, 1))
		var gap *stream.GapError
		if err != nil && !errors.As(err, &gap) {
			r.endure(err)
			continue
		}
		r.recovered()
		if len(batches) > 0 || gap != nil {
			r.log.metrics.read.WithLabelValues(r.consumer).Add(float64(len(batches)))
			return batches, err
		}
		r.wait(ctx, changed)
	}
}

// wait waits for a channel, or for the end of whatever else there is. The caller holds mu.
func (r *reader) wait(ctx context.Context, until <-chan struct{}) {
	r.mu.Unlock()
	defer r.mu.Lock()
	select {
	case <-until:
	case <-ctx.Done():
	case <-r.closed:
	case <-r.log.done:
	}
}

// read returns what is there now, up to the next gap.
func (r *reader) read(most int) (batches []*schemas.Batch, err error) {
	for len(batches) < most {
		if len(r.gaps) > 0 {
			if len(batches) > 0 {
				return batches, nil
			}
			gap := r.gaps[0]
			r.gaps = r.gaps[1:]
			r.last[gap.Key] = gap.To
			r.log.metrics.gaps.WithLabelValues(r.consumer).Add(float64(gap.To - gap.From + 1))
			return nil, gap
		}
		end, following := r.extent()
		if r.offset < end {
			b, err := r.record(end)
			if err != nil && len(batches) > 0 {
				return batches, nil // the next call meets it again
			}
			if err != nil {
				return nil, fmt.Errorf("read log %s: %w", r.segment.path, err)
			}
			if b != nil {
				batches = append(batches, b)
			}
			continue
		}
		if !following {
			return batches, nil
		}
		r.advance()
	}
	return batches, nil
}

// extent returns how far the reader's segment may be read, and where it is there already whether something comes
// after it, in which case the segment does not grow any more.
func (r *reader) extent() (end int64, following bool) {
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	if r.segment != nil {
		end = r.segment.size
	}
	if r.offset < end {
		return end, false
	}
	run, s := r.following()
	return end, s != nil || run != nil
}

// following returns what comes after the reader's place: a segment of its run or of a later one, or,
// with a nil segment, a later run of which nothing is left. The caller holds log.mu.
func (r *reader) following() (*run, *segment) {
	for _, candidate := range r.log.runs {
		if r.run != nil && candidate.id < r.run.id {
			continue
		}
		for _, s := range candidate.segments {
			if !s.gone && (r.run == nil || candidate.id > r.run.id || r.segment == nil || s.number > r.segment.number) {
				if candidate == r.run && r.segment == nil {
					continue // the run was left behind as empty
				}
				return candidate, s
			}
		}
		if r.run == nil || candidate.id > r.run.id {
			return candidate, nil
		}
	}
	return nil, nil
}

// advance goes to the segment after the present one, and notes what is missing between.
func (r *reader) advance() {
	r.log.mu.Lock()
	run, s := r.following()
	defer r.log.mu.Unlock()
	if run != r.run && r.run != nil {
		r.expect(r.run, r.run.next) // the run is over: all of it should have been seen
	}
	r.run, r.segment, r.offset, r.searching = run, s, 0, false
	r.trouble = trouble{}
	switch {
	case s == nil:
		r.expect(run, run.next)
	case r.hasSeen(run, s):
		r.offset = s.size // it is opened when it grows
	default:
		r.expect(run, s.base)
		r.offset, r.searching = s.begin, s.base == nil // where the header is damaged, nobody knows where it ends
	}
	_ = r.leave() // it was only read
}

// expect notes a gap for each shard of which the batches before next have not been seen. The caller
// holds log.mu.
func (r *reader) expect(run *run, next []uint64) {
	for shard := range next {
		key := stream.Key{Collector: run.collector, LogID: run.id, Shard: uint32(shard)}
		if r.last[key]+1 < next[shard] {
			r.gaps = append(r.gaps, &stream.GapError{Key: key, From: r.last[key] + 1, To: next[shard] - 1})
		}
	}
}

// hasSeen says whether the watermarks cover all of a segment. The caller holds log.mu.
func (r *reader) hasSeen(run *run, s *segment) bool {
	for shard := range s.next {
		key := stream.Key{Collector: run.collector, LogID: run.id, Shard: uint32(shard)}
		if r.last[key]+1 < s.next[shard] {
			return false
		}
	}
	return len(s.next) > 0
}

// record takes the record at offset. It returns nil for one that was seen, that is damaged, or before
// which there is a gap: the gap is noted, and the record is read again after it.
func (r *reader) record(end int64) (*schemas.Batch, error) {
	if r.file == nil {
		f, err := r.log.deps.Files.Open(r.segment.path)
		if isUnreadable(err) {
			return nil, &unreadable{at: r.offset, whole: true, cause: err}
		}
		if err != nil {
			return nil, r.lost(err)
		}
		r.file = f
		r.window = &window{from: f, seed: place{r.run.id, r.segment.number}.seed()}
	}
	if r.searching { // the next record of the shard tells the gap
		at, err := r.window.resync(r.offset, end)
		if err == nil {
			r.offset, r.searching = at, false
		}
		return nil, err
	}
	h, payload, err := r.window.record(r.offset, end)
	if isDamage(err) {
		r.log.damaged(r.segment.path, err.Error(), r.offset)
		r.offset++
		r.searching = true
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	key := stream.Key{Collector: r.run.collector, LogID: r.run.id, Shard: h.shard}
	last := r.last[key]
	if h.index <= last {
		r.offset += h.size()
		return nil, nil
	}
	if h.index > last+1 {
		if wrong, err := r.misplaced(h, end); wrong || err != nil {
			r.log.damaged(r.segment.path, "misplaced record", r.offset)
			r.offset += h.size()
			return nil, err
		}
		r.gaps = append(r.gaps, &stream.GapError{Key: key, From: last + 1, To: h.index - 1})
		return nil, nil
	}
	b, err := schemas.DecodeBatch(payload)
	if err != nil {
		r.log.damaged(r.segment.path, "payload that is no batch", r.offset)
		r.offset += h.size()
		return nil, nil
	}
	r.offset += h.size()
	r.last[key] = h.index
	return b, nil
}

// misplaced says whether a record that jumps ahead of its shard stands where another one was, as a disk
// leaves it that writes a block to the wrong place: one that it jumps over is still to come, where it belongs.
// Where octets are missing before a record it stands elsewhere too, but then so does what comes behind it.
func (r *reader) misplaced(h recordHead, end int64) (bool, error) {
	if h.place == r.offset || h.place < 0 {
		return false, nil
	}
	last := r.last[stream.Key{Collector: r.run.collector, LogID: r.run.id, Shard: h.shard}]
	for offset := r.offset + h.size(); offset < end; {
		next, _, err := r.window.record(offset, end)
		var bad *unreadable
		switch {
		case isDamage(err), errors.As(err, &bad):
			if offset, err = r.window.find(offset+1, end); err == nil {
				continue
			}
			return false, err
		case err != nil:
			return false, err
		}
		if next.place == offset && next.shard == h.shard && last < next.index && next.index < h.index {
			return true, nil
		}
		offset += next.size()
	}
	return false, nil
}

// lost passes over a segment whose file is gone, mostly because retention was faster than this
// reader. What comes after it tells the gap.
func (r *reader) lost(err error) error {
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	if !r.segment.gone {
		r.log.damaged(r.segment.path, "missing", 0)
	}
	r.offset = r.segment.size
	return nil
}

// leave closes the file that is open.
func (r *reader) leave() error {
	if r.file == nil {
		return nil
	}
	err := r.file.Close()
	r.file, r.window = nil, nil
	return err
}
