package main

// PacketsPerRecord is the same in every NetFlow and IPFIX record, so that what a receiver counted in
// packets tells how many records it counted. An sFlow sample is one packet of a tenth of the octets.
const PacketsPerRecord = 10

const (
	// localAddresses is how many addresses of 10.50.0.0/16 the traffic is of.
	localAddresses = 50_000
	// places is how many different records there are: each local address is twice the source and twice
	// the destination, each time with another remote address.
	places = 4 * localAddresses
)

// flow is what one record tells: octets of PacketsPerRecord packets (sFlow: of one).
type flow struct {
	source, destination         uint32
	sourcePort, destinationPort uint16
	protocol, flags             uint8
	outgoing                    bool
	octets                      uint32
	length                      uint32 // how long it went on, in milliseconds
}

// local is the end that is in 10.50.0.0/16.
func (f *flow) local() uint32 {
	if f.outgoing {
		return f.source
	}
	return f.destination
}

// services are the remote ports, the frequent ones repeated.
var services = [16]uint16{443, 443, 443, 443, 443, 443, 443, 80, 80, 8080, 53, 123, 22, 25, 993, 3306}

// flowOf returns the record at a place: even places go out, odd ones come in. Neighbours are of
// different local addresses, so that a receiver's table is read as traffic of many customers reads it.
func flowOf(place int) flow {
	const out, in = 27_277, 31_511 // each coprime to localAddresses: every address once a round
	h := mix(uint64(place))
	i := place / 2
	f := flow{
		protocol: 6, flags: 0x1b, outgoing: place%2 == 0,
		octets: PacketsPerRecord * (64 + uint32(h%1400)),
		length: uint32(h >> 11 % 1000),
	}
	switch kind := h >> 21 % 100; { // 70 % TCP with data, 5 % SYN alone, 23 % UDP, 2 % ICMP
	case kind < 5:
		f.flags = 0x02
	case kind < 28:
		f.protocol, f.flags = 17, 0
	case kind < 30:
		f.protocol, f.flags = 1, 0
	}
	if h>>28%8 == 0 { // one in eight is long
		f.length = 1000 + uint32(h>>31%19_000)
	}
	local, remote := uint32(i*out%localAddresses), uint32(198<<24|18<<16)|uint32(h>>40)&0x1ffff
	near, far := uint16(20_000+h>>32%40_000), services[h>>60]
	if f.protocol == 1 {
		near, far = 0, 0
	}
	if f.outgoing {
		f.source, f.sourcePort, f.destination, f.destinationPort = 10<<24|50<<16|local, near, remote, far
		return f
	}
	local = uint32((i*in + 77) % localAddresses)
	f.source, f.sourcePort, f.destination, f.destinationPort = remote, far, 10<<24|50<<16|local, near
	return f
}

// mix is the finaliser of SplitMix64.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
