package simulate

import (
	"net/netip"
	"slices"
	"time"

	"hostmeter/schemas"
)

// Provider is one simulated hosting provider. It is for one goroutine.
type Provider struct {
	seed       uint64
	begin, end time.Time
	zone       *time.Location
	monthStart time.Time // of the month that the past holds whole

	customers []*customer
	services  []*service
	owners    []ownership
	exporters []*exporter
	hosts     []*hypervisor
	books     *Books
	story     story

	// What one span holds until it is yielded: the datagrams lie one behind the other in arena.
	arena  []byte
	events []pendingEvent
	// half is when hypervisors are polled within the span, or its end; Unix seconds.
	half int64

	live liveState
}

// New returns the provider of a seed, whose past is [begin, end). Both are cut to whole ten minutes.
// The story (see docs/explanation/simulator.md) fits itself to the span; Span is the one that shows all of it.
func New(seed uint64, begin, end time.Time) *Provider {
	zone, err := time.LoadLocation(zoneName)
	if err != nil {
		panic(err) // the zones are compiled in
	}
	p := &Provider{seed: seed, begin: begin.UTC().Truncate(TickEvery), end: end.UTC().Truncate(TickEvery), zone: zone}
	local := p.begin.In(zone)
	p.monthStart = time.Date(local.Year(), local.Month()+1, 1, 0, 0, 0, 0, zone)
	if !p.monthStart.Before(p.end) { // a short past: everything began with it
		p.monthStart = time.Date(local.Year(), local.Month(), local.Day(), 0, 0, 0, 0, zone)
	}
	p.books = newBooks(p)
	p.layExporters()
	p.layCustomers()
	p.layServices()
	p.tell()
	p.drawContracts()
	p.layGuests()
	p.tellGuests()
	return p
}

// Begin and End bound the past.
func (p *Provider) Begin() time.Time { return p.begin }
func (p *Provider) End() time.Time   { return p.end }

// Month is the calendar month that the past holds whole, as in "2026-10".
func (p *Provider) Month() string { return p.monthStart.Format("2006-01") }

// Exporters returns the exporters, for the collector's configuration.
func (p *Provider) Exporters() []Exporter {
	var list []Exporter
	for _, e := range p.exporters {
		list = append(list, e.Exporter)
	}
	return list
}

// Local returns the local prefixes.
func (p *Provider) Local() []netip.Prefix {
	return []netip.Prefix{
		netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.51.100.0/24"),
		netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("2001:db8::/32"),
	}
}

// Assigned returns the IPv6 prefixes that were given to services: each is one meter.
func (p *Provider) Assigned() []netip.Prefix {
	var list []netip.Prefix
	for _, o := range p.owners {
		if o.prefix.Addr().Is6() {
			list = append(list, o.prefix)
		}
	}
	return list
}

// Hypervisors returns the hosts and their guests.
func (p *Provider) Hypervisors() []Hypervisor {
	var list []Hypervisor
	for _, h := range p.hosts {
		host := Hypervisor{Name: h.name}
		for _, g := range h.guests {
			host.Guests = append(host.Guests, g.Guest)
		}
		list = append(list, host)
	}
	return list
}

// Books returns the provider's own books, which grow while it plays.
func (p *Provider) Books() *Books { return p.books }

// virtualServers returns the virtual servers, of each exporter one in turn, so that guests are seen
// beside every wire format.
func (p *Provider) virtualServers() []*service {
	var found []*service
	for i, more := 0, true; more; i++ {
		more = false
		for _, e := range p.exporters {
			if i >= len(e.meters) {
				continue
			}
			more = true
			s := p.serviceOf(e.meters[i])
			if s != nil && s.plan.class == "vps" && !slices.Contains(found, s) {
				found = append(found, s)
			}
		}
	}
	return found
}

// serviceOf returns the service that owns a meter by its own key, or nil.
func (p *Provider) serviceOf(m *meter) *service {
	i := slices.IndexFunc(p.owners, func(o ownership) bool { return o.key == m.id })
	if i < 0 {
		return nil
	}
	return p.owners[i].service
}

// meterOf returns the first meter of a service.
func (p *Provider) meterOf(s *service) *meter {
	for _, o := range p.owners {
		if o.service != s {
			continue
		}
		for _, e := range p.exporters {
			for _, m := range e.meters {
				if m.id == schemas.MeterID(o.key) {
					return m
				}
			}
		}
	}
	return nil
}

// nth returns the n-th service of a plan behind an exporter.
func (p *Provider) nth(exporter int, plan string, n int) *service {
	for _, s := range p.services {
		if m := p.meterOf(s); s.plan.name == plan && m != nil && m.exporter == p.exporters[exporter] {
			if n == 0 {
				return s
			}
			n--
		}
	}
	panic("simulate: no such service") // a fault of the story
}
