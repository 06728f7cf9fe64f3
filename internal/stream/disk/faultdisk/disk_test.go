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
