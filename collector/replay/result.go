package replay

import "net/netip"

// Options of a replay.
type Options struct {
	// Local are the prefixes whose addresses are listed; none: all addresses.
	Local []netip.Prefix
	// Exporter is the sender of raw payload files; the zero address is 192.0.2.1.
	Exporter netip.Addr
}

// Result is what `hostmeter replay --json` prints.
type Result struct {
	Datagrams uint64     `json:"datagrams"`
	Skipped   uint64     `json:"skipped"`
	Exporters []Exporter `json:"exporters"`
	Addresses []Address  `json:"addresses"`
}

// Exporter sums up one exporter and protocol.
type Exporter struct {
	Exporter               string           `json:"exporter"`
	Protocol               string           `json:"protocol"`
	Datagrams              uint64           `json:"datagrams"`
	Records                uint64           `json:"records"`
	OptionRecords          uint64           `json:"option_records"`
	Templates              uint64           `json:"templates"`
	CounterSamples         uint64           `json:"counter_samples"`
	ReportedOctets         uint64           `json:"reported_octets"`
	ReportedPackets        uint64           `json:"reported_packets"`
	Octets                 uint64           `json:"octets"`
	Packets                uint64           `json:"packets"`
	OctetsL2               uint64           `json:"octets_l2"`
	UnknownSamplingRecords uint64           `json:"unknown_sampling_records"`
	Held                   map[string]int64 `json:"held"`
	Dropped                map[string]int64 `json:"dropped"`
	Lost                   map[string]int64 `json:"lost"`
}

// Address holds the scaled layer 3 sums of one address.
type Address struct {
	Address    string `json:"address"`
	InOctets   uint64 `json:"in_octets"`
	OutOctets  uint64 `json:"out_octets"`
	InPackets  uint64 `json:"in_packets"`
	OutPackets uint64 `json:"out_packets"`
}

// Run replays files in the order given: pcap and pcapng captures, or raw UDP payloads.
//
// Errors: those of reading a file, with its name; a file that is no capture and no datagram is counted
// as skipped.
func Run(files []string, opts Options) (Result, error) { return Result{}, nil }
