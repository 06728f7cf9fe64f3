package disk

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"hostmeter/internal/stream"
	"hostmeter/internal/stream/streamtest"
	"hostmeter/schemas"
)

// childPath names the variable that makes this test binary the process that is killed.
const childPath = "HOSTMETER_TEST_LOG_CHILD"

func TestMain(m *testing.M) {
	if path := os.Getenv(childPath); path != "" {
		appendForEver(path)
	}
	os.Exit(m.Run())
}

// appendForEver appends from several goroutines and prints what was acknowledged.
func appendForEver(path string) {
	cfg := DefaultConfig()
	cfg.Path, cfg.SegmentSize = path, 64<<10
	l, err := Open(context.Background(), cfg, "c", testShards, Deps{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	var out sync.Mutex
	for worker := range uint64(4) {
		go func() {
			for n := uint64(0); ; n++ {
				b := streamtest.Batch(uint32(rand.IntN(testShards)), worker<<32|n, rand.IntN(4000))
				if err := l.Append(context.Background(), []*schemas.Batch{b}); err != nil {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(1)
				}
				out.Lock()
				fmt.Printf("%d %d %d %d\n", b.GetLogId(), b.GetShard(), b.GetIndex(), streamtest.Number(b))
				out.Unlock()
			}
		}()
	}
	select {}
}

// A process is killed at random moments; whatever it had acknowledged is there, in order.
func TestKill(t *testing.T) {
	rounds := 20
	if testing.Short() {
		rounds = 4
	}
	dir := t.TempDir()
	acknowledged := make(map[stream.Key]map[uint64]uint64) // index -> number
	total := 0
	for round := range rounds {
		total += killRound(t, dir, acknowledged)
		cfg := DefaultConfig()
		cfg.Path = dir
		l, err := Open(t.Context(), cfg, "c", testShards, Deps{})
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		got, _ := readAll(t, l, total) // fails on a gap
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		for key, numbers := range acknowledged {
			for index, number := range numbers {
				if index > uint64(len(got[key])) || got[key][index-1] != number {
					t.Fatalf("round %d: %s: batch %d (number %d) was acknowledged and is not there", round, key, index, number)
				}
			}
		}
	}
	t.Logf("%d rounds, %d acknowledged batches, none missing", rounds, total)
	if total < rounds {
		t.Fatal("hardly anything was acknowledged: this test proves nothing")
	}
}

func killRound(t *testing.T, dir string, acknowledged map[stream.Key]map[uint64]uint64) (count int) {
	t.Helper()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childPath+"="+dir)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			if !errors.Is(err, io.EOF) && !strings.Contains(err.Error(), "closed") {
				t.Fatal(err)
			}
			_ = child.Wait()
			return count
		}
		var key stream.Key
		var index, number uint64
		if _, err := fmt.Sscan(line, &key.LogID, &key.Shard, &index, &number); err != nil {
			t.Fatalf("child printed %q: %v", line, err)
		}
		key.Collector = "c"
		if acknowledged[key] == nil {
			acknowledged[key] = make(map[uint64]uint64)
		}
		acknowledged[key][index] = number
		if count++; count == 1 { // it is at work: its end is drawn
			time.AfterFunc(time.Duration(rand.IntN(60_000))*time.Microsecond, func() { _ = child.Process.Kill() })
		}
	}
}
