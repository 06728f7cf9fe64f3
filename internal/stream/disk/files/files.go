// Package files is what the log asks of a disk, and the machine's own.
//
// It exists so that a test can put a disk between that runs full, tears writes, fails to sync or loses
// what was not synced (package faultdisk).
package files

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"hostmeter/internal/durable"
	"hostmeter/internal/stream"
)

// System is a file system.
type System interface {
	MkdirAll(path string) error
	Mkdir(path string) error
	ReadDir(path string) (names []string, err error)
	// Create makes a file that must not be there yet, for writing.
	Create(path string) (File, error)
	// OpenWrite opens a file that is there for writing.
	OpenWrite(path string) (File, error)
	// Open opens a file for reading.
	Open(path string) (File, error)
	Rename(from, to string) error
	Remove(path string) error
	// SyncDir makes the names in a folder durable.
	SyncDir(path string) error
	// Lock takes a folder for this process, until what it returns is closed or the process ends.
	//
	// Errors: stream.ErrLocked.
	Lock(path string) (io.Closer, error)
}

// File is an open file.
type File interface {
	io.ReaderAt
	io.WriterAt
	Size() (int64, error)
	// Sync makes what was written durable. After an error nobody knows what is.
	Sync() error
	Truncate(size int64) error
	Close() error
}

// OS is the machine's file system.
type OS struct{}

// MkdirAll makes a folder and those above it.
func (OS) MkdirAll(path string) error { return os.MkdirAll(path, 0o750) }

// Mkdir makes a folder.
func (OS) Mkdir(path string) error { return os.Mkdir(path, 0o750) }

// Rename replaces what is at to.
func (OS) Rename(from, to string) error { return os.Rename(from, to) }

// Remove deletes a file or an empty folder.
func (OS) Remove(path string) error { return os.Remove(path) }

// ReadDir lists the names in a folder.
func (OS) ReadDir(path string) ([]string, error) {
	entries, err := os.ReadDir(path)
	names := make([]string, 0, len(entries))
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names, err
}

// Create implements System.
func (OS) Create(path string) (File, error) {
	return open(path, os.O_RDWR|os.O_CREATE|os.O_EXCL)
}

// OpenWrite implements System.
func (OS) OpenWrite(path string) (File, error) { return open(path, os.O_RDWR) }

// Open implements System.
func (OS) Open(path string) (File, error) { return open(path, os.O_RDONLY) }

// SyncDir implements System.
func (OS) SyncDir(path string) error {
	return durable.SyncFolder(path)
}

// Lock implements System by an advisory lock on the file "lock" in the folder.
func (OS) Lock(path string) (io.Closer, error) {
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

type osFile struct{ *os.File }

func open(path string, flag int) (File, error) {
	f, err := os.OpenFile(path, flag, 0o640)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (f osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
