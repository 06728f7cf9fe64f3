package rule

import "time"

// Samples is a trailing window of samples at any times: a sample stands for the time that it was held
// before its own. It is what a backtest has, where a stored series keeps its own rhythm; equal cells
// pushed as samples give the same shares as Slots.
type Samples struct {
	window, recent time.Duration
	ring           []sample // a queue: ring[head : head+n], wrapping
	head, n        int
	recentFrom     int // number of samples of the queue that are older than the recent part
	all, late      sums
}

// sample is its time in nanoseconds, and held<<1 | beyond.
type sample struct{ at, held int64 }

type sums struct{ observed, beyond int64 }

// NewSamples returns the empty window of a rule.
func NewSamples(r *Rule) *Samples { return &Samples{window: r.For, recent: r.Clear.Over} }

// Push adds an observed sample, which is not older than the newest, and lets go what leaves the
// window (at-For, at].
func (s *Samples) Push(at time.Time, held time.Duration, beyond bool) {
	now := at.UnixNano()
	packed := int64(held) << 1
	if beyond {
		packed |= 1
	}
	s.append(sample{at: now, held: packed})
	s.all.add(packed, 1)
	s.late.add(packed, 1)
	for s.recentFrom < s.n && s.get(s.recentFrom).at <= now-int64(s.recent) {
		s.late.add(s.get(s.recentFrom).held, -1)
		s.recentFrom++
	}
	for s.n > 0 && s.get(0).at <= now-int64(s.window) {
		s.all.add(s.get(0).held, -1)
		s.head = (s.head + 1) % len(s.ring)
		s.n--
		s.recentFrom = max(0, s.recentFrom-1)
	}
}

// Shares returns what the window and its recent part hold.
func (s *Samples) Shares() (main, recent Share) {
	return Share{Observed: time.Duration(s.all.observed), Beyond: time.Duration(s.all.beyond), Length: s.window},
		Share{Observed: time.Duration(s.late.observed), Beyond: time.Duration(s.late.beyond), Length: s.recent}
}

func (c *sums) add(packed int64, sign int64) {
	c.observed += sign * (packed >> 1)
	if packed&1 != 0 {
		c.beyond += sign * (packed >> 1)
	}
}

func (s *Samples) get(i int) sample { return s.ring[(s.head+i)%len(s.ring)] }

func (s *Samples) append(x sample) {
	if s.n == len(s.ring) {
		grown := make([]sample, max(64, 2*len(s.ring)))
		for i := range s.n {
			grown[i] = s.get(i)
		}
		s.ring, s.head = grown, 0
	}
	s.ring[(s.head+s.n)%len(s.ring)] = x
	s.n++
}
