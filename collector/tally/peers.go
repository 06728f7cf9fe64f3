package tally

import (
	"cmp"
	"slices"
)

const (
	followed = 32 // how many peers or ports are counted at a time
	told     = 16 // how many of them leave
)

// heaviest counts the heaviest of many keys by Space-Saving (Metwally, Agrawal, El Abbadi 2005): a
// key that is not followed takes the place of the lightest and its count, so counts are never too low.
type heaviest[K comparable] struct {
	n     int
	items [followed]heavy[K]
}

type heavy[K comparable] struct {
	key             K
	octets, packets uint64
}

func (h *heaviest[K]) add(key K, octets, packets uint64) {
	lightest := 0
	for i := range h.items[:h.n] {
		item := &h.items[i]
		if item.key == key {
			item.octets, item.packets = item.octets+octets, item.packets+packets
			return
		}
		if item.octets < h.items[lightest].octets {
			lightest = i
		}
	}
	if h.n < followed {
		h.items[h.n] = heavy[K]{key, octets, packets}
		h.n++
		return
	}
	item := &h.items[lightest]
	item.key = key
	item.octets, item.packets = item.octets+octets, item.packets+packets
}

// peersMost is of how many directions of meters the peers are meant to be followed at most, until the next flush of all.
const peersMost = 4096

// follow returns where the peers of one more direction stand. Each time that so many more are followed than are meant to
// be, the floor for others rises; those that are followed stay.
func (t *Table) follow() uint32 {
	if over := t.peers.used - peersMost; over >= 0 && over%(peersMost/4) == 0 {
		t.peerOctets = mulSaturated(t.peerOctets, 2)
	}
	return t.peers.get()
}

// followMore lowers the floor where few were followed since the last flush of all.
func (t *Table) followMore() {
	if t.peers.used < peersMost/4 {
		t.peerOctets = max(t.peerOctets/2, t.config.PeerOctets)
	}
}

// top returns the heaviest keys, the heaviest first.
func (h *heaviest[K]) top() []heavy[K] {
	items := h.items[:h.n]
	slices.SortStableFunc(items, func(a, b heavy[K]) int { return cmp.Compare(b.octets, a.octets) })
	return items[:min(told, len(items))]
}

type peerKey struct {
	address number
	v4      bool
}

type portKey struct {
	protocol uint8
	port     uint16
}

// peers are the heaviest remote ends of a busy meter.
type peers struct {
	addresses heaviest[peerKey]
	ports     heaviest[portKey]
}
