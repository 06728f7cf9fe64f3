package faults_test

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"hostmeter/internal/failpoint"
)

// TestTheSuiteSeesFaultsOfOurs breaks the product on purpose: a suite that passes then would prove nothing.
func TestTheSuiteSeesFaultsOfOurs(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		wrong     failpoint.Point
		at        failpoint.Point // where the process is killed
		broken    string          // what the laws say
		commit    time.Duration
		incidents bool
	}{
		{failpoint.ForgetWatermark, failpoint.LedgerBooked, "more than once", 0, false},
		{failpoint.ForgetPositions, failpoint.LedgerBooked, "as lost: -", 0, false},
		// Some segments must be full and not booked.
		{failpoint.DeleteUnconfirmed, failpoint.LedgerTaking, "as lost: -", 2 * time.Second, false},
		{failpoint.ForgetIncidents, failpoint.DetectorSaved, "have no incident", 0, true},
	} {
		t.Run(string(c.wrong), func(t *testing.T) {
			random := rand.New(rand.NewPCG(1, 6))
			w, err := newWorld(t.TempDir(), random, setting{begin: beforeMonthEnd(random), commit: c.commit, incidents: c.incidents})
			if err != nil {
				t.Fatal(err)
			}
			defer w.close()
			w.wrong = []string{string(c.wrong) + "=fault"}
			_, err = w.history([]window{{point: c.at, hits: 1}, {point: c.at, hits: 1}})
			if err == nil || !strings.Contains(err.Error(), c.broken) {
				t.Errorf("the laws say %v, want %q among it", err, c.broken)
			}
			t.Logf("seen: %v", err)
		})
	}
}
