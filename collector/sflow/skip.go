package sflow

import "encoding/binary"

// Skip counts a datagram as dropped without reading its records: it costs next to nothing. It was received,
// so its sequence number and those of its samples are followed.
func (d *Decoder) Skip(datagram []byte) {
	d.counters = d.counters[:0]
	d.stats.DatagramCount++
	d.stats.Dropped[DroppedBudget]++
	before := d.stats.Dropped
	h, number, samples, b, err := d.header(datagram)
	d.stats.Dropped = before // one reason a datagram
	if err != nil {
		return
	}
	d.follow(&h, datagrams, number, &d.stats.LostDatagrams)
	for ; samples > 0 && len(b) >= 8; samples-- {
		format, length := binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])
		if uint64(length) > uint64(len(b)-8) {
			return
		}
		sample := b[8 : 8+length]
		b = b[8+length:]
		switch {
		case format == flowSample && len(sample) >= 32:
			id := binary.BigEndian.Uint32(sample[4:])
			d.follow(&h, uint64(id>>24)<<32|uint64(id&0xffffff), binary.BigEndian.Uint32(sample), &d.stats.LostSamples)
		case format == expandedFlowSample && len(sample) >= 44:
			d.follow(&h, binary.BigEndian.Uint64(sample[4:]), binary.BigEndian.Uint32(sample), &d.stats.LostSamples)
		}
	}
}
