package disk

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"hostmeter/internal/stream/disk/files"
)

// unreadable is a place that the disk does not give: a bad block, or a disk that is away for a moment.
type unreadable struct {
	at    int64
	whole bool // and all behind it
	cause error
}

func (e *unreadable) Error() string { return fmt.Sprintf("octet %d: %v", e.at, e.cause) }

func (e *unreadable) Unwrap() error { return e.cause }

// isUnreadable says whether an error of a read is about the medium. Others, such as too many open files, say nothing
// about what stands there.
func isUnreadable(err error) bool {
	return errors.Is(err, unix.EIO) || errors.Is(err, unix.EBADMSG) || errors.Is(err, unix.ENODATA)
}

// What cannot be read is tried readTries times, with pauses that double from readPauseFirst to readPauseMost: about a
// minute, in which a disk may come back. In a file of which a part has been given up, readTriesAgain times.
const (
	readTries      = 7
	readTriesAgain = 2
	readPauseFirst = time.Second
	readPauseMost  = 30 * time.Second
)

// readPause is how long to wait after so many tries.
func readPause(tries int) time.Duration {
	return min(readPauseFirst<<min(tries-1, 5), readPauseMost)
}

// pageSize is what a kernel reads at least.
const pageSize = 4096

// skip passes over what cannot be read, page by page at first and then in steps of an eighth of what was passed:
// a file of 64 MiB that cannot be read at all takes some 80 reads, and not 16,000, each of which may last for seconds.
type skip struct{ from, to int64 }

// over returns where to read on behind a place that cannot be read, at most end.
func (s *skip) over(at, end int64) int64 {
	if at != s.to {
		s.from = at
	}
	step := max(pageSize, (at-s.from)/8/pageSize*pageSize)
	s.to = min(at/pageSize*pageSize+step, end)
	return s.to
}

// answers returns nil where the disk takes a write, or is full. One that does not is away as a whole: what cannot be
// read is then not given up, because it may come back with it.
func (l *Log) answers() error {
	l.probing.Lock()
	defer l.probing.Unlock()
	path := filepath.Join(l.config.Path, "probe")
	err := writeWhole(l.deps.Files, path, []byte("written to see whether the disk answers\n"))
	_ = l.deps.Files.Remove(path)
	if isNoSpace(err) {
		return nil
	}
	return err
}

// unreadable tells of a place that is given up.
func (l *Log) unreadable(consumer, path string, from, to int64, cause error) {
	l.metrics.unreadable.Inc()
	l.deps.Logger.Error("a part of the log cannot be read and is given up; what is in it is lost, and told as a gap",
		"consumer", consumer, "path", path, "from", from, "to", to, "err", cause,
		"hint", "the disk has bad blocks: look at dmesg and smartctl, keep a copy of the file, replace the disk; \"hostmeter doctor\" lists what the ledger has lost")
}

// patient is a file of an opening log: a read that fails is tried again before it is taken for a bad block.
type patient struct {
	files.File
	ctx  context.Context
	log  *Log
	path string
	most int // tries
}

// openPatiently opens a file for reading, and tries it and each read of it so many times. Errors: as of
// patient.ReadAt, fs.ErrNotExist.
func (l *Log) openPatiently(ctx context.Context, path string, most int) (files.File, error) {
	p := patient{nil, ctx, l, path, most}
	err := p.try(func() (err error) {
		p.File, err = l.deps.Files.Open(path)
		return err
	})
	return p, err
}

// ReadAt implements io.ReaderAt.
//
// Errors: isUnreadable where a part is bad and the disk took a write before and after; errAway.
func (p patient) ReadAt(b []byte, offset int64) (n int, err error) {
	err = p.try(func() (err error) {
		n, err = p.File.ReadAt(b, offset)
		return err
	})
	return n, err
}

// try tries again what cannot be read.
func (p patient) try(read func() error) error {
	l, most := p.log, min(p.most, p.log.openTries)
	answered := false
	for tries := 1; ; tries++ {
		err := read()
		if !isUnreadable(err) {
			return err
		}
		if tries == 1 {
			l.deps.Logger.Warn("a part of the log cannot be read, trying again", "path", p.path, "err", err)
		}
		if tries >= most-1 {
			before, away := answered, l.answers()
			answered = away == nil
			switch {
			case tries < most:
			case away != nil:
				return fmt.Errorf("%s: %v, and the disk takes no write: %w", p.path, err, errAway)
			case before:
				if tries >= readTries {
					l.openTries = readTriesAgain
				}
				return err
			}
		}
		if slept := l.deps.Clock.Sleep(p.ctx, readPause(tries)); slept != nil {
			return slept
		}
	}
}

// errAway is returned by Open where nothing can be said of the log, because its disk does not answer.
var errAway = errors.New("the disk does not answer")
