package disk

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"hostmeter/internal/stream"
	"hostmeter/internal/stream/disk/files"
)

// smallDisk mounts a file system of so many octets, which only root may.
func smallDisk(t *testing.T, octets int) string {
	t.Helper()
	dir := t.TempDir()
	err := unix.Mount("hostmeter-test", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, fmt.Sprintf("size=%d,mode=0700", octets))
	if err != nil {
		what := fmt.Sprintf("a small file system cannot be mounted: %v", err)
		if os.Getuid() == 0 && os.Getenv("CI") == "true" {
			t.Fatal(what)
		}
		t.Skipf("NOT TESTED ON A REAL FULL DISK: %s; run it as root", what)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// TestFullDisk on a file system that really runs full, in the middle of a record, at several places.
func TestFullFileSystem(t *testing.T) {
	const size = 256 << 10
	for _, leave := range []int{0, 4096, 8192, 20480} {
		t.Run(fmt.Sprint(leave), func(t *testing.T) {
			mount := smallDisk(t, size)
			h := newHarness(t)
			if err := h.log.Close(); err != nil {
				t.Fatal(err)
			}
			h.files, h.cfg.Path, h.cfg.SegmentSize = files.OS{}, filepath.Join(mount, "log"), 16<<10
			h.open()
			defer func() { _ = h.log.Close() }()
			for range 5 {
				if err := h.append(300); err != nil {
					t.Fatal(err)
				}
			}
			var free unix.Statfs_t
			if err := unix.Statfs(mount, &free); err != nil {
				t.Fatal(err)
			}
			ballast := filepath.Join(mount, "ballast")
			if err := os.WriteFile(ballast, make([]byte, max(int(free.Bavail)*int(free.Bsize)-leave, 0)), 0o600); err != nil {
				t.Fatal(err)
			}
			refused := 0
			for n := range 60 {
				if err := h.append(300 + 37*n); err != nil {
					if !isNoSpace(err) {
						t.Fatalf("got %v, want ENOSPC", err)
					}
					refused++
				}
			}
			if refused == 0 {
				t.Fatal("the disk never ran full: this test proves nothing")
			}
			h.check()
			if err := os.Remove(ballast); err != nil {
				t.Fatal(err)
			}
			for range 5 {
				if err := h.append(300); err != nil {
					t.Fatalf("append after room was made: %v", err)
				}
			}
			h.check()
			h.kill()
			h.check()
			h.reopen()
			h.check()
		})
	}
}

// On a file system that is full what the ledger has gives way, however young it is; what the ledger has not, or what the
// collector would need after a kill and cannot save on such a disk, never does.
func TestAFullDiskTakesWhatIsConfirmed(t *testing.T) {
	mount := smallDisk(t, 256<<10)
	h := newHarness(t)
	if err := h.log.Close(); err != nil {
		t.Fatal(err)
	}
	h.files, h.cfg.Path, h.cfg.SegmentSize, h.cfg.MaxSize = files.OS{}, filepath.Join(mount, "log"), 16<<10, 0
	h.open()
	defer func() { _ = h.log.Close() }()
	full := func() {
		t.Helper()
		for range 200 {
			if err := h.append(1000); err != nil {
				if !isNoSpace(err) {
					t.Fatalf("got %v, want ENOSPC", err)
				}
				return
			}
		}
		t.Fatal("the disk never ran full: this test proves nothing")
	}
	appended := func() stream.Watermarks {
		marks := stream.Watermarks{}
		for key, numbers := range h.kept {
			marks[key] = uint64(len(numbers))
		}
		return marks
	}
	h.log.Keep(stream.Watermarks{})
	full()
	if err := h.append(1000); !isNoSpace(err) {
		t.Fatalf("got %v: what is not confirmed gave way", err)
	}
	h.check()
	if err := h.log.Confirm(t.Context(), appended()); err != nil {
		t.Fatal(err)
	}
	if err := h.append(1000); !isNoSpace(err) {
		t.Fatalf("got %v: what the collector has not saved gave way", err)
	}
	h.check()
	h.log.Keep(appended())
	for n := range 400 { // more than the disk holds
		if err := h.append(1000); err != nil {
			t.Fatalf("append %d was refused although the ledger and the collector have what the log holds: %v", n, err)
		}
		marks := appended()
		h.log.Keep(marks)
		if err := h.log.Confirm(t.Context(), marks); err != nil {
			t.Fatal(err)
		}
	}
}
