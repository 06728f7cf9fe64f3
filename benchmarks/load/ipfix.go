package main

import "encoding/binary"

// ipfixFields is a template as v9Fields, with 64-bit counters and times: 61 octets a record.
var ipfixFields = []uint16{8, 4, 12, 4, 15, 4, 10, 2, 14, 2, 2, 8, 1, 8, 152, 8, 153, 8, 7, 2, 11, 2, 4, 1, 5, 1, 6, 1, 16, 2, 17, 2, 9, 1, 13, 1}

const (
	ipfixRecord = 61
	ipfixTimes  = 32
)

func encodeIPFIX(flows []flow) []byte {
	b := put32(put16(nil, 10, 0), 0, 0, 0)
	set := len(b)
	b = put16(b, firstTemplate, 0)
	for _, f := range flows {
		b = put32(b, f.source, f.destination, 0)
		b = put16(b, 1, 2)
		b = put32(b, 0, PacketsPerRecord, 0, f.octets, 0, 0, 0, 0)
		b = appendRest(b, f)
	}
	return closeMessage(closeSet(b, set))
}

func closeMessage(b []byte) []byte {
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	return b
}

func templatesIPFIX(n int) (datagrams [][]byte) {
	groups, _ := templateSets(ipfixFields, n)
	for _, group := range groups {
		b := put32(put16(nil, 10, 0), 0, 0, 0)
		set := len(b)
		datagrams = append(datagrams, closeMessage(closeSet(append(put16(b, 2, 0), group...), set)))
	}
	return datagrams
}

// patchHeaderIPFIX writes the records sent before: templates do not count.
func patchHeaderIPFIX(b []byte, h *header) {
	binary.BigEndian.PutUint32(b[4:], h.seconds())
	binary.BigEndian.PutUint32(b[8:], uint32(h.records))
	binary.BigEndian.PutUint32(b[12:], h.domain)
}

func patchIPFIX(b []byte, flows []flow, h *header) {
	patchHeaderIPFIX(b, h)
	for i := range flows {
		times := b[20+i*ipfixRecord+ipfixTimes:]
		binary.BigEndian.PutUint64(times, h.millis-uint64(flows[i].length))
		binary.BigEndian.PutUint64(times[8:], h.millis)
	}
}
