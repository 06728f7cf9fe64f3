package main

import (
	"encoding/binary"
	"time"
)

const (
	templateID = 256
	domain     = 7
)

func encodeV5(flows []flow) Datagram {
	b := put16(nil, 5, uint16(len(flows)))
	b = put32(b, 0, 0, 0, 0) // uptime, seconds, nanoseconds, sequence
	b = put16(b, 0, 0)       // engine, sampling
	d := Datagram{Records: uint64(len(flows)), Packets: uint64(len(flows) * PacketsPerRecord)}
	for _, f := range flows {
		b = put32(b, f.source, f.destination, 0)
		b = put16(b, 1, 2)
		b = put32(b, PacketsPerRecord, f.octets, 0, 0) // first and last: patched
		b = put16(b, f.sourcePort, f.destinationPort)
		b = append(b, 0, 0x18, 6, 0)
		b = put16(b, 64512, 64513)
		b = append(b, 24, 24, 0, 0)
		d.Octets += uint64(f.octets)
	}
	d.Payload, d.patch = b, patchV5
	return d
}

func patchV5(b []byte, at time.Time, sent counters) {
	now := uptime(at)
	binary.BigEndian.PutUint32(b[4:], now)
	binary.BigEndian.PutUint32(b[8:], uint32(at.Unix()))
	binary.BigEndian.PutUint32(b[12:], uint32(at.Nanosecond()))
	binary.BigEndian.PutUint32(b[16:], uint32(sent.records))
	for r := 24; r < len(b); r += 48 {
		binary.BigEndian.PutUint32(b[r+24:], now-flowLength)
		binary.BigEndian.PutUint32(b[r+28:], now)
	}
}

// v9Fields is the usual template of a router: (type, length) pairs, 45 octets a record.
var v9Fields = []uint16{8, 4, 12, 4, 15, 4, 10, 2, 14, 2, 2, 4, 1, 4, 22, 4, 21, 4, 7, 2, 11, 2, 4, 1, 5, 1, 6, 1, 16, 2, 17, 2, 9, 1, 13, 1}

const (
	v9Record = 45
	v9Times  = 24 // of FIRST_SWITCHED in the record; LAST_SWITCHED follows
)

func encodeV9(flows []flow) Datagram {
	b := headerV9(len(flows))
	set := len(b)
	b = put16(b, templateID, 0)
	d := Datagram{Records: uint64(len(flows)), Packets: uint64(len(flows) * PacketsPerRecord)}
	for _, f := range flows {
		b = put32(b, f.source, f.destination, 0)
		b = put16(b, 1, 2)
		b = put32(b, PacketsPerRecord, f.octets, 0, 0)
		b = appendRest(b, f)
		d.Octets += uint64(f.octets)
	}
	d.Payload, d.patch = closeSet(b, set), patchV9
	return d
}

// appendRest appends the fields after the times: ports, protocol, service, flags, systems, masks.
func appendRest(b []byte, f flow) []byte {
	b = put16(b, f.sourcePort, f.destinationPort)
	b = append(b, 6, 0, 0x18)
	b = put16(b, 64512, 64513)
	return append(b, 24, 24)
}

func headerV9(count int) []byte {
	return put32(put16(nil, 9, uint16(count)), 0, 0, 0, domain)
}

// closeSet pads the set that begins at an offset to four octets and writes its length.
func closeSet(b []byte, set int) []byte {
	for (len(b)-set)%4 != 0 {
		b = append(b, 0)
	}
	binary.BigEndian.PutUint16(b[set+2:], uint16(len(b)-set))
	return b
}

func templatesV9() *Datagram {
	b := headerV9(1)
	set := len(b)
	b = put16(b, 0, 0, templateID, uint16(len(v9Fields)/2))
	b = put16(b, v9Fields...)
	return &Datagram{Payload: closeSet(b, set), patch: patchHeaderV9}
}

func patchHeaderV9(b []byte, at time.Time, sent counters) {
	binary.BigEndian.PutUint32(b[4:], uptime(at))
	binary.BigEndian.PutUint32(b[8:], uint32(at.Unix()))
	binary.BigEndian.PutUint32(b[12:], uint32(sent.sequenced))
}

func patchV9(b []byte, at time.Time, sent counters) {
	patchHeaderV9(b, at, sent)
	now := uptime(at)
	for r := 24; r+v9Record <= len(b); r += v9Record {
		binary.BigEndian.PutUint32(b[r+v9Times:], now-flowLength)
		binary.BigEndian.PutUint32(b[r+v9Times+4:], now)
	}
}
