package main

import (
	"math"
	"time"
)

// pace says how many datagrams may go out now, so that their rate is held: a stall of the sender is made
// up for, at most at twice the rate and with at most maxBurst's worth at once, since a receiver's
// socket buffer would otherwise be filled by the sender and not by the load.
type pace struct {
	perSecond float64 // datagrams
	whole     float64 // datagrams of the run
	start     time.Time
	last      time.Time
	sent      float64
	skipped   float64
}

const (
	maxBurst = 4 * time.Millisecond
	// arrearsMost is what is made up for at most; the rest is skipped, and told.
	arrearsMost = time.Second
)

func newPace(perSecond float64, length time.Duration, start time.Time) *pace {
	return &pace{perSecond: perSecond, whole: perSecond * length.Seconds(), start: start, last: start}
}

// done is true when everything was sent, or skipped.
func (p *pace) done() bool { return p.sent+p.skipped > p.whole-1 }

// allow returns how many datagrams may be sent at an instant, and counts them as sent.
func (p *pace) allow(now time.Time) int {
	due := min(p.perSecond*now.Sub(p.start).Seconds(), p.whole) - p.sent - p.skipped
	if most := p.perSecond * arrearsMost.Seconds(); due > most {
		p.skipped += due - most
		due = most
	}
	elapsed := min(2*now.Sub(p.last), maxBurst)
	burst := math.Ceil(p.perSecond * elapsed.Seconds())
	n := int(min(due, burst))
	if n > 0 { // else the time that passed still counts for the next burst
		p.last = now
		p.sent += float64(n)
	}
	return n
}
