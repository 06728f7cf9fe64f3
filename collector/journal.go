package collector

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"hostmeter/internal/durable"
)

// journal keeps the last text of each key in one file, for many keys that change together: what changed
// is appended with one fsync, and the file is written anew when half of it is out of date.
//
// A line is a checksum (CRC-32C, hexadecimal), the time in seconds since the Unix epoch, the key and
// the text, apart by spaces; neither key nor text has a line feed, the key no space. A line that is torn or
// spoiled costs itself: the key then has the text before that, or none. What save returned without an
// error for is there after a crash. One process has the file; find may be called beside save, which
// is called by one goroutine.
type journal struct {
	path string

	mu     sync.Mutex // guards what find reads
	file   *os.File
	places map[string]place

	size, live int64 // of the file, and of its last lines
	broken     bool  // a write failed: what of it is in the file, nobody knows
	spoiled    int   // lines that were passed over
}

// place is where a key's last line is.
type place struct{ offset, length, at int64 }

// entry is a text to save.
type entry struct {
	key  string
	text []byte
}

// journalSlack is by how much more than twice what is needed the file may grow.
const journalSlack = 1 << 20

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// openJournal reads where everything is. A missing file is an empty one, and is made by the first save.
func openJournal(path string) (*journal, error) {
	j := &journal{path: path, places: map[string]place{}}
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return j, nil
	}
	if err != nil {
		return nil, err
	}
	j.file = file
	if err := j.scan(bufio.NewReaderSize(file, 1<<16)); err != nil {
		return nil, errors.Join(fmt.Errorf("read %s: %w", path, err), file.Close())
	}
	return j, nil
}

func (j *journal) scan(r *bufio.Reader) error {
	for {
		line, err := r.ReadBytes('\n')
		if len(line) > 0 {
			if key, at, _, ok := parseLine(line); ok {
				j.put(key, place{j.size, int64(len(line)), at})
			} else {
				j.spoiled++
				j.broken = j.broken || err != nil // the next line would stand behind a torn one
			}
			j.size += int64(len(line))
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (j *journal) put(key string, p place) {
	j.live += p.length - j.places[key].length
	j.places[key] = p
}

// lineSlack is the most that a line has beside its key and its text.
const lineSlack = len("00000000 ") + 20 + len("  \n")

func appendLine(b []byte, at int64, e entry) []byte {
	begin := len(b)
	b = append(b, "00000000 "...)
	b = strconv.AppendInt(b, at, 10)
	b = append(append(append(append(b, ' '), e.key...), ' '), e.text...)
	copy(b[begin:], fmt.Sprintf("%08x", crc32.Checksum(b[begin+9:], castagnoli)))
	return append(b, '\n')
}

// parseLine takes a whole line apart; ok is false where it is not as it was written.
func parseLine(line []byte) (key string, at int64, text []byte, ok bool) {
	if len(line) < 10 || line[8] != ' ' || line[len(line)-1] != '\n' {
		return "", 0, nil, false
	}
	rest := line[9 : len(line)-1]
	sum, err := strconv.ParseUint(string(line[:8]), 16, 32)
	if err != nil || uint32(sum) != crc32.Checksum(rest, castagnoli) {
		return "", 0, nil, false
	}
	time, rest, _ := bytes.Cut(rest, []byte{' '})
	name, text, ok := bytes.Cut(rest, []byte{' '})
	at, err = strconv.ParseInt(string(time), 10, 64)
	return string(name), at, text, ok && err == nil
}

// find returns the text of a key; nil where there is none.
func (j *journal) find(key string) ([]byte, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	p, ok := j.places[key]
	if !ok {
		return nil, nil
	}
	line := make([]byte, p.length)
	if _, err := j.file.ReadAt(line, p.offset); err != nil {
		return nil, err
	}
	_, _, text, ok := parseLine(line)
	if !ok {
		return nil, fmt.Errorf("the line at %d of %s is spoiled", p.offset, j.path)
	}
	return text, nil
}

// save writes entries at the time at. Once it returned nil they are on the disk. It lets go of what was
// last saved longer than age ago, when the file is written anew.
//
// After an error its entries may be offered again: the next call writes the file anew.
func (j *journal) save(entries []entry, at time.Time, age time.Duration) error {
	if len(entries) == 0 {
		return nil
	}
	if j.file == nil || j.broken || j.size > 2*j.live+journalSlack {
		return j.rewrite(entries, at, at.Add(-age).Unix())
	}
	b, places := layOut(entries, at.Unix(), j.size)
	_, err := j.file.WriteAt(b, j.size)
	if err == nil {
		err = j.file.Sync()
	}
	if err != nil {
		j.broken = true
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for key, p := range places {
		j.put(key, p)
	}
	j.size += int64(len(b))
	return nil
}

// layOut returns the lines of entries, which begin at offset of a file, and tells where they are.
func layOut(entries []entry, at, offset int64) ([]byte, map[string]place) {
	size := 0
	for _, e := range entries {
		size += lineSlack + len(e.key) + len(e.text)
	}
	b, places := make([]byte, 0, size), make(map[string]place, len(entries))
	for _, e := range entries {
		begin := len(b)
		b = appendLine(b, at, e)
		places[e.key] = place{offset + int64(begin), int64(len(b) - begin), at}
	}
	return b, places
}

// rewrite makes a new file of the last lines that are not older than oldest, and the entries, in place
// of the old one.
func (j *journal) rewrite(entries []entry, at time.Time, oldest int64) error {
	dir := filepath.Dir(j.path)
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	file, err := os.CreateTemp(dir, filepath.Base(j.path)+".*")
	if err != nil {
		return err
	}
	next := &journal{path: j.path, file: file, places: map[string]place{}}
	err = next.fill(j, entries, at, oldest)
	if err == nil {
		err = os.Rename(file.Name(), j.path)
	}
	if err == nil {
		err = durable.SyncFolder(dir)
	}
	if err != nil {
		_ = os.Remove(file.Name())
		return errors.Join(err, file.Close())
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.file != nil {
		_ = j.file.Close() // read only by find, which waits for mu
	}
	j.file, j.places, j.size, j.live, j.broken = next.file, next.places, next.size, next.live, false
	return nil
}

func (j *journal) fill(before *journal, entries []entry, at time.Time, oldest int64) error {
	saved := make(map[string]bool, len(entries))
	for _, e := range entries {
		saved[e.key] = true
	}
	w := bufio.NewWriterSize(j.file, 1<<16)
	var line []byte
	for key, p := range before.places {
		if saved[key] || p.at < oldest {
			continue
		}
		line = append(line[:0], make([]byte, p.length)...)
		if _, err := before.file.ReadAt(line, p.offset); err != nil {
			return err
		}
		if _, _, _, ok := parseLine(line); !ok {
			continue // costs itself
		}
		if _, err := w.Write(line); err != nil {
			return err
		}
		j.put(key, place{j.size, p.length, p.at})
		j.size += p.length
	}
	b, places := layOut(entries, at.Unix(), j.size)
	for key, p := range places {
		j.put(key, p)
	}
	j.size += int64(len(b))
	if _, err := w.Write(b); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return j.file.Sync()
}

// close closes the file. It may be called twice.
func (j *journal) close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.file == nil {
		return nil
	}
	if err := j.file.Close(); !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}
