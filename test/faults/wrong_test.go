package faults_test

import (
	"math/rand/v2"
	"strings"
	"testing"

	"hostmeter/internal/failpoint"
)

// TestTheSuiteSeesFaultsOfOurs breaks the product on purpose: a suite that passes then would prove nothing.
func TestTheSuiteSeesFaultsOfOurs(t *testing.T) {
	for _, c := range []struct {
		wrong  failpoint.Point
		at     failpoint.Point // where the process is killed
		broken string          // what the laws say
	}{
		{failpoint.ForgetWatermark, failpoint.LedgerBooked, "more than once"},
		{failpoint.ForgetPositions, failpoint.LedgerBooked, "as lost: -"},
		{failpoint.DeleteUnconfirmed, failpoint.DiskRolled, "as lost: -"},
	} {
		t.Run(string(c.wrong), func(t *testing.T) {
			random := rand.New(rand.NewPCG(1, 6))
			w, err := newWorld(t.TempDir(), random, setting{begin: beforeMonthEnd(random)})
			if err != nil {
				t.Fatal(err)
			}
			defer w.close()
			w.wrong = []string{string(c.wrong) + "=fault"}
			_, err = w.history([]window{{point: c.at, hits: 4}, {point: c.at, hits: 4}})
			if err == nil || !strings.Contains(err.Error(), c.broken) {
				t.Errorf("the laws say %v, want %q among it", err, c.broken)
			}
			t.Logf("seen: %v", err)
		})
	}
}
