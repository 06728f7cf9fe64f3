package faults_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"hostmeter/internal/failpoint"
)

// ordinaryKills is how many kills an ordinary run makes at least, where it has its servers. A long run
// (HOSTMETER_FAULTS_KILLS) makes so many times more histories.
const ordinaryKills = 50

// fault is a row of the suite's table: histories of one kind.
type fault struct {
	name    string
	windows []window
	// histories in the ordinary run.
	histories int
	// incidents are looked at too, beside the ledger.
	incidents bool
}

var embedded = []fault{
	{"SIGKILL of hostmeter run at random points", nil, 2, true},
	{"SIGKILL of hostmeter run around an append to the log", []window{
		{point: failpoint.DiskWritten, hits: 6}, {point: failpoint.DiskSynced, hits: 6}, {point: failpoint.CollectorAppended, hits: 6}}, 1, false},
	{"SIGKILL of hostmeter run where a segment of the log begins, ends, goes", []window{
		{point: failpoint.DiskRolling, hits: 3}, {point: failpoint.DiskRolled, hits: 3}, {point: failpoint.DiskDeleting, hits: 3},
		{point: failpoint.DiskSealing, hits: 1, stop: true}}, 1, false},
	{"SIGKILL of hostmeter run around a booking", []window{
		{point: failpoint.LedgerTaking, hits: 5}, {point: failpoint.StoreCommitting, hits: 12}, {point: failpoint.StoreCommitted, hits: 12},
		{point: failpoint.LedgerBooked, hits: 5}, {point: failpoint.LedgerConfirmed, hits: 5}}, 1, true},
	{"SIGKILL of hostmeter run while a period closes", []window{
		{point: failpoint.LedgerSealed, hits: 1, step: hour}, {point: failpoint.LedgerTold, hits: 1, step: month},
		{point: failpoint.LedgerClosing, hits: 1, step: month}, {point: failpoint.LedgerClosed, hits: 1, step: month}}, 1, false},
	{"SIGKILL of hostmeter run around a checkpoint of the detector", []window{{point: failpoint.DetectorSaved, hits: 4}, {point: failpoint.DetectorSaved, hits: 4}}, 1, true},
}

// TestEmbeddedIsKilled kills hostmeter run at random points and in its windows.
func TestEmbeddedIsKilled(t *testing.T) {
	t.Parallel()
	for i, f := range embedded {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			f.run(t, f.histories, func(dir string, random *rand.Rand) (int, error) {
				w, err := newWorld(dir, random, setting{begin: beforeMonthEnd(random), incidents: f.incidents})
				if err != nil {
					return 0, err
				}
				defer w.close()
				if f.windows == nil {
					return told(w)(w.killsAtRandom(4))
				}
				return told(w)(w.history(f.windows))
			})
		})
	}
}

// told adds what the processes said to an error.
func told(w *world) func(int, error) (int, error) {
	return func(n int, err error) (int, error) {
		if err != nil {
			err = fmt.Errorf("%w\n%s", err, w.said())
		}
		return n, err
	}
}

// points names the windows of a fault.
func (f fault) points() string {
	names := make([]string, len(f.windows))
	for i, w := range f.windows {
		names[i] = string(w.point)
	}
	return strings.Join(slices.Compact(names), ", ")
}

// run runs histories of a fault, each from a seed, and writes the outcome down. A history that fails says
// how it is repeated.
func (f fault) run(t *testing.T, histories int, history func(dir string, random *rand.Rand) (int, error)) {
	t.Helper()
	first := uint64(1)
	if text := os.Getenv("HOSTMETER_FAULTS_SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("HOSTMETER_FAULTS_SEED: %v", err)
		}
		first, histories = seed, 1
	}
	if text := os.Getenv("HOSTMETER_FAULTS_KILLS"); text != "" {
		kills, err := strconv.Atoi(text)
		if err != nil {
			t.Fatalf("HOSTMETER_FAULTS_KILLS: %v", err)
		}
		histories *= max(1, (kills+ordinaryKills-1)/ordinaryKills)
	}
	r := result{Layer: "processes", Fault: f.name, Windows: f.points(), SeedFirst: first, Result: "exact"}
	defer func() {
		if err := results.add(r); err != nil {
			t.Error(err)
		}
	}()
	for seed := first; seed < first+uint64(histories); seed++ {
		kills, err := history(t.TempDir(), rand.New(rand.NewPCG(seed, 6)))
		r.Runs, r.Histories, r.SeedLast = r.Runs+kills, r.Histories+1, seed
		if err != nil {
			r.Result = fmt.Sprintf("seed %d: broken", seed)
			t.Errorf("%s, seed %d: %v\nrepeat it: HOSTMETER_FAULTS_SEED=%d go test -tags libvirt_dlopen -run '^%s$' ./test/faults", f.name, seed, err, seed, t.Name())
			return
		}
	}
	t.Logf("%s: %d faults in %d histories, seeds %d to %d", f.name, r.Runs, r.Histories, r.SeedFirst, r.SeedLast)
}
