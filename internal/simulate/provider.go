package simulate

import (
	"net/netip"
	"time"
)

// Provider is one simulated hosting provider. It is for one goroutine.
type Provider struct {
	seed       uint64
	begin, end time.Time
}

// New returns the provider of a seed, whose past is [begin, end). Both are cut to whole ten minutes.
func New(seed uint64, begin, end time.Time) *Provider {
	return &Provider{seed: seed, begin: begin.UTC().Truncate(TickEvery), end: end.UTC().Truncate(TickEvery)}
}

// Import returns the import file (YAML) with prefixes, prices, plans, customers, services and
// ownership.
func (p *Provider) Import() []byte { return nil }

// Exporters returns the exporters, for the collector's configuration.
func (p *Provider) Exporters() []Exporter { return nil }

// Local returns the local prefixes and Assigned the IPv6 prefixes that were given to services.
func (p *Provider) Local() []netip.Prefix    { return nil }
func (p *Provider) Assigned() []netip.Prefix { return nil }

// Hypervisors returns the hosts and their guests.
func (p *Provider) Hypervisors() []Hypervisor { return nil }

// Play yields the past, [begin, end), in time order. It can be used in a range statement, once.
func (p *Provider) Play(yield func(Event) bool) {}

// NextLive returns what has become due by now, after the last call (at first: after the end of the
// past), in time order. The first call sets the pace: abuse begins AbuseAfter later. The
// events are valid until the next call.
func (p *Provider) NextLive(now time.Time) []Event { return nil }

// Books returns the provider's own books, which grow while it plays.
func (p *Provider) Books() *Books { return nil }
