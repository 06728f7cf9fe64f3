package disk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
)

// A record is one batch in a segment: a head of fixed size, then the batch as protobuf. Integers are
// little-endian.
//
//	0  mark     4  "hmR2" at the last record of an append, "hmR+" at those before it
//	4  length   4  of the payload
//	8  shard    4
//	12 index    8
//	20 durable  8  how much of the segment was durable when this was written
//	28 place    8  where in the segment this was written
//	36 payload  4  CRC-32C of the payload
//	40 head     4  CRC-32C of log id, segment number and the 40 octets before
//
// The head's sum begins with log id and segment number, so that a block of another file is never
// taken for a record of this one. `durable` lets recovery tell a torn tail, which nobody was ever
// promised, from damage to what was promised. The marks let it take an append that a crash interrupted
// for whole or for absent: a tail that ends without the last record of an append is cut where the append
// began. `place` shows a block that a disk wrote to the wrong place.
//
// Format 1 has "hmR1" at each record, each of which is an append of its own, and no `place`.
const (
	recordHeadSize  = 44
	recordHeadSize1 = 36
	maxPayload      = 1 << 30
)

var (
	recordMark     = []byte("hmR2")
	recordMarkMore = []byte("hmR+")
	recordMark1    = []byte("hmR1")
)

// recordMarks is how all begin.
var recordMarks = recordMark[:3]

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var (
	// errRecord is returned where there is no whole record with right sums.
	errRecord = errors.New("damaged record")
	// errPayload is returned where the head is right and the payload is not. Its length is not believed: the
	// head may be what is left of a record that stood elsewhere.
	errPayload = errors.New("damaged payload")
)

// place is where a segment is: what a record's sum is seeded with.
type place struct{ logID, segment uint64 }

func (p place) seed() uint32 {
	var b [16]byte
	binary.LittleEndian.PutUint64(b[0:], p.logID)
	binary.LittleEndian.PutUint64(b[8:], p.segment)
	return crc32.Checksum(b[:], castagnoli)
}

type recordHead struct {
	length     uint32
	shard      uint32
	index      uint64
	durable    uint64
	place      int64 // -1: not known
	payloadSum uint32
	more       bool // the append goes on behind it
	head       int64
}

// size is the length of the whole record.
func (h recordHead) size() int64 { return h.head + int64(h.length) }

// appendRecordHead appends a head.
func appendRecordHead(dst []byte, seed uint32, h recordHead) []byte {
	start := len(dst)
	if h.more {
		dst = append(dst, recordMarkMore...)
	} else {
		dst = append(dst, recordMark...)
	}
	dst = binary.LittleEndian.AppendUint32(dst, h.length)
	dst = binary.LittleEndian.AppendUint32(dst, h.shard)
	dst = binary.LittleEndian.AppendUint64(dst, h.index)
	dst = binary.LittleEndian.AppendUint64(dst, h.durable)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(h.place))
	dst = binary.LittleEndian.AppendUint32(dst, h.payloadSum)
	return binary.LittleEndian.AppendUint32(dst, crc32.Update(seed, castagnoli, dst[start:]))
}

// headSize returns how long the head is that begins with these four octets; 0 where none does.
func headSize(mark []byte) int64 {
	switch {
	case bytes.Equal(mark, recordMark), bytes.Equal(mark, recordMarkMore):
		return recordHeadSize
	case bytes.Equal(mark, recordMark1):
		return recordHeadSize1
	}
	return 0
}

// parseRecordHead reads a head, which is all of b.
func parseRecordHead(b []byte, seed uint32) (recordHead, error) {
	sums := b[len(b)-8:]
	if binary.LittleEndian.Uint32(sums[4:]) != crc32.Update(seed, castagnoli, b[:len(b)-4]) {
		return recordHead{}, errRecord
	}
	h := recordHead{
		length:     binary.LittleEndian.Uint32(b[4:]),
		shard:      binary.LittleEndian.Uint32(b[8:]),
		index:      binary.LittleEndian.Uint64(b[12:]),
		durable:    binary.LittleEndian.Uint64(b[20:]),
		place:      -1,
		payloadSum: binary.LittleEndian.Uint32(sums),
		more:       bytes.Equal(b[:4], recordMarkMore),
		head:       int64(len(b)),
	}
	if len(b) == recordHeadSize {
		h.place = int64(binary.LittleEndian.Uint64(b[28:]))
	}
	if h.length > maxPayload || h.index == 0 {
		return recordHead{}, errRecord
	}
	return h, nil
}

