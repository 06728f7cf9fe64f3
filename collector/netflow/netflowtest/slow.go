package netflowtest

import (
	"encoding/binary"
	"math/big"
	"net/netip"

	"hostmeter/schemas"
)

// Slow is the decoder's obvious twin: it keeps templates as lists of fields, looks each field of each
// record up by its number, and does what docs/reference/replay.md says. It has one session, holds no
// data and reads no options.
type Slow struct{ templates map[slowKey]slowTemplate }

type slowKey struct {
	version uint16
	domain  uint32
	id      uint16
}

type slowTemplate struct {
	fields  []Field
	options bool
}

// SlowRecord is a record without times and without rates of option data.
type SlowRecord struct {
	schemas.FlowRecord
	// Stateful says that its counters are of what earlier records told (running totals, events);
	// Section that they are of a section of a packet. Then they are not set.
	Stateful, Section bool
	// Probability says that it has one, from which a rate follows.
	Probability bool
}

// Decode returns the flow records of a v9 or IPFIX datagram.
func (s *Slow) Decode(b []byte) (out []SlowRecord) {
	if len(b) < 2 {
		return nil
	}
	version := binary.BigEndian.Uint16(b)
	var domain uint32
	switch {
	case version == 9 && len(b) >= 20:
		domain, b = binary.BigEndian.Uint32(b[16:]), b[20:]
	case version == 10 && len(b) >= 16:
		length := int(binary.BigEndian.Uint16(b[2:]))
		if length < 16 || length > len(b) {
			return nil
		}
		domain, b = binary.BigEndian.Uint32(b[12:]), b[16:length]
	default:
		return nil
	}
	for len(b) >= 4 {
		id, length := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
		if length < 4 || length > len(b) {
			return out
		}
		body := b[4:length]
		b = b[length:]
		switch {
		case id >= 256:
			out = append(out, s.data(slowKey{version, domain, id}, body)...)
		case version == 9 && id == 0 || version == 10 && id == 2:
			s.define(version, domain, body, false)
		case version == 9 && id == 1 || version == 10 && id == 3:
			s.define(version, domain, body, true)
		}
	}
	return out
}

func (s *Slow) define(version uint16, domain uint32, b []byte, options bool) {
	if s.templates == nil {
		s.templates = map[slowKey]slowTemplate{}
	}
	for len(b) >= 4 {
		padding := true
		for _, octet := range b {
			padding = padding && octet == 0
		}
		if padding {
			return
		}
		id, count := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
		if version == 10 && count == 0 {
			for key, t := range s.templates {
				if key.version == 10 && key.domain == domain && (key.id == id || id == 2 && !t.options || id == 3 && t.options) {
					delete(s.templates, key)
				}
			}
			b = b[4:]
			continue
		}
		b = b[4:]
		if options {
			if len(b) < 2 {
				return
			}
			if version == 9 {
				count = count/4 + int(binary.BigEndian.Uint16(b))/4
			}
			b = b[2:]
		}
		var fields []Field
		for range count {
			if len(b) < 4 {
				return
			}
			f := Field{ID: binary.BigEndian.Uint16(b), Length: binary.BigEndian.Uint16(b[2:])}
			b = b[4:]
			if version == 10 && f.ID&0x8000 != 0 {
				if len(b) < 4 {
					return
				}
				f.ID, f.PEN = f.ID&0x7fff, binary.BigEndian.Uint32(b)
				if f.PEN == 0 {
					f.PEN = 1 << 31 // an enterprise of 0 is none of IANA's fields either way: not tested
				}
				b = b[4:]
			}
			fields = append(fields, f)
		}
		if id < 256 {
			return
		}
		key := slowKey{version, domain, id}
		delete(s.templates, key)
		fixed, least := 0, 0
		for _, f := range fields {
			if f.Length == Variable {
				least++
			} else {
				fixed += int(f.Length)
			}
		}
		if fixed <= 65535 && fixed+least > 0 {
			s.templates[key] = slowTemplate{fields, options}
		}
	}
}

// slowValue is a field of a record with its octets.
type slowValue struct {
	Field
	octets []byte
}

func (s *Slow) data(key slowKey, b []byte) (out []SlowRecord) {
	t, known := s.templates[key]
	for known && len(b) > 0 {
		var record []slowValue
		for _, f := range t.fields {
			length := int(f.Length)
			if f.Length == Variable {
				if len(b) < 1 {
					return out
				}
				length, b = int(b[0]), b[1:]
				if length == 255 {
					if len(b) < 2 {
						return out
					}
					length, b = int(binary.BigEndian.Uint16(b)), b[2:]
				}
			}
			if length > len(b) {
				return out
			}
			record = append(record, slowValue{f, b[:length]})
			b = b[length:]
		}
		if !t.options {
			out = append(out, slowRecord(record, key))
		}
	}
	return out
}

// find returns the first field of any of these numbers that is of a possible length by its template.
func find(record []slowValue, possible func(length int) bool, pen uint32, ids ...uint16) (octets []byte, ok bool) {
	for _, v := range record {
		for _, id := range ids {
			if v.ID == id && v.PEN == pen && possible(int(v.Length)) {
				return v.octets, true
			}
		}
	}
	return nil, false
}

