package tally

// meterKind tells what a cellKey's number is.
type meterKind uint8

const (
	meterIPv4   meterKind = iota // an IPv4 address
	meterIPv6                    // an IPv6 address
	meterPrefix                  // low is an index of prefixTable
	meterPort                    // low is an interface of the exporter
)

// cell is a tally in the making. What is observed is not added to it one by one, which would wait for
// the memory of another meter each time, but noted in Table.notes. It holds no pointer, so that the
// garbage collector does not look into it.
type cell struct {
	key     cellKey
	octets  uint64 // of both directions, not multiplied
	traffic uint32 // in Table.traffic; 0: nothing was added up yet
	busy    bool
	gone    bool // flushed while others stay
}

// note is an observation of a cell that waits to be added up.
type note struct {
	observation
	cell uint32
}

// observation is what a record, or the part of it in one minute, adds to one meter.
type observation struct {
	remote                   number
	octets, packets, squares uint64 // squares are those of the packets' lengths; 0 where nothing is sampled
	remotePort, ownPort      uint16
	protocol, flags          uint8
	is                       observed
}

// observed are properties of an observation.
type observed uint8

const (
	isOut      observed = 1 << iota // it left the meter
	isIPv4                          // remote is an IPv4 address
	isKnown                         // remote is an address at all
	isFragment                      // of a packet that is not whole
	isBegin                         // the flow begins in this minute
	isSingle                        // the flow is of one packet
	isMany                          // the flow is of more
)

func (o *observation) has(is observed) bool { return o.is&is != 0 }

// observe fills in what a part of a way adds to the end that it comes from (out), or goes to.
func (o *observation) observe(w *way, p *part, out bool) {
	remote := &w.source
	o.remotePort, o.ownPort = w.sourcePort, w.destinationPort
	o.is = w.is | p.is
	if out {
		remote = &w.destination
		o.remotePort, o.ownPort = o.ownPort, o.remotePort
		o.is |= isOut
	}
	if remote.v4 {
		o.is |= isIPv4
	}
	if remote.valid {
		o.is |= isKnown
	}
	o.remote = remote.address
	o.octets, o.packets, o.squares = p.octets, p.packets, p.squares
	o.protocol, o.flags = w.protocol, w.flags
}

// traffic is what the observations of a cell add up to.
type traffic struct{ in, out direction }

// direction is one direction of a cell. Its sums are not multiplied by the sampling rate.
type direction struct {
	octets, packets, flows, squares uint64

	features  features
	addresses addressSketch
	ports     portSketch
	peers     uint32 // in Table.peers, of busy meters
}

// add adds an observation up.
func (x *traffic) add(t *Table, o *observation) {
	d := &x.in
	if o.has(isOut) {
		d = &x.out
	}
	d.octets += o.octets
	d.packets += o.packets
	if o.has(isBegin) {
		d.flows++
	}
	if o.squares != 0 {
		d.squares = addSaturated(d.squares, o.squares)
	}
	if !t.config.NoDetail {
		d.detail(t, o)
	}
}

// detail counts features, distinct remote ends and, from PeerOctets on, the heaviest of them.
func (d *direction) detail(t *Table, o *observation) {
	d.features.add(o)
	if o.has(isKnown) {
		d.addresses.add(t, o.remote, o.has(isIPv4))
	}
	ported := o.protocol == protocolTCP || o.protocol == protocolUDP || o.protocol == protocolSCTP
	if ported && !o.has(isFragment) {
		d.ports.add(t, o.remotePort)
	}
	if d.octets < t.peerOctets {
		return
	}
	if d.peers == 0 {
		d.peers = t.peers.get()
	}
	followed := t.peers.at(d.peers)
	if o.has(isKnown) {
		followed.addresses.add(peerKey{o.remote, o.has(isIPv4)}, o.octets, o.packets)
	}
	if ported {
		followed.ports.add(portKey{o.protocol, o.remotePort}, o.octets, o.packets)
	}
}

// empty is true where nothing was added.
func (d *direction) empty() bool { return d.octets|d.packets|d.flows == 0 }
