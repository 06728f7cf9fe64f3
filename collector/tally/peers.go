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
