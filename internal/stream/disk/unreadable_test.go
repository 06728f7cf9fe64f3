package disk

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"hostmeter/internal/clock"
	"hostmeter/internal/stream"
	"hostmeter/internal/stream/disk/faultdisk"
	"hostmeter/internal/stream/streamtest"
)

// eager is a clock that whoever sleeps moves on.
type eager struct{ *clock.Manual }

func (c eager) Sleep(ctx context.Context, d time.Duration) error {
	c.Advance(d)
	return ctx.Err()
}

func newEager() eager {
	return eager{clock.NewManual(time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC))}
}

// shelf is a log of several segments, each of many blocks, and where its records lie.
type shelf struct {
	*harness
	paths   []string
	records [][]span
	total   int
}

func newShelf(t *testing.T) *shelf {
	t.Helper()
	s := &shelf{harness: newHarness(t)}
	_ = s.log.Close()
	s.disk, s.clock, s.cfg.SegmentSize = faultdisk.New(), newEager(), 32<<10
	s.open()
	for n := range 60 {
		if err := s.append([]int{30, 250, 600, 1700}[n%4]); err != nil {
			t.Fatal(err)
		}
		s.total += testShards
	}
	for _, segment := range s.log.active.segments {
		s.paths = append(s.paths, segment.path)
		w := &window{from: fileOf(t, s.harness, segment.path), seed: place{s.log.active.id, segment.number}.seed()}
		var records []span
		for offset := segment.begin; offset < segment.size; {
			h, err := w.head(offset, segment.size)
			if err != nil {
				t.Fatal(err)
			}
			key := stream.Key{Collector: "c", LogID: s.log.active.id, Shard: h.shard}
			records = append(records, span{offset, offset + h.size(), key, h.index})
			offset += h.size()
		}
		s.records = append(s.records, records)
	}
	if len(s.paths) < 3 {
		t.Fatalf("%d segments are too few", len(s.paths))
	}
	return s
}

