package collector

import (
	"strconv"
	"time"

	"hostmeter/collector/sflow"
	"hostmeter/collector/tally"
	"hostmeter/schemas"
)

// port is the last counter sample of an exporter's interface. The time between two samples is the agent's own,
// by its uptime: ours may be set back or forward between them.
type port struct {
	inOctets, inPackets, outOctets, outPackets uint64 // packets modulo 2^32
	uptime                                     uint32 // milliseconds
	moved                                      bool
}

const (
	// portsMost bounds the interfaces that are followed of one exporter.
	portsMost = 65_536
	// reorderMost is by how much an older sample that comes late can lie behind.
	reorderMost = 60_000 // milliseconds
	// portGapMost and portSpeedMost bound what is believed of the time between two samples.
	portGapMost   = 24 * time.Hour
	portSpeedMost = 1_000_000_000_000 // bits per second
	// portProtocol is the protocol of an exporter's account of its interfaces' counters. They are
	// witnesses of the same traffic that its flow samples tell, and would double it there.
	portProtocol = schemas.Protocol("sflow5-counters")
)

// bookPort books the difference to the interface's last sample. A first sample, and one after the
// agent restarted, is a baseline only; one that is older than the last is passed over.
func (l *lane) bookPort(s *source, at time.Time, sample sflow.CounterSample) {
	now := &port{
		inOctets: sample.InOctets, inPackets: uint64(sample.InPackets()),
		outOctets: sample.OutOctets, outPackets: uint64(sample.OutPackets()),
		uptime: sample.UptimeMilliseconds, moved: true,
	}
	before := s.ports[sample.IfIndex]
	if before == nil && len(s.ports) >= portsMost {
		l.dropSample(s, at, "interface_limit")
		return
	}
	if before != nil && now.uptime < before.uptime && before.uptime-now.uptime < reorderMost {
		l.dropSample(s, at, "reordered")
		return
	}
	s.ports[sample.IfIndex] = now
	if before == nil || now.uptime < before.uptime {
		return
	}
	delta := tally.PortDelta{
		InOctets: now.inOctets - before.inOctets, InPackets: uint64(uint32(now.inPackets - before.inPackets)),
		OutOctets: now.outOctets - before.outOctets, OutPackets: uint64(uint32(now.outPackets - before.outPackets)),
	}
	elapsed := time.Duration(now.uptime-before.uptime) * time.Millisecond
	if now.inOctets < before.inOctets || now.outOctets < before.outOctets ||
		!carries(sample.SpeedBitsPerSecond, elapsed, delta) {
		l.dropSample(s, at, "counter_reset")
		return
	}
	// A meter's in is what came to who is behind the port: what the switch sent.
	behind := tally.PortDelta{
		InOctets: delta.OutOctets, InPackets: delta.OutPackets,
		OutOctets: delta.InOctets, OutPackets: delta.InPackets,
	}
	meter := schemas.PortMeter(s.exporter.addr, sample.IfIndex)
	l.table.AddPort(l.portHandle(s), meter, at.Add(-elapsed), at, behind, tally.PortOverhead)
}

func (l *lane) portHandle(s *source) *tally.Exporter {
	if s.portHandle == nil {
		config := l.handleConfig(s)
		config.Protocol = portProtocol
		s.portHandle = l.table.Exporter(config)
	}
	return s.portHandle
}

// carries says whether an interface of a speed can have carried that much, with room for samples
// that came early or late; speed 0 is not known.
func carries(speed uint64, elapsed time.Duration, delta tally.PortDelta) bool {
	if elapsed > portGapMost {
		return false
	}
	if speed == 0 || speed > portSpeedMost {
		speed = portSpeedMost
	}
	limit := float64(speed) / 8 * 2 * (elapsed.Seconds() + 60)
	return float64(delta.InOctets) <= limit && float64(delta.OutOctets) <= limit
}

func (l *lane) dropSample(s *source, at time.Time, reason string) {
	a := l.account(accountKey{s.exporter.text, s.protocol, hourOf(at)})
	a.Dropped = schemas.AddCounts(a.Dropped, count("samples", reason, 1))
}

// portPositions are those of interfaces that were sampled since the last call.
func (s *source) portPositions() []*schemas.SourcePosition {
	var out []*schemas.SourcePosition
	for index, p := range s.ports {
		if !p.moved {
			continue
		}
		p.moved = false
		out = append(out, &schemas.SourcePosition{
			Key:    "port/" + strconv.FormatUint(uint64(index), 10),
			Values: []uint64{p.inOctets, p.inPackets, p.outOctets, p.outPackets, uint64(p.uptime)},
		})
	}
	return out
}

func (s *source) restorePort(index string, p *schemas.SourcePosition) {
	n, err := strconv.ParseUint(index, 10, 32)
	if v := p.GetValues(); err == nil && len(v) == 5 {
		s.ports[schemas.IfIndex(n)] = &port{
			inOctets: v[0], inPackets: v[1], outOctets: v[2], outPackets: v[3],
			uptime: uint32(v[4]),
		}
	}
}
