package disk

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"hostmeter/internal/failpoint"
	"hostmeter/schemas"
)

// request is one call of Append on its way to the disk.
type request struct {
	batches  []*schemas.Batch
	encoded  []byte // the payloads one after the other, without log id and index
	lengths  []int
	done     bool // set under commitMu
	err      error
	identity []identity
}

type identity struct{ logID, index uint64 }

// identitySize bounds what log id and index add to a payload: two tags, eight octets, a varint.
const identitySize = 1 + 8 + 1 + 10

var buffers = sync.Pool{New: func() any { return new([]byte) }}

const pooledBufferMax = 8 << 20

// Append implements stream.Log. It waits for the disk, also when ctx ends meanwhile, because the
// outcome must be known. All batches of one call are written by one fsync, together with those of
// other calls that wait at that moment; if it fails, all of these calls fail.
//
// Errors: ErrShard, ErrFull, ErrClosed, ctx's before anything was written, what the disk said.
func (l *Log) Append(ctx context.Context, batches []*schemas.Batch) error {
	if len(batches) == 0 {
		return ctx.Err()
	}
	buffer := buffers.Get().(*[]byte)
	defer func() {
		if cap(*buffer) <= pooledBufferMax {
			buffers.Put(buffer)
		}
	}()
	r, err := l.encode(batches, (*buffer)[:0])
	if err != nil {
		return err
	}
	*buffer = r.encoded[:0]
	l.queueMu.Lock()
	l.queue = append(l.queue, r)
	l.queueMu.Unlock()

	l.commitMu.Lock()
	defer l.commitMu.Unlock()
	if !r.done { // else another call took it along
		if err := ctx.Err(); err != nil {
			l.withdraw(r)
			return err
		}
		l.commit(l.takeQueue())
	}
	for i := range r.identity {
		batches[i].LogId, batches[i].Index = r.identity[i].logID, r.identity[i].index
	}
	return r.err
}

func (l *Log) encode(batches []*schemas.Batch, buffer []byte) (*request, error) {
	r := &request{batches: batches, lengths: make([]int, len(batches))}
	size := 0
	for i, b := range batches {
		if err := l.belongs(b); err != nil {
			return nil, err
		}
		length := b.SizeVT()
		if length > maxPayload-identitySize {
			return nil, fmt.Errorf("batch of shard %d has %d octets: %w", b.GetShard(), length, ErrShard)
		}
		r.lengths[i] = length
		size += length
	}
	if cap(buffer) < size {
		buffer = make([]byte, 0, size)
	}
	r.encoded = buffer[:0]
	for i, b := range batches {
		before := len(r.encoded)
		r.encoded = r.encoded[:before+r.lengths[i]]
		if _, err := b.MarshalToSizedBufferVT(r.encoded[before:]); err != nil {
			return nil, fmt.Errorf("encode batch of shard %d: %w", b.GetShard(), err)
		}
	}
	return r, nil
}

func (l *Log) takeQueue() []*request {
	l.queueMu.Lock()
	defer l.queueMu.Unlock()
	group := l.queue
	l.queue = nil
	return group
}

func (l *Log) withdraw(r *request) {
	l.queueMu.Lock()
	defer l.queueMu.Unlock()
	l.queue = slices.DeleteFunc(l.queue, func(other *request) bool { return other == r })
}

// commit writes a group by one fsync and tells each of its calls the outcome.
func (l *Log) commit(group []*request) {
	began := time.Now()
	size, count := int64(0), 0
	for _, r := range group {
		size += int64(len(r.encoded) + len(r.batches)*(recordHeadSize+identitySize))
	}
	err := l.write(group, size)
	if isNoSpace(err) && l.giveWay(size) {
		err = l.write(group, size)
	}
	for _, r := range group {
		r.done, r.err = true, err
		count += len(r.batches)
		if err != nil {
			r.identity = nil
		}
	}
	if err != nil {
		l.metrics.refused.WithLabelValues(reason(err)).Add(float64(count))
		return
	}
	l.metrics.batches.Add(float64(count))
	l.metrics.commits.Observe(time.Since(began).Seconds())
}

