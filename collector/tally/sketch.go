package tally

import (
	"math/bits"
	"slices"
)

// The hash of schemas.Sketch: FNV-1a, then the finaliser of SplitMix64.
const (
	fnvOffset = 0xcbf29ce484222325
	fnvPrime  = 0x100000001b3
)

// fnvMapped is the state of FNV-1a after the twelve octets that every IPv4-mapped address begins with.
var fnvMapped = func() uint64 {
	h := uint64(fnvOffset)
	for _, octet := range [12]byte{10: 0xff, 11: 0xff} {
		h = (h ^ uint64(octet)) * fnvPrime
	}
	return h
}()

func hashAddress(n number, v4 bool) uint64 {
	if v4 {
		return finalise(fnvWord(fnvMapped, n.low<<32, 4))
	}
	return finalise(fnvWord(fnvWord(fnvOffset, n.high, 8), n.low, 8))
}

func hashPort(port uint16) uint64 { return finalise(fnvWord(fnvOffset, uint64(port)<<48, 2)) }

// fnvWord takes the first octets of word, the highest first, into h.
func fnvWord(h, word uint64, octets int) uint64 {
	for range octets {
		h = (h ^ word>>56) * fnvPrime
		word <<= 8
	}
	return h
}

func finalise(h uint64) uint64 {
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}

const (
	exactMax  = 32
	registers = 256
)

// sketch counts distinct hashes; see schemas.Sketch. Up to exactMax it holds them, in the order of
// arrival; then the same memory holds the registers, eight in a word, the first in its lowest octet.
type sketch struct {
	words [exactMax]uint64
	n     uint8 // exact hashes; beyond exactMax: registers
}

func (s *sketch) add(hash uint64) {
	if s.n > exactMax {
		s.raise(hash)
		return
	}
	if slices.Contains(s.words[:s.n], hash) {
		return
	}
	if s.n < exactMax {
		s.words[s.n] = hash
		s.n++
		return
	}
	exact := s.words
	s.words, s.n = [exactMax]uint64{}, exactMax+1
	for _, h := range exact {
		s.raise(h)
	}
	s.raise(hash)
}

func (s *sketch) raise(hash uint64) {
	word, shift := &s.words[hash>>59], hash>>56&7*8
	// Leading zeros of the other 56 bits, plus 1; a set bit behind them ends the count at 57.
	rank := uint64(bits.LeadingZeros64(hash<<8|1<<7) + 1)
	if rank > *word>>shift&0xff {
		*word = *word&^(0xff<<shift) | rank<<shift
	}
}

// smallAddresses and smallPorts are up to how many keys are kept themselves, in less memory than their hashes.
const (
	smallAddresses = 6
	smallPorts     = 5
)

// addressSketch is a sketch of addresses, portSketch one of ports. The first few IPv4 addresses, or ports, stand in
// small, and n is how many; with more, n is beyond all of them, and tells which sketch of hashes in Table.wide has them.
type addressSketch struct {
	n     uint32
	small [smallAddresses]uint32
}

type portSketch struct {
	n     uint32
	small [smallPorts]uint16
}

// wide is the number of the sketch of hashes; 0 is none.
func (s *addressSketch) wide() uint32 { return s.n - min(s.n, smallAddresses) }
func (s *portSketch) wide() uint32    { return s.n - min(s.n, smallPorts) }

func (s *addressSketch) add(t *Table, address number, v4 bool) {
	if s.wide() == 0 {
		small := s.small[:s.n]
		if v4 {
			key := uint32(address.low)
			if slices.Contains(small, key) {
				return
			}
			if s.n < smallAddresses {
				s.small[s.n] = key
				s.n++
				return
			}
		}
		wide := t.wide.get()
		for _, key := range small {
			t.wide.at(wide).add(hashAddress(number{0, uint64(key)}, true))
		}
		s.n = smallAddresses + wide
	}
	t.wide.at(s.wide()).add(hashAddress(address, v4))
}

func (s *portSketch) add(t *Table, port uint16) {
	if s.wide() == 0 {
		small := s.small[:s.n]
		if slices.Contains(small, port) {
			return
		}
		if s.n < smallPorts {
			s.small[s.n] = port
			s.n++
			return
		}
		wide := t.wide.get()
		for _, key := range small {
			t.wide.at(wide).add(hashPort(key))
		}
		s.n = smallPorts + wide
	}
	t.wide.at(s.wide()).add(hashPort(port))
}
