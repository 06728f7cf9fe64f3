package tally

// cell is a tally in the making. What is observed is not added to its traffic one by one, which would wait for
// the memory of another meter each time, but noted in its shard. It holds no pointer, so that the garbage
// collector does not look into it.
type cell struct {
	key    cellKey
	octets uint64 // of both directions, not multiplied, with those that are still noted
	busy   bool
	gone   bool // flushed while others stay
}

// note is what a record, or the part of it in one minute, adds to one meter, and waits to be added up.
type note struct {
	octets, packets, squares uint64 // squares are those of the packets' lengths; 0 where nothing is sampled
	remote                   uint32 // the other end: an IPv4 address, or where it stands in shard.numbers
	// cell is the number of the cell, once it was looked for; until then what names the meter: an IPv4 address,
	// a prefix, an interface, or where an IPv6 address stands in shard.numbers.
	cell                uint32
	remotePort, ownPort uint16
	protocol, flags     uint8
	is                  observed
	sort                uint8 // of the cell's key, less bothSort
	time                uint64
}

// observed are properties of a note.
type observed uint8

const (
	isOut      observed = 1 << iota // it left the meter
	isIPv4                          // remote is an IPv4 address
	isKnown                         // remote is an address at all
	isFragment                      // of a packet that is not whole
	isBegin                         // the flow begins in this minute
	isSingle                        // the flow is of one packet
	isMany                          // the flow is of more
	isBoth                          // it stands at another meter too
)

func (n *note) has(is observed) bool { return n.is&is != 0 }

// traffic is what the notes of a cell add up to.
type traffic struct{ in, out direction }

// direction is one direction of a cell. Its sums are not multiplied by the sampling rate. It takes 128 octets, two
// lines of memory: what few directions need stands elsewhere, by its number; 0 is none.
type direction struct {
	octets, packets, squares uint64
	flows                    uint32
	peers                    uint32 // in Table.peers, of busy meters

	features  features
	rare      uint32 // in Table.rare
	addresses addressSketch
	ports     portSketch
}

// of is the direction that a note is of.
func (x *traffic) of(n *note) *direction {
	if n.has(isOut) {
		return &x.out
	}
	return &x.in
}

// add adds a note up.
func (d *direction) add(t *Table, s *shard, n *note) {
	d.octets += n.octets
	d.packets += n.packets
	if n.has(isBegin) {
		d.flows++
	}
	if n.squares != 0 {
		d.squares = addSaturated(d.squares, n.squares)
	}
	if !t.config.NoDetail {
		d.detail(t, s, n)
	}
}

// detail counts features, distinct remote ends and, from PeerOctets on, the heaviest of them.
func (d *direction) detail(t *Table, s *shard, n *note) {
	d.features.add(n)
	if n.rare() {
		if d.rare == 0 {
			d.rare = t.rare.get()
		}
		t.rare.at(d.rare).add(n)
	}
	if n.has(isKnown) {
		d.addresses.add(t, s.remote(n), n.has(isIPv4))
	}
	ported := n.protocol == protocolTCP || n.protocol == protocolUDP || n.protocol == protocolSCTP
	if ported && !n.has(isFragment) {
		d.ports.add(t, n.remotePort)
	}
	if d.peers == 0 {
		if d.octets < t.peerOctets {
			return
		}
		d.peers = t.follow()
	}
	followed := t.peers.at(d.peers)
	if n.has(isKnown) {
		followed.addresses.add(peerKey{s.remote(n), n.has(isIPv4)}, n.octets, n.packets)
	}
	if ported {
		followed.ports.add(portKey{n.protocol, n.remotePort}, n.octets, n.packets)
	}
}

// empty is true where nothing was added.
func (d *direction) empty() bool { return d.octets|d.packets == 0 && d.flows == 0 }
