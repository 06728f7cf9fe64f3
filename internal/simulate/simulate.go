// Package simulate is a hosting provider made of a seed: customers, services, exporters that speak
// the real wire formats, hypervisors, and a story that is worth looking at.
//
// It owns its books: what every address truly sent and received by five-minute slot, what of it
// the exporters stated, what was lost on the way, and therefore what a perfect collector sees; and an oracle
// that bills the books (see Books.Report). Equal seed and span give equal bytes on any day.
//
// It does not promise anything about the code under test, because it shares none of it: it imports no
// decoder, no tally and no rating. An oracle must not share the code that it judges.
package simulate

import (
	"net/netip"
	"time"

	"hostmeter/schemas"
)

// Event is one thing that happens to a collector. Exactly one of Datagram, Guests and Tick is set.
type Event struct {
	// At is the receive time, in UTC. Events come in the order of At.
	At       time.Time
	Datagram *Datagram
	Guests   *Guests
	// Tick asks for a flush: it comes every ten simulated minutes, and once at the end.
	Tick bool
}

// Datagram is one UDP payload. Payload is valid only until the next event is asked for.
type Datagram struct {
	From    netip.AddrPort // the exporter's own address, 127.0.1.N
	Payload []byte
}

// Guests is one poll of one hypervisor. Readings is valid only until the next event is asked for.
type Guests struct {
	Host     string
	Readings []schemas.GuestReading
}

// Exporter is what a collector's configuration says of one of the provider's exporters.
type Exporter struct {
	Address  netip.Addr
	Name     string
	Protocol schemas.Protocol
	Mode     string // accounting mode: always "single"
	Sampling string // always "auto": every sampled exporter announces its rate
	// SamplingRate is N of 1-in-N, which the exporter announces; 1 is unsampled.
	SamplingRate       uint32
	ActiveTimeout      time.Duration
	CustomerInterfaces []schemas.IfIndex
	// Prefixes are the local prefixes that this exporter alone accounts for.
	Prefixes []netip.Prefix
}

// Hypervisor is a host and the guests that it runs.
type Hypervisor struct {
	Name   string
	Guests []Guest
}

// Guest is one virtual machine. Service is the service that it belongs to.
type Guest struct {
	UUID, Name, Service string
	VCPUs               uint32
	MAC, Target         string
}

// GuestEvery is the time between two polls of a hypervisor in the past weeks, and GuestEveryLive
// in the live phase.
const (
	GuestEvery     = 5 * time.Minute
	GuestEveryLive = 10 * time.Second
)

// TickEvery is the time between two Tick events.
const TickEvery = 10 * time.Minute

// Span is the simulated time of a demonstration: five weeks around one whole calendar month in
// which the clocks change, and long enough after it for the month to close.
func Span() (begin, end time.Time) {
	end = time.Date(2026, time.November, 3, 12, 0, 0, 0, time.UTC)
	return end.Add(-5 * 7 * 24 * time.Hour), end
}
