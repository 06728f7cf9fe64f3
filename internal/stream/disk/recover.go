package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"hostmeter/schemas"
)

// recover finds the runs in the folder. A run that was not sealed is scanned in its last segment
// only: the ones before were whole when it was begun.
func (l *Log) recover(ctx context.Context) error {
	names, err := l.deps.Files.ReadDir(l.config.Path)
	if err != nil {
		return err
	}
	for _, name := range names {
		id, ok := parseHex(name, "")
		if !ok {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		r, err := l.loadRun(id)
		if err != nil {
			return fmt.Errorf("log %s: %w", name, err)
		}
		if r != nil {
			l.runs = append(l.runs, r)
		}
	}
	slices.SortFunc(l.runs, func(a, b *run) int {
		if a.id < b.id {
			return -1
		}
		return 1
	})
	for _, r := range l.runs {
		for _, s := range r.segments {
			l.size += s.size
		}
	}
	return nil
}

// loadRun returns nil for a folder that holds nothing, which is removed.
func (l *Log) loadRun(id uint64) (*run, error) {
	r := &run{id: id, folder: filepath.Join(l.config.Path, runName(id))}
	names, err := l.deps.Files.ReadDir(r.folder)
	if err != nil {
		return nil, err
	}
	seal, sealed, err := l.loadSeal(r)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		number, ok := parseHex(name, ".log")
		if !ok || sealed && number > seal.segment {
			continue
		}
		s, err := l.loadSegment(r, number)
		if err != nil {
			return nil, err
		}
		r.segments = append(r.segments, s)
	}
	slices.SortFunc(r.segments, func(a, b *segment) int {
		if a.number < b.number {
			return -1
		}
		return 1
	})
	if len(r.segments) == 0 && !sealed {
		for _, name := range names {
			_ = l.deps.Files.Remove(filepath.Join(r.folder, name))
		}
		_ = l.deps.Files.Remove(r.folder)
		return nil, nil
	}
	return r, l.completeRun(r, seal, sealed)
}

func (l *Log) loadSeal(r *run) (seal header, sealed bool, err error) {
	f, err := l.deps.Files.Open(filepath.Join(r.folder, sealName))
	if errors.Is(err, fs.ErrNotExist) {
		return header{}, false, nil // the last segment is scanned
	}
	if err != nil {
		return header{}, false, err
	}
	defer func() { _ = f.Close() }()
	seal, _, err = readHeader(f, sealMagic)
	if errors.Is(err, ErrVersion) {
		return header{}, false, err
	}
	if err != nil || seal.logID != r.id {
		l.damaged(r.folder, "seal", 0)
		return header{}, false, nil
	}
	r.collector = seal.collector
	return seal, true, nil
}

