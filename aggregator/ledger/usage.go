package ledger

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"time"

	"hostmeter/schemas"
)

// SlotsPerHour is the number of five-minute slots in a row.
const SlotsPerHour = 12

// SlotLength is the length of a slot.
const SlotLength = 5 * time.Minute

// Usage is one direction of a row.
type Usage struct {
	Octets  schemas.Octets
	Packets schemas.Packets
	Flows   uint64
	// VarianceKiB2 is the variance of Octets as an estimate, in KiB^2 (2^20 octets^2); 0 where nothing
	// was sampled. Variances add.
	VarianceKiB2 uint64
	// Slots are the octets of each five minutes of the hour; they add up to Octets. In a day's row
	// they are all 0; where retention has taken them, they are even parts of Octets.
	Slots [SlotsPerHour]uint64
}

// UsageRow is what one meter used in one hour, or one UTC day, and class.
type UsageRow struct {
	Meter schemas.MeterID
	// Hour is the beginning of the hour, or of the day, in UTC.
	Hour    time.Time
	Class   string
	In, Out Usage
	// Sealed says that the row changes no more, but for late entries.
	Sealed bool
}

// LateEntry is usage that came after its hour was sealed, by the batch that brought it.
type LateEntry struct {
	Booking   Booking
	BookedAt  time.Time
	Collector string
	LogID     uint64
	Shard     uint32
	Index     uint64
	UsageRow
}

// GuestRow is what one guest's CPU did in one hour.
type GuestRow struct {
	Guest string // UUID; the meter is schemas.GuestMeter
	Hour  time.Time
	// Capacity is vCPUs times the time observed: what 100 % would have been. Steal is shown, never
	// added.
	CPU, Capacity, Steal    time.Duration
	CPUSlots, CapacitySlots [SlotsPerHour]uint64 // nanoseconds; they add up to CPU and Capacity
	Sealed                  bool
}

// Guest is what was last told of a guest.
type Guest struct {
	Guest, Host, Name string
	VCPUs             uint32
	State             schemas.GuestState
	SeenAt            time.Time
}

// Add returns the sum of two usages. It wraps where the ledger's own bounds are exceeded, which
// booking refuses.
func (u Usage) Add(v Usage) Usage {
	u.Octets += v.Octets
	u.Packets += v.Packets
	u.Flows += v.Flows
	u.VarianceKiB2 += v.VarianceKiB2
	for i := range u.Slots {
		u.Slots[i] += v.Slots[i]
	}
	return u
}

// Slice returns the part of an hour's usage in the slots [from, to): the octets are the slots' own;
// packets, flows and variance divide by the share of octets. Slices that tile the hour add up to it.
func (u Usage) Slice(from, to int) Usage {
	var before, through uint64 // octets before the slice, and to its end
	var part Usage
	for i, octets := range u.Slots {
		if i < from {
			before += octets
		}
		if i < to {
			through += octets
		}
		if i >= from && i < to {
			part.Slots[i] = octets
		}
	}
	part.Octets = schemas.Octets(through - before)
	share := func(n uint64) uint64 {
		if u.Octets == 0 { // packets without octets stand at the beginning of the hour
			if from == 0 && to > 0 {
				return n
			}
			return 0
		}
		return portion(n, through, uint64(u.Octets)) - portion(n, before, uint64(u.Octets))
	}
	part.Packets = schemas.Packets(share(uint64(u.Packets)))
	part.Flows = share(u.Flows)
	part.VarianceKiB2 = share(u.VarianceKiB2)
	return part
}

// portion returns n*part/whole, rounded down; part is at most whole, which is not 0.
func portion(n, part, whole uint64) uint64 {
	high, low := bits.Mul64(n, part)
	quotient, _ := bits.Div64(high, low, whole)
	return quotient
}

// slots are both directions' slots of a row, in and out, or a guest's CPU and capacity.
type slots [2][SlotsPerHour]uint64

// pack appends the slots as 24 varints, the first direction first.
func (s *slots) pack(dst []byte) []byte {
	for i := range s {
		for _, v := range s[i] {
			dst = binary.AppendUvarint(dst, v)
		}
	}
	return dst
}

// readSlots is unpackSlots for rows that may have lost their slots to retention: the sums are then divided evenly
// among them.
func readSlots(data []byte, first, second uint64) (s slots, err error) {
	if len(data) > 0 {
		return unpackSlots(data)
	}
	for i := range uint64(SlotsPerHour) {
		s[0][i] = portion(first, i+1, SlotsPerHour) - portion(first, i, SlotsPerHour)
		s[1][i] = portion(second, i+1, SlotsPerHour) - portion(second, i, SlotsPerHour)
	}
	return s, nil
}

// unpackSlots reads what pack wrote. Errors: ErrCorrupt.
func unpackSlots(data []byte) (s slots, err error) {
	for i := range s {
		for j := range s[i] {
			v, n := binary.Uvarint(data)
			if n <= 0 {
				return s, fmt.Errorf("slot %d of %d octets: %w", i*SlotsPerHour+j, len(data), ErrCorrupt)
			}
			s[i][j], data = v, data[n:]
		}
	}
	if len(data) != 0 {
		return s, fmt.Errorf("%d octets behind the slots: %w", len(data), ErrCorrupt)
	}
	return s, nil
}
