package kafka

import (
	"testing"
	"time"

	"hostmeter/internal/stream"
)

func TestAKeyThatIsNotConfirmedWhileOthersAreIsSentAgain(t *testing.T) {
	begin := time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC)
	after := func(minutes int) time.Time { return begin.Add(time.Duration(minutes) * time.Minute) }
	a, b := stream.Key{Collector: "a"}, stream.Key{Collector: "b"}
	s := stalls{}
	look := func(minute int, sentA, confirmedA uint64, heard int, want bool) {
		t.Helper()
		key, found := s.look(after(minute), stream.Watermarks{a: sentA, b: 5}, stream.Watermarks{a: confirmedA, b: 5}, after(heard))
		if found != want || found && key != a {
			t.Errorf("minute %d: %v %v, want %v", minute, key, found, want)
		}
	}
	look(0, 3, 1, 0, false)
	look(14, 3, 1, 14, false)
	look(16, 3, 1, 0, false)  // the ledger confirms nobody: it is down
	look(16, 9, 1, 16, true)  // it confirms others
	look(17, 9, 2, 17, false) // it goes on
	look(31, 9, 2, 31, false)
	look(40, 9, 9, 40, false) // all is confirmed
	look(41, 10, 9, 41, false)
	look(55, 10, 9, 55, false)
	look(57, 10, 9, 57, true)
}
