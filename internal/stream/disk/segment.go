package disk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"hostmeter/internal/stream/disk/files"
)

// run is what was written under one log id: a folder of segments, each behind the one before.
//
// Its fields but the first two change under Log.mu only.
type run struct {
	id     uint64
	folder string

	collector string
	segments  []*segment
	// next holds each shard's next index: behind the last record of the run.
	next []uint64
	// ended is when the last record was written, as far as we know; zero while it may grow.
	ended time.Time
	// sealed says that the seal is on disk.
	sealed bool
}

// segment is one file of a run.
type segment struct {
	number uint64
	path   string
	begun  time.Time
	// begin is the length of the header, size what may be read: all of it durable.
	begin, size int64
	// base and next hold each shard's next index at its beginning and behind its end.
	base, next []uint64
	closed     bool
	// gone says that the file was deleted.
	gone bool
}

var (
	segmentMagic = []byte("hmlogS\x00\x01")
	sealMagic    = []byte("hmlogE\x00\x01")
)

var (
	errHeader = errors.New("damaged header")
	// ErrVersion is returned for a log that a newer hostmeter has written.
	ErrVersion = errors.New("log was written by a newer hostmeter")
)

const (
	formatVersion = 2 // of records, see record.go
	maxShards     = 4096
	maxHeader     = 64 + 8*maxShards + 1024
	sealName      = "sealed"
)

// header begins a segment, and is the whole of a seal. Octets: magic 8, version 4, length 4, log id
// 8, segment 8, time 8, size 8, shards 4, next 8 each, collector's length 2 and text, CRC-32C 4.
type header struct {
	logID   uint64
	segment uint64
	at      time.Time
	// size is used by seals alone: how much of the segment counts.
	size      int64
	next      []uint64
	collector string
}

func (h header) encode(magic []byte) []byte {
	b := make([]byte, 0, 64+8*len(h.next)+len(h.collector))
	b = append(b, magic...)
	b = binary.LittleEndian.AppendUint32(b, formatVersion)
	b = binary.LittleEndian.AppendUint32(b, 0) // the length, below
	b = binary.LittleEndian.AppendUint64(b, h.logID)
	b = binary.LittleEndian.AppendUint64(b, h.segment)
	b = binary.LittleEndian.AppendUint64(b, uint64(h.at.UnixNano()))
	b = binary.LittleEndian.AppendUint64(b, uint64(h.size))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(h.next)))
	for _, n := range h.next {
		b = binary.LittleEndian.AppendUint64(b, n)
	}
	b = binary.LittleEndian.AppendUint16(b, uint16(len(h.collector)))
	b = append(b, h.collector...)
	binary.LittleEndian.PutUint32(b[12:], uint32(len(b)+4))
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// decodeHeader reads the header at the beginning of b and returns its length too.
//
// Errors: errHeader, ErrVersion.
func decodeHeader(b, magic []byte) (h header, length int64, err error) {
	if len(b) < 58 || string(b[:8]) != string(magic) {
		return header{}, 0, errHeader
	}
	version, size := binary.LittleEndian.Uint32(b[8:]), binary.LittleEndian.Uint32(b[12:])
	if size < 58 || int64(size) > int64(len(b)) ||
		binary.LittleEndian.Uint32(b[size-4:]) != crc32.Checksum(b[:size-4], castagnoli) {
		return header{}, 0, errHeader
	}
	if version == 0 || version > formatVersion {
		return header{}, 0, fmt.Errorf("format %d: %w", version, ErrVersion)
	}
	shards := binary.LittleEndian.Uint32(b[48:])
	if shards > maxShards || 58+8*shards > size {
		return header{}, 0, errHeader
	}
	h = header{
		logID:   binary.LittleEndian.Uint64(b[16:]),
		segment: binary.LittleEndian.Uint64(b[24:]),
		at:      time.Unix(0, int64(binary.LittleEndian.Uint64(b[32:]))).UTC(),
		size:    int64(binary.LittleEndian.Uint64(b[40:])),
		next:    make([]uint64, shards),
	}
	for i := range h.next {
		h.next[i] = binary.LittleEndian.Uint64(b[52+8*i:])
	}
	rest := b[52+8*shards : size-4]
	if int(binary.LittleEndian.Uint16(rest)) != len(rest)-2 {
		return header{}, 0, errHeader
	}
	h.collector = string(rest[2:])
	return h, int64(size), nil
}

func segmentName(number uint64) string { return fmt.Sprintf("%016x.log", number) }

func runName(id uint64) string { return fmt.Sprintf("%016x", id) }

// parseHex reads the 16 digits that names of runs and segments are made of.
func parseHex(name, suffix string) (uint64, bool) {
	digits, found := strings.CutSuffix(name, suffix)
	if !found || len(digits) != 16 || strings.ToLower(digits) != digits {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 16, 64)
	return n, err == nil
}

// newSuffix is of files that are not whole yet.
const newSuffix = ".new"

// writeWhole makes a new file durable under path: it is there whole, or not at all.
func writeWhole(disk files.System, path string, content []byte) error {
	temporary := path + newSuffix
	_ = disk.Remove(temporary) // what an earlier attempt left
	f, err := disk.Create(temporary)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(content, 0)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = disk.Rename(temporary, path)
	}
	if err != nil {
		_ = disk.Remove(temporary)
		return err
	}
	return disk.SyncDir(filepath.Dir(path))
}
