package faultdisk

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"

	"golang.org/x/sys/unix"

	"hostmeter/internal/stream"
	"hostmeter/internal/stream/disk/files"
)

func create(t *testing.T, m files.System, name, text string) files.File {
	t.Helper()
	f, err := m.Create(name)
	if err == nil {
		_, err = f.WriteAt([]byte(text), 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// A power cut keeps what was synced, in every case, and in some not what was not; a kill keeps all.
func TestPowerCut(t *testing.T) {
	seen := map[string]bool{}
	for seed := range uint64(200) {
		d := New()
		m := d.Mount()
		f := create(t, m, "/a", "synced")
		if err := errors.Join(f.Sync(), m.SyncDir("/")); err != nil {
			t.Fatal(err)
		}
		_, _ = f.WriteAt([]byte(" and not"), 6)
		_ = create(t, m, "/nameless", "x").Sync()
		if seed == 0 {
			d.Kill()
		} else {
			d.PowerCut(rand.New(rand.NewPCG(seed, 0)))
		}
		content, err := d.ReadFile("/a")
		if err != nil || !bytes.HasPrefix(content, []byte("synced")) {
			t.Fatalf("seed %d: %q, %v", seed, content, err)
		}
		seen[string(content)] = true
		_, err = d.ReadFile("/nameless")
		seen[map[bool]string{true: "name kept", false: "name lost"}[err == nil]] = true
		if _, err := f.Size(); !errors.Is(err, ErrCrashed) {
			t.Fatalf("a file of the dead process: %v", err)
		}
	}
	for _, want := range []string{"synced", "synced and not", "name kept", "name lost"} {
		if !seen[want] {
			t.Errorf("never seen: %s (%v)", want, seen)
		}
	}
}

// After a failed sync the next one succeeds and saves nothing of what was written before it.
func TestFailedSync(t *testing.T) {
	lost := 0
	for seed := range uint64(50) {
		d := New()
		m := d.Mount()
		f := create(t, m, "/a", "lost")
		_ = m.SyncDir("/")
		d.Set(Faults{FailSync: unix.EIO})
		if err := f.Sync(); !errors.Is(err, unix.EIO) {
			t.Fatal(err)
		}
		if err := f.Sync(); err != nil || d.SyncsAfterFailure() != 1 {
			t.Fatalf("%v, %d", err, d.SyncsAfterFailure())
		}
		d.PowerCut(rand.New(rand.NewPCG(seed, 0)))
		if content, _ := d.ReadFile("/a"); len(content) == 0 {
			lost++
		}
	}
	if lost == 0 {
		t.Fatal("what a failed sync did not save was always there")
	}
}

func TestFullDisk(t *testing.T) {
	d := New()
	f := create(t, d.Mount(), "/a", "1234")
	d.Set(Faults{Bounded: true, Room: 3})
	if n, err := f.WriteAt([]byte("567890"), 4); n != 3 || !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("%d, %v", n, err)
	}
	if n, err := f.WriteAt([]byte("0123"), 0); n != 4 || err != nil {
		t.Fatalf("over what is there: %d, %v", n, err)
	}
	if content, _ := d.ReadFile("/a"); string(content) != "0123567" {
		t.Fatalf("%q", content)
	}
}

func TestLock(t *testing.T) {
	d := New()
	m := d.Mount()
	l, err := m.Lock("/log")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Lock("/log"); !errors.Is(err, stream.ErrLocked) {
		t.Fatal(err)
	}
	d.Kill()
	if _, err := d.Mount().Lock("/log"); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil { // of the dead process
		t.Fatal(err)
	}
	if _, err := d.Mount().Lock("/log"); !errors.Is(err, stream.ErrLocked) {
		t.Fatal(err)
	}
}

// What a failed sync left is clean for the next process too: it reads it or not, and a sync of its own, which succeeds,
// saves it in no case that matters.
func TestFailedSyncOutlivesItsProcess(t *testing.T) {
	seen := map[string]bool{}
	for n := range 60 {
		d := New()
		m := d.Mount()
		for range n {
			_ = m.SyncDir("/")
		}
		f := create(t, m, "/a", "text")
		_ = m.SyncDir("/")
		d.Set(Faults{FailSync: unix.EIO})
		_ = f.Sync()
		d.Kill()
		content, err := d.ReadFile("/a")
		if err != nil || len(content) != 4 {
			t.Fatalf("%q, %v: the length is known", content, err)
		}
		g, err := d.Mount().OpenWrite("/a")
		if err == nil {
			err = g.Sync()
		}
		if err != nil {
			t.Fatal(err)
		}
		d.PowerCut(rand.New(rand.NewPCG(uint64(n), 0)))
		after, _ := d.ReadFile("/a")
		seen["read "+map[bool]string{true: "text", false: "nothing"}[string(content) == "text"]+
			", kept "+map[bool]string{true: "text", false: "nothing"}[string(after) == "text"]] = true
		if string(content) != "text" && string(after) == "text" {
			t.Fatal("what was let go came back")
		}
	}
	for _, want := range []string{"read text, kept text", "read text, kept nothing", "read nothing, kept nothing"} {
		if !seen[want] {
			t.Errorf("never seen: %s (%v)", want, seen)
		}
	}
}

// A bad block is not read, what is before and behind it is, and what is written over it is.
func TestBadBlock(t *testing.T) {
	d := New()
	f := create(t, d.Mount(), "/a", string(make([]byte, 3*BlockSize)))
	b := make([]byte, 3*BlockSize)
	at := func(offset int64, want int, wantErr error) {
		t.Helper()
		if n, err := f.ReadAt(b[offset:], offset); n != want || !errors.Is(err, wantErr) {
			t.Fatalf("at %d: %d octets, %v, want %d, %v", offset, n, err, want, wantErr)
		}
	}
	d.Spoil("/a", BlockSize+5, BlockSize+6, -1)
	for range 3 {
		at(0, BlockSize, unix.EIO)
		at(BlockSize+1, 0, unix.EIO)
		at(2*BlockSize, BlockSize, nil)
	}
	if _, err := f.WriteAt(b[:BlockSize], BlockSize); err != nil {
		t.Fatal(err)
	}
	at(0, 3*BlockSize, nil)
	d.Spoil("/a", 0, 1, 2)
	at(0, 0, unix.EIO)
	at(0, 0, unix.EIO)
	at(0, 3*BlockSize, nil)
	d.Set(Faults{FailReads: 1})
	at(0, 0, unix.EIO)
	at(0, 3*BlockSize, nil)
}
