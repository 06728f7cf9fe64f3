package detector

import (
	"math"
	"math/bits"
	"time"

	"hostmeter/internal/stream"
	"hostmeter/schemas"
)

// progress is up to where in event time the exporters have told everything: what closes cells.
//
// It is made of the Completeness in each shard's batches. An exporter's accounts travel in another
// shard than its meters' tallies, so a cell is closed when all shards are past it.
type progress struct {
	names      []string // exporters by id
	ids        map[string]int
	minutes    []map[int64]uint64 // of each exporter: hour -> minutes observed
	collectors map[string]*collector
}

type collector struct {
	shards map[uint32]*shard
	// silentFor is how long nothing was read of it, by the clock; dead: longer than the silence.
	silentFor time.Duration
	dead      bool
}

type shard struct {
	received int64
	through  map[int]through
	gaps     []span
	// gapOpen: a gap began at gapFrom; the next batch says where it ends.
	gapOpen bool
	gapFrom int64
}

type through struct {
	at     int64
	silent bool
}

type span struct{ from, to int64 }

const (
	// shardLag is how far, in time of receipt, a shard may be behind the others before it no longer
	// holds event time back.
	shardLag = int64(10 * time.Minute)
	// minutesKept is for how long it is known which minutes an exporter was observed.
	minutesKept = 30
	gapsKept    = int64(48 * time.Hour)
)

func newProgress() *progress {
	return &progress{ids: map[string]int{}, collectors: map[string]*collector{}}
}

func (p *progress) id(name string) int {
	id, known := p.ids[name]
	if !known {
		id = len(p.names)
		p.ids[name] = id
		p.names = append(p.names, name)
		p.minutes = append(p.minutes, nil)
	}
	return id
}

func (p *progress) shard(name string, index uint32) (*collector, *shard) {
	c := p.collectors[name]
	if c == nil {
		c = &collector{shards: map[uint32]*shard{}}
		p.collectors[name] = c
	}
	s := c.shards[index]
	if s == nil {
		s = &shard{through: map[int]through{}}
		c.shards[index] = s
	}
	return c, s
}

// take notes what a batch says of its collector and exporters.
func (p *progress) take(b *schemas.Batch) *shard {
	c, s := p.shard(b.GetCollector(), b.GetShard())
	c.silentFor, c.dead = 0, false
	if s.gapOpen {
		s.gaps = append(s.gaps, span{s.gapFrom, max(s.gapFrom, b.GetReceivedFrom())})
		s.gapOpen = false
	}
	s.received = max(s.received, b.GetReceivedTo())
	for _, e := range b.GetComplete() {
		id := p.id(e.GetExporter())
		s.through[id] = through{at: max(s.through[id].at, e.GetThrough()), silent: e.GetSilent()}
	}
	for _, a := range b.GetAccounts() {
		p.account(a)
	}
	return s
}

func (p *progress) account(a *schemas.ExporterAccount) {
	id := p.id(a.GetExporter())
	if p.minutes[id] == nil {
		p.minutes[id] = map[int64]uint64{}
	}
	m := p.minutes[id]
	m[a.GetHour()] |= a.GetMinutesObserved()
	for hour := range m {
		if hour < a.GetHour()-minutesKept {
			delete(m, hour)
		}
	}
}

// lost notes that batches of a sequence are gone: what they held is not known.
func (p *progress) lost(gap *stream.GapError) {
	_, s := p.shard(gap.Key.Collector, gap.Key.Shard)
	from := s.received
	for _, t := range s.through { // the lost batches told of the time since these
		if t.at > 0 {
			from = min(from, t.at)
		}
	}
	s.gapOpen, s.gapFrom = true, from
	for len(s.gaps) > 0 && s.gaps[0].to < s.received-gapsKept {
		s.gaps = s.gaps[1:]
	}
}

// waited notes that nothing was read for a time.
func (p *progress) waited(d, silence time.Duration) {
	for _, c := range p.collectors {
		c.silentFor += d
		c.dead = c.silentFor > silence
	}
}

// readTo returns up to where, in time of receipt, the log has been read: of all collectors that say something, and all
// their shards that are not far behind the others. It is now where all are silent, for then there is no more to read, and 0
// where nothing is known of any.
func (p *progress) readTo(now time.Time) int64 {
	least, alive := int64(math.MaxInt64), false
	for _, c := range p.collectors {
		if c.dead {
			continue
		}
		alive = true
		newest := int64(0)
		for _, s := range c.shards {
			newest = max(newest, s.received)
		}
		for _, s := range c.shards {
			if s.received >= newest-shardLag {
				least = min(least, s.received)
			}
		}
	}
	switch {
	case len(p.collectors) == 0:
		return 0
	case !alive:
		return now.UnixNano()
	}
	return least
}

// front is a reading of progress: per exporter, up to where its cells can be closed.
type front struct {
	through []int64
	silent  []bool
	// unnamed is for exporters that no Completeness names: the least time of receipt.
	unnamed int64
}

func (p *progress) front(now time.Time) front {
	f := front{through: make([]int64, len(p.names)), silent: make([]bool, len(p.names)), unnamed: math.MaxInt64}
	named := make([]bool, len(p.names))
	for _, c := range p.collectors {
		newest := int64(0)
		for _, s := range c.shards {
			newest = max(newest, s.received)
		}
		least := map[int]through{}
		for _, s := range c.shards {
			if s.received < newest-shardLag {
				continue
			}
			f.unnamed = min(f.unnamed, s.received)
			for id, t := range s.through {
				if t.silent {
					t.at = max(t.at, s.received)
				}
				if old, there := least[id]; there {
					t.at, t.silent = min(t.at, old.at), t.silent || old.silent
				}
				least[id] = t
			}
		}
		for id, t := range least {
			if c.dead {
				t = through{at: now.UnixNano(), silent: true}
			}
			if !named[id] || t.at > f.through[id] {
				f.through[id], f.silent[id] = t.at, t.silent
			}
			named[id] = true
		}
	}
	if f.unnamed == math.MaxInt64 {
		f.unnamed = 0
	}
	for id := range named {
		if !named[id] {
			f.through[id] = f.unnamed
		}
	}
	return f
}

// observed says whether an exporter was under observation for at least half of [from, to).
func (p *progress) observed(f *front, id int, from, to int64) bool {
	if p.minutes[id] == nil { // it never sent an account: go by completeness
		return !f.silent[id] && f.through[id] >= to
	}
	const minute = int64(time.Minute)
	first, last := from/minute, (to-1)/minute
	seen := int64(0)
	for m := first; m <= last; {
		hour := m / 60
		end := min(last, hour*60+59)
		mask := (^uint64(0) >> (63 - uint(end-m))) << uint(m-hour*60)
		seen += int64(bits.OnesCount64(p.minutes[id][hour] & mask))
		m = end + 1
	}
	return 2*seen >= last-first+1
}

// inGap says whether at least half of [from, to) was lost in a shard of any collector; anyShard is
// for sums over meters of all shards.
func (p *progress) inGap(index uint32, from, to int64) bool {
	for _, c := range p.collectors {
		for i, s := range c.shards {
			if i != index && index != anyShard {
				continue
			}
			for _, g := range s.gaps {
				if 2*(min(g.to, to)-max(g.from, from)) >= to-from {
					return true
				}
			}
		}
	}
	return false
}

const anyShard = math.MaxUint32
