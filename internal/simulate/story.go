package simulate

import (
	"net/netip"
	"time"

	"hostmeter/schemas"
)

// story is what happens beside everyday traffic.
type story struct {
	lossy       *exporter
	lossFrom    time.Time
	lossUntil   time.Time
	lossLate    time.Time // and again from here to the end of the past
	silent      *exporter
	silentFrom  time.Time
	silentUntil time.Time
	flooding    *meter
	handoverAt  time.Time
	highlights  Highlights
	scanning    *meter
}

// Highlights name what the story shows, for whoever presents it.
type Highlights struct {
	// The address changed from one service to the other at HandoverAt; it counts from the next slot.
	HandoverAddress            netip.Addr
	HandoverFrom, HandoverTo   string
	HandoverAt                 time.Time
	LossyExporter, SilentOne   string // names of exporters
	SilentFrom, SilentUntil    time.Time
	BusyGuest                  string // UUID; CPU above 90 % for more than three days at the end
	FastService                string // above 200 Mbit/s out for more than three days at the end
	NearQuota                  string // will cross its quota within its present period
	UnownedAddress             netip.Addr
	InternalFrom, InternalTo   string // services that back up to each other
	FloodingService            string // begins a flood AbuseAfter into the live phase
	ScanningService            string // begins to scan ScanAfter into the live phase
	Reseller                   string // customer
	ContractQuota, EarlyClient string // a service with a quota of its own; one that began before the past
}

// Highlights returns what the story shows.
func (p *Provider) Highlights() Highlights { return p.story.highlights }

// at is a share of the past, in thousandths, on a whole ten minutes.
func (p *Provider) at(thousandths int64) time.Time {
	whole := p.end.Sub(p.begin) / 1000 * time.Duration(thousandths)
	return p.begin.Add(whole).Truncate(TickEvery)
}

// tell sets the stage. It runs after the racks are filled.
func (p *Provider) tell() {
	h := &p.story.highlights
	h.Reseller = p.customers[resellerIndex].id
	p.tellFaults(h)
	p.tellHandover(h)
	p.tellLoads(h)
	p.tellPrefixes(h)
	p.tellContracts(h)

	flooding := p.nth(borderSampled, "vps-2", 2)
	scanning := p.nth(coreV9, "vps-2", 3)
	p.story.flooding, p.story.scanning = p.meterOf(flooding), p.meterOf(scanning)
	h.FloodingService, h.ScanningService = flooding.id, scanning.id
}

// tellFaults chooses what is lost on the way and who falls silent.
func (p *Provider) tellFaults(h *Highlights) {
	s := &p.story
	s.lossy, s.lossFrom, s.lossUntil, s.lossLate = p.exporters[coreIPFIX], p.at(250), p.at(450), p.at(950)
	s.silent = p.exporters[edgeSampled]
	s.silentFrom = p.at(570).Truncate(time.Hour)
	s.silentUntil = s.silentFrom.Add(time.Hour)
	h.LossyExporter, h.SilentOne, h.SilentFrom, h.SilentUntil = s.lossy.Name, s.silent.Name, s.silentFrom, s.silentUntil
}

// tellHandover moves an address to another customer in the middle of the month, at an hour when nobody
// looks and in the middle of a slot.
func (p *Provider) tellHandover(h *Highlights) {
	from, to := p.nth(edgeV5, "dedicated-10", 1), p.nth(edgeV5, "dedicated-10", 2)
	m := p.layMeter(p.exporters[edgeV5], p.exporters[edgeV5].nextAddress())
	at := p.monthStart.AddDate(0, 0, 14).Add(3*time.Hour + 17*time.Minute)
	if !at.Before(p.end) {
		at = p.at(500).Truncate(time.Hour).Add(17 * time.Minute)
	}
	at = at.UTC()
	p.own(from, m.id, from.opened, at)
	p.own(to, m.id, at, time.Time{})
	counts := slotAfter(at) // on a multiple of ten minutes, as no flow may cross it
	p.want(m, from.opened, counts, from.plan, 60, 100, 70)
	p.want(m, counts, time.Time{}, to.plan, 45, 100, 70)
	p.story.handoverAt = at
	h.HandoverAddress, h.HandoverFrom, h.HandoverTo, h.HandoverAt = m.address, from.id, to.id, at
}

// slotAfter is when a change of ownership begins to count: the next slot bound.
func slotAfter(at time.Time) time.Time {
	cut := at.Truncate(SlotLength)
	if cut.Before(at) {
		cut = cut.Add(SlotLength)
	}
	return cut
}