func fileOf(t *testing.T, h *harness, path string) interface {
	ReadAt([]byte, int64) (int, error)
} {
	t.Helper()
	f, err := h.disk.Mount().Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// read reads as a consumer does until all is read or told as missing, and fails where a batch that was appended comes
// twice, in another order, or not at all and untold.
func (s *shelf) read(t *testing.T) (found map[stream.Key][]uint64, missing int) {
	t.Helper()
	r, _ := s.log.OpenReader(t.Context(), "test", nil) // has no error
	defer func() { _ = r.Close() }()
	found = map[stream.Key][]uint64{}
	last := stream.Watermarks{}
	for read := 0; read+missing < s.total; {
		batches, err := r.Next(t.Context(), 7)
		var gap *stream.GapError
		if errors.As(err, &gap) {
			if gap.From != last[gap.Key]+1 {
				t.Fatalf("gap %v after batch %d", gap, last[gap.Key])
			}
			last[gap.Key] = gap.To
			missing += int(gap.To - gap.From + 1)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range batches {
			key := stream.KeyOf(b)
			if b.GetIndex() != last[key]+1 || streamtest.Number(b) != s.kept[key][b.GetIndex()-1] {
				t.Fatalf("%s: batch %d (number %d) after %d", key, b.GetIndex(), streamtest.Number(b), last[key])
			}
			last[key] = b.GetIndex()
			found[key] = append(found[key], b.GetIndex())
			read++
		}
	}
	return found, missing
}

// touched lists the records of a segment that lie in blocks of [from, to).
func (s *shelf) touched(segment int, from, to int64) (n int) {
	from, to = from/faultdisk.BlockSize*faultdisk.BlockSize, (to+faultdisk.BlockSize-1)/faultdisk.BlockSize*faultdisk.BlockSize
	for _, r := range s.records[segment] {
		if r.from < to && r.to > from {
			n++
		}
	}
	return n
}

// A bad block, anywhere in a segment that was closed long ago, or in the one that is written: it costs the records
// that it touches, each of which is told as missing, and reading goes on behind it.
func TestBadBlockCostsItself(t *testing.T) {
	for _, reopened := range []bool{false, true} {
		for segment := range 3 {
			for block := range int64(8) {
				t.Run(fmt.Sprintf("reopened %v, segment %d, block %d", reopened, segment, block), func(t *testing.T) {
					s := newShelf(t)
					if segment == 2 && reopened { // so that there is something behind it
						_ = s.append(10)
						s.total += testShards
					}
					from, to := block*faultdisk.BlockSize, (block+1)*faultdisk.BlockSize
					content := contentOf(t, s.harness, s.paths[segment])
					if from >= int64(len(content)) {
						t.Skip("the segment is shorter")
					}
					s.disk.Spoil(s.paths[segment], from, to, -1)
					if reopened {
						s.reopen()
					}
					_, missing := s.read(t)
					if want := s.touched(segment, from, to); missing != want {
						t.Fatalf("%d batches are missing, the block touches %d", missing, want)
					}
				})
			}
		}
	}
}

// A read that fails and then does not loses nothing, however often; nor does one of an opening log.
func TestReadThatFailsForAWhileLosesNothing(t *testing.T) {
	for failures := range readTries {
		s := newShelf(t)
		s.disk.Spoil(s.paths[1], 5000, 20000, failures)
		s.disk.Set(faultdisk.Faults{FailReads: failures})
		if _, missing := s.read(t); missing != 0 {
			t.Fatalf("%d failures: %d batches are missing", failures, missing)
		}
		for _, closed := range []bool{true, false} {
			if closed {
				_ = s.log.Close()
			}
			s.disk.Kill()
			s.disk.Set(faultdisk.Faults{FailReads: failures})
			s.open()
			if _, missing := s.read(t); missing != 0 {
				t.Fatalf("%d failures, closed %v: %d batches are missing after it was opened", failures, closed, missing)
			}
			if err := s.append(10); err != nil {
				t.Fatal(err)
			}
			s.total += testShards
		}
	}
}

// The header, the seal or the whole of a file cannot be read: the log opens, what can be read is read, and a file that
// cannot be read at all does not take a read for each of its blocks.
func TestUnreadableFile(t *testing.T) {
	f := func(name string, closed bool, spoil func(s *shelf) (missing int)) {
		t.Run(name, func(t *testing.T) {
			s := newShelf(t)
			want := spoil(s)
			if closed {
				_ = s.log.Close()
			}
			s.disk.Kill()
			s.open()
			if _, missing := s.read(t); missing != want {
				t.Fatalf("%d batches are missing, want %d", missing, want)
			}
		})
	}
	for _, closed := range []bool{true, false} {
		f(fmt.Sprintf("segment, closed %v", closed), closed, func(s *shelf) int {
			s.disk.Spoil(s.paths[1], 0, 32<<10, -1)
			return len(s.records[1])
		})
	}
	f("seal", true, func(s *shelf) int {
		_ = s.log.Close()
		seal := filepath.Join(filepath.Dir(s.paths[0]), sealName)
		s.disk.Spoil(seal, 0, 1, -1)
		return 0
	})
}

// A disk that is away, as a path to a storage system may be for an hour, gives nothing up: all is there when it is back.
func TestDiskThatIsAwayLosesNothing(t *testing.T) {
	s := newShelf(t)
	s.disk.Set(faultdisk.Faults{Broken: unix.EIO, FailReads: 1000})
	r, _ := s.log.OpenReader(t.Context(), "test", nil) // has no error
	for range 201 {                                    // the last of them looks whether it answers
		if _, err := r.(*reader).read(7); err == nil {
			t.Fatal("it was read")
		} else {
			r.(*reader).endure(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	if _, err := r.Next(ctx, 7); !errors.Is(err, stream.ErrBehind) || !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v while the disk is away", err)
	}
	for back := range readTries - 2 { // it takes a write before it gives what is read
		s.disk.Set(faultdisk.Faults{FailReads: 1})
		if _, err := r.(*reader).read(7); err == nil {
			t.Fatal("it was read")
		} else {
			r.(*reader).endure(err)
		}
		if r.(*reader).trouble.gaveUp {
			t.Fatalf("given up at the try number %d after the disk was back", back+1)
		}
	}
	_ = r.Close()
	s.disk.Heal()
	if _, missing := s.read(t); missing != 0 {
		t.Fatalf("%d batches are missing", missing)
	}
	_ = s.log.Close()
	s.disk.Set(faultdisk.Faults{Broken: unix.EIO, FailReads: 1000})
	if err := s.tryOpen(); !errors.Is(err, errAway) {
		t.Fatalf("opened a log on a disk that is away: %v", err)
	}
	s.disk.Heal()
	s.open()
	if _, missing := s.read(t); missing != 0 {
		t.Fatalf("%d batches are missing after it was opened", missing)
	}
}

// What was read before a bad block is handed out, and by the same call never again.
func TestBadBlockBehindGoodRecords(t *testing.T) {
	s := newShelf(t)
	s.disk.Spoil(s.paths[0], 3*faultdisk.BlockSize, 4*faultdisk.BlockSize, -1)
	r, _ := s.log.OpenReader(t.Context(), "test", nil) // has no error
	defer func() { _ = r.Close() }()
	batches, err := r.Next(t.Context(), 10_000)
	if err != nil || len(batches) == 0 {
		t.Fatalf("%d batches, %v", len(batches), err)
	}
	for i, b := range batches {
		if want := s.records[0][i]; stream.KeyOf(b) != want.key || b.GetIndex() != want.index {
			t.Fatalf("batch %d is %s %d, want %s %d", i, stream.KeyOf(b), b.GetIndex(), want.key, want.index)
		}
	}
}

// What is given up is counted and a consumer that waits is shown.
func TestUnreadableIsCounted(t *testing.T) {
	s := newShelf(t)
	_ = s.log.Close()
	registry := prometheus.NewRegistry()
	s.metrics = registry
	s.open()
	s.disk.Spoil(s.paths[1], 8000, 8001, -1)
	r, _ := s.log.OpenReader(t.Context(), "test", nil) // has no error
	defer func() { _ = r.Close() }()
	waited := false
	for {
		_, err := r.(*reader).read(100)
		if err != nil && !errors.As(err, new(*stream.GapError)) {
			r.(*reader).endure(err)
			waited = waited || metricValue(t, registry, "hostmeter_log_read_waiting") == 1
			continue
		}
		if err != nil {
			break
		}
	}
	if n := metricValue(t, registry, "hostmeter_log_unreadable_total"); n != 1 || !waited {
		t.Fatalf("%v places are given up, waiting was shown: %v", n, waited)
	}
}

// The steps over what cannot be read are single blocks at first, so that nothing else is passed over, and few in all.
func TestSkip(t *testing.T) {
	const end = 64 << 20
	var s skip
	at, steps := int64(100), 0
	for at < end {
		next := s.over(at, end)
		if run := at - 100; next-at > max(pageSize, run/8+pageSize) {
			t.Fatalf("at %d: %d octets are passed over", at, next-at)
		}
		at = next
		steps++
	}
	if steps > 100 {
		t.Fatalf("%d reads for a file that cannot be read", steps)
	}
	var places []int64
	s = skip{}
	for _, bad := range []int64{0, 4096, 40960, 1 << 20} {
		places = append(places, s.over(bad, end))
	}
	if want := []int64{4096, 8192, 45056, 1<<20 + 4096}; !slices.Equal(places, want) {
		t.Fatalf("reading goes on at %v, want %v", places, want)
	}
}
