package kafka

import (
	"context"
	"math"
	"time"

	"hostmeter/internal/stream"
)

// hole is a place in a key's sequence where batches are missing. What comes behind it is dropped, and read again when the
// missing ones have come, or are known to come no more: their collector has lost them, or the ledger has confirmed
// them, so that they are not sent again. Else the collector may hold them, and sends them again when it finds them gone
// or is started; only where it does not for as long as Config.Patience they are taken for lost as well.
type hole struct {
	// index is the first batch behind the hole, after the one before it that its collector had.
	index, after uint64
	// confirmed is the most that the ledger had, as told by what came behind.
	confirmed uint64
	// top is the last batch behind the hole that was dropped, or 0, and dropped the offset of the first, by partition.
	top     uint64
	dropped map[int]int64
	// until is when something is to be done, if nothing comes.
	until time.Time
	// again is true where the topic has been read anew since the patience was over.
	again bool
	// extents, where it is not nil, is what the partitions held when it was to be told: the missing batches may lie in
	// what had not been read.
	extents []extent
}

// calm is how long nothing has to come before what was dropped behind a hole is read again, now that it is filled: mostly
// it comes by itself, sent again in order.
const calm = 500 * time.Millisecond

// forget leaves of a hole only that there was one.
func (h *hole) forget() {
	h.index, h.after, h.top = math.MaxUint64, math.MaxUint64, 0
	h.dropped, h.extents = make(map[int]int64), nil
}

// wait begins the wait for what is missing anew.
func (h *hole) wait(patience time.Duration) {
	h.until, h.extents, h.again = time.Now().Add(patience), nil, false
}

// filled says whether all before the first batch behind the hole has come.
func (h *hole) filled(last uint64) bool { return h.index <= last+1 }

// final says whether what is missing comes no more.
func (h *hole) final(last uint64) bool { return h.after <= max(last, h.confirmed) }

// miss notes a batch that is not the next of its key.
func (r *reader) miss(key stream.Key, told header, m fetched) {
	last := r.last[key]
	h, known := r.holes[key]
	if !known {
		h = new(hole)
		h.forget()
		h.wait(r.source.config.Patience)
		r.holes[key] = h
		r.source.deps.Logger.Warn("batches are missing on kafka, waiting for their collector to send them again",
			"consumer", r.consumer, "key", key.String(), "from", last+1, "to", told.index-1)
	}
	if _, known := h.dropped[m.Partition]; !known {
		h.dropped[m.Partition] = m.Offset
	}
	if h.filled(last) {
		r.rewind(key, h)
		return
	}
	switch {
	case told.index < h.index:
		h.index, h.after = told.index, told.after
	case told.index == h.index: // sent again, its collector may have lost what it had before
		h.after = min(h.after, told.after)
	}
	h.top, h.confirmed = max(h.top, told.index), max(h.confirmed, told.confirmed)
	if h.final(last) {
		h.until = time.Now()
	}
}

// fill is called when the next batch of a key has come.
func (r *reader) fill(key stream.Key) {
	h, waiting := r.holes[key]
	last := r.last[key]
	switch {
	case !waiting:
	case last >= h.top:
		delete(r.holes, key) // all that was dropped has come again, or nothing was
	case h.filled(last):
		h.until = time.Now().Add(calm)
	case h.final(last):
		h.until, h.extents = time.Now(), nil
	default:
		h.wait(r.source.config.Patience)
	}
}

// rewind reads again what was dropped behind a hole.
func (r *reader) rewind(key stream.Key, h *hole) {
	delete(r.holes, key)
	for partition, offset := range h.dropped {
		r.follow(partition, min(offset, r.partitions[partition].next))
	}
}

// expired does what is due: it reads again what was dropped behind a hole that is filled, and returns a gap that nobody
// fills any more. Before it does, what lay unread in any partition has to have been read, and where the collector did
// not say that it has nothing more the whole topic once again.
func (r *reader) expired(ctx context.Context, now time.Time) error {
	for key, h := range r.holes {
		last := r.last[key]
		switch {
		case now.Before(h.until):
		case h.filled(last):
			if len(r.messages) == 0 {
				r.rewind(key, h)
			}
		case !h.again && h.top == 0:
			delete(r.holes, key) // in the topic as it is now nothing is behind it
		case !h.again && !h.final(last):
			r.again(now)
		case r.unread(ctx, h):
		case h.top == 0:
			delete(r.holes, key)
		default:
			gap := &stream.GapError{Key: key, From: last + 1, To: h.index - 1}
			r.last[key] = gap.To
			r.source.metrics.gaps.WithLabelValues(r.consumer).Add(float64(gap.To - gap.From + 1))
			r.rewind(key, h)
			return gap
		}
	}
	return nil
}

// again reads the topic from its start, for all holes of which the patience is over.
func (r *reader) again(now time.Time) {
	r.source.deps.Logger.Error("no collector has sent what is missing on kafka, looking through all of the topic before it is taken for lost", "consumer", r.consumer)
	r.begin(r.topic)
	for _, h := range r.holes {
		h.again = h.again || !now.Before(h.until)
	}
}

// unread says whether missing batches may still be among what has not been read, and if so when to ask again.
func (r *reader) unread(ctx context.Context, h *hole) bool {
	h.until = time.Now().Add(min(max(r.source.config.Patience, time.Millisecond), time.Second))
	warn := func(err error) bool {
		r.source.deps.Logger.Warn("it is not known yet whether batches are missing in kafka", "err", err)
		return true
	}
	if h.extents == nil {
		extents, err := r.source.extents(ctx, r.source.batchesTopic(), len(r.partitions))
		if err != nil {
			return warn(err)
		}
		h.extents = extents
	}
	if r.holdMore(h.extents) {
		return true
	}
	// Were it another topic by now, the places in it would mean nothing.
	found, err := r.source.topic(ctx, r.source.batchesTopic())
	if err != nil {
		return warn(err)
	}
	if found.id != r.topic.id {
		r.change(found)
		return true
	}
	return false
}

// missing counts what is waited for.
func (r *reader) missing() (batches uint64) {
	for key, h := range r.holes {
		if last := r.last[key]; !h.filled(last) && h.top > 0 {
			batches += h.index - 1 - last
		}
	}
	return batches
}

// wake returns a channel that speaks when the next hole is due; stop must be called.
func (r *reader) wake() (<-chan time.Time, func()) {
	if len(r.holes) == 0 {
		return nil, func() {}
	}
	var first time.Time
	for _, h := range r.holes {
		if first.IsZero() || h.until.Before(first) {
			first = h.until
		}
	}
	timer := time.NewTimer(time.Until(first))
	return timer.C, func() { timer.Stop() }
}