// tellLoads makes one service fast for days, and one run into its quota.
func (p *Provider) tellLoads(h *Highlights) {
	fast := p.nth(coreV9, "dedicated-10", 3)
	m := p.meterOf(fast)
	const octetsPerSecond = 240_000_000 / 8
	m.demands = append(m.demands, demand{
		from: latest(p.end.Add(-108*time.Hour), p.at(500)), out: octetsPerSecond * 600, in: octetsPerSecond * 12, steady: true,
	})
	h.FastService = fast.id

	near := p.nth(coreIPFIX, "dedicated-10", 3)
	opened := p.end.In(p.zone).AddDate(0, 0, -29)
	opened = time.Date(opened.Year(), opened.Month(), opened.Day(), 0, 0, 0, 0, p.zone)
	p.reopen(near, latest(opened, near.opened), 104)
	h.NearQuota = near.id
}

// reopen lets a service begin at another time, and wants target percent of its quota from then on.
func (p *Provider) reopen(s *service, opened time.Time, target uint64) {
	s.opened = opened
	m := p.meterOf(s)
	m.demands = nil
	for i := range p.owners {
		if p.owners[i].service == s {
			p.owners[i].from = opened.UTC()
		}
	}
	p.want(m, opened, time.Time{}, s.plan, target, 100, 70)
}

// tellPrefixes adds IPv6, a whole prefix with another's address in it, a backup inside the house, and
// addresses that nobody owns.
func (p *Provider) tellPrefixes(h *Highlights) {
	ipfix, v9 := p.exporters[coreIPFIX], p.exporters[coreV9]
	for i := range 4 {
		s := p.nth(coreIPFIX, "vps-2", i)
		prefix := netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 0, byte(7 + i)}), 48)
		m := p.layMeter(ipfix, prefix)
		p.own(s, m.id, s.opened, time.Time{})
		p.want(m, s.opened, time.Time{}, s.plan, 12, 100, 60)
	}

	big, guest := p.nth(borderSampled, "dedicated-10", 0), p.nth(borderSampled, "vps-2", 0)
	border := p.exporters[borderSampled]
	block := netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 51, 100, 192}), 29)
	p.own(big, schemas.PrefixMeter(block), big.opened, time.Time{})
	address := block.Addr()
	for i := range 4 {
		address = address.Next()
		m := p.layMeter(border, netip.PrefixFrom(address, 32))
		if i == 3 { // inside the block, and somebody else's: the longest match counts
			p.own(guest, m.id, guest.opened, time.Time{})
			p.want(m, guest.opened, time.Time{}, guest.plan, 20, 100, 60)
			continue
		}
		p.want(m, big.opened, time.Time{}, big.plan, 5, 100, 60)
	}

	a, b := p.nth(coreV9, "dedicated-10", 0), p.nth(coreV9, "backup-2-in", 1)
	p.meterOf(a).neighbour = p.meterOf(b)
	h.InternalFrom, h.InternalTo = a.id, b.id

	for _, prefix := range []netip.Prefix{
		netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, 2, 250}), 32), ipfix.Prefixes[1],
	} {
		exporter := v9
		if prefix.Addr().Is6() {
			exporter = ipfix // space that was assigned to nobody is one meter
		}
		m := p.layMeter(exporter, prefix)
		m.demands = []demand{{from: p.begin, in: 3_000_000, out: 1_000_000}}
	}
	h.UnownedAddress = netip.AddrFrom4([4]byte{192, 0, 2, 250})
}

// tellContracts lets one service begin on a 31st before the past, and gives one a quota of its own.
func (p *Provider) tellContracts(h *Highlights) {
	early := p.nth(edgeSampled, "vps-1", 3)
	local := p.begin.In(p.zone)
	for month := local.Month(); ; month-- {
		if day := time.Date(local.Year(), month, 31, 0, 0, 0, 0, p.zone); day.Day() == 31 && day.Before(p.begin) {
			p.reopen(early, day, 103)
			break
		}
	}
	own := p.nth(borderSampled, "dedicated-10", 2)
	own.own["quota"] = "12 TB"
	h.EarlyClient, h.ContractQuota = early.id, own.id
}

// tellGuests makes one guest busy to the end, one nearly long enough, and restarts one.
func (p *Provider) tellGuests() {
	var all []*guest
	for _, host := range p.hosts {
		all = append(all, host.guests...)
	}
	all[3].busy = []busyTime{{latest(p.end.Add(-100*time.Hour), p.at(500)), p.end.Add(1000 * time.Hour), 97}}
	all[8].busy = []busyTime{{p.at(300), p.at(300).Add(54 * time.Hour), 94}}
	all[12].restart = p.at(350)
	p.story.highlights.BusyGuest = all[3].UUID
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// loses says that a datagram which an exporter sends at a time does not arrive.
func (p *Provider) loses(e *exporter, at time.Time) bool {
	s := &p.story
	if e != s.lossy || at.Before(s.lossFrom) || (!at.Before(s.lossUntil) && at.Before(s.lossLate)) || at.After(p.end) {
		return false
	}
	return e.rng.IntN(120) == 0
}

// isSilent says that an exporter has stopped telling: what it sees then is never stated.
func (p *Provider) isSilent(e *exporter, at time.Time) bool {
	return e == p.story.silent && !at.Before(p.story.silentFrom) && at.Before(p.story.silentUntil)
}
