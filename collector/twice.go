package collector

import (
	"cmp"
	"slices"
	"time"

	"hostmeter/collector/tally"
)

// twiceAge is for how long a pair is listed that was seen to tell of the same traffic.
const twiceAge = 24 * time.Hour

// noteTwice takes over what the watch found, and tells of pairs that are new.
func (c *Collector) noteTwice(at time.Time) {
	c.watchMu.Lock()
	defer c.watchMu.Unlock()
	for _, t := range c.watch.Twice(at) {
		pair := [2]tally.Sight{t.First, t.Second}
		if _, known := c.twice[pair]; !known {
			c.deps.Logger.Warn("the same traffic is counted twice", "first", t.First.String(), "second", t.Second.String(),
				"flows", t.Flows, "share", t.Share,
				"hint", "export it from one place only, or set mode: edge or border for these exporters")
		}
		c.twice[pair] = t
	}
	for pair, t := range c.twice {
		if at.Sub(t.At) > twiceAge {
			delete(c.twice, pair)
		}
	}
	c.metrics.twice.Set(float64(len(c.twice)))
}

// Twice lists the pairs of exporters that were seen to tell of the same traffic in the last 24 hours,
// the latest first.
func (c *Collector) Twice() []tally.Twice {
	c.watchMu.Lock()
	defer c.watchMu.Unlock()
	var out []tally.Twice
	for _, t := range c.twice {
		out = append(out, t)
	}
	slices.SortFunc(out, func(a, b tally.Twice) int {
		return cmp.Or(b.At.Compare(a.At), cmp.Compare(a.First.String(), b.First.String()), cmp.Compare(a.Second.String(), b.Second.String()))
	})
	return out
}