// number reads the first of such fields as a number of one to eight octets.
func number(record []slowValue, pen uint32, ids ...uint16) (n uint64, ok bool) {
	octets, ok := find(record, func(length int) bool { return length >= 1 && length <= 8 || length == Variable }, pen, ids...)
	if len(octets) > 8 {
		return 0, ok
	}
	for _, o := range octets {
		n = n<<8 | uint64(o)
	}
	return n, ok
}

// firstTold returns the first of these counters that the template has, whatever its value.
func firstTold(record []slowValue, pen uint32, ids ...uint16) (n uint64, id uint16) {
	for _, id := range ids {
		if n, ok := number(record, pen, id); ok {
			return n, id
		}
	}
	return 0, 0
}

func slowAddress(record []slowValue, id4, id6 uint16, useFour bool) netip.Addr {
	size, id := 16, id6
	if useFour {
		size, id = 4, id4
	}
	octets, _ := find(record, func(length int) bool { return length == size }, 0, id)
	a, _ := netip.AddrFromSlice(octets)
	return a.Unmap()
}

func slowRecord(record []slowValue, key slowKey) SlowRecord {
	const reverse = 29305
	var r SlowRecord
	r.ObservationDomain = key.domain
	is := func(size int) func(int) bool { return func(length int) bool { return length == size } }
	source4, has1 := find(record, is(4), 0, 8)
	destination4, has2 := find(record, is(4), 0, 12)
	_, has3 := find(record, is(16), 0, 27)
	_, has4 := find(record, is(16), 0, 28)
	filled := false
	for _, o := range append(append([]byte(nil), source4...), destination4...) {
		filled = filled || o != 0
	}
	four := (has1 || has2) && (filled || !has3 && !has4)
	r.Source, r.Destination = slowAddress(record, 8, 27, four), slowAddress(record, 12, 28, four)
	get := func(ids ...uint16) uint64 { n, _ := number(record, 0, ids...); return n }
	r.SourcePort, r.DestinationPort = uint16(get(7, 180, 182)), uint16(get(11, 181, 183))
	r.IPProtocol, r.TCPFlags = uint8(get(4)), uint8(get(6))
	in, _ := firstTold(record, 0, 10, 252)
	out, _ := firstTold(record, 0, 14, 253)
	r.InInterface, r.OutInterface = schemas.IfIndex(in), schemas.IfIndex(out)
	if n, ok := number(record, 0, 61); ok && n < 2 {
		r.Direction = schemas.FlowDirection(n + 1)
	}
	r.Fragment = get(88) != 0 || get(197)&0x20 != 0
	r.OctetsL2 = get(352, 312)
	var octetsID, packetsID, reverseOctetsID, reversePacketsID uint16
	r.Octets, octetsID = firstTold(record, 0, 1, 231, 85, 23)
	r.Packets, packetsID = firstTold(record, 0, 2, 298, 86, 24)
	r.ReverseOctets, reverseOctetsID = firstTold(record, reverse, 1, 85)
	r.ReversePackets, reversePacketsID = firstTold(record, reverse, 2, 86)
	responder := false
	if reverseOctetsID == 0 && (octetsID == 231 || octetsID == 0) {
		var id uint16
		r.ReverseOctets, id = firstTold(record, 0, 232)
		responder = id != 0
	}
	if reversePacketsID == 0 && (packetsID == 298 || packetsID == 0) {
		r.ReversePackets, _ = firstTold(record, 0, 299)
	}
	_, isEvent := number(record, 0, 233)
	r.Stateful = octetsID == 85 || packetsID == 86 || reverseOctetsID == 85 || reversePacketsID == 86 || isEvent && (octetsID == 231 || responder)
	_, section := find(record, func(length int) bool { return length > 0 }, 0, 313, 315)
	r.Section = section && octetsID == 0
	if _, layer2 := number(record, 0, 352, 312); layer2 && octetsID == 0 && packetsID != 0 && !r.Section {
		r.Octets = r.OctetsL2
		if r.Packets <= r.OctetsL2/14 {
			r.Octets -= 14 * r.Packets
		}
	}
	r.SamplerID = get(48)
	if r.SamplerID == 0 {
		r.SamplerID = get(302)
	}
	_, r.Probability = find(record, func(length int) bool { return length == 4 || length == 8 }, 0, 311)
	slowRate(&r, record, get)
	return r
}

// slowRate sets the rate that the record states itself, but for probabilities (311).
func slowRate(r *SlowRecord, record []slowValue, get func(ids ...uint16) uint64) {
	n, d := new(big.Int), big.NewInt(1)
	_, population := number(record, 0, 310)
	switch {
	case get(305) > 0:
		n.SetUint64(get(305))
		if get(306) > 0 {
			d.Set(n)
			n.Add(n, new(big.Int).SetUint64(get(306)))
		}
	case get(309) > 0 && population:
		n.SetUint64(get(310))
		d.SetUint64(get(309))
	case get(34) > 0:
		n.SetUint64(get(34))
	default:
		n.SetUint64(get(50))
	}
	if n.Cmp(d) < 0 || n.BitLen() > 64 {
		return
	}
	rate := new(big.Rat).SetFrac(n, d)
	if rate.Num().BitLen() <= 32 && rate.Denom().BitLen() <= 32 {
		r.SamplingNumerator, r.SamplingDenominator = uint32(rate.Num().Uint64()), uint32(rate.Denom().Uint64())
		r.SamplingOrigin = schemas.SamplingRecord
	}
}
