package collector

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"

	"hostmeter/schemas"
)

// positions of an exporter's sources that moved, after a flush: the sequence numbers that its decoders expect, its
// interfaces' counters, what waits, and when a datagram was last received.
func (e *exporter) positions() []*schemas.SourcePosition {
	var out []*schemas.SourcePosition
	for _, s := range e.sources {
		waits := s.handle.Waiting()
		if s.moved || waits != s.waits {
			s.moved, s.waits = false, waits
			out = append(out, s.positions()...)
		}
	}
	slices.SortFunc(out, func(a, b *schemas.SourcePosition) int { return cmp.Compare(a.Key, b.Key) })
	return out
}

func (s *source) positions() []*schemas.SourcePosition {
	var decoder []*schemas.SourcePosition
	if s.samples != nil {
		decoder = s.samples.Positions()
	} else {
		decoder = s.flows.Positions()
	}
	receipt := &schemas.SourcePosition{Key: receiptKey(s.protocol)}
	if s.waits > 0 {
		receipt.Values = []uint64{s.waits}
	}
	out := append(decoder, receipt)
	for key, n := range s.held {
		out = append(out, &schemas.SourcePosition{
			Key: heldPrefix(s.protocol) + key.unit + "/" + key.reason, Values: []uint64{uint64(max(n, 0))},
		})
		if n == 0 {
			delete(s.held, key)
		}
	}
	out = append(out, s.portPositions()...)
	for _, p := range out {
		p.Source, p.At = s.exporter.text, s.last.UnixNano()
	}
	return out
}

func heldPrefix(protocol schemas.Protocol) string { return string(protocol) + "/held/" }

// receiptKey names when a source was last heard, and, as a value, how many octets of its records were in no tally then, though
// the accounts and positions have them.
func receiptKey(protocol schemas.Protocol) string { return string(protocol) + "/receipt" }

// restore gives the exporters and hypervisors the positions of the run before.
func (c *Collector) restore(positions map[positionKey]*schemas.SourcePosition) {
	var hosts []*schemas.SourcePosition
	exporters := make([]map[netip.Addr][]*schemas.SourcePosition, len(c.lanes))
	for i := range exporters {
		exporters[i] = map[netip.Addr][]*schemas.SourcePosition{}
	}
	for key, p := range positions {
		if strings.HasPrefix(key.source, "libvirt/") {
			hosts = append(hosts, p)
			continue
		}
		if addr, err := netip.ParseAddr(key.source); err == nil {
			of := exporters[c.laneOf(addr)]
			of[addr] = append(of[addr], p)
		}
	}
	for i, l := range c.lanes {
		l.restore(exporters[i])
	}
	l := c.lanes[0]
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, h := range l.hosts {
		h.restore(hosts)
	}
	l.restoredHosts = hosts // of those that are fed later
}

// restore gives a lane's exporters their positions.
func (l *lane) restore(positions map[netip.Addr][]*schemas.SourcePosition) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var heard []*exporter
	for addr, of := range positions {
		e := l.exporters[addr]
		if e == nil {
			cfg := l.allow.find(addr)
			if cfg == nil { // it may not send any more
				continue
			}
			e = l.addExporter(addr, cfg)
		}
		e.restored = append(e.restored, of...)
		heard = append(heard, e)
	}
	for _, e := range heard {
		for _, protocol := range []schemas.Protocol{schemas.NetFlow5, schemas.NetFlow9, schemas.IPFIX, schemas.SFlow5} {
			if e.source(protocol) == nil && slices.ContainsFunc(e.restored, func(p *schemas.SourcePosition) bool {
				return p.GetKey() == receiptKey(protocol)
			}) {
				l.addSource(e, protocol)
			}
		}
	}
}

// restoreSource gives a new source the positions of its protocol. What waited in the run before is
// gone with it, and declared as dropped.
func (l *lane) restoreSource(s *source) {
	var decoder []*schemas.SourcePosition
	for _, p := range s.exporter.restored {
		if index, isPort := strings.CutPrefix(p.GetKey(), "port/"); isPort {
			if s.protocol == schemas.SFlow5 {
				s.restorePort(index, p)
			}
			continue
		}
		if !strings.HasPrefix(p.GetKey(), string(s.protocol)+"/") {
			continue
		}
		if what, isHeld := strings.CutPrefix(p.GetKey(), heldPrefix(s.protocol)); isHeld {
			l.dropHeld(s, what, p)
			continue
		}
		if p.GetKey() == receiptKey(s.protocol) {
			l.dropWaits(s, p)
			s.last = time.Unix(0, p.GetAt()).UTC()
			s.hour = hourOf(s.last)
			if s.last.After(s.exporter.last) {
				s.exporter.last = s.last
			}
			continue
		}
		decoder = append(decoder, p)
	}
	if s.samples != nil {
		s.samples.Restore(decoder)
	} else {
		s.flows.Restore(decoder)
	}
}

// dropWaits declares what no tally held when the run before was killed.
func (l *lane) dropWaits(s *source, p *schemas.SourcePosition) {
	if len(p.GetValues()) != 1 || p.GetValues()[0] == 0 {
		return
	}
	s.waits = p.GetValues()[0] // until the next flush tells that nothing waits
	a := l.account(accountKey{s.exporter.text, s.protocol, hourOf(time.Unix(0, p.GetAt()))})
	a.Dropped = schemas.AddCounts(a.Dropped, count("octets", "restart", int64(s.waits)))
}

func (l *lane) dropHeld(s *source, what string, p *schemas.SourcePosition) {
	unit, reason, ok := strings.Cut(what, "/")
	if !ok || len(p.GetValues()) != 1 || p.GetValues()[0] == 0 {
		return
	}
	n := int64(p.GetValues()[0])
	a := l.account(accountKey{s.exporter.text, s.protocol, hourOf(time.Unix(0, p.GetAt()))})
	a.Held = schemas.AddCounts(a.Held, count(unit, reason, -n))
	a.Dropped = schemas.AddCounts(a.Dropped, count(unit, "restart", n))
	s.held[heldKey{unit, reason}] = n
	s.moved = true
	l.metrics.held.WithLabelValues(unit, reason).Add(float64(n)) // the account takes it away again
}
