package disk

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"hostmeter/internal/stream"
)

// fileSystem is what the log asks of the disk. Tests put one between that runs full, tears writes
// and fails to sync.
type fileSystem interface {
	MkdirAll(path string) error
	Mkdir(path string) error
	ReadDir(path string) (names []string, err error)
	// Create makes a file that must not be there yet, for writing.
	Create(path string) (file, error)
	// OpenWrite opens a file that is there for writing.
	OpenWrite(path string) (file, error)
	// Open opens a file for reading.
	Open(path string) (file, error)
	Rename(from, to string) error
	Remove(path string) error
	// SyncDir makes the names in a folder durable.
	SyncDir(path string) error
}

type file interface {
	io.ReaderAt
	io.WriterAt
	Size() (int64, error)
	Sync() error
	Truncate(size int64) error
	Close() error
}

// osFiles is the machine's file system.
type osFiles struct{}

func (osFiles) MkdirAll(path string) error   { return os.MkdirAll(path, 0o750) }
func (osFiles) Mkdir(path string) error      { return os.Mkdir(path, 0o750) }
func (osFiles) Rename(from, to string) error { return os.Rename(from, to) }
func (osFiles) Remove(path string) error     { return os.Remove(path) }

func (osFiles) ReadDir(path string) ([]string, error) {
	entries, err := os.ReadDir(path)
	names := make([]string, 0, len(entries))
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names, err
}

func (osFiles) Create(path string) (file, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o640)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (osFiles) Open(path string) (file, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (osFiles) SyncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

type osFile struct{ *os.File }

func (f osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// lockFolder takes the folder for this process, until the file is closed.
//
// Errors: stream.ErrLocked.
func lockFolder(path string) (*os.File, error) {
	name := filepath.Join(path, "lock")
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", name, stream.ErrLocked)
		}
		return nil, fmt.Errorf("lock %s: %w", name, err)
	}
	return f, nil
}

func (osFiles) OpenWrite(path string) (file, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}
