package sim

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var (
	histories = flag.Uint64("histories", 2000, "how many histories to run")
	firstSeed = flag.Uint64("first-seed", 1, "the seed of the first of them; the others count on")
	atMost    = flag.Duration("at-most", 0, "begin no history after this time; 0: run all")
	only      = flag.Bool("only", false, "run these histories alone, without the seeds that are kept")
	table     = flag.String("table", "", "write what was run to this file, as JSON")
)

// newSuite prepares histories in memory where there is a file system for it.
func newSuite(t testing.TB) *Suite {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "hostmeter-sim")
	if err != nil {
		dir = t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s, err := NewSuite(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// keptSeeds are those that once failed.
func keptSeeds(t *testing.T) (seeds []uint64) {
	t.Helper()
	f, err := os.Open("testdata/seeds")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		word, _, _ := strings.Cut(lines.Text(), " ")
		if word == "" || word == "#" {
			continue
		}
		seed, err := strconv.ParseUint(word, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		seeds = append(seeds, seed)
	}
	return seeds
}

// failuresAtMost ends a run that has shown enough.
const failuresAtMost = 5

// totals add up results.
type totals struct {
	sync.Mutex
	Result
	histories int
	failures  int
	// in is in how many histories a fault happened.
	in map[string]int
}

func (a *totals) add(t *testing.T, r Result, err error) (enough bool) {
	a.Lock()
	defer a.Unlock()
	a.histories++
	if err != nil {
		a.failures++
		t.Errorf("%v\nrun it again: go test -tags libvirt_dlopen ./test/sim -only -histories 1 -first-seed SEED; then keep the seed in test/sim/testdata/seeds", err)
	}
	for what, n := range r.Counts {
		a.Counts[what] += n
		a.in[what]++
	}
	a.Datagrams += r.Datagrams
	a.Lost += r.Lost
	a.Batches += r.Batches
	a.Crashes += r.Crashes
	a.Late += r.Late
	return a.failures >= failuresAtMost
}

// TestHistories runs seeded histories: after each the ledger is the undisturbed one, but for what is
// declared as lost.
func TestHistories(t *testing.T) {
	s, sum := newSuite(t), &totals{Result: Result{Counts: map[string]int{}}, in: map[string]int{}}
	count := *histories
	if testing.Short() {
		count = min(count, 100)
	}
	var kept []uint64
	if !*only {
		kept = keptSeeds(t)
	}
	defer debug.SetGCPercent(debug.SetGCPercent(800)) // histories are short
	begun := time.Now()
	var next atomic.Uint64
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for {
				i := next.Add(1) - 1
				if i >= uint64(len(kept))+count || *atMost > 0 && time.Since(begun) > *atMost {
					return
				}
				seed := *firstSeed + i - uint64(len(kept))
				if i < uint64(len(kept)) {
					seed = kept[i]
				}
				r, err := s.Run(seed)
				if sum.add(t, r, err) {
					return
				}
			}
		})
	}
	workers.Wait()
	took := time.Since(begun)
	last := *firstSeed + uint64(max(sum.histories-len(kept), 1)) - 1
	t.Logf("%d histories in %s, %.0f a minute, seeds %d to %d: %d datagrams, of which %d lost and declared; %d batches, %d crashes of collectors, %d late entries",
		sum.histories, took.Round(time.Second), float64(sum.histories)/took.Minutes(), *firstSeed, last, sum.Datagrams, sum.Lost, sum.Batches, sum.Crashes, sum.Late)
	if sum.failures == 0 && count >= 100 && (sum.Late == 0 || sum.Crashes == 0 || sum.Lost == 0) {
		t.Error("nothing was late, nothing died or nothing was lost: this proves nothing")
	}
	for _, what := range Faults {
		t.Logf("%8d times in %6d histories: %s", sum.Counts[what], sum.in[what], what)
		if count >= 100 && sum.Counts[what] == 0 {
			t.Errorf("never happened: %s", what)
		}
	}
	for what := range sum.Counts {
		if !slices.Contains(Faults, what) {
			t.Errorf("not in Faults: %s", what)
		}
	}
	if *table != "" {
		if err := sum.write(*table, *firstSeed, last); err != nil {
			t.Error(err)
		}
	}
}

// row is one of docs/reliability.md.
type row struct {
	Layer     string `json:"layer"`
	Fault     string `json:"fault"`
	Windows   string `json:"windows"`
	Runs      int    `json:"runs"`
	Histories int    `json:"histories"`
	SeedFirst uint64 `json:"seed_first"`
	SeedLast  uint64 `json:"seed_last"`
	Result    string `json:"result"`
}

func (a *totals) write(path string, first, last uint64) error {
	result := "exact"
	if a.failures > 0 {
		result = fmt.Sprintf("%d histories differ", a.failures)
	}
	var rows []row
	for _, what := range Faults {
		rows = append(rows, row{"simulation", what, Windows[what], a.Counts[what], a.in[what], first, last, result})
	}
	rows = append(rows, row{"simulation", "all of these together", "", 0, a.histories, first, last, result})
	text, err := json.MarshalIndent(rows, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}

// A rule that is broken on purpose is seen: the checks are not blind.
func TestSabotageIsSeen(t *testing.T) {
	for _, rule := range []Sabotage{ForgetWatermark, ConfirmEarly, LyingDisk, AssumeBooked, SecondCopy, DropTally} {
		t.Run(string(rule), func(t *testing.T) {
			s := newSuite(t)
			s.Sabotage = rule
			const most = 400
			for seed := range uint64(most) {
				if _, err := s.Run(seed + 1); err != nil {
					t.Logf("seen in history %d: %.200s", seed+1, err)
					return
				}
			}
			t.Fatalf("%s, and %d histories did not show it", rule, most)
		})
	}
}

// A seed is one history: what was found once can be looked at again.
func TestSeedRepeats(t *testing.T) {
	s := newSuite(t)
	for seed := range uint64(10) {
		a, err := s.Run(seed)
		if err != nil {
			t.Fatal(err)
		}
		b, err := s.Run(seed)
		if err != nil {
			t.Fatal(err)
		}
		if !maps.Equal(a.Counts, b.Counts) || a.Datagrams != b.Datagrams || a.Lost != b.Lost || a.Batches != b.Batches || a.Crashes != b.Crashes || a.Late != b.Late {
			t.Fatalf("seed %d was %+v, then %+v", seed, a, b)
		}
	}
}
