// Package durable replaces small files so that each is whole at any time, as it was or as it is to be, whatever happens
// meanwhile.
package durable

import (
	"errors"
	"os"
	"path/filepath"
)

// Replace writes a file, and makes its folder where that is missing. Once it has returned nil the new text is there after
// a power cut.
func Replace(path string, text []byte) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return err
	}
	return SyncFolder(dir) // else a power cut may take the new name back
}

// SyncFolder makes the names in a folder last.
func SyncFolder(dir string) error {
	folder, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
