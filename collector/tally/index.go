package tally

import "math/bits"

// cellKey names a cell. It is made and compared for every record: of four words, it stays in registers.
type cellKey struct {
	meter number
	time  uint64 // the minute, and the group's number in Table.groups above it
	sort  uint64 // the class, the meter's kind, and bothSort
}

// The kinds of meters, as they stand in cellKey.sort, above its class. They tell what cellKey.meter is.
const (
	kindIPv4   uint64 = iota << kindShift // an IPv4 address
	kindIPv6                              // an IPv6 address
	kindPrefix                            // low is an index of prefixTable
	kindPort                              // low is an interface of the exporter
	bothSort                              // not a kind: the octets in the cell stand at another meter too

	kindShift = 6
	kindMask  = bothSort - 1<<kindShift
)

func timeOf(group uint32, minute int32) uint64 { return uint64(group)<<32 | uint64(uint32(minute)) }

func (k cellKey) group() uint32 { return uint32(k.time >> 32) }
func (k cellKey) minute() int64 { return int64(int32(k.time)) }
func (k cellKey) class() uint32 { return uint32(k.sort & (1<<kindShift - 1)) } // it tells internal from external traffic
func (k cellKey) kind() uint64  { return k.sort & kindMask }
func (k cellKey) both() bool    { return k.sort&bothSort != 0 }

// hash mixes all of a key into 64 bits. Who sends flows cannot choose it freely: meters are the
// provider's own addresses.
func (k cellKey) hash() uint64 {
	const odd1, odd2 = 0x9e3779b97f4a7c15, 0xd6e8feb86659fd93 // of SplitMix64 and of Mulvey's rrmxmx
	h := (k.meter.low ^ bits.RotateLeft64(k.meter.high, 29) ^ k.sort<<40) * odd1
	h = (h ^ h>>32 ^ k.time) * odd2
	return h ^ h>>32
}

// index finds cells by key: open addressing with linear probing. A slot has half of the hash beside
// the cell's number, so that a search touches a cell only to see that it is the right one. The highest
// bits of that half tell the place.
type index struct {
	slots []slot // a power of two of them, at most three quarters used
	shift uint32 // what makes a place of 32 bits of hash
	used  int
}

type slot struct {
	hash uint32
	cell uint32 // number + 1; 0 is free
}

const indexLeast = 1 << 6

func newIndex() index {
	return index{slots: make([]slot, indexLeast), shift: 32 - uint32(bits.TrailingZeros(indexLeast))}
}

// find returns the number of the cell of a key.
func (x *index) find(hash uint64, key cellKey, cells []cell) (number uint32, ok bool) {
	mask := uint32(len(x.slots) - 1)
	short := uint32(hash)
	for i := short >> x.shift; ; i = (i + 1) & mask {
		s := x.slots[i]
		if s.cell == 0 {
			return 0, false
		}
		if s.hash == short && cells[s.cell-1].key == key {
			return s.cell - 1, true
		}
	}
}

// reserve makes room for so many cells more. Those that are added in order of their hashes need it before: a table
// that grows meanwhile has them all in its first places.
func (x *index) reserve(cells int) {
	for 4*(x.used+cells) > 3*len(x.slots) {
		x.grow()
	}
}

// add puts a cell in that is not there.
func (x *index) add(hash uint64, cell uint32) {
	x.reserve(1)
	x.used++
	x.put(slot{uint32(hash), cell + 1})
}

func (x *index) put(s slot) {
	mask := uint32(len(x.slots) - 1)
	i := s.hash >> x.shift
	for x.slots[i].cell != 0 {
		i = (i + 1) & mask
	}
	x.slots[i] = s
}

func (x *index) grow() {
	before := x.slots
	x.slots, x.shift = make([]slot, 2*len(before)), x.shift-1
	for _, s := range before {
		if s.cell != 0 {
			x.put(s)
		}
	}
}

// clear takes all cells out.
func (x *index) clear() {
	clear(x.slots)
	x.used = 0
}

// remove takes a cell out, and closes the gap for those that were put behind it.
func (x *index) remove(hash uint64, cell uint32) {
	mask := uint32(len(x.slots) - 1)
	i := uint32(hash) >> x.shift
	for x.slots[i].cell != cell+1 {
		i = (i + 1) & mask
	}
	x.used--
	for next := (i + 1) & mask; x.slots[next].cell != 0; next = (next + 1) & mask {
		// What stands at next may move to i if its home is not between them.
		if home := x.slots[next].hash >> x.shift; (next-home)&mask >= (next-i)&mask {
			x.slots[i] = x.slots[next]
			i = next
		}
	}
	x.slots[i] = slot{}
}
