package netflow

import (
	"encoding/binary"
	"slices"
)

// step reads length octets at offset into target.
type step struct {
	offset uint16
	length uint8
	to     target
}

// item reads or passes over the next length octets (variableLength: told in the record).
type item struct {
	length uint16
	to     target
}

// program is a compiled template. It never changes once made; a redefinition makes another.
type program struct {
	fields  []field // as on the wire, to recognise a refresh
	options bool
	// stride is the length of a record, 0 where fields of variable length make it vary; then minimum
	// is the least that a record takes and every is what to do with each field.
	stride, minimum int
	steps           []step
	every           []item
	has             set
	plan            plan
	plain           *plain // nil where records are not plain
}

// plan says which of the targets that a template has count, decided once.
type plan struct {
	octets, packets                           target
	reverseOctets, reversePackets             target
	octetsRun, packetsRun                     bool // running totals
	reverseOctetsRun, reversePacketsRun       bool
	inInterface, outInterface                 target
	start, end                                target
	source4, source6, ownRate, running, frame bool
	events                                    bool // of a firewall
	layer2                                    bool // octets are told at layer 2 alone
}

// compile turns the fields of a template into a program, or tells why that cannot be: its records
// would take no octet, or would never fit a set.
func compile(fields []field, options bool, version uint16) (p *program, reason Reason, ok bool) {
	p = &program{fields: slices.Clone(fields), options: options}
	offset, variable := 0, false
	for _, f := range fields {
		to := f.target(version)
		if p.has.has(to) { // the first of equal fields counts
			to = toNothing
		}
		if to != toNothing {
			p.has = p.has.with(to)
		}
		if f.length == variableLength {
			variable = true
			p.every = append(p.every, item{variableLength, to})
			p.minimum++
			continue
		}
		p.every = append(p.every, item{f.length, to})
		if to != toNothing && to != toFrame && to != toHeader {
			p.steps = append(p.steps, step{offset: uint16(offset), length: uint8(f.length), to: to})
		}
		offset += int(f.length)
		if offset > 65535 {
			return nil, DroppedTemplateInvalid, false
		}
		p.minimum += int(f.length)
	}
	if p.minimum == 0 {
		return nil, DroppedTemplateEmpty, false
	}
	if !variable && !p.has.has(toFrame) && !p.has.has(toHeader) {
		p.stride, p.every = offset, nil
	}
	p.plan = planOf(p.has)
	p.plain = plainOf(p)
	return p, 0, true
}

// planOf chooses among fields that tell the same thing in different ways.
//
// Octets: the delta (1), else the initiator's (231), else the running total (85), else those after
// a middlebox (23), which some exporters send alone and others beside 1 for the same packets. Where
// layer 2 (352) is all that is told, an Ethernet header a packet is taken off.
func planOf(has set) plan {
	var p plan
	p.octets = firstOf(has, toOctets, toInitiatorOctets, toTotalOctets, toPostOctets)
	p.packets = firstOf(has, toPackets, toInitiatorPackets, toTotalPackets, toPostPackets)
	p.octetsRun, p.packetsRun = p.octets == toTotalOctets, p.packets == toTotalPackets
	p.reverseOctets = firstOf(has, toReverseOctets, toReverseTotalOctets)
	p.reversePackets = firstOf(has, toReversePackets, toReverseTotalPackets)
	if p.reverseOctets == toNothing && (p.octets == toInitiatorOctets || p.octets == toNothing) {
		p.reverseOctets = firstOf(has, toResponderOctets)
	}
	if p.reversePackets == toNothing && (p.packets == toInitiatorPackets || p.packets == toNothing) {
		p.reversePackets = firstOf(has, toResponderPackets)
	}
	p.reverseOctetsRun = p.reverseOctets == toReverseTotalOctets
	p.reversePacketsRun = p.reversePackets == toReverseTotalPackets
	p.running = p.octetsRun || p.packetsRun || p.reverseOctetsRun || p.reversePacketsRun
	p.events = has.has(toFirewallEvent) && (p.octets == toInitiatorOctets || p.reverseOctets == toResponderOctets)
	p.inInterface = firstOf(has, toInInterface, toInPhysical)
	p.outInterface = firstOf(has, toOutInterface, toOutPhysical)
	p.start = firstOf(has, toStartMilliseconds, toStartMicroseconds, toStartNanoseconds, toStartSeconds, toStartUptime, toStartDelta)
	p.end = firstOf(has, toEndMilliseconds, toEndMicroseconds, toEndNanoseconds, toEndSeconds, toEndUptime, toEndDelta)
	p.source4 = has.has(toSource4) || has.has(toDestination4)
	p.source6 = has.has(toSource6) || has.has(toDestination6)
	p.ownRate = has&statesRate != 0
	p.frame = (has.has(toFrame) || has.has(toHeader)) && p.octets == toNothing
	p.layer2 = p.octets == toNothing && p.packets != toNothing && has.has(toOctetsL2) && !p.frame
	return p
}

func firstOf(has set, targets ...target) target {
	for _, t := range targets {
		if has.has(t) {
			return t
		}
	}
	return toNothing
}

// read reads a record of fixed length; record has at least stride octets.
func (p *program) read(record []byte, v *values) {
	for _, s := range p.steps {
		load(record[s.offset:], int(s.length), s.to, v)
	}
}

// load reads length octets (1 to 8, or 16) as a number into v.
func load(b []byte, length int, to target, v *values) {
	to &= 63
	switch length {
	case 4:
		v[to] = uint64(binary.BigEndian.Uint32(b))
	case 2:
		v[to] = uint64(binary.BigEndian.Uint16(b))
	case 1:
		v[to] = uint64(b[0])
	case 8:
		v[to] = binary.BigEndian.Uint64(b)
	case 16:
		v[to] = binary.BigEndian.Uint64(b)
		v[(to+1)&63] = binary.BigEndian.Uint64(b[8:])
	default:
		var n uint64
		for _, octet := range b[:length] {
			n = n<<8 | uint64(octet)
		}
		v[to] = n
	}
}

// readVariable reads a record with fields of variable length (RFC 7011 section 7) and returns what
// follows it. frame is the packet section in it, if any; it points into b. ok is false where the
// record is cut short.
func (p *program) readVariable(b []byte, v *values) (rest, frame []byte, ok bool) {
	for _, s := range p.every {
		length := int(s.length)
		if s.length == variableLength {
			if len(b) < 1 {
				return nil, nil, false
			}
			length, b = int(b[0]), b[1:]
			if length == 255 {
				if len(b) < 2 {
					return nil, nil, false
				}
				length, b = int(binary.BigEndian.Uint16(b)), b[2:]
			}
		}
		if length > len(b) {
			return nil, nil, false
		}
		switch {
		case s.to == toNothing:
		case s.to == toFrame || s.to == toHeader:
			frame = b[:length]
		case fits(s.to, uint16(length)):
			load(b, length, s.to, v)
		default: // of an impossible length in this record: not told
			v[s.to] = 0
		}
		b = b[length:]
	}
	return b, frame, true
}
