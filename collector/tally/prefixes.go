package tally

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"
)

// number is an address as a number: IPv4 in low alone.
type number struct{ high, low uint64 }

func (a number) compare(b number) int {
	if c := cmp.Compare(a.high, b.high); c != 0 {
		return c
	}
	return cmp.Compare(a.low, b.low)
}

func (a number) next() number {
	a.low++
	if a.low == 0 {
		a.high++
	}
	return a
}

// numberOf takes an address without IPv4-mapped form.
func numberOf(addr netip.Addr) number {
	if addr.Is4() {
		b := addr.As4()
		return number{0, uint64(binary.BigEndian.Uint32(b[:]))}
	}
	b := addr.As16()
	return number{binary.BigEndian.Uint64(b[:]), binary.BigEndian.Uint64(b[8:])}
}

func (a number) address(v4 bool) netip.Addr {
	if v4 {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], uint32(a.low))
		return netip.AddrFrom4(b)
	}
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], a.high)
	binary.BigEndian.PutUint64(b[8:], a.low)
	return netip.AddrFrom16(b)
}

// span says that addresses from start to the next span's start belong to prefix, an index, or to
// none (-1).
type span struct {
	start  number
	prefix int32
}

// prefixTable finds the longest of many prefixes by one binary search: nested prefixes are laid
// out flat when it is made.
type prefixTable struct {
	prefixes  []netip.Prefix
	four, six []span
}

func newPrefixTable(prefixes []netip.Prefix) *prefixTable {
	t := &prefixTable{}
	var fours, sixes []netip.Prefix
	for _, p := range prefixes {
		switch p = unmapped(p); {
		case !p.IsValid():
		case p.Addr().Is4():
			fours = append(fours, p)
		default:
			sixes = append(sixes, p)
		}
	}
	t.four, t.six = t.flatten(fours), t.flatten(sixes)
	return t
}

// unmapped is a prefix in its one canonical form.
func unmapped(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p.Masked()
}

// flatten lays prefixes of one family out as spans that do not overlap.
func (t *prefixTable) flatten(prefixes []netip.Prefix) []span {
	slices.SortFunc(prefixes, func(a, b netip.Prefix) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
	})
	spans := []span{{prefix: -1}}
	emit := func(start number, prefix int32) {
		if last := &spans[len(spans)-1]; last.start == start {
			last.prefix = prefix
			return
		}
		spans = append(spans, span{start, prefix})
	}
	type opened struct {
		last   number
		prefix int32
	}
	var open []opened
	closeTop := func() {
		last := open[len(open)-1].last
		open = open[:len(open)-1]
		around := int32(-1)
		if len(open) > 0 {
			around = open[len(open)-1].prefix
		}
		if after := last.next(); after != (number{}) {
			emit(after, around)
		}
	}
	for _, p := range slices.Compact(prefixes) {
		first := numberOf(p.Addr())
		for len(open) > 0 && open[len(open)-1].last.compare(first) < 0 {
			closeTop()
		}
		t.prefixes = append(t.prefixes, p)
		index := int32(len(t.prefixes) - 1)
		emit(first, index)
		open = append(open, opened{lastOf(p), index})
	}
	for len(open) > 0 {
		closeTop()
	}
	return spans
}

// lastOf is the last address of a prefix.
func lastOf(p netip.Prefix) number {
	n, host := numberOf(p.Addr()), p.Addr().BitLen()-p.Bits()
	switch {
	case host >= 128:
		return number{^uint64(0), ^uint64(0)}
	case host > 64:
		return number{n.high | (1<<(host-64) - 1), ^uint64(0)}
	case host == 64:
		return number{n.high, ^uint64(0)}
	}
	return number{n.high, n.low | (1<<host - 1)}
}

// find returns the index of the longest prefix that holds n, or -1.
func (t *prefixTable) find(n number, v4 bool) int32 {
	spans := t.six
	if v4 {
		spans = t.four
	}
	low, high := 0, len(spans) // the last span that does not begin after n
	for high-low > 1 {
		middle := int(uint(low+high) >> 1)
		if s := &spans[middle].start; s.high > n.high || s.high == n.high && s.low > n.low {
			high = middle
		} else {
			low = middle
		}
	}
	return spans[low].prefix
}
