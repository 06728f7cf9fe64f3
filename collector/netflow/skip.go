package netflow

import (
	"encoding/binary"
	"net/netip"
	"time"
)

// Skip counts a datagram as dropped without reading its records or templates: it costs next to nothing.
//
// It was received, so its sequence number is followed and what is missing before it is lost. How many
// records an IPFIX message holds is not looked at: what is missing behind it is not declared, rather than
// its own records.
func (d *Decoder) Skip(from netip.AddrPort, receivedAt time.Time, datagram []byte) {
	d.stats.Dropped[DroppedBudget]++
	version := uint16(0)
	if len(datagram) >= 2 {
		version = binary.BigEndian.Uint16(datagram)
	}
	switch version {
	case 5:
		d.stats.Datagrams5++
	case 9:
		d.stats.Datagrams9++
	default:
		d.stats.DatagramsIPFIX++
	}
	b := datagram
	switch {
	case version == 5 && len(b) >= header5:
		count := uint32(binary.BigEndian.Uint16(b[2:]))
		if _, ses, err := d.streamOf(domainKey{5, uint32(binary.BigEndian.Uint16(b[20:]))}, from.Port(), receivedAt); err == nil && header5+int(count)*record5 <= len(b) {
			d.count(&d.stats.LostFlows, ses, binary.BigEndian.Uint32(b[16:]), count, binary.BigEndian.Uint32(b[4:]), false)
		}
	case version == 9 && len(b) >= 20:
		if _, ses, err := d.streamOf(domainKey{9, binary.BigEndian.Uint32(b[16:])}, from.Port(), receivedAt); err == nil {
			d.count(&d.stats.LostDatagrams, ses, binary.BigEndian.Uint32(b[12:]), 1, binary.BigEndian.Uint32(b[4:]), false)
		}
	case version == 10 && len(b) >= 16:
		if _, ses, err := d.streamOf(domainKey{10, binary.BigEndian.Uint32(b[12:])}, from.Port(), receivedAt); err == nil {
			d.count(&d.stats.LostRecords, ses, binary.BigEndian.Uint32(b[8:]), 0, 0, true)
		}
	}
}
