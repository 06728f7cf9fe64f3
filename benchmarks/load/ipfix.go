package main

import (
	"encoding/binary"
	"time"
)

// ipfixFields is a template as v9Fields, with 64-bit counters and times: 61 octets a record.
var ipfixFields = []uint16{8, 4, 12, 4, 15, 4, 10, 2, 14, 2, 2, 8, 1, 8, 152, 8, 153, 8, 7, 2, 11, 2, 4, 1, 5, 1, 6, 1, 16, 2, 17, 2, 9, 1, 13, 1}

const (
	ipfixRecord = 61
	ipfixTimes  = 32
)

func encodeIPFIX(flows []flow) Datagram {
	b := put32(put16(nil, 10, 0), 0, 0, domain)
	set := len(b)
	b = put16(b, templateID, 0)
	d := Datagram{Records: uint64(len(flows)), Packets: uint64(len(flows) * PacketsPerRecord)}
	for _, f := range flows {
		b = put32(b, f.source, f.destination, 0)
		b = put16(b, 1, 2)
		b = put32(b, 0, PacketsPerRecord, 0, f.octets, 0, 0, 0, 0)
		b = appendRest(b, f)
		d.Octets += uint64(f.octets)
	}
	d.Payload, d.patch = closeMessage(closeSet(b, set)), patchIPFIX
	return d
}

func closeMessage(b []byte) []byte {
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	return b
}

func templatesIPFIX() *Datagram {
	b := put32(put16(nil, 10, 0), 0, 0, domain)
	set := len(b)
	b = put16(b, 2, 0, templateID, uint16(len(ipfixFields)/2))
	b = put16(b, ipfixFields...)
	return &Datagram{Payload: closeMessage(closeSet(b, set)), patch: patchHeaderIPFIX}
}

// patchHeaderIPFIX writes the records sent before: templates do not count.
func patchHeaderIPFIX(b []byte, at time.Time, sent counters) {
	binary.BigEndian.PutUint32(b[4:], uint32(at.Unix()))
	binary.BigEndian.PutUint32(b[8:], uint32(sent.records))
}

func patchIPFIX(b []byte, at time.Time, sent counters) {
	patchHeaderIPFIX(b, at, sent)
	now := uint64(at.UnixMilli())
	for r := 20; r+ipfixRecord <= len(b); r += ipfixRecord {
		binary.BigEndian.PutUint64(b[r+ipfixTimes:], now-flowLength)
		binary.BigEndian.PutUint64(b[r+ipfixTimes+8:], now)
	}
}
