package schemas

import "net/netip"

// Protocol is one of the four flow protocols, or a hypervisor's interface.
type Protocol string

// The protocols as the accounts, the metrics and `replay` name them.
const (
	NetFlow5 Protocol = "netflow5"
	NetFlow9 Protocol = "netflow9"
	IPFIX    Protocol = "ipfix"
	SFlow5   Protocol = "sflow5"
	Libvirt  Protocol = "libvirt"
)

// Traffic classes that exist without configuration.
const (
	ClassExternal = "external" // the other end is not local
	ClassInternal = "internal" // both ends are local
	ClassPort     = "port"     // counters of a switch port or a vNIC, which know no other end
)

// FlowDirection is where an exporter saw a flow (RFC 7012, flowDirection, 61).
type FlowDirection uint8

// The values of flowDirection; DirectionUnknown where the exporter does not tell.
const (
	DirectionUnknown FlowDirection = iota
	DirectionIngress
	DirectionEgress
)

func (d FlowDirection) String() string {
	switch d {
	case DirectionIngress:
		return "ingress"
	case DirectionEgress:
		return "egress"
	}
	return "no direction"
}

// SamplingOrigin says where the sampling rate of a record comes from.
type SamplingOrigin uint8

// The origins of a sampling rate, the weakest first.
const (
	SamplingUnknown    SamplingOrigin = iota // nothing told a rate; the record counts once
	SamplingDefault                          // the configured default, after nothing was told in time
	SamplingHeader                           // the header of a NetFlow v5 datagram
	SamplingOption                           // option data of the exporter
	SamplingRecord                           // a field of the record, or the sFlow sample
	SamplingConfigured                       // set by the operator; wins over all
)

// FlowRecord is one decoded flow, as the exporter told it.
//
// It is a plain value: nothing in it points into a datagram. Octets and Packets are never
// multiplied by the sampling rate, which stands beside them.
type FlowRecord struct {
	Source, Destination         netip.Addr // IPv4-mapped form removed; invalid where the record has none
	SourcePort, DestinationPort uint16
	IPProtocol                  uint8
	TCPFlags                    uint8
	Fragment                    bool // not the first fragment, or the record says fragmented
	Direction                   FlowDirection
	InInterface, OutInterface   IfIndex // format bits removed; 0 is unknown

	Octets  uint64 // layer 3
	Packets uint64
	// OctetsL2 is the frame length where the protocol gives it (sFlow, with FCS), else 0.
	OctetsL2 uint64
	// ReverseOctets and ReversePackets flow from Destination to Source (RFC 5103, NSEL).
	ReverseOctets, ReversePackets uint64

	// SamplingRate is N in 1-in-N as SamplingNumerator/SamplingDenominator: a rate of
	// (interval+space)/interval need not be whole. 0/0 where SamplingOrigin is SamplingUnknown.
	SamplingNumerator, SamplingDenominator uint32
	SamplingOrigin                         SamplingOrigin
	// SamplerID refers to option data (fields 48, 302); 0 where there is none.
	SamplerID uint64

	// FlowStart and FlowEnd are the exporter's times in nanoseconds since the Unix epoch;
	// both 0 where the record has none. FlowEnd is not before FlowStart.
	FlowStart, FlowEnd int64

	ObservationDomain uint32
}

// AppendFlow appends an empty record, and returns where it stands to be filled in: a record that is made elsewhere
// and copied costs as much as all that is read into it.
func AppendFlow(records []FlowRecord) ([]FlowRecord, *FlowRecord) {
	n := len(records)
	if n == cap(records) {
		records = append(records, FlowRecord{})
	} else {
		records = records[:n+1]
		records[n] = FlowRecord{}
	}
	return records, &records[n]
}

// GuestReading is what a hypervisor said of one guest at one time.
type GuestReading struct {
	UUID, Name string
	State      GuestState
	VCPUs      uint32
	// CPUNanoseconds and StealNanoseconds are running totals since the guest's process started;
	// meaningless unless State is running or paused (a daemon reports its own time for a guest
	// that is off).
	CPUNanoseconds, StealNanoseconds uint64
	CPUKnown                         bool // false where the CPU time could not be read
	StealUnknown                     bool // true where the guest's monitor did not answer
	// Process numbers the guest's process on its host; another number is another process, whose
	// totals began at 0. 0: not told.
	Process uint32
	// Moving: paused until its migration ends, on either host. Arrived: came running from another
	// host; before it did, its process counted the move and not the guest.
	Moving, Arrived bool
	VNICs           []VNICReading
}

// VNICReading holds the running totals of one virtual interface, seen from the guest, in layer 2
// octets without FCS and in frames.
type VNICReading struct {
	MAC, Target           string
	InOctets, InPackets   uint64
	OutOctets, OutPackets uint64
}
