package collector

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"hostmeter/internal/failpoint"
	"hostmeter/schemas"
)

const (
	// wholeCells is up to how many tallies a flush of busy meters takes all others along. Above it, that would
	// cost more than it is worth: the others wait, and how many octets they hold is told with the positions.
	wholeCells = 4096
	// crowdedCells is from how many tallies on, evenly in all lanes, everything is flushed although nothing
	// is due. One lane that has its part of them is enough.
	crowdedCells = 1_000_000
	// batchBytes is from which size a shard's part is cut into several batches: brokers refuse
	// messages of more than 1 MiB. tallyBytes is so for the tallies of one.
	batchBytes = 700 << 10
	tallyBytes = batchBytes / 2
)

// Flush writes what was counted to the log. at is the time that completeness and silence are judged
// by: the clock's, or a simulation's.
//
// With all set it takes everything, and says in every shard how far it is complete; else meters with
// traffic to speak of, and nothing if there is none. Nothing is lost if the log refuses: the same
// batches are offered again at the next flush, before anything new is cut.
//
// Errors: what the log said.
func (c *Collector) Flush(ctx context.Context, at time.Time, all bool) error {
	c.flushMu.Lock()
	defer c.flushMu.Unlock()
	c.saveLearned(at)
	if err := c.appendPending(ctx, at); err != nil {
		return err
	}
	c.pending = c.cut(at, all).batches(c.cfg.ID, all)
	return c.appendPending(ctx, at)
}

func (c *Collector) appendPending(ctx context.Context, at time.Time) error {
	if len(c.pending) == 0 {
		return nil
	}
	if err := c.deps.Log.Append(ctx, c.pending); err != nil {
		c.metrics.flushErrors.Inc()
		return fmt.Errorf("append %d batches to the log: %w", len(c.pending), err)
	}
	failpoint.Hit(failpoint.CollectorAppended)
	c.state.took(c.pending)
	c.pending = nil
	c.parts.takeBack()
	if c.recovers {
		c.saveState(at)
	}
	return nil
}

// cut takes out of the collector what a flush writes.
func (c *Collector) cut(at time.Time, all bool) *cut {
	b := newCut(c.cfg.Shards, &c.parts)
	b.classes = c.cfg.tally().ClassNames()
	busy, waiting, crowded := c.waiting()
	switch {
	case all || crowded || busy > 0 && waiting <= c.wholeCells:
		c.noteTwice(at)
		for _, l := range c.lanes {
			l.cut(b, at, true)
		}
	case busy > 0:
		for _, l := range c.lanes {
			l.cut(b, at, false)
		}
	}
	if b.received.from.IsZero() {
		b.received = interval{at, at}
	}
	b.exporters = c.namesOf()
	return b
}

// waiting is how many tallies of busy meters wait, and how many of others. crowded says that one lane has its part of too
// many of them.
func (c *Collector) waiting() (busy, others int, crowded bool) {
	for _, l := range c.lanes {
		l.mu.Lock()
		heavy, all := l.table.Busy(), l.table.Len()
		busy, others = busy+heavy, others+all-heavy
		crowded = crowded || all >= c.crowdedCells/len(c.lanes)
		l.mu.Unlock()
	}
	return busy, others, crowded
}

// cut takes all that a lane has, at one moment: tallies, accounts, and the positions behind them. Where it is not to be
// whole, tallies of meters that are not busy stay, and the positions say how much is in them.
func (l *lane) cut(b *cut, at time.Time, whole bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, a := range l.order {
		a.settle(l, at)
	}
	b.tallies.join(l.corrections)
	l.corrections = newTallies(l.cfg.Shards, nil)
	l.addAccounts(l.table.Flush(whole, b.tallies.add))
	for key, a := range l.accounts {
		l.follow(key, a, at)
		b.addAccounts(l.metrics, []*schemas.ExporterAccount{a})
	}
	clear(l.accounts)
	for _, g := range l.guests {
		b.addGuest(g)
	}
	l.guests = nil
	if whole {
		l.complete = nil
	}
	for _, a := range l.order {
		if whole {
			l.complete = append(l.complete, a.completeness(at, l.cfg.Silence))
		}
		if _, isHost := a.(*host); isHost {
			b.first = append(b.first, a.positions()...)
		} else {
			b.last = append(b.last, a.positions()...)
		}
	}
	b.complete = append(b.complete, l.complete...)
	b.received.join(l.received)
	if whole {
		l.received = interval{}
	}
}

