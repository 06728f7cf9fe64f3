package schemas

import "cmp"

// Add adds the differences of src, which is not kept, to the account. Which exporter, protocol and hour
// they belong to is the caller's to know.
func (x *ExporterAccount) Add(src *ExporterAccount) {
	x.MinutesObserved |= src.MinutesObserved
	x.Datagrams += src.Datagrams
	x.Records += src.Records
	x.OptionRecords += src.OptionRecords
	x.Templates += src.Templates
	x.CounterSamples += src.CounterSamples
	x.ReportedOctets += src.ReportedOctets
	x.ReportedPackets += src.ReportedPackets
	x.Octets += src.Octets
	x.Packets += src.Packets
	x.OctetsOnce += src.OctetsOnce
	x.OctetsBoth += src.OctetsBoth
	x.OctetsTransit += src.OctetsTransit
	x.OctetsUncounted += src.OctetsUncounted
	x.ClampedRecords += src.ClampedRecords
	x.UnknownSamplingRecords += src.UnknownSamplingRecords
	x.Dropped = AddCounts(x.Dropped, src.Dropped...)
	x.Held = AddCounts(x.Held, src.Held...)
	x.Lost = AddCounts(x.Lost, src.Lost...)
}

// AddCounts adds by unit and reason. What is in src is not kept.
func AddCounts(dst []*Count, src ...*Count) []*Count {
next:
	for _, s := range src {
		for _, d := range dst {
			if d.Unit == s.Unit && d.Reason == s.Reason {
				d.Count += s.Count
				continue next
			}
		}
		dst = append(dst, &Count{Unit: s.Unit, Reason: s.Reason, Count: s.Count})
	}
	return dst
}

// ReasonRepeated is why a datagram is dropped that is, octet for octet, one that came before. It is the one reason
// whose datagrams are no part of what was received.
const ReasonRepeated = "repeated"

// CompareAccounts orders accounts by exporter, hour and protocol.
func CompareAccounts(a, b *ExporterAccount) int {
	return cmp.Or(cmp.Compare(a.Exporter, b.Exporter), cmp.Compare(a.Hour, b.Hour), cmp.Compare(a.Protocol, b.Protocol))
}
