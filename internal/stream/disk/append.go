package disk

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"hostmeter/internal/failpoint"
	"hostmeter/schemas"
)

// request is one call of Append on its way to the disk.
type request struct {
	batches  []*schemas.Batch
	lengths  []int // of them encoded, without log id and index
	done     bool  // set under commitMu
	err      error
	identity []identity
}

type identity struct{ logID, index uint64 }

// identitySize bounds what log id and index add to a payload: two tags, eight octets, a varint.
const identitySize = 1 + 8 + 1 + 10

// Append implements stream.Log. It waits for the disk, also when ctx ends meanwhile, because the
// outcome must be known. All batches of one call are written by one fsync, together with those of
// other calls that wait at that moment; if it fails, all of these calls fail.
//
// Errors: ErrShard, ErrFull, ErrClosed, ctx's before anything was written, what the disk said.
func (l *Log) Append(ctx context.Context, batches []*schemas.Batch) error {
	if len(batches) == 0 {
		return ctx.Err()
	}
	r, err := l.request(batches)
	if err != nil {
		return err
	}
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

func (l *Log) request(batches []*schemas.Batch) (*request, error) {
	r := &request{batches: batches, lengths: make([]int, len(batches))}
	for i, b := range batches {
		if err := l.belongs(b); err != nil {
			return nil, err
		}
		length := b.SizeVT()
		if length > maxPayload-identitySize {
			return nil, fmt.Errorf("batch of shard %d has %d octets: %w", b.GetShard(), length, ErrShard)
		}
		r.lengths[i] = length
	}
	return r, nil
}

// size bounds what a call adds to the log.
func (r *request) size() (size int64) {
	for _, length := range r.lengths {
		size += int64(length + recordHeadSize + identitySize)
	}
	return size
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
		size += r.size()
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
	for i, b := range r.batches {
		index := l.scratch[b.GetShard()]
		l.scratch[b.GetShard()]++
		r.identity[i] = identity{at.logID, index}

		begin := len(l.buf)
		var err error
		if l.buf, err = appendPayload(slices.Grow(l.buf, recordHeadSize)[:begin+recordHeadSize], b, r.lengths[i], r.identity[i]); err != nil {
			return end, fmt.Errorf("encode batch of shard %d: %w", b.GetShard(), err)
		}
		payload := l.buf[begin+recordHeadSize:]
		appendRecordHead(l.buf[:begin], seed, recordHead{
			length: uint32(len(payload)), shard: b.GetShard(), index: index, durable: uint64(durable),
			place: end + int64(begin), more: i < len(r.batches)-1,
			payloadSum: crc32.Checksum(payload, castagnoli),
		})
		if len(l.buf) >= writeSize {
			if end, err = l.writeOut(end); err != nil {
				return end, err
			}
		}
	}
	return end, nil
}

// appendPayload encodes a batch of so many octets, and says behind it which record of which log it is.
func appendPayload(buf []byte, b *schemas.Batch, length int, id identity) ([]byte, error) {
	begin := len(buf)
	buf = slices.Grow(buf, length+identitySize)[:begin+length]
	if _, err := b.MarshalToSizedBufferVT(buf[begin:]); err != nil {
		return buf[:begin], err
	}
	buf = protowire.AppendTag(buf, 2, protowire.Fixed64Type)
	buf = binary.LittleEndian.AppendUint64(buf, id.logID)
	buf = protowire.AppendTag(buf, 4, protowire.VarintType)
	return protowire.AppendVarint(buf, id.index), nil
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
