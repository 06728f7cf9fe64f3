package disk

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"hostmeter/internal/stream"
	"hostmeter/internal/stream/disk/faultdisk"
	"hostmeter/internal/stream/streamtest"
)

// written makes a log of one unsealed segment, as a kill leaves it, and returns where each group of
// appends ends.
func written(t *testing.T, groups, size int) (h *harness, path string, ends []int64) {
	t.Helper()
	h = newHarness(t)
	h.cfg.SegmentSize = 1 << 20
	_ = h.log.Close()
	h.open()
	for range groups {
		if err := h.append(size); err != nil {
			t.Fatal(err)
		}
		ends = append(ends, h.log.active.segments[0].size)
	}
	path = h.log.active.segments[0].path
	h.disk.Kill()
	return h, path, ends
}

func contentOf(t testing.TB, h *harness, path string) []byte {
	t.Helper()
	content, err := h.disk.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// openAt opens the log as it would be found, after its seal is taken away, and reads it.
func openAt(t *testing.T, h *harness, path string, content []byte) (numbers map[stream.Key][]uint64, gaps []stream.GapError, size int64) {
	t.Helper()
	h.disk.Remove(filepath.Join(filepath.Dir(path), sealName))
	h.disk.WriteFile(path, content)
	h.open()
	defer func() { _ = h.log.Close() }()
	numbers, gaps = readWithGaps(t, h.log)
	return numbers, gaps, h.log.runs[0].segments[0].size
}

func readWithGaps(t *testing.T, l *Log) (map[stream.Key][]uint64, []stream.GapError) {
	t.Helper()
	r, _ := l.OpenReader(context.Background(), "test", nil) // has no error
	defer func() { _ = r.Close() }()
	numbers, gaps := make(map[stream.Key][]uint64), []stream.GapError(nil)
	for {
		batches, err := r.(*reader).read(100)
		var gap *stream.GapError
		if errors.As(err, &gap) {
			gaps = append(gaps, *gap)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(batches) == 0 {
			return numbers, gaps
		}
		for _, b := range batches {
			numbers[stream.KeyOf(b)] = append(numbers[stream.KeyOf(b)], streamtest.Number(b))
		}
	}
}

// A power cut leaves any prefix of the file: all groups that are whole are there, nothing else
// matters, and no reader is told of a gap.
func TestTornTailAtEveryOctet(t *testing.T) {
	h, path, ends := written(t, 4, 10)
	whole := contentOf(t, h, path)
	begin := int64(len(whole))
	for cut := ends[0]; cut < begin; cut++ {
		numbers, gaps, size := openAt(t, h, path, whole[:cut])
		if len(gaps) != 0 {
			t.Fatalf("cut at %d: gaps %v", cut, gaps)
		}
		groups := 0
		for _, end := range ends {
			if end <= cut {
				groups++
			}
		}
		for key, got := range numbers {
			if len(got) < groups {
				t.Fatalf("cut at %d: %s has %d batches, want at least %d", cut, key, len(got), groups)
			}
		}
		if size > cut {
			t.Fatalf("cut at %d: segment has %d octets", cut, size)
		}
	}
}

// The same with the rest of the last group replaced by zeros or by what another file held there.
func TestTailOfForeignOctets(t *testing.T) {
	h, path, ends := written(t, 3, 10)
	whole := contentOf(t, h, path)
	other, otherPath, _ := written(t, 3, 10)
	foreign := contentOf(t, other, otherPath)
	for cut := ends[1]; cut < ends[2]; cut++ {
		for _, rest := range [][]byte{make([]byte, int64(len(whole))-cut+100), foreign[min(cut, int64(len(foreign))):], foreign} {
			numbers, gaps, _ := openAt(t, h, path, append(bytes.Clone(whole[:cut]), rest...))
			if len(gaps) != 0 {
				t.Fatalf("cut at %d: gaps %v", cut, gaps)
			}
			for key, got := range numbers {
				if len(got) < 2 || len(got) > 3 {
					t.Fatalf("cut at %d: %s has %d batches, want 2 or 3", cut, key, len(got))
				}
			}
		}
	}
}

// One octet is flipped anywhere in what had been promised: every batch is read as it was written or
// told as a gap, and the ones behind the damage are read.
func TestFlippedOctet(t *testing.T) {
	h, path, ends := written(t, 6, 30)
	whole := contentOf(t, h, path)
	random := rand.New(rand.NewPCG(1, 0))
	for range 400 {
		at := random.Int64N(ends[4]) // the last group is what shows that the others were durable
		content := bytes.Clone(whole)
		content[at] ^= byte(1 + random.IntN(255))
		numbers, gaps, _ := openAt(t, h, path, content)
		missing := 0
		for _, gap := range gaps {
			missing += int(gap.To - gap.From + 1)
		}
		got := 0
		for key, want := range h.kept {
			got += len(numbers[key])
			for _, number := range numbers[key] {
				if number == 0 || number > want[len(want)-1] {
					t.Fatalf("flip at %d: read number %d, which was never written", at, number)
				}
			}
		}
		if got+missing != 6*testShards || missing > 1 {
			t.Fatalf("flip at %d: %d batches and %d told missing, want %d in all and at most one missing", at, got, missing, 6*testShards)
		}
	}
}

// A middle segment that is deleted, and one whose header is destroyed.
func TestDamagedSegments(t *testing.T) {
	for _, kind := range []string{"deleted", "header", "zeroed"} {
		t.Run(kind, func(t *testing.T) {
			h := newHarness(t)
			for range 8 {
				if err := h.append(1500); err != nil { // a group fills a segment
					t.Fatal(err)
				}
			}
			victim := h.log.active.segments[3].path
			_ = h.log.Close()
			content := contentOf(t, h, victim)
			switch kind {
			case "deleted":
				h.disk.Remove(victim)
			case "header":
				h.disk.WriteFile(victim, append(make([]byte, 30), content[30:]...))
			default:
				h.disk.WriteFile(victim, make([]byte, len(content)))
			}
			h.open()
			defer func() { _ = h.log.Close() }()
			numbers, gaps := readWithGaps(t, h.log)
			wantGaps, want := testShards, 7
			if kind == "header" {
				wantGaps, want = 0, 8
			}
			if len(gaps) != wantGaps {
				t.Fatalf("gaps %v, want %d", gaps, wantGaps)
			}
			for key, got := range numbers {
				if len(got) != want {
					t.Fatalf("%s: %v, want %d batches", key, got, want)
				}
			}
		})
	}
}

// Whatever lies in the folder, opening and reading neither panics nor invents a batch.
func FuzzSegment(f *testing.F) {
	h := newHarness(f)
	_, _ = h.append(20), h.append(20)
	segment := contentOf(f, h, h.log.active.segments[0].path)
	id := h.log.active.id
	_ = h.log.Close()
	seal := contentOf(f, h, filepath.Join(h.cfg.Path, runName(id), sealName))
	f.Add(segment, seal)
	f.Add(segment[:100], []byte{})
	f.Add([]byte{}, seal)
	f.Fuzz(func(t *testing.T, segment, seal []byte) {
		disk := faultdisk.New()
		folder := filepath.Join(h.cfg.Path, runName(id))
		if err := disk.Mount().MkdirAll(folder); err != nil {
			t.Fatal(err)
		}
		disk.WriteFile(filepath.Join(folder, segmentName(1)), segment)
		if len(seal) > 0 {
			disk.WriteFile(filepath.Join(folder, sealName), seal)
		}
		l, err := Open(t.Context(), h.cfg, "c", testShards, Deps{Files: disk.Mount(), Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			return // told, and nothing was done
		}
		defer func() { _ = l.Close() }()
		numbers, _ := readWithGaps(t, l)
		for _, got := range numbers {
			if len(got) > len(segment)/recordHeadSize {
				t.Fatalf("%d batches out of %d octets", len(got), len(segment))
			}
		}
	})
}
