package tally

import (
	"math/bits"
	"slices"

	"hostmeter/schemas"
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

// sketch counts distinct hashes; see schemas.Sketch.
type sketch struct {
	exact     []uint64 // in the order of arrival
	registers *[registers]byte
}

// add takes a hash in. budget is what registers may still take; without it the sketch stays at what
// it holds exactly.
func (s *sketch) add(hash uint64, budget *int) {
	if s.registers != nil {
		s.raise(hash)
		return
	}
	if slices.Contains(s.exact, hash) {
		return
	}
	if len(s.exact) < exactMax {
		s.exact = append(s.exact, hash)
		return
	}
	if *budget < registers {
		return
	}
	*budget -= registers
	s.registers = new([registers]byte)
	for _, h := range s.exact {
		s.raise(h)
	}
	s.exact = s.exact[:0]
	s.raise(hash)
}

func (s *sketch) raise(hash uint64) {
	r := &s.registers[hash>>56]
	// Leading zeros of the other 56 bits, plus 1; a set bit behind them ends the count at 57.
	*r = max(*r, byte(bits.LeadingZeros64(hash<<8|1<<7)+1))
}

// take returns the sketch as a message, nil where nothing was added, and empties it.
func (s *sketch) take(budget *int) *schemas.Sketch {
	defer s.clear(budget)
	if s.registers != nil {
		return &schemas.Sketch{Registers: s.registers[:]}
	}
	if len(s.exact) == 0 {
		return nil
	}
	out := &schemas.Sketch{Exact: slices.Clone(s.exact)}
	slices.Sort(out.Exact)
	return out
}

// clear empties the sketch, and gives its registers back to the budget.
func (s *sketch) clear(budget *int) {
	if s.registers != nil {
		s.registers = nil // a message may have it
		*budget += registers
	}
	s.exact = s.exact[:0]
}
