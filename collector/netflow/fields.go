package netflow

// target is what a field of a template is read into: an index of values.
type target uint8

// The targets. An IPv6 address takes two.
const (
	toNothing target = iota
	toOctets
	toPackets
	toPostOctets
	toPostPackets
	toTotalOctets
	toTotalPackets
	toInitiatorOctets
	toInitiatorPackets
	toResponderOctets
	toResponderPackets
	toReverseOctets
	toReversePackets
	toReverseTotalOctets
	toReverseTotalPackets
	toOctetsL2
	toProtocol
	toTCPFlags
	toSourcePort
	toDestinationPort
	toSource4
	toDestination4
	toSource6
	toSource6Low
	toDestination6
	toDestination6Low
	toInInterface
	toOutInterface
	toInPhysical
	toOutPhysical
	toDirection
	toFragmentOffset
	toFragmentFlags
	toFlowID
	toStartUptime
	toEndUptime
	toStartSeconds
	toEndSeconds
	toStartMilliseconds
	toEndMilliseconds
	toStartMicroseconds
	toEndMicroseconds
	toStartNanoseconds
	toEndNanoseconds
	toStartDelta
	toEndDelta
	toDurationMilliseconds
	toDurationMicroseconds
	toSystemInit
	toSamplingInterval
	toSamplerID
	toSamplerInterval
	toSelectorID
	toPacketInterval
	toPacketSpace
	toSamplingSize
	toSamplingPopulation
	toScopeInterface
	toScopeDomain
	toScopeOther
	toProbability   // bits of a float
	toFirewallEvent // NSEL
	toFrame         // data link frame section: the slow path only
	toHeader
	targetCount
)

// values holds one record's fields by target. Only those in the program's set are of this record.
type values [64]uint64

// set is a set of targets.
type set uint64

func (s set) has(t target) bool { return s>>t&1 == 1 }

func (s set) with(t target) set { return s | 1<<t }

// Sampling information of any kind that states a rate.
const statesRate = set(1)<<toSamplingInterval | set(1)<<toSamplerInterval | set(1)<<toPacketInterval | set(1)<<toSamplingPopulation | set(1)<<toProbability

// fieldTargets maps the information elements below 512 without an enterprise number.
// Source: IANA IPFIX registry; RFC 3954 section 8 for the numbers that it shares with v9.
var fieldTargets = [512]target{
	1:   toOctets,
	2:   toPackets,
	4:   toProtocol,
	6:   toTCPFlags,
	7:   toSourcePort,
	8:   toSource4,
	10:  toInInterface,
	11:  toDestinationPort,
	12:  toDestination4,
	14:  toOutInterface,
	21:  toEndUptime,
	22:  toStartUptime,
	23:  toPostOctets,
	24:  toPostPackets,
	27:  toSource6,
	28:  toDestination6,
	34:  toSamplingInterval,
	48:  toSamplerID,
	50:  toSamplerInterval,
	61:  toDirection,
	85:  toTotalOctets,
	86:  toTotalPackets,
	88:  toFragmentOffset,
	148: toFlowID,
	150: toStartSeconds,
	151: toEndSeconds,
	152: toStartMilliseconds,
	153: toEndMilliseconds,
	154: toStartMicroseconds,
	155: toEndMicroseconds,
	156: toStartNanoseconds,
	157: toEndNanoseconds,
	158: toStartDelta,
	159: toEndDelta,
	160: toSystemInit,
	161: toDurationMilliseconds,
	162: toDurationMicroseconds,
	180: toSourcePort,
	181: toDestinationPort,
	182: toSourcePort,
	183: toDestinationPort,
	197: toFragmentFlags,
	231: toInitiatorOctets,
	232: toResponderOctets,
	233: toFirewallEvent,
	252: toInPhysical,
	253: toOutPhysical,
	298: toInitiatorPackets,
	299: toResponderPackets,
	302: toSelectorID,
	305: toPacketInterval,
	306: toPacketSpace,
	309: toSamplingSize,
	310: toSamplingPopulation,
	311: toProbability,
	312: toOctetsL2, // of the one packet that a section is of
	313: toHeader,
	315: toFrame,
	322: toEndSeconds, // of an observation: an event, or the one packet
	323: toEndMilliseconds,
	324: toEndMicroseconds,
	325: toEndNanoseconds,
	352: toOctetsL2,
}

// reversePEN is the enterprise number of the reverse direction (RFC 5103).
const reversePEN = 29305

// field is one field of a template as the wire gives it.
type field struct {
	id         uint16
	length     uint16 // variableLength: told in each record
	enterprise uint32
	scope      bool
}

const variableLength = 65535

// target tells where a field is read to. An IPv4 address of 16 octets and the like are nothing.
func (f field) target(version uint16) target {
	t := toNothing
	switch {
	case f.scope:
		t = f.scopeTarget(version)
	case f.enterprise == reversePEN:
		switch f.id {
		case 1:
			t = toReverseOctets
		case 2:
			t = toReversePackets
		case 85:
			t = toReverseTotalOctets
		case 86:
			t = toReverseTotalPackets
		}
	case f.enterprise == 0 && int(f.id) < len(fieldTargets):
		t = fieldTargets[f.id]
	}
	if !fits(t, f.length) {
		return toNothing
	}
	return t
}

// scopeTarget maps the scope fields of option templates. v9 numbers them apart (RFC 3954 section
// 6.1); in IPFIX they are information elements. Sampler ids count wherever they stand.
func (f field) scopeTarget(version uint16) target {
	if version == 9 {
		switch f.id {
		case 1: // system
			return toNothing
		case 2:
			return toScopeInterface
		}
		return toScopeOther
	}
	if f.enterprise != 0 {
		return toScopeOther
	}
	switch f.id {
	case 10, 14, 252, 253:
		return toScopeInterface
	case 48:
		return toSamplerID
	case 302:
		return toSelectorID
	case 149:
		return toScopeDomain
	case 130, 131, 144, 211, 214: // the exporter as a whole
		return toNothing
	}
	return toScopeOther
}

// fits tells whether a field of this length can be what its number says.
func fits(t target, length uint16) bool {
	switch t {
	case toSource4, toDestination4:
		return length == 4
	case toSource6, toDestination6:
		return length == 16
	case toProbability:
		return length == 4 || length == 8
	case toFrame, toHeader:
		return length > 0
	case toScopeOther:
		return length <= 8
	}
	return length >= 1 && length <= 8 || length == variableLength
}
