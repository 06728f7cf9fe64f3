package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

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
		r, err := l.loadRun(ctx, id)
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

// loadRun returns nil for a folder that holds nothing, which is removed. What an attempt to write a file left behind
// is removed too, and a segment behind the seal: one that was begun and never written to.
func (l *Log) loadRun(ctx context.Context, id uint64) (*run, error) {
	r := &run{id: id, folder: filepath.Join(l.config.Path, runName(id))}
	names, err := l.deps.Files.ReadDir(r.folder)
	if err != nil {
		return nil, err
	}
	seal, sealed, err := l.loadSeal(ctx, r)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		number, ok := parseHex(name, ".log")
		if ok && sealed && number > seal.segment || strings.HasSuffix(name, newSuffix) {
			l.removeLeftover(filepath.Join(r.folder, name))
			continue
		}
		if !ok {
			continue
		}
		s, err := l.loadSegment(ctx, r, number)
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
	return r, l.completeRun(ctx, r, seal, sealed)
}

func (l *Log) loadSeal(ctx context.Context, r *run) (seal header, sealed bool, err error) {
	seal, _, _, err = l.loadHeader(ctx, filepath.Join(r.folder, sealName), sealMagic, readTries)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return header{}, false, nil // the last segment is scanned
	case err != nil && !errors.Is(err, errHeader):
		return header{}, false, err
	case err != nil || seal.logID != r.id:
		l.damaged(r.folder, "seal", 0)
		return header{}, false, nil
	}
	r.collector = seal.collector
	return seal, true, nil
}

// loadSegment reads a segment's header. Where it is damaged, base stays nil and the records are
// searched for from the beginning.
func (l *Log) loadSegment(ctx context.Context, r *run, number uint64) (*segment, error) {
	s := &segment{number: number, path: filepath.Join(r.folder, segmentName(number)), closed: true}
	h, length, size, err := l.loadHeader(ctx, s.path, segmentMagic, readTriesAgain) // its loss costs nothing, and a start should not take long
	s.size = size
	switch {
	case err != nil && !errors.Is(err, errHeader):
		return nil, fmt.Errorf("%s: %w", s.path, err)
	case err != nil || h.logID != r.id || h.segment != number:
		l.damaged(s.path, "header", 0)
	default:
		s.begin, s.begun, s.base = length, h.at, h.next
		r.collector = h.collector
	}
	return s, nil
}

// loadHeader reads the header of a file, and how long that and the file are. One that cannot be read is as one that is
// damaged.
//
// Errors: errHeader, ErrVersion, fs.ErrNotExist, what the disk said.
func (l *Log) loadHeader(ctx context.Context, path string, magic []byte, tries int) (h header, length, size int64, err error) {
	f, err := l.openPatiently(ctx, path, tries)
	if isUnreadable(err) {
		return header{}, 0, 0, errHeader
	}
	if err != nil {
		return header{}, 0, 0, err
	}
	defer func() { _ = f.Close() }()
	if size, err = f.Size(); err != nil {
		return header{}, 0, 0, err
	}
	b := make([]byte, min(size, maxHeader))
	n, err := f.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) && !isUnreadable(err) {
		return header{}, 0, size, err
	}
	h, length, err = decodeHeader(b[:n], magic)
	return h, length, size, err
}

func (l *Log) removeLeftover(path string) {
	if err := l.deps.Files.Remove(path); err != nil {
		l.deps.Logger.Warn("cannot delete what was left of an attempt to write a file of the log", "path", path, "err", err)
	}
}

