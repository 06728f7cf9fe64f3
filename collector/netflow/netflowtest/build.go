// Package netflowtest builds NetFlow and IPFIX datagrams for tests, octet by octet after the
// formats' descriptions and without any code of the decoder.
package netflowtest

import (
	"encoding/binary"
	"net/netip"
)

// Field is a field of a template. A PEN other than 0 is written as an enterprise field (IPFIX).
type Field struct {
	ID, Length uint16
	PEN        uint32
}

// Variable is the length of a field whose length stands in each record.
const Variable = 65535

// V9 is a v9 datagram at an uptime of ms milliseconds. The count in its header is that of the sets.
func V9(sequence, domain, uptimeMS, unixSeconds uint32, sets ...[]byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, 9)
	b = binary.BigEndian.AppendUint16(b, uint16(len(sets)))
	for _, n := range []uint32{uptimeMS, unixSeconds, sequence, domain} {
		b = binary.BigEndian.AppendUint32(b, n)
	}
	return join(b, sets)
}

// IPFIX is an IPFIX message.
func IPFIX(sequence, domain, unixSeconds uint32, sets ...[]byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, 10<<16)
	for _, n := range []uint32{unixSeconds, sequence, domain} {
		b = binary.BigEndian.AppendUint32(b, n)
	}
	b = join(b, sets)
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	return b
}

func join(b []byte, sets [][]byte) []byte {
	for _, s := range sets {
		b = append(b, s...)
	}
	return b
}

// Set is a set of any id, with its header.
func Set(id uint16, body ...[]byte) []byte {
	b := join(binary.BigEndian.AppendUint32(nil, uint32(id)<<16), body)
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	return b
}

// Template9 is a v9 template set.
func Template9(id uint16, fields ...Field) []byte {
	return Set(0, header(id, len(fields)), specs(fields))
}

// Options9 is a v9 option template set.
func Options9(id uint16, scopes, fields []Field) []byte {
	return Set(1, header(id, 4*len(scopes)), U16(uint16(4*len(fields))), specs(scopes), specs(fields))
}

// TemplateIPFIX is an IPFIX template set.
func TemplateIPFIX(id uint16, fields ...Field) []byte {
	return Set(2, header(id, len(fields)), specs(fields))
}

// OptionsIPFIX is an IPFIX option template set; the first scopes fields are its scope.
func OptionsIPFIX(id uint16, scopes int, fields ...Field) []byte {
	return Set(3, header(id, len(fields)), U16(uint16(scopes)), specs(fields))
}

func header(id uint16, count int) []byte { return append(U16(id), U16(uint16(count))...) }

func specs(fields []Field) (b []byte) {
	for _, f := range fields {
		id := f.ID
		if f.PEN != 0 {
			id |= 0x8000
		}
		b = append(append(b, U16(id)...), U16(f.Length)...)
		if f.PEN != 0 {
			b = append(b, U32(f.PEN)...)
		}
	}
	return b
}

// U8 is one octet.
func U8(n uint8) []byte { return []byte{n} }

// U16 is two octets.
func U16(n uint16) []byte { return binary.BigEndian.AppendUint16(nil, n) }

// U32 is four octets.
func U32(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }

// U64 is eight octets.
func U64(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// Address is an address of 4 or 16 octets.
func Address(text string) []byte { return netip.MustParseAddr(text).AsSlice() }

// Record5 is what a v5 record holds of interest.
type Record5 struct {
	Source, Destination         string
	In, Out                     uint16
	Packets, Octets             uint32
	FirstMS, LastMS             uint32
	SourcePort, DestinationPort uint16
	Flags, Protocol             uint8
}

// V5 is a v5 datagram. sampling is the whole field: two bits of mode, fourteen of interval.
func V5(sequence, uptimeMS, unixSeconds uint32, engine, sampling uint16, records ...Record5) []byte {
	b := append(U16(5), U16(uint16(len(records)))...)
	for _, n := range []uint32{uptimeMS, unixSeconds, 0, sequence} {
		b = append(b, U32(n)...)
	}
	b = append(append(b, U16(engine)...), U16(sampling)...)
	for _, r := range records {
		b = join(b, [][]byte{
			Address(r.Source), Address(r.Destination), U32(0), U16(r.In), U16(r.Out), U32(r.Packets), U32(r.Octets),
			U32(r.FirstMS), U32(r.LastMS), U16(r.SourcePort), U16(r.DestinationPort),
			{0, r.Flags, r.Protocol, 0}, U32(0), {24, 24, 0, 0},
		})
	}
	return b
}
