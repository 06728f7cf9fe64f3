package tally

// meterKind tells what a cellKey's number is.
type meterKind uint8

const (
	meterIPv4   meterKind = iota // an IPv4 address
	meterIPv6                    // an IPv6 address
	meterPrefix                  // low is an index of prefixTable
	meterPort                    // low is an interface of the exporter
)

// observationsMost is how many observations a cell gathers before they are added up: as many as make
// a cell of 512 octets.
const observationsMost = 11

// cell is a tally in the making. What is observed is written down one after the other, and added up
// when the cell is full or flushed: a record touches two or three cache lines of a cell, and the
// counters, sketches and peers of a meter are in cache while all that waits is added to them. A cell
// holds no pointer, so that the garbage collector does not look into it.
type cell struct {
	key     cellKey
	pending uint64 // octets of the observations
	order   uint32 // in Table.order
	traffic uint32 // number + 1 in Table.traffic; 0: nothing was added up yet
	n       uint8
	busy    bool

	observations [observationsMost]observation
	_            [16]byte
}

// observation is what a record, or the part of it in one minute, adds to one meter. 40 octets.
type observation struct {
	remote              number
	octets              uint64
	packets             uint32
	remotePort, ownPort uint16
	protocol, flags     uint8
	is                  observed
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

// observationOf is what a part of a way adds to the end that it comes from (out), or goes to.
func observationOf(w *way, p *part, out bool) observation {
	o := observation{
		remote: w.source.address, octets: p.octets, packets: uint32(p.packets),
		remotePort: w.sourcePort, ownPort: w.destinationPort, protocol: w.protocol, flags: w.flags, is: w.is | p.is,
	}
	remote := &w.source
	if out {
		remote = &w.destination
		o.remote = remote.address
		o.remotePort, o.ownPort = o.ownPort, o.remotePort
		o.is |= isOut
	}
	if remote.v4 {
		o.is |= isIPv4
	}
	if remote.valid {
		o.is |= isKnown
	}
	return o
}

// cells are all cells of a table, by number. A cell never moves.
type cells struct {
	slabs []*[slabCells]cell
	free  []uint32
}

const slabCells = 128

func (c *cells) at(number uint32) *cell { return &c.slabs[number/slabCells][number%slabCells] }

// take returns a cell that nobody uses.
func (c *cells) take() uint32 {
	if len(c.free) == 0 {
		first := uint32(len(c.slabs)) * slabCells
		c.slabs = append(c.slabs, new([slabCells]cell))
		for i := range uint32(slabCells) {
			c.free = append(c.free, first+slabCells-1-i)
		}
	}
	last := len(c.free) - 1
	number := c.free[last]
	c.free = c.free[:last]
	return number
}

// traffic is what the observations of a cell add up to.
type traffic struct{ in, out direction }

// direction is one direction of a cell. Its sums are not multiplied by the sampling rate.
type direction struct {
	octets, packets, flows, squares uint64

	features  features
	addresses sketch
	ports     sketch
	peers     *peers // of busy meters
}

// add adds an observation; squares is its sum of squared packet lengths, 0 where nothing is sampled.
func (x *traffic) add(t *Table, o *observation, squares uint64) {
	d := x.direction(o)
	d.octets += o.octets
	d.packets += uint64(o.packets)
	if o.has(isBegin) {
		d.flows++
	}
	if squares != 0 {
		d.squares = addSaturated(d.squares, squares)
	}
	if !t.config.NoDetail {
		d.observe(t, o)
	}
}

func (x *traffic) direction(o *observation) *direction {
	if o.has(isOut) {
		return &x.out
	}
	return &x.in
}

// observe counts features, distinct remote ends and, from PeerOctets on, the heaviest of them.
func (d *direction) observe(t *Table, o *observation) {
	d.features.add(o)
	if o.has(isKnown) {
		d.addresses.add(hashAddress(o.remote, o.has(isIPv4)))
	}
	ported := o.protocol == protocolTCP || o.protocol == protocolUDP || o.protocol == protocolSCTP
	if ported && !o.has(isFragment) {
		d.ports.add(hashPort(o.remotePort))
	}
	if d.octets < t.config.PeerOctets {
		return
	}
	if d.peers == nil {
		d.peers = new(peers)
	}
	if o.has(isKnown) {
		d.peers.addresses.add(peerKey{o.remote, o.has(isIPv4)}, o.octets, uint64(o.packets))
	}
	if ported {
		d.peers.ports.add(portKey{o.protocol, o.remotePort}, o.octets, uint64(o.packets))
	}
}

// clear empties a direction for the next cell, if anything is in it.
func (d *direction) clear() {
	if !d.empty() || d.addresses.n|d.ports.n != 0 {
		*d = direction{}
	}
}

// empty is true where nothing was added.
func (d *direction) empty() bool { return d.octets|d.packets|d.flows == 0 }
