package collector

import (
	"hash/maphash"
	"time"
	"unsafe"

	"hostmeter/internal/prefetch"
	"hostmeter/schemas"
)

const (
	// repeatedSets times repeatedWays datagrams are remembered, of all exporters of a lane, in memory that a processor's
	// cache holds: a tenth of a second of what one core takes, and minutes of what few exporters send.
	repeatedSets = 1 << 11
	repeatedWays = 8 // a line of memory
)

// repeated remembers the last datagrams by their content. A datagram that the network delivers twice - a bond, a mirror,
// an exporter that was given two ways to this collector - is octet for octet the one before, with its number and its time:
// what it tells counts once.
type repeated struct {
	seed maphash.Seed
	sets [][repeatedWays]uint64 // hashes of 64 bits, the newest of a set first; 0 is none
}

func newRepeated() repeated {
	return repeated{seed: maphash.MakeSeed(), sets: make([][repeatedWays]uint64, repeatedSets)}
}

// hash is a datagram's, for a call of seen that follows soon: it asks for the memory of that.
func (r *repeated) hash(datagram []byte) uint64 {
	hash := maphash.Bytes(r.seed, datagram)
	prefetch.Line(uintptr(unsafe.Pointer(&r.sets[hash%repeatedSets])))
	return hash
}

// seen says whether an exporter has sent a datagram of this hash before, and remembers it.
func (r *repeated) seen(e *exporter, hash uint64) bool {
	if e.salt == 0 {
		e.salt = maphash.String(r.seed, e.text)
	}
	set := &r.sets[hash%repeatedSets]
	hash = max(hash^e.salt, 1)
	for _, before := range set {
		if before == hash {
			return true
		}
	}
	copy(set[1:], set[:])
	set[0] = hash
	return false
}

// dropRepeated counts a datagram that was there before. It is no part of what the account says was received, so that
// this and what was lost are what the exporter sent, and tells nothing of the exporter.
func (l *lane) dropRepeated(e *exporter, protocol schemas.Protocol, at time.Time) {
	a := l.account(accountKey{e.text, protocol, hourOf(at)})
	a.Dropped = schemas.AddCounts(a.Dropped, count("datagrams", schemas.ReasonRepeated, 1))
	if at.Sub(e.repeatedAt) < repeatedPause && !e.repeatedAt.IsZero() {
		return
	}
	e.repeatedAt = at
	l.deps.Logger.Warn("an exporter's datagrams arrive more than once: each counts once", "exporter", e.text, "protocol", string(protocol),
		"hint", "look for a bond or a mirror port on the way, and for two destinations in the exporter that both lead here")
}

// repeatedPause is how often it is told of an exporter that its datagrams are repeated.
const repeatedPause = time.Hour
