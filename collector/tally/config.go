package tally

import (
	"net/netip"
	"time"
)

// ClassesMost is how many classes a note has room for.
const ClassesMost = 31

// Class is a traffic class of its own: what goes between a local address and one of the remote prefixes.
type Class struct {
	Name   string         `yaml:"name"`
	Remote []netip.Prefix `yaml:"remote"`
}

// Config says what is local and bounds a Table.
type Config struct {
	// Local are the provider's own prefixes; an address in none of them is remote.
	Local []netip.Prefix
	// Assigned are IPv6 prefixes that were given to somebody: each is a meter. Local IPv6 space
	// outside of them is one meter per prefix of Local.
	Assigned []netip.Prefix
	// Classes are of what goes to and comes from remote prefixes, ClassesMost at most; of nested prefixes the longest counts.
	// What is in none of them is external.
	Classes []Class
	// EachAddress makes every local address a meter, IPv6 too. Only for captures, whose size bounds
	// the number of meters.
	EachAddress bool
	// NoDetail leaves out features, sketches and top peers.
	NoDetail bool

	// Cells bounds the (meter, minute, class, exporter) that wait for a flush. Records beyond it
	// are dropped and counted; flush when Len comes near it.
	//
	// No exporter has more of them than shareOfFree times those that are free: one that floods the table
	// leaves a quarter to the others, and two a seventh.
	Cells int
	// Notes is how many observations are noted before they are added up, of 48 octets each: enough that those
	// of one meter come several at a time. Shards, a power of two, is in how many parts that is done: so many
	// that what one of them adds up fits in a processor's cache.
	Notes, Shards int
	// BusyOctets is from how many scaled octets in one cell a flush of busy meters takes it along. The
	// floor rises where more than a thousand cells are that busy: the heaviest are taken.
	BusyOctets uint64
	// PeerOctets is from how many reported octets in one cell top peers and ports are followed. The floor rises
	// while those of more than some thousand meters are.
	PeerOctets uint64
	// AssumedCells bounds the flushed cells that are remembered for Correct, of some 150 octets each, and
	// up to how many cells in the making records of an assumed rate are kept apart by their HeldKey: an
	// exporter of many domains has a meter's traffic in many cells. What does not fit stays counted at
	// a rate of 1.
	AssumedCells int

	// FutureMax, AgeMax and DurationMax are the sane times of a flow: its end at most FutureMax
	// after and AgeMax before its receipt, and its duration at most DurationMax. Else both its
	// times count as the receive time.
	FutureMax, AgeMax, DurationMax time.Duration
}

const shareOfFree = 3

// DefaultConfig has no local prefixes: nothing is booked.
func DefaultConfig() Config {
	return Config{
		Cells:        2_000_000,
		Notes:        1 << 18,
		Shards:       1 << 8,
		BusyOctets:   1 << 20,
		PeerOctets:   1 << 20,
		AssumedCells: 200_000,
		FutureMax:    time.Minute,
		AgeMax:       24 * time.Hour,
		DurationMax:  24 * time.Hour,
	}
}
