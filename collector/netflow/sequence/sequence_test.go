package sequence

import (
	"testing"

	"pgregory.net/rapid"
)

func TestAdvance(t *testing.T) {
	type datagram struct{ number, units, uptime uint32 }
	f := func(name string, wantLost int64, wantRestarts int, datagrams ...datagram) {
		t.Helper()
		var s Stream
		var lost int64
		restarts := 0
		for _, d := range datagrams {
			n, restarted := s.Advance(d.number, d.units, d.uptime, false)
			lost += n
			if restarted {
				restarts++
			}
		}
		if lost != wantLost || restarts != wantRestarts {
			t.Errorf("%s: lost %d, %d restarts, want %d, %d", name, lost, restarts, wantLost, wantRestarts)
		}
	}
	f("in order", 0, 0, datagram{10, 3, 1}, datagram{13, 2, 2}, datagram{15, 1, 3})
	f("a gap", 4, 0, datagram{10, 3, 1}, datagram{17, 2, 2})
	f("two swapped", 0, 0, datagram{10, 3, 1}, datagram{16, 2, 2}, datagram{13, 3, 1}, datagram{18, 1, 3})
	f("a gap filled in part", 3, 0, datagram{10, 1, 1}, datagram{20, 1, 2}, datagram{13, 6, 1}, datagram{21, 1, 3})
	f("a datagram twice", 0, 0, datagram{10, 3, 1}, datagram{10, 3, 1}, datagram{13, 3, 2}, datagram{13, 3, 2})
	f("wraps", 2, 0, datagram{1<<32 - 2, 2, 1}, datagram{2, 1, 2})
	f("begins anew by its uptime", 0, 1, datagram{1000, 3, 500_000}, datagram{0, 3, 100}, datagram{3, 3, 200})
	f("begins anew without an uptime", 0, 1, datagram{1000, 3, 0}, datagram{0, 3, 0}, datagram{3, 3, 0}, datagram{6, 3, 0})
	f("an uptime swapped back by 200 ms is no restart", 1, 0, datagram{10, 1, 900}, datagram{12, 1, 700}, datagram{13, 1, 950})
	f("jumps too far to be loss", 0, 1, datagram{10, 1, 0}, datagram{20_000_000, 1, 0}, datagram{10_000_001, 1, 0})
	f("stands still", 0, 0, datagram{0, 1, 0}, datagram{0, 1, 0}, datagram{0, 1, 0}, datagram{0, 1, 0})
}

func TestOpenClaimsNoLoss(t *testing.T) {
	var s Stream
	s.Advance(0, 5, 0, false)
	s.Advance(5, 2, 0, true) // some of its records could not be counted
	number, uptime, ok := s.Expected()
	if number != 7 || !ok {
		t.Errorf("expected %d, %v behind an open datagram, want the least, 7", number, ok)
	}
	resumed := Resume(number, uptime) // of what was sent meanwhile nothing arrived
	if lost, _ := resumed.Advance(20, 1, 0, false); lost != 13 {
		t.Errorf("lost %d across a restart, want 13", lost)
	}
	if lost, _ := s.Advance(20, 1, 0, false); lost != 0 {
		t.Errorf("lost %d, want 0", lost)
	}
	if lost, _ := s.Advance(25, 1, 0, false); lost != 4 {
		t.Errorf("lost %d, want 4", lost)
	}
}

// TestLossIsWhatWasDropped sends a stream with drops and swaps of neighbours: lost is exactly what
// was dropped between the first and the last that arrived.
func TestLossIsWhatWasDropped(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type datagram struct{ number, units uint32 }
		number := rapid.Uint32().Draw(t, "start")
		var arrived []datagram
		var dropped int64
		total := rapid.IntRange(3, 60).Draw(t, "datagrams")
		for i := range total {
			units := rapid.Uint32Range(1, 30).Draw(t, "units")
			if i > 0 && i < total-1 && rapid.IntRange(0, 9).Draw(t, "drop") == 0 {
				dropped += int64(units)
			} else {
				arrived = append(arrived, datagram{number, units})
			}
			number += units
		}
		for i := 1; i+2 < len(arrived); i++ { // the first and the last stay in place
			if rapid.IntRange(0, 9).Draw(t, "swap") == 0 {
				arrived[i], arrived[i+1] = arrived[i+1], arrived[i]
				i++
			}
		}
		var s Stream
		var lost int64
		for _, d := range arrived {
			n, restarted := s.Advance(d.number, d.units, 0, false)
			if restarted {
				t.Fatalf("restarted at %d", d.number)
			}
			lost += n
		}
		if lost != dropped {
			t.Fatalf("lost %d, want %d", lost, dropped)
		}
	})
}
