package main

import "encoding/binary"

// firstTemplate is the number of the template that data is of.
const firstTemplate = 256

func encodeV5(flows []flow) []byte {
	b := put16(nil, 5, uint16(len(flows)))
	b = put32(b, 0, 0, 0, 0) // uptime, seconds, nanoseconds, sequence
	b = put16(b, 0, 0)       // engine, sampling
	for _, f := range flows {
		b = put32(b, f.source, f.destination, 0)
		b = put16(b, 1, 2)
		b = put32(b, PacketsPerRecord, f.octets, 0, 0) // first and last: patched
		b = put16(b, f.sourcePort, f.destinationPort)
		b = append(b, 0, f.flags, f.protocol, 0)
		b = put16(b, 64512, 64513)
		b = append(b, 24, 24, 0, 0)
	}
	return b
}

func patchV5(b []byte, flows []flow, h *header) {
	now := h.uptime()
	binary.BigEndian.PutUint32(b[4:], now)
	binary.BigEndian.PutUint32(b[8:], h.seconds())
	binary.BigEndian.PutUint32(b[12:], uint32(h.millis%1000)*1e6)
	binary.BigEndian.PutUint32(b[16:], uint32(h.records))
	b[20], b[21] = byte(h.domain>>8), byte(h.domain)
	patchUptimes(b[24+24:], 48, flows, now)
}

// patchUptimes writes when flows began and ended, as uptimes that lie stride octets apart.
func patchUptimes(b []byte, stride int, flows []flow, now uint32) {
	for i := range flows {
		binary.BigEndian.PutUint32(b[i*stride:], now-flows[i].length)
		binary.BigEndian.PutUint32(b[i*stride+4:], now)
	}
}

// v9Fields is the usual template of a router: (type, length) pairs, 45 octets a record.
var v9Fields = []uint16{8, 4, 12, 4, 15, 4, 10, 2, 14, 2, 2, 4, 1, 4, 22, 4, 21, 4, 7, 2, 11, 2, 4, 1, 5, 1, 6, 1, 16, 2, 17, 2, 9, 1, 13, 1}

// moreFields end the templates that no data is of, so that no two templates are equal: MAC addresses,
// VLANs, direction, ICMP type, next hops, time to live, IPv4 identification.
var moreFields = []uint16{56, 6, 57, 6, 58, 2, 59, 2, 61, 1, 32, 2, 18, 4, 52, 1, 54, 2, 80, 6}

const (
	v9Record = 45
	v9Times  = 24 // of FIRST_SWITCHED in the record; LAST_SWITCHED follows
)

func encodeV9(flows []flow) []byte {
	b := headerV9(len(flows))
	set := len(b)
	b = put16(b, firstTemplate, 0)
	for _, f := range flows {
		b = put32(b, f.source, f.destination, 0)
		b = put16(b, 1, 2)
		b = put32(b, PacketsPerRecord, f.octets, 0, 0)
		b = appendRest(b, f)
	}
	return closeSet(b, set)
}

// appendRest appends the fields after the times: ports, protocol, service, flags, systems, masks.
func appendRest(b []byte, f flow) []byte {
	b = put16(b, f.sourcePort, f.destinationPort)
	b = append(b, f.protocol, 0, f.flags)
	b = put16(b, 64512, 64513)
	return append(b, 24, 24)
}

func headerV9(count int) []byte {
	return put32(put16(nil, 9, uint16(count)), 0, 0, 0, 0)
}

// closeSet pads the set that begins at an offset to four octets and writes its length.
func closeSet(b []byte, set int) []byte {
	for (len(b)-set)%4 != 0 {
		b = append(b, 0)
	}
	binary.BigEndian.PutUint16(b[set+2:], uint16(len(b)-set))
	return b
}

// templateOctets bounds a datagram of templates.
const templateOctets = 1400

// templateSets returns n templates, the first of which is fields, each as a number, a field count and
// fields; in groups that fit into a datagram.
func templateSets(fields []uint16, n int) (groups [][]byte, counts []int) {
	var group []byte
	count := 0
	for i := range n {
		more := moreFields[:2*(i%(len(moreFields)/2+1))]
		t := put16(nil, uint16(firstTemplate+i), uint16((len(fields)+len(more))/2))
		t = put16(put16(t, fields...), more...)
		if len(group)+len(t) > templateOctets {
			groups, counts, group, count = append(groups, group), append(counts, count), nil, 0
		}
		group, count = append(group, t...), count+1
	}
	return append(groups, group), append(counts, count)
}

func templatesV9(n int) (datagrams [][]byte) {
	groups, counts := templateSets(v9Fields, n)
	for i, group := range groups {
		b := headerV9(counts[i])
		set := len(b)
		datagrams = append(datagrams, closeSet(append(put16(b, 0, 0), group...), set))
	}
	return datagrams
}

func patchHeaderV9(b []byte, h *header) {
	binary.BigEndian.PutUint32(b[4:], h.uptime())
	binary.BigEndian.PutUint32(b[8:], h.seconds())
	binary.BigEndian.PutUint32(b[12:], uint32(h.sequenced))
	binary.BigEndian.PutUint32(b[16:], h.domain)
}

func patchV9(b []byte, flows []flow, h *header) {
	patchHeaderV9(b, h)
	patchUptimes(b[24+v9Times:], v9Record, flows, h.uptime())
}
