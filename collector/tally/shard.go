package tally

import (
	"unsafe"

	"hostmeter/internal/prefetch"
)

// shard is the part of a table whose cells have hashes that begin alike. What comes is noted in the shards of its
// meters, and a shard adds its notes up when it has many: what is read and written of its index, its cells and their
// traffic stays in the processor's cache meanwhile, where adding in the order of arrival would wait for memory most
// of the time.
type shard struct {
	notes   []note   // no more than it has room for
	found   int      // notes whose cells were found; those after them are as they came
	numbers []number // addresses of notes that are not IPv4
	index   index    // of cells
	cells   []cell   // as they came
	traffic traffics // of cells, by their number: what was added up
	busy    []uint32 // numbers of cells
}

// newShards returns so many shards with room for so many notes together.
func newShards(count, notes int) []shard {
	each := max(notes/count, 1)
	for each%4 == 0 { // An odd number of cache lines, or the ends of all shards would compete for the same few.
		each++
	}
	room := make([]note, count*each) // of which only what is used takes memory
	shards := make([]shard, count)
	for i := range shards {
		shards[i] = shard{notes: room[i*each : i*each : (i+1)*each], index: newIndex()}
	}
	return shards
}

// shardOf is where the cells of a hash are.
func (t *Table) shardOf(hash uint64) *shard { return &t.shards[hash>>t.shardShift] }

// note writes down what a part of a way adds to the meter of a key, and what the other end of it is. out is isOut
// where it left the meter.
func (t *Table) note(key cellKey, w *way, p *part, remote *end, ownPort, remotePort uint16, out observed) {
	s := t.shardOf(key.hash())
	if len(s.notes) == cap(s.notes) {
		t.settle(s)
	}
	s.notes = s.notes[:len(s.notes)+1]
	t.unknown++
	n := &s.notes[len(s.notes)-1]
	prefetch.Line(uintptr(unsafe.Pointer(n)) + 2*unsafe.Sizeof(*n) - 1) // where the next one ends: it is hundreds of notes away
	n.octets, n.packets, n.squares = p.octets, p.packets, p.squares
	n.remote, n.cell = uint32(remote.address.low), uint32(key.meter.low)
	n.remotePort, n.ownPort = remotePort, ownPort
	n.protocol, n.flags = w.protocol, w.flags
	n.is = w.is | p.is | remote.is | out
	n.sort, n.time = uint8(key.sort), key.time
	if key.kind() == kindIPv6 {
		n.cell = s.numberAt(key.meter)
	}
	if remote.is&isIPv4 == 0 {
		n.remote = s.numberAt(remote.address)
	}
}

// numberAt keeps an address that is too long for a note, and returns where it stands.
func (s *shard) numberAt(address number) uint32 {
	s.numbers = append(s.numbers, address)
	return uint32(len(s.numbers) - 1)
}

// remote is the other end of a note.
func (s *shard) remote(n *note) number {
	if n.has(isIPv4) {
		return number{0, uint64(n.remote)}
	}
	return s.numbers[n.remote]
}

// keyOf is the key of the cell of a note that was not looked for.
func (s *shard) keyOf(n *note) cellKey {
	key := cellKey{meter: number{0, uint64(n.cell)}, time: n.time, sort: uint64(n.sort)}
	if n.has(isBoth) {
		key.sort |= bothSort
	}
	if key.kind() == kindIPv6 {
		key.meter = s.numbers[n.cell]
	}
	return key
}

// findCells finds the cells of all notes, and counts what they carry there.
func (t *Table) findCells() {
	for i := range t.shards {
		t.find(&t.shards[i])
	}
}

// find finds the cells of the notes of a shard that came since the last call.
func (t *Table) find(s *shard) {
	fresh := s.notes[s.found:]
	s.found = len(s.notes)
	t.unknown -= len(fresh)
	for i := range fresh {
		n := &fresh[i]
		key := s.keyOf(n)
		g := t.groups[key.group()]
		n.cell = t.cellOf(s, key, g)
		c := &s.cells[n.cell]
		c.octets += n.octets
		prefetch.TwoLines(uintptr(unsafe.Pointer(s.traffic.at(n.cell).of(n))))
		if c.octets >= g.busy && !c.busy && !key.both() {
			c.busy = true
			s.busy = append(s.busy, n.cell)
		}
	}
}

// settle adds all notes of a shard up.
func (t *Table) settle(s *shard) {
	t.find(s)
	for i := range s.notes {
		n := &s.notes[i]
		s.traffic.at(n.cell).of(n).add(t, s, n)
	}
	s.notes, s.numbers, s.found = s.notes[:0], s.numbers[:0], 0
}

// cellOf returns the number of the cell of a key, made anew where needed.
func (t *Table) cellOf(s *shard, key cellKey, g *group) uint32 {
	hash := key.hash()
	if number, ok := s.index.find(hash, key, s.cells); ok {
		return number
	}
	number := uint32(len(s.cells))
	s.cells = append(s.cells, cell{key: key})
	s.traffic.begin(number)
	s.index.add(hash, number)
	t.used++
	g.cells++
	g.exporter.cells++
	return number
}

// drop gives back what a flushed cell holds.
func (t *Table) drop(c *cell, x *traffic) {
	g := t.groups[c.key.group()]
	t.used--
	g.cells--
	g.exporter.cells--
	for _, d := range []*direction{&x.in, &x.out} {
		t.rare.put(d.rare)
		t.wide.put(d.addresses.wide())
		t.wide.put(d.ports.wide())
		t.peers.put(d.peers)
	}
}
