package disk

import (
	"fmt"
	"os"
	"testing"
	"time"

	"hostmeter/internal/clock"
	"hostmeter/schemas"
)

// TestFormat1IsRead opens a folder that a hostmeter of format 1 has left: a log that was closed, and one whose process
// was killed. Of each of three appends both shards' batches are there, and the next log goes on beside them.
func TestFormat1IsRead(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Path = t.TempDir()
	if err := os.CopyFS(cfg.Path, os.DirFS("testdata/format1")); err != nil {
		t.Fatal(err)
	}
	now := clock.NewManual(time.Date(2026, 10, 1, 2, 0, 0, 0, time.UTC))
	for round := range 2 {
		l, err := Open(t.Context(), cfg, "collector-1", 2, Deps{Clock: now})
		if err != nil {
			t.Fatal(err)
		}
		if round == 0 {
			if err := l.Append(t.Context(), []*schemas.Batch{{Shard: 1}}); err != nil {
				t.Fatal(err)
			}
		}
		r, err := l.OpenReader(t.Context(), "test", nil)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for {
			batches, err := r.(*reader).read(100)
			if err != nil {
				t.Fatal(err)
			}
			if len(batches) == 0 {
				break
			}
			for _, b := range batches {
				for _, tally := range b.Tallies {
					got = append(got, fmt.Sprintf("%d/%d %s %d", b.Shard, b.Index, tally.Meter, tally.Out.Octets))
				}
			}
		}
		want := []string{
			"0/1 address:192.0.2.1 0", "1/1 address:192.0.2.2 1", "0/2 address:192.0.2.1 100", "1/2 address:192.0.2.2 101", "0/3 address:192.0.2.1 200", "1/3 address:192.0.2.2 201",
			"0/1 address:192.0.2.1 1000", "1/1 address:192.0.2.2 1001", "0/2 address:192.0.2.1 1100", "1/2 address:192.0.2.2 1101", "0/3 address:192.0.2.1 1200", "1/3 address:192.0.2.2 1201",
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("round %d: got %q, want %q", round, got, want)
		}
		_ = r.Close()
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		now.Advance(time.Hour)
	}
}
