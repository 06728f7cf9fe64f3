// Package reconcile compares what several meters of one service counted of the same traffic: flow
// records by address, the vNIC's counters and the switch port's.
//
// It owns the band in which the figure that bills has to lie, and the verdict. Each kind of meter
// bounds the octets that were on the wire at layer 3, by how it counts and by the sizes of its packets;
// the figure that bills is outside where no amount of traffic fits its own bounds and a witness's.
// It is pure: integers go in, integers come out. It knows neither who owned a meter nor what a charge is.
package reconcile

import (
	"errors"
	"fmt"
	"math"
	"math/big"

	"hostmeter/schemas"
)

// Settings of a comparison. They widen bands; none of them narrows what the packets imply.
type Settings struct {
	// TolerancePermille of the greatest figure is allowed on both sides: counters are read at other
	// instants than flows are cut, and frames that carry no IP count in them alone.
	TolerancePermille uint64 `yaml:"tolerance_permille" json:"tolerance_permille"`
	// FloorOctets is allowed on both sides where it is more: floods and broadcasts of a quiet day.
	FloorOctets uint64 `yaml:"floor_octets" json:"floor_octets"`
	// StandardErrors of a sampled figure are allowed. 2 would raise one false alarm in twenty.
	StandardErrors uint64 `yaml:"standard_errors" json:"standard_errors"`
	// ObservedPercentMin is how much of a day a meter's source must have been observed to be compared.
	ObservedPercentMin uint64 `yaml:"observed_percent_min" json:"observed_percent_min"`
	// MTU is the greatest IP packet on the wire.
	MTU uint64 `yaml:"mtu" json:"mtu"`
}

// DefaultSettings returns the settings of an empty file.
func DefaultSettings() Settings {
	return Settings{TolerancePermille: 5, FloorOctets: 100_000_000, StandardErrors: 5, ObservedPercentMin: 95, MTU: 1500}
}

// Validate names the key that is wrong.
func (s Settings) Validate() error {
	switch {
	case s.TolerancePermille > 1000:
		return fmt.Errorf("tolerance_permille: %d is more than 1000", s.TolerancePermille)
	case s.StandardErrors > 1000:
		return fmt.Errorf("standard_errors: %d is more than 1000", s.StandardErrors)
	case s.ObservedPercentMin < 1 || s.ObservedPercentMin > 100:
		return fmt.Errorf("observed_percent_min: %d is not between 1 and 100", s.ObservedPercentMin)
	case s.MTU < 576 || s.MTU > maxPacket:
		return fmt.Errorf("mtu: %d is not between 576 and %d", s.MTU, maxPacket)
	case s.FloorOctets > math.MaxInt64:
		return errors.New("floor_octets: does not fit")
	}
	return nil
}

// Octets by which counters differ from what was on the wire at layer 3, a packet.
const (
	tag       = 4      // one IEEE 802.1Q tag, which no overhead that was taken off has in it
	padded    = 46     // the least payload of an Ethernet frame (IEEE 802.3, clause 3.2.7): less is padded
	minPacket = 20     // an IPv4 header without anything (RFC 791)
	maxPacket = 65_535 // what a guest's driver may hand over at once (segmentation offload)
	headers   = 72     // IPv6, TCP and its timestamps, once instead of once a packet, with such an offload
)

// Whole is a share of a day, in parts per million, that was observed from end to end.
const Whole = 1_000_000

// Amount is one direction of a figure. Octets are those of layer 3 that the ledger has.
type Amount struct {
	Octets  uint64
	Packets uint64
	// VarianceKiB2 is that of Octets as an estimate, in KiB squared; 0 where nothing was sampled.
	VarianceKiB2 uint64
	// Unbooked octets may have been on the wire and are known to be in no meter of this kind: of sources
	// that are not local, and between local addresses where the exporter's mode leaves these out.
	Unbooked uint64
}

// Figure is what the meters of one kind counted in a day, seen from the customer: In came to it.
type Figure struct {
	Kind    schemas.MeterKind // address, vnic or port
	In, Out Amount
	// ObservedPPM is the share of the day in which the sources were observed, Whole at most.
	ObservedPPM uint64
}

// span is where the octets on the wire lie, given a figure.
type span struct{ low, high *big.Int }

// span bounds the octets that were on the wire, by how a kind of meter counts.
func (s Settings) span(f Figure, a Amount) span {
	octets := whole(a.Octets)
	low, high := new(big.Int).Set(octets), new(big.Int).Set(octets)
	switch f.Kind {
	case schemas.KindVNIC:
		low.Sub(low, excess(a, maxPacket))
		high = ceilDiv(high.Mul(high, whole(s.MTU)), whole(s.MTU-headers))
	case schemas.KindPort:
		low.Sub(low, excess(a, s.MTU))
	default:
		deviation := deviation(a.VarianceKiB2, s.StandardErrors)
		low.Sub(low, deviation)
		high.Add(high, deviation)
	}
	if f.ObservedPPM > 0 && f.ObservedPPM < Whole { // what was not observed went on as the rest did
		high = ceilDiv(high.Mul(high, whole(Whole)), whole(f.ObservedPPM))
	}
	high.Add(high, whole(a.Unbooked))
	if low.Sign() < 0 {
		low.SetInt64(0)
	}
	return span{low, high}
}

// excess returns the most octets that counters of frames hold beyond layer 3: a tag for each packet, and
// the padding of the small ones. A counted frame of up to padded+tag octets may be a packet of minPacket
// octets; a greater one has no padding. So of n frames that hold S octets, the padding is most where each is
// either padded+tag or largest+tag: a chord between the two bounds it.
func excess(a Amount, largest uint64) *big.Int {
	frames := whole(a.Packets)
	room := new(big.Int).Mul(frames, whole(largest+tag))
	room.Sub(room, whole(a.Octets))
	if room.Sign() < 0 {
		room.SetInt64(0)
	}
	padding := ceilDiv(room.Mul(room, whole(padded-minPacket)), whole(largest-padded))
	padding = minOf(padding, new(big.Int).Mul(frames, whole(padded-minPacket)))
	return new(big.Int).Add(padding, frames.Mul(frames, whole(tag)))
}

// deviation returns the least whole number of octets that is not below so many standard errors.
func deviation(varianceKiB2, errors uint64) *big.Int {
	square := new(big.Int).Mul(whole(varianceKiB2), whole(errors*errors))
	square.Lsh(square, 20)
	root := new(big.Int).Sqrt(square)
	if new(big.Int).Mul(root, root).Cmp(square) < 0 {
		root.Add(root, big.NewInt(1))
	}
	return root
}

func whole(n uint64) *big.Int { return new(big.Int).SetUint64(n) }

// ceilDiv returns a/b, rounded up; neither is negative.
func ceilDiv(a, b *big.Int) *big.Int {
	quotient, rest := new(big.Int).QuoRem(a, b, new(big.Int))
	if rest.Sign() > 0 {
		quotient.Add(quotient, big.NewInt(1))
	}
	return quotient
}

func maxOf(a, b *big.Int) *big.Int {
	if a.Cmp(b) < 0 {
		return b
	}
	return a
}

func minOf(a, b *big.Int) *big.Int {
	if a.Cmp(b) > 0 {
		return b
	}
	return a
}
