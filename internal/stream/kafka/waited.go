package kafka

import (
	"maps"
	"slices"
	"sync"

	"hostmeter/internal/stream"
)

// waited knows from which offset on lies what a session has sent and the ledger has not confirmed, without keeping an
// offset for each batch: it keeps two points of the session. All that was sent before the older one is confirmed; when
// all before the younger one is too, that becomes the older, and the present the younger. So the older point is at most
// twice as far back as the first batch that waits.
type waited struct {
	mu    sync.Mutex
	end   []int64           // by partition: the offset behind what was acknowledged, or -1
	sent  stream.Watermarks // what was acknowledged
	older []int64           // by partition, or -1 where nothing was sent
	// younger is a former end, and youngerSent what was sent then.
	younger     []int64
	youngerSent stream.Watermarks
}

func newWaited(partitions int) *waited {
	nothing := slices.Repeat([]int64{-1}, partitions)
	return &waited{end: nothing, sent: make(stream.Watermarks), older: slices.Clone(nothing), younger: slices.Clone(nothing)}
}

// acknowledged notes messages that a partition took, the first of them at offset base.
func (w *waited) acknowledged(partition int, base int64, messages []message) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.end[partition] < 0 {
		w.older[partition], w.younger[partition] = base, base
	}
	w.end[partition] = base + int64(len(messages))
	for _, m := range messages {
		w.sent[m.key] = m.header.index
	}
}

// sentNow returns what was acknowledged.
func (w *waited) sentNow() stream.Watermarks {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.sent)
}

// gone says whether a partition may no longer hold all that was sent to it and waits for the ledger.
func (w *waited) gone(extents []extent, confirmed stream.Watermarks) (partition int, gone bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if confirmed.Reach(w.youngerSent) {
		w.older, w.younger, w.youngerSent = w.younger, slices.Clone(w.end), maps.Clone(w.sent)
	}
	if confirmed.Reach(w.sent) {
		return 0, false
	}
	for partition, older := range w.older {
		if older >= 0 && extents[partition].first > older {
			return partition, true
		}
	}
	return 0, false
}