func (l *lane) addAccounts(accounts []*schemas.ExporterAccount) {
	for _, a := range accounts {
		l.account(accountKey{a.Exporter, schemas.Protocol(a.Protocol), a.Hour}).Add(a)
	}
}

// follow keeps how much of an exporter's waits in all, and since when.
func (l *lane) follow(key accountKey, a *schemas.ExporterAccount, at time.Time) {
	if len(a.Held) == 0 {
		return
	}
	addr, err := netip.ParseAddr(key.exporter)
	if err != nil || l.exporters[addr] == nil {
		return
	}
	e := l.exporters[addr]
	if s := e.source(key.protocol); s != nil {
		s.moved = true
		for _, h := range a.Held {
			s.held[heldKey{h.Unit, h.Reason}] += h.Count
		}
	}
	holds := false
	for _, s := range e.sources {
		for _, n := range s.held {
			holds = holds || n > 0
		}
	}
	switch {
	case !holds:
		e.heldSince = time.Time{}
	case e.heldSince.IsZero():
		e.heldSince = at.Add(-l.cfg.Flush.Idle) // it began to wait after the whole flush before
		if !l.received.from.IsZero() && l.received.from.Before(e.heldSince) {
			e.heldSince = l.received.from
		}
	}
}

// cut gathers the parts of the shards.
type cut struct {
	tallies   *tallies
	shards    []shard
	exporters []string // that tallies refer to by position
	classes   []string // the same
	// first and last are the positions that go with the first and the last batch. Should a crash
	// leave only the first batches of an append behind, guests are then not counted twice, and of
	// flows too much rather than too little is declared lost.
	first, last []*schemas.SourcePosition
	complete    []*schemas.Completeness
	received    interval
}

// shard is one shard's part beside its tallies.
type shard struct {
	guests   []*schemas.GuestUsage
	accounts []*schemas.ExporterAccount
}

func newCut(shards uint32, parts *parts) *cut {
	return &cut{tallies: newTallies(shards, parts), shards: make([]shard, shards)}
}

func (b *cut) shardOf(id string) *shard { return &b.shards[schemas.ShardOf(id, uint32(len(b.shards)))] }

func (b *cut) addAccounts(m *metrics, accounts []*schemas.ExporterAccount) {
	for _, a := range accounts {
		m.account(a)
		s := b.shardOf(a.Exporter)
		s.accounts = append(s.accounts, a)
	}
}

func (b *cut) addGuest(g *schemas.GuestUsage) {
	s := b.shardOf(string(schemas.GuestMeter(g.Guest)))
	s.guests = append(s.guests, g)
}

// batches makes batches of the parts; every shard gets one if every is set.
func (b *cut) batches(collector string, every bool) []*schemas.Batch {
	var out []*schemas.Batch
	for i := range b.shards {
		s, parts := &b.shards[i], b.tallies.shards[i]
		slices.SortFunc(s.accounts, schemas.CompareAccounts)
		for first := true; first && every || s.left() > 0 || len(parts) > 0; first = false {
			batch := &schemas.Batch{
				Collector: collector, Shard: uint32(i), Shards: uint32(len(b.shards)),
				ReceivedFrom: b.received.from.UnixNano(), ReceivedTo: b.received.to.UnixNano(),
				Complete: b.complete,
			}
			size := s.fill(batch)
			if len(parts) > 0 && (size == 0 || !parts[0].alone && size+len(parts[0].encoded) <= batchBytes) {
				batch.Exporters, batch.Classes = b.exporters, b.classes
				batch.AttachTallies(parts[0].encoded)
				parts = parts[1:]
			}
			out = append(out, batch)
		}
	}
	if len(out) > 0 {
		out[0].Positions = append(out[0].Positions, b.first...)
		out[len(out)-1].Positions = append(out[len(out)-1].Positions, b.last...)
	}
	return out
}

