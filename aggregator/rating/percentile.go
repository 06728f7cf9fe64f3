package rating

import (
	"fmt"
	"slices"
	"time"
)

// SlotLength is the length of a slot, the ledger's finest cell.
const SlotLength = 5 * time.Minute

// SlotAfter returns the first slot boundary that is not before at.
func SlotAfter(at time.Time) time.Time {
	down := at.UTC().Truncate(SlotLength)
	if down.Before(at) {
		return down.Add(SlotLength)
	}
	return down
}

// MissingPolicy says what a percentile makes of slots that were not observed whole.
type MissingPolicy string

// The policies. None is MissingIgnore.
const (
	MissingIgnore MissingPolicy = "ignore" // the slot is left out: the percentile is that of the others
	MissingZero   MissingPolicy = "zero"   // the slot counts with what was seen in it, which may be nothing
	MissingHold   MissingPolicy = "hold"   // with such a slot, nothing is charged until a person decides
)

// ParseMissingPolicy reads "ignore", "zero" or "hold".
func ParseMissingPolicy(text string) (MissingPolicy, error) {
	switch m := MissingPolicy(text); m {
	case MissingIgnore, MissingZero, MissingHold:
		return m, nil
	}
	return "", fmt.Errorf("missing %q: want ignore, zero or hold", text)
}

// Slot is what a service used in five minutes, all of its meters and counted classes added up.
type Slot struct {
	In, Out uint64 // octets
	// Missing says that an exporter which accounts for the service was not observed in all of it.
	Missing bool
	// InExcluded and OutExcluded say that a decision has taken a direction out of the account.
	InExcluded, OutExcluded bool
}

// Percentile is the 95th percentile of a period and what it was taken from.
type Percentile struct {
	Side          Direction `json:"side"`            // in, out or sum: which slots it is of
	Slots         int       `json:"slots"`           // of the period, without excluded ones
	Missing       int       `json:"slots_missing"`   // of them
	Counted       int       `json:"slots_counted"`   // of them: n of the definition
	Rank          int       `json:"rank"`            // ceil(n * 95 / 100), from the smallest; 0 where n is 0
	Octets        uint64    `json:"octets"`          // in the slot of that rank
	BitsPerSecond int64     `json:"bits_per_second"` // Octets * 8 / 300, rounded down
}

// Percentile95 returns the 95th percentile of slots in a direction, one of the percentiles.
//
// The definition: sort the n slots that count by octets, the smallest first; take the one with the
// rank ceil(n * 95 / 100), counted from 1. So 5 % of the slots, rounded down, may be above it: 432 of the
// 8,640 of 30 days, 36 hours. The rate is that slot's octets times 8 over 300 seconds, in whole bit/s,
// rounded down. There is no interpolation. With no slots it is 0.
//
// P95 is the greater of in and out, and in where both are equal.
func Percentile95(list []Slot, d Direction, policy MissingPolicy) Percentile {
	switch d {
	case P95In:
		return percentileOf(list, In, policy)
	case P95Out:
		return percentileOf(list, Out, policy)
	case P95Sum:
		return percentileOf(list, Sum, policy)
	}
	in, out := percentileOf(list, In, policy), percentileOf(list, Out, policy)
	if out.Octets > in.Octets {
		return out
	}
	return in
}

func percentileOf(list []Slot, side Direction, policy MissingPolicy) Percentile {
	p := Percentile{Side: side}
	octets := make([]uint64, 0, len(list))
	for _, slot := range list {
		if slot.excluded(side) {
			continue
		}
		p.Slots++
		if slot.Missing {
			p.Missing++
			if policy != MissingZero {
				continue
			}
		}
		octets = append(octets, slot.octets(side))
	}
	p.Counted = len(octets)
	if p.Counted == 0 {
		return p
	}
	slices.Sort(octets)
	p.Rank = (p.Counted*95 + 99) / 100
	p.Octets = octets[p.Rank-1]
	p.BitsPerSecond = bitsPerSecond(p.Octets)
	return p
}

// bitsPerSecond is the rate of a slot, rounded down.
func bitsPerSecond(octets uint64) int64 {
	return int64(octets/75*2) + int64(octets%75*2/75) // 8 / 300 is 2 / 75: in two steps, so that nothing overflows
}

// excluded says whether a decision has taken a side out of the account.
func (s Slot) excluded(side Direction) bool {
	return s.InExcluded && side != Out || s.OutExcluded && side != In
}

func (s Slot) octets(side Direction) uint64 {
	switch side {
	case In:
		return s.In
	case Out:
		return s.Out
	}
	return s.In + s.Out // Account refuses what does not fit
}