// window reads a segment front to back through one buffer.
//
// Its methods return an *unreadable for what the disk does not give.
type window struct {
	from   io.ReaderAt
	seed   uint32
	buf    []byte // the segment's octets from start
	start  int64
	memory []byte // what buf is a part of
}

const (
	windowSize    = 256 << 10
	windowSizeMax = 4 << 20 // a larger buffer is given back after the record that needed it
)

// at returns n octets at offset; end is how far the segment may be read.
func (w *window) at(offset, n, end int64) ([]byte, error) {
	if offset+n > end {
		return nil, errRecord
	}
	if offset < w.start || offset+n > w.start+int64(len(w.buf)) {
		if err := w.fill(offset, n, min(max(n, windowSize), end-offset)); err != nil {
			return nil, err
		}
	}
	return w.buf[offset-w.start:][:n], nil
}

// fill reads ahead up to most octets, of which least are needed now: what is wrong with those behind them is met
// when they are.
func (w *window) fill(offset, least, most int64) error {
	if int64(len(w.memory)) < most || len(w.memory) > windowSizeMax && most <= windowSize {
		w.memory = make([]byte, max(most, windowSize))
	}
	w.start, w.buf = offset, w.memory[:0]
	got, err := w.from.ReadAt(w.memory[:most], offset)
	switch {
	case int64(got) >= least:
		w.buf = w.memory[:got]
		return nil
	case err == nil || errors.Is(err, io.EOF):
		return errRecord // the file is shorter than what was made durable: damage
	case isUnreadable(err):
		return &unreadable{at: offset + int64(got), cause: err}
	}
	return err
}

// head returns the head of the record at offset, if the record ends before end.
func (w *window) head(offset, end int64) (recordHead, error) {
	b, err := w.at(offset, recordHeadSize1, end)
	if err != nil {
		return recordHead{}, err
	}
	size := headSize(b[:4])
	if size == 0 {
		return recordHead{}, errRecord
	}
	if b, err = w.at(offset, size, end); err != nil {
		return recordHead{}, err
	}
	h, err := parseRecordHead(b, w.seed)
	if err != nil {
		return recordHead{}, err
	}
	if offset+h.size() > end {
		return recordHead{}, errRecord
	}
	return h, nil
}

// payload returns the payload of the record at offset; it is valid until the next call.
//
// Errors: errPayload, what the disk said.
func (w *window) payload(offset int64, h recordHead, end int64) ([]byte, error) {
	b, err := w.at(offset+h.head, int64(h.length), end)
	if errors.Is(err, errRecord) || err == nil && crc32.Checksum(b, castagnoli) != h.payloadSum {
		return nil, errPayload
	}
	return b, err
}

// record returns the head and the payload of the record at offset; the payload is valid until the next call.
//
// Errors: errRecord, errPayload, what the disk said.
func (w *window) record(offset, end int64) (h recordHead, payload []byte, err error) {
	if h, err = w.head(offset, end); err != nil {
		return h, nil, err
	}
	payload, err = w.payload(offset, h, end)
	return h, payload, err
}

// isDamage says whether an error is about what stands in the file.
func isDamage(err error) bool { return errors.Is(err, errRecord) || errors.Is(err, errPayload) }

// find is resync that passes over what cannot be read.
func (w *window) find(offset, end int64) (int64, error) {
	var skipped skip
	for {
		at, err := w.resync(offset, end)
		var bad *unreadable
		if !errors.As(err, &bad) {
			return at, err
		}
		offset = skipped.over(bad.at, end)
	}
}

// resync returns the offset of the first record with a right head at or behind offset, or end.
func (w *window) resync(offset, end int64) (int64, error) {
	for offset+recordHeadSize1 <= end {
		b, err := w.rest(offset, end)
		if errors.Is(err, errRecord) {
			return end, nil
		}
		if err != nil {
			return 0, err
		}
		i := bytes.Index(b, recordMarks)
		if i < 0 {
			offset += int64(len(b) - len(recordMarks) + 1)
			continue
		}
		offset += int64(i)
		_, err = w.head(offset, end)
		if err == nil {
			return offset, nil
		}
		if !errors.Is(err, errRecord) {
			return 0, err
		}
		offset++
	}
	return end, nil
}

// rest returns what the buffer holds from offset on, at least the length of a head.
func (w *window) rest(offset, end int64) ([]byte, error) {
	if _, err := w.at(offset, recordHeadSize1, end); err != nil {
		return nil, err
	}
	b := w.buf[offset-w.start:]
	return b[:min(int64(len(b)), end-offset)], nil
}