func (s *shard) left() int { return len(s.guests) + len(s.accounts) }

// fill moves as much into the batch as fits, and one thing at least. It returns how large it is.
func (s *shard) fill(batch *schemas.Batch) (size int) {
	batch.Accounts, s.accounts = take(s.accounts, &size, outsizedAccount)
	batch.Guests, s.guests = take(s.guests, &size, func(*schemas.GuestUsage) bool { return false })
	return size
}

// take moves what fits. Something outsized gets a batch of its own: should a reader refuse it, what
// others used is not refused with it.
func take[M interface{ SizeVT() int }](from []M, size *int, outsized func(M) bool) (taken, left []M) {
	for i, m := range from {
		alone := outsized(m)
		if *size >= batchBytes || alone && *size > 0 {
			return from[:i:i], from[i:]
		}
		*size += m.SizeVT() + 4
		if alone {
			*size = batchBytes
		}
	}
	return from, nil
}

// outsized is more octets, packets or flows than any network carries between two flushes.
const outsized = 1 << 52

func outsizedTally(t *schemas.Tally) bool {
	return outsizedTraffic(t.In) || outsizedTraffic(t.Out)
}

func outsizedTraffic(t *schemas.Traffic) bool {
	return t != nil && max(t.Octets, t.Packets, t.Flows, t.VarianceKib2) >= outsized
}

func outsizedAccount(a *schemas.ExporterAccount) bool {
	return max(a.GetOctets(), a.GetPackets(), a.GetReportedOctets(), a.GetReportedPackets()) >= outsized
}

// tallies gathers tallies by shard in encoded form, in parts that fit into a batch. Something outsized is
// a part of its own.
type tallies struct {
	shards [][]part
	n      int
	memory *parts // nil: of the heap
}

// part is as many tallies of a shard as go into one batch. One that is alone goes into one with nothing else:
// should a reader refuse it, nothing is refused with it.
type part struct {
	encoded []byte
	alone   bool
}

// open says whether a part takes more.
func (p *part) open() bool { return !p.alone && len(p.encoded) < tallyBytes }

func newTallies(shards uint32, memory *parts) *tallies {
	return &tallies{shards: make([][]part, shards), memory: memory}
}

// parts is memory for the parts of tallies, used again once the log has taken what was in it.
type parts struct{ free, taken [][]byte }

const (
	// partBytes holds what may stand in a part before it is full, and one more tally of a busy meter.
	partBytes = tallyBytes + 16<<10
	// partsMost bounds what is kept for the next flush.
	partsMost = 64
)

func (p *parts) get() []byte {
	if p == nil {
		return nil
	}
	if len(p.free) == 0 {
		p.free = append(p.free, make([]byte, 0, partBytes))
	}
	last := len(p.free) - 1
	part := p.free[last]
	p.free, p.taken = p.free[:last], append(p.taken, part)
	return part
}

func (p *parts) takeBack() {
	p.free = append(p.free, p.taken...)
	kept := min(len(p.free), partsMost)
	clear(p.free[kept:])
	clear(p.taken)
	p.free, p.taken = p.free[:kept], p.taken[:0]
}

func (t *tallies) add(m *schemas.Tally) {
	t.n++
	shard := schemas.ShardOf(m.Meter, uint32(len(t.shards)))
	parts, alone := t.shards[shard], outsizedTally(m)
	if alone || len(parts) == 0 || !parts[len(parts)-1].open() {
		parts = append(parts, part{t.memory.get(), alone})
		t.shards[shard] = parts
	}
	last := &parts[len(parts)-1]
	last.encoded = schemas.AppendTally(last.encoded, m)
}

// join takes over the parts of others.
func (t *tallies) join(others *tallies) {
	t.n += others.n
	for i, parts := range others.shards {
		t.shards[i] = append(t.shards[i], parts...)
	}
}
