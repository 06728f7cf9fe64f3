package collector_test

import (
	"encoding/binary"
	"net/netip"
	"time"
)

// flow is what the test exporters tell of: so many packets of one size from source to destination.
type flow struct {
	source, destination netip.Addr
	packets, octets     uint32
}

func ip(text string) netip.Addr { return netip.MustParseAddr(text) }

// v5 writes a NetFlow v5 datagram: sequence counts flows, interval is the sampling rate or 0.
func v5(at time.Time, sequence uint32, interval uint16, flows ...flow) []byte {
	uptime := uint32(at.UnixMilli() & 0x7fffffff)
	b := binary.BigEndian.AppendUint16(nil, 5)
	b = binary.BigEndian.AppendUint16(b, uint16(len(flows)))
	b = binary.BigEndian.AppendUint32(b, uptime)
	b = binary.BigEndian.AppendUint32(b, uint32(at.Unix()))
	b = binary.BigEndian.AppendUint32(b, uint32(at.Nanosecond()))
	b = binary.BigEndian.AppendUint32(b, sequence)
	b = binary.BigEndian.AppendUint16(b, 0)
	b = binary.BigEndian.AppendUint16(b, interval)
	for _, f := range flows {
		r := make([]byte, 48)
		copy(r[0:], f.source.AsSlice())
		copy(r[4:], f.destination.AsSlice())
		binary.BigEndian.PutUint16(r[12:], 1)
		binary.BigEndian.PutUint16(r[14:], 2)
		binary.BigEndian.PutUint32(r[16:], f.packets)
		binary.BigEndian.PutUint32(r[20:], f.octets)
		binary.BigEndian.PutUint32(r[24:], uptime-1000)
		binary.BigEndian.PutUint32(r[28:], uptime)
		r[38] = 6
		b = append(b, r...)
	}
	return b
}

// v9 writes a NetFlow v9 datagram of sets; sequence counts datagrams.
func v9(at time.Time, sequence, domain uint32, sets ...[]byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, 9)
	b = binary.BigEndian.AppendUint16(b, uint16(len(sets)))
	b = binary.BigEndian.AppendUint32(b, uint32(at.UnixMilli()&0x7fffffff))
	b = binary.BigEndian.AppendUint32(b, uint32(at.Unix()))
	b = binary.BigEndian.AppendUint32(b, sequence)
	b = binary.BigEndian.AppendUint32(b, domain)
	for _, s := range sets {
		b = append(b, s...)
	}
	return b
}

func set(id uint16, body []byte) []byte {
	for len(body)%4 != 0 {
		body = append(body, 0)
	}
	b := binary.BigEndian.AppendUint16(nil, id)
	b = binary.BigEndian.AppendUint16(b, uint16(4+len(body)))
	return append(b, body...)
}

func words(values ...uint16) []byte {
	var b []byte
	for _, v := range values {
		b = binary.BigEndian.AppendUint16(b, v)
	}
	return b
}

// flowTemplate is template 260: source, destination, octets, packets, interface; withSampler adds
// the sampler id.
func flowTemplate(withSampler bool) []byte {
	fields := words(8, 4, 12, 4, 1, 4, 2, 4, 10, 2)
	n := uint16(5)
	if withSampler {
		fields, n = append(fields, words(48, 1)...), 6
	}
	return set(0, append(words(260, n), fields...))
}

func flowData(withSampler bool, flows ...flow) []byte {
	var b []byte
	for _, f := range flows {
		b = append(b, f.source.AsSlice()...)
		b = append(b, f.destination.AsSlice()...)
		b = binary.BigEndian.AppendUint32(b, f.octets)
		b = binary.BigEndian.AppendUint32(b, f.packets)
		b = binary.BigEndian.AppendUint16(b, 1)
		if withSampler {
			b = append(b, 7)
		}
	}
	return set(260, b)
}

// samplingOptions tells that the system samples 1 in rate: options template 261 (scope System;
// fields 34, 35) and its record.
func samplingOptions(rate uint32) [][]byte {
	template := set(1, words(261, 4, 8, 1, 4, 34, 4, 35, 1))
	b := binary.BigEndian.AppendUint32(nil, 0)
	b = binary.BigEndian.AppendUint32(b, rate)
	return [][]byte{template, set(261, append(b, 1))}
}
