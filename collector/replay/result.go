package replay

import "net/netip"

// Options of a replay.
type Options struct {
	// Local are the prefixes whose addresses are listed; none: all addresses.
	Local []netip.Prefix
	// Exporter is the sender of raw payload files; the zero address is 192.0.2.1.
	Exporter netip.Addr
}

// Result is what `hostmeter replay --json` prints. Exporters are in the order of address and
// protocol, Addresses in that of the address, IPv4 first.
type Result struct {
	Datagrams uint64     `json:"datagrams"`
	Skipped   uint64     `json:"skipped"`
	Exporters []Exporter `json:"exporters"`
	Addresses []Address  `json:"addresses"`
}

// Exporter sums up one exporter and protocol.
type Exporter struct {
	Exporter       string `json:"exporter"`
	Protocol       string `json:"protocol"`
	Datagrams      uint64 `json:"datagrams"`
	Records        uint64 `json:"records"`
	OptionRecords  uint64 `json:"option_records"`
	Templates      uint64 `json:"templates"`
	CounterSamples uint64 `json:"counter_samples"`
	// As in the records; sFlow: frame lengths, and 1 per sample.
	ReportedOctets  uint64 `json:"reported_octets"`
	ReportedPackets uint64 `json:"reported_packets"`
	// Multiplied by sampling, layer 3; OctetsL2 is layer 2 where the records tell it.
	Octets                 uint64 `json:"octets"`
	Packets                uint64 `json:"packets"`
	OctetsL2               uint64 `json:"octets_l2"`
	UnknownSamplingRecords uint64 `json:"unknown_sampling_records"`
	// Held and Dropped are by reason, Lost by unit. Held sets are under "template", their octets
	// under "template_octets".
	Held    map[string]int64 `json:"held"`
	Dropped map[string]int64 `json:"dropped"`
	Lost    map[string]int64 `json:"lost"`
}

// Address holds the scaled layer 3 sums of one address.
type Address struct {
	Address    string `json:"address"`
	InOctets   uint64 `json:"in_octets"`
	OutOctets  uint64 `json:"out_octets"`
	InPackets  uint64 `json:"in_packets"`
	OutPackets uint64 `json:"out_packets"`
}