// loadSegment reads a segment's header. Where it is damaged, base stays nil and the records are
// searched for from the beginning.
func (l *Log) loadSegment(r *run, number uint64) (*segment, error) {
	s := &segment{number: number, path: filepath.Join(r.folder, segmentName(number)), closed: true}
	f, err := l.deps.Files.Open(s.path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	if s.size, err = f.Size(); err != nil {
		return nil, err
	}
	h, length, err := readHeader(f, segmentMagic)
	switch {
	case errors.Is(err, ErrVersion):
		return nil, fmt.Errorf("%s: %w", s.path, err)
	case err != nil || h.logID != r.id || h.segment != number:
		l.damaged(s.path, "header", 0)
	default:
		s.begin, s.begun, s.base = length, h.at, h.next
		r.collector = h.collector
	}
	return s, nil
}

// completeRun finds where each segment ends: at the beginning of the next one, at the seal, or where
// a scan says.
func (l *Log) completeRun(r *run, seal header, sealed bool) error {
	now := l.deps.Clock.Now()
	for i, s := range r.segments {
		last := i == len(r.segments)-1
		switch {
		case last && sealed && s.number == seal.segment:
			s.size, s.next = min(s.size, seal.size), seal.next
		case !last && r.segments[i+1].base != nil && r.segments[i+1].number == s.number+1:
			s.next = r.segments[i+1].base
		default:
			if err := l.scan(r, s, last && !sealed); err != nil {
				return fmt.Errorf("scan %s: %w", s.path, err)
			}
			if last && !sealed {
				if err := l.syncTail(s); err != nil {
					return fmt.Errorf("sync %s: %w", s.path, err)
				}
			}
		}
		if s.begun.IsZero() {
			s.begun = now
		}
		r.next = s.next
	}
	if sealed {
		r.next, r.ended, r.sealed = seal.next, seal.at, true
		return nil
	}
	r.ended = now
	if err := l.seal(r); err != nil { // the next opening scans again, and finds the same
		l.deps.Logger.Warn("old log stays without a seal", "log_id", runName(r.id), "err", err)
	}
	return nil
}

// syncTail makes durable what a scan has found in the kernel's memory only, where a killed process left it,
// before anybody reads it. Where the fsync fails it is not tried again: the segment is written anew.
func (l *Log) syncTail(s *segment) error {
	f, err := l.deps.Files.OpenWrite(s.path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	failed := f.Sync()
	if failed == nil {
		return nil
	}
	l.deps.Logger.Error("what a killed process left cannot be synced; it is written anew", "path", s.path, "err", failed)
	content := make([]byte, s.size)
	if _, err := f.ReadAt(content, 0); err != nil && s.size > 0 {
		return errors.Join(failed, err)
	}
	return writeWhole(l.deps.Files, s.path, content)
}

// scan finds the indexes behind a segment's last record. With tail, the segment was being written
// when its process ended: it is cut at the first damage that no later record shows to be behind
// what had been durable, and nothing after it counts, nor does an append of which a part is missing.
func (l *Log) scan(r *run, s *segment, tail bool) error {
	f, err := l.deps.Files.Open(s.path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	w := &window{from: f, seed: place{r.id, s.number}.seed()}
	s.next = slices.Clone(s.base)
	whole, wholeNext := s.begin, slices.Clone(s.base) // behind the last append that is whole
	for offset := s.begin; offset < s.size; {
		h, payload, err := w.record(offset, s.size)
		if err != nil && !isDamage(err) {
			return err
		}
		if err != nil && tail {
			promised, scanErr := promisedBehind(w, offset, s.size)
			if scanErr != nil {
				return scanErr
			}
			if !promised {
				break
			}
		}
		if err != nil {
			l.damaged(s.path, err.Error(), offset)
			if errors.Is(err, errPayload) {
				s.next = behind(s.next, h)
			}
			if offset, err = w.resync(offset+1, s.size); err != nil {
				return err
			}
			continue
		}
		if r.collector == "" {
			if b, err := schemas.DecodeBatch(payload); err == nil {
				r.collector = b.GetCollector()
			}
		}
		s.next = behind(s.next, h)
		offset += h.size()
		if !h.more {
			whole, wholeNext = offset, slices.Clone(s.next)
		}
	}
	if tail {
		s.size, s.next = whole, wholeNext
	}
	return nil
}

// promisedBehind says whether a whole record behind offset tells that the octet at offset had been
// made durable before it was written.
func promisedBehind(w *window, offset, end int64) (bool, error) {
	for at := offset; ; {
		var err error
		if at, err = w.resync(at+1, end); err != nil || at >= end {
			return false, err
		}
		h, err := w.head(at, end)
		if err != nil {
			return false, err
		}
		if h.durable <= uint64(offset) {
			continue
		}
		switch _, err := w.payload(at, h, end); {
		case err == nil:
			return true, nil
		case !errors.Is(err, errPayload):
			return false, err
		}
	}
}

// behind moves a shard's next index behind a record.
func behind(next []uint64, h recordHead) []uint64 {
	if h.shard >= maxShards {
		return next
	}
	for uint32(len(next)) <= h.shard {
		next = append(next, 1)
	}
	next[h.shard] = max(next[h.shard], h.index+1)
	return next
}

func (l *Log) damaged(path, what string, offset int64) {
	l.metrics.damaged.Inc()
	l.deps.Logger.Error("log is damaged", "path", path, "what", what, "offset", offset)
}