// write writes a group of size octets to the log. What it wrote before an error is not there.
func (l *Log) write(group []*request, size int64) error {
	if l.closed {
		return ErrClosed
	}
	if err := l.makeRoom(size); err != nil {
		return err
	}
	if err := l.prepare(size); err != nil {
		return fmt.Errorf("append to log %s: %w", l.config.Path, err)
	}
	s := l.active.segments[len(l.active.segments)-1]
	l.buf, l.scratch = l.buf[:0], append(l.scratch[:0], s.next...)
	end := s.size
	var err error
	for _, r := range group {
		if err == nil {
			end, err = l.writeFrames(r, place{l.active.id, s.number}, s.size, end)
		}
	}
	if err == nil {
		end, err = l.writeOut(end)
	}
	if err == nil {
		failpoint.Hit(failpoint.DiskWritten)
		err = l.current.Sync()
		failpoint.Hit(failpoint.DiskSynced)
	}
	if err != nil {
		l.abandon(err)
		return fmt.Errorf("append to log %s: %w", s.path, err)
	}
	l.publish(s, end-s.size)
	l.watchBounds()
	return nil
}

// writeSize is from which size on framed records are written out, before the others of a group are framed.
const writeSize = 1 << 20

// writeOut writes what is framed at the end, and returns the new one.
func (l *Log) writeOut(end int64) (int64, error) {
	_, err := l.current.WriteAt(l.buf, end)
	end += int64(len(l.buf))
	l.buf = l.buf[:0]
	return end, err
}

// prepare sees to it that there is a sound segment to write size octets to.
func (l *Log) prepare(size int64) error {
	if l.broken != nil {
		if err := l.seal(l.broken); err != nil {
			return err
		}
		l.broken = nil
	}
	if l.active == nil {
		return l.beginRun()
	}
	s := l.active.segments[len(l.active.segments)-1]
	if s.size == s.begin || s.size+size <= int64(l.config.SegmentSize) {
		return nil
	}
	err := l.roll()
	if err != nil { // what is left of the next segment must not stand behind one that goes on
		l.abandon(err)
	}
	return err
}

// writeFrames gives a call's records their indexes and writes them at the end, of which it returns the new
// one; the last of them stay in buf.
func (l *Log) writeFrames(r *request, at place, durable, end int64) (int64, error) {
	r.identity = make([]identity, len(r.batches))
	seed := at.seed()
	payload := r.encoded
	for i, b := range r.batches {
		index := l.scratch[b.GetShard()]
		l.scratch[b.GetShard()]++
		r.identity[i] = identity{at.logID, index}

		var tail [identitySize]byte
		id := protowire.AppendTag(tail[:0], 2, protowire.Fixed64Type)
		id = binary.LittleEndian.AppendUint64(id, at.logID)
		id = protowire.AppendTag(id, 4, protowire.VarintType)
		id = protowire.AppendVarint(id, index)

		body := payload[:r.lengths[i]]
		payload = payload[r.lengths[i]:]
		l.buf = appendRecordHead(l.buf, seed, recordHead{
			length: uint32(len(body) + len(id)), shard: b.GetShard(), index: index, durable: uint64(durable),
			place: end + int64(len(l.buf)), more: i < len(r.batches)-1,
			payloadSum: crc32.Update(crc32.Checksum(body, castagnoli), castagnoli, id),
		})
		l.buf = append(append(l.buf, body...), id...)
		if len(l.buf) >= writeSize {
			var err error
			if end, err = l.writeOut(end); err != nil {
				return end, err
			}
		}
	}
	return end, nil
}

// publish lets readers see what has become durable.
func (l *Log) publish(s *segment, size int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s.size += size
	l.size += size
	copy(s.next, l.scratch)
	copy(l.active.next, l.scratch)
	l.wake()
	l.metrics.size.Set(float64(l.size))
}

// abandon gives a segment up behind its last good octet. Cutting the file back is a courtesy that
// gives room on a full disk; the seal is what counts, and nothing is written before it is durable.
func (l *Log) abandon(cause error) {
	r := l.active
	s := r.segments[len(r.segments)-1]
	l.metrics.abandoned.Inc()
	l.deps.Logger.Error("log segment is given up after a failed write", "path", s.path, "good_octets", s.size, "err", cause)
	_ = l.current.Truncate(s.size)
	_ = l.current.Close()
	l.current, l.broken = nil, r
	l.mu.Lock()
	l.active = nil
	l.mu.Unlock()
	if err := l.seal(r); err != nil {
		l.deps.Logger.Error("log takes nothing until it can seal the segment", "path", s.path, "err", err)
		return
	}
	l.broken = nil
}

func reason(err error) string {
	switch {
	case errors.Is(err, ErrFull):
		return "max_size"
	case errors.Is(err, ErrClosed):
		return "closed"
	case isNoSpace(err):
		return "disk_full"
	default:
		return "disk_error"
	}
}
