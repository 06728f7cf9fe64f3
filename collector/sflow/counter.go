package sflow

import (
	"encoding/binary"

	"hostmeter/schemas"
)

// CounterSample holds the running totals of one interface (if_counters), layer 2 with FCS.
type CounterSample struct {
	IfIndex                  schemas.IfIndex
	SpeedBitsPerSecond       uint64
	InOctets, OutOctets      uint64
	InUnicast, InMulticast   uint32
	InBroadcast              uint32
	InDiscards, InErrors     uint32
	OutUnicast, OutMulticast uint32
	OutBroadcast             uint32
	OutDiscards, OutErrors   uint32
	UptimeMilliseconds       uint32 // of the sub-agent, to tell a restart
}

// InPackets is the number of frames received, modulo 2^32.
func (c *CounterSample) InPackets() uint32 { return c.InUnicast + c.InMulticast + c.InBroadcast }

// OutPackets is the number of frames sent, modulo 2^32.
func (c *CounterSample) OutPackets() uint32 { return c.OutUnicast + c.OutMulticast + c.OutBroadcast }

// interfaceCounters is the format and the length of if_counters.
const (
	interfaceCounters       = 1
	interfaceCountersOctets = 88
)

// counter reads a counter sample; of its records only the generic interface counters are kept.
func (d *Decoder) counter(h *head, b []byte, expanded bool) {
	fixed := 12
	if expanded {
		fixed = 16
	}
	if len(b) < fixed {
		d.stats.Dropped[DroppedSampleLength]++
		return
	}
	d.stats.CounterSamples++
	count := binary.BigEndian.Uint32(b[fixed-4:])
	for b = b[fixed:]; count > 0; count-- {
		format, data, rest, ok := nextRecord(b)
		if !ok {
			d.stats.Dropped[DroppedRecordLength]++
			d.stats.CounterSamples--
			return
		}
		if b = rest; format == interfaceCounters && len(data) >= interfaceCountersOctets {
			d.interfaceCounters(h, data)
		}
	}
}

// interfaceCounters keeps the counters of an interface that has any: all ones is "not supported".
func (d *Decoder) interfaceCounters(h *head, b []byte) {
	word := func(at int) uint32 { return binary.BigEndian.Uint32(b[at:]) }
	c := CounterSample{
		IfIndex:            schemas.IfIndex(word(0)),
		SpeedBitsPerSecond: binary.BigEndian.Uint64(b[8:]),
		InOctets:           binary.BigEndian.Uint64(b[24:]),
		InUnicast:          word(32),
		InMulticast:        word(36),
		InBroadcast:        word(40),
		InDiscards:         word(44),
		InErrors:           word(48),
		OutOctets:          binary.BigEndian.Uint64(b[56:]),
		OutUnicast:         word(64),
		OutMulticast:       word(68),
		OutBroadcast:       word(72),
		OutDiscards:        word(76),
		OutErrors:          word(80),
		UptimeMilliseconds: h.uptime,
	}
	const unsupported = 1<<64 - 1
	if c.InOctets != unsupported && c.OutOctets != unsupported {
		d.counters = append(d.counters, c)
	}
}
