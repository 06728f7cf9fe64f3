package app

import (
	"context"
	"testing"
	"time"

	"hostmeter/internal/clock"
	"hostmeter/schemas"
)

// bookingClock does something while others sleep.
type bookingClock struct {
	*clock.Manual
	meanwhile func()
}

func (c bookingClock) Sleep(context.Context, time.Duration) error {
	c.meanwhile()
	return nil
}

// Within a flush the meters have what no account has yet. A ledger that is behind, and books parts of flushes all the
// time, is not wrong for that; one that rests is.
func TestALedgerThatIsBehindIsNotWrong(t *testing.T) {
	for _, behind := range []bool{true, false} {
		desk, at := emptyDesk(t, "")
		index := uint64(0)
		bookHalf := func() {
			index++
			_, err := desk.ledger.Book(t.Context(), []*schemas.Batch{{
				Collector: "c", LogId: 7, Index: index, Shards: 1, Exporters: []string{"192.0.2.250"}, Classes: []string{schemas.ClassExternal},
				ReceivedFrom: at.Now().UnixNano(), ReceivedTo: at.Now().UnixNano(),
				Tallies: []*schemas.Tally{{Meter: "address:10.1.0.1", Minute: at.Now().Unix() / 60, In: &schemas.Traffic{Octets: 1000, Packets: 1, Flows: 1}}},
			}})
			if err != nil {
				t.Fatal(err)
			}
		}
		bookHalf()
		desk.clock = bookingClock{at, func() {
			if behind {
				bookHalf()
			}
		}}
		findings, busy, err := desk.findings(t.Context(), time.Time{}, true)
		if err != nil {
			t.Fatal(err)
		}
		if behind && (!busy || len(findings) != 0) {
			t.Errorf("behind: busy %v, findings %v", busy, findings)
		}
		if !behind && (busy || len(findings) != 1 || findings[0].Law != "accounts") {
			t.Errorf("at rest: busy %v, findings %v", busy, findings)
		}
	}
}