// completeRun finds where each segment ends: at the beginning of the next one, at the seal, or where
// a scan says.
func (l *Log) completeRun(ctx context.Context, r *run, seal header, sealed bool) error {
	now := l.deps.Clock.Now()
	for i, s := range r.segments {
		last := i == len(r.segments)-1
		switch {
		case last && sealed && s.number == seal.segment:
			s.size, s.next = min(s.size, seal.size), seal.next
		case !last && r.segments[i+1].base != nil && r.segments[i+1].number == s.number+1:
			s.next = r.segments[i+1].base
		case last && !sealed:
			if err := l.scanTail(ctx, r, s); err != nil {
				return err
			}
		default:
			if _, err := l.scan(ctx, r, s, false); err != nil {
				return err
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

// scanTail finds where the segment ends that was being written when its process ended, and makes durable what perhaps
// stands in the kernel's memory only, before anybody reads it.
//
// It is written again to that end, in place and octet by octet the same. To sync it is not enough: where the process
// before met a failed fsync, the kernel takes for clean what it has not written, and tells nobody any more. If that
// fails, the segment is written anew, and scanned again, because the kernel may forget what failed.
func (l *Log) scanTail(ctx context.Context, r *run, s *segment) error {
	durable, err := l.scan(ctx, r, s, true)
	if err != nil || durable == s.size {
		return err
	}
	failed := l.rewrite(ctx, s, durable)
	if failed == nil {
		return nil
	}
	l.deps.Logger.Error("what a killed process left cannot be synced; it is written anew", "path", s.path, "err", failed)
	if err := l.writeAnew(ctx, s); err != nil {
		return fmt.Errorf("sync %s: %w", s.path, errors.Join(failed, err))
	}
	_, err = l.scan(ctx, r, s, true)
	return err
}

// rewrite writes a segment again from an offset on, and syncs it.
func (l *Log) rewrite(ctx context.Context, s *segment, from int64) error {
	content, err := l.readWhole(ctx, s, from)
	if err != nil {
		return err
	}
	f, err := l.deps.Files.OpenWrite(s.path)
	if err != nil {
		return err
	}
	if len(content) > 0 {
		_, err = f.WriteAt(content, from)
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// writeAnew replaces a segment's file by one with the same content.
func (l *Log) writeAnew(ctx context.Context, s *segment) error {
	content, err := l.readWhole(ctx, s, 0)
	if err != nil {
		return err
	}
	return writeWhole(l.deps.Files, s.path, content)
}

// readWhole reads a segment from an offset on. What cannot be read is zeros, which are damage too.
func (l *Log) readWhole(ctx context.Context, s *segment, from int64) ([]byte, error) {
	f, err := l.openPatiently(ctx, s.path, readTries)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	content := make([]byte, s.size-from)
	var skipped skip
	for at := from; at < s.size; {
		n, err := f.ReadAt(content[at-from:], at)
		at += int64(n)
		switch {
		case isUnreadable(err):
			at = skipped.over(at, s.size)
		case err != nil && at < s.size:
			return nil, err
		}
	}
	return content, nil
}

// scan finds the indexes behind a segment's last record, and how much of it is known to be durable. With tail, the
// segment was being written when its process ended: it is cut at the first damage that no later record shows to be
// behind what had been durable, and nothing after it counts, nor does an append of which a part is missing.
func (l *Log) scan(ctx context.Context, r *run, s *segment, tail bool) (durable int64, err error) {
	f, err := l.openPatiently(ctx, s.path, readTries)
	if isUnreadable(err) {
		s.next = slices.Clone(s.base)
		return s.size, nil // what it held is told by what comes behind it
	}
	if err != nil {
		return 0, fmt.Errorf("scan: %w", err)
	}
	defer func() { _ = f.Close() }()
	w := &window{from: f, seed: place{r.id, s.number}.seed()}
	s.next = slices.Clone(s.base)
	durable = s.begin
	whole, wholeNext := s.begin, slices.Clone(s.base) // behind the last append that is whole
	var skipped skip
	for offset := s.begin; offset < s.size; {
		h, payload, err := w.record(offset, s.size)
		if err == nil {
			s.next = behind(s.next, h)
			durable = max(durable, int64(h.durable))
			r.identify(payload)
			offset += h.size()
			if !h.more {
				whole, wholeNext = offset, slices.Clone(s.next)
			}
			continue
		}
		var bad *unreadable
		if !isDamage(err) && !errors.As(err, &bad) {
			return 0, fmt.Errorf("scan %s: %w", s.path, err)
		}
		if tail {
			promised, err := promisedBehind(w, offset, s.size)
			if err != nil {
				return 0, fmt.Errorf("scan %s: %w", s.path, err)
			}
			if !promised {
				break
			}
		}
		l.damaged(s.path, err.Error(), offset)
		if h.index > 0 { // the head is right
			s.next = behind(s.next, h)
		}
		behindIt := offset + 1
		if bad != nil {
			behindIt = skipped.over(bad.at, s.size)
		}
		if offset, err = w.find(behindIt, s.size); err != nil {
			return 0, fmt.Errorf("scan %s: %w", s.path, err)
		}
	}
	if tail {
		s.size, s.next = whole, wholeNext
	}
	return min(durable, s.size), nil
}

// identify learns the collector's name from a batch where no header told it.
func (r *run) identify(payload []byte) {
	if r.collector != "" {
		return
	}
	if b, err := schemas.DecodeBatch(payload); err == nil {
		r.collector = b.GetCollector()
	}
}

// promisedBehind says whether a whole record behind offset tells that the octet at offset had been
// made durable before it was written.
func promisedBehind(w *window, offset, end int64) (bool, error) {
	for at := offset; ; {
		var err error
		if at, err = w.find(at+1, end); err != nil || at >= end {
			return false, err
		}
		h, _, err := w.record(at, end)
		var bad *unreadable
		switch {
		case err == nil && h.durable > uint64(offset):
			return true, nil
		case err != nil && !isDamage(err) && !errors.As(err, &bad):
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
