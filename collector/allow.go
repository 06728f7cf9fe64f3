package collector

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"hostmeter/schemas"
)

// allowList finds the settings of an address: those of the longest prefix that holds it.
type allowList struct {
	byPrefix map[netip.Prefix]*ExporterConfig
	lengths  map[bool][]int // of IPv4 (true) and IPv6 prefixes, the longest first
}

func newAllowList(exporters []ExporterConfig) allowList {
	a := allowList{byPrefix: map[netip.Prefix]*ExporterConfig{}, lengths: map[bool][]int{}}
	for i := range exporters {
		prefix := exporters[i].Address.Prefix
		a.byPrefix[prefix] = &exporters[i]
		family := prefix.Addr().Is4()
		if !slices.Contains(a.lengths[family], prefix.Bits()) {
			a.lengths[family] = append(a.lengths[family], prefix.Bits())
		}
	}
	for _, lengths := range a.lengths {
		slices.SortFunc(lengths, func(x, y int) int { return cmp.Compare(y, x) })
	}
	return a
}

func (a allowList) find(addr netip.Addr) *ExporterConfig {
	for _, bits := range a.lengths[addr.Is4()] {
		prefix, err := addr.Prefix(bits)
		if err != nil {
			continue
		}
		if cfg := a.byPrefix[prefix]; cfg != nil {
			return cfg
		}
	}
	return nil
}

// Knock is an address that sent datagrams and may not.
type Knock struct {
	Address     netip.Addr
	Protocol    schemas.Protocol // of its last datagram; empty where it is none of the four
	Datagrams   uint64
	First, Last time.Time
}

// knocksMost bounds the addresses that are remembered, and knocksPause how often one makes room for
// another: senders can be made up.
const (
	knocksMost  = 256
	knocksPause = 100 * time.Millisecond
)

// knocks remembers who sent and may not.
type knocks struct {
	known   map[netip.Addr]*Knock
	madeWay time.Time // when one last made room
}

// add says whether an operator should be told: of an address that is new to a list that is not full. When it is full, the one that was heard least
// often, and of those the longest ago, makes room: a flood of made-up senders pushes out itself.
func (k *knocks) add(from netip.Addr, at time.Time, protocol schemas.Protocol) bool {
	if known := k.known[from]; known != nil {
		known.Datagrams++
		known.Last, known.Protocol = at, protocol
		return false
	}
	full := len(k.known) >= knocksMost
	if full {
		if at.Sub(k.madeWay).Abs() < knocksPause {
			return false
		}
		k.madeWay = at
		delete(k.known, k.leastHeard().Address)
	}
	k.known[from] = &Knock{Address: from, Protocol: protocol, Datagrams: 1, First: at, Last: at}
	return !full
}

func (k *knocks) leastHeard() *Knock {
	var least *Knock
	for _, other := range k.known {
		if least == nil || other.Datagrams < least.Datagrams ||
			other.Datagrams == least.Datagrams && other.Last.Before(least.Last) {
			least = other
		}
	}
	return least
}

// list returns the knocks, the most frequent first.
func (k *knocks) list() []Knock {
	out := make([]Knock, 0, len(k.known))
	for _, knock := range k.known {
		out = append(out, *knock)
	}
	slices.SortFunc(out, func(a, b Knock) int {
		return cmp.Or(cmp.Compare(b.Datagrams, a.Datagrams), a.Address.Compare(b.Address))
	})
	return out
}
