package lease

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"hostmeter/internal/stream"
	"hostmeter/internal/stream/disk/files"
)

// home is a folder that one process at a time has. Who has it knows that the one before is dead, and need not wait
// until that one's lease runs out. The clocks and names of machines say nothing of the kind.
type home struct {
	lock   io.Closer
	before string // who had it before; empty where nobody did
}

// moveIn takes a folder for a holder, until the lock is closed or the process ends.
//
// Errors: stream.ErrLocked where another process has it, what the disk said.
func moveIn(path, holder string) (home, error) {
	if err := os.MkdirAll(path, 0o750); err != nil {
		return home{}, err
	}
	lock, err := files.OS{}.Lock(path)
	if err != nil {
		return home{}, err
	}
	name := filepath.Join(path, "holder")
	before, err := os.ReadFile(name)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		err = os.WriteFile(name, []byte(holder), 0o600)
	}
	if err != nil {
		return home{}, errors.Join(err, lock.Close())
	}
	return home{lock: lock, before: string(before)}, nil
}

// Settle moves into Config.Home, for as long as the lease is asked for. Without it all works as well, and is only slower
// to come back.
func (l *Lease) Settle() (leave func()) {
	leave = func() {}
	if l.cfg.Home == "" {
		return leave
	}
	moved, err := moveIn(l.cfg.Home, l.holder)
	switch {
	case errors.Is(err, stream.ErrLocked):
		l.logger.Info("another "+l.cfg.What+" of this machine has the folder", "path", l.cfg.Home)
	case err != nil:
		l.logger.Warn("the folder of the "+l.cfg.What+" cannot be used: after a crash it will wait until its lease runs out", "path", l.cfg.Home, "err", err)
	default:
		l.before = moved.before
		leave = func() { _ = moved.lock.Close() }
	}
	return leave
}

// newHolder names a process as no other is named, ever: of that one it says where it runs.
func newHolder() string {
	host, _ := os.Hostname() // only shown
	var random [8]byte
	_, _ = rand.Read(random[:]) // never fails
	return fmt.Sprintf("%s/%d/%s", host, os.Getpid(), hex.EncodeToString(random[:]))
}
