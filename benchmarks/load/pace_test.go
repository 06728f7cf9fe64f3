package main

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestPace runs a sender that is stalled now and then: it never runs ahead, its bursts are bounded, and
// after a while without stalls it has made up for them.
func TestPace(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		perSecond := rapid.Float64Range(10, 500_000).Draw(t, "datagrams a second")
		start := time.Unix(1_795_000_000, 0)
		p := newPace(perSecond, time.Hour, start)
		most := int(math.Ceil(perSecond * maxBurst.Seconds()))
		now, sent := start, 0
		step := func(d time.Duration) {
			now = now.Add(d)
			n := p.allow(now)
			sent += n
			if n < 0 || n > most {
				t.Fatalf("%d datagrams at once, want at most %d", n, most)
			}
			if due := perSecond * now.Sub(start).Seconds(); float64(sent) > due {
				t.Fatalf("%d datagrams sent, %.1f are due", sent, due)
			}
		}
		stalls := rapid.SliceOfN(rapid.Int64Range(1, 900), 1, 20).Draw(t, "stalls in ms")
		for _, stall := range stalls {
			step(time.Duration(stall) * time.Millisecond)
			for range 1000 { // a second at a step of 1 ms makes up for up to a second
				step(time.Millisecond)
			}
			if due := perSecond * now.Sub(start).Seconds(); due-float64(sent) > 2+perSecond*0.001 || p.skipped > 0 {
				t.Fatalf("%d datagrams sent and %.0f skipped after a stall, %.1f are due", sent, p.skipped, due)
			}
		}
	})
}

func TestPaceSkipsWhatIsTooLate(t *testing.T) {
	start := time.Unix(1_795_000_000, 0)
	p := newPace(1000, time.Minute, start)
	p.allow(start.Add(10 * time.Second))
	if p.skipped != 9000 || p.done() {
		t.Errorf("%v skipped after a stall of 10 s, want 9000", p.skipped)
	}
	sent := p.sent
	for now := start.Add(10 * time.Second); !p.done(); now = now.Add(time.Millisecond) {
		sent += float64(p.allow(now))
		if now.Sub(start) > 2*time.Minute {
			t.Fatalf("not done: %v sent, %v skipped", sent, p.skipped)
		}
	}
	if sent+p.skipped != 60_000 {
		t.Errorf("%v sent and %v skipped, want 60000", sent, p.skipped)
	}
}
