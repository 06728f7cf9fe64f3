package simulate

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net/netip"
	"time"

	"hostmeter/internal/simulate/oracle"
	"hostmeter/schemas"
)

// zoneName is the provider's time zone; every contract uses it.
const zoneName = "Europe/London"

const (
	gigabyte = 1_000_000_000
	terabyte = 1000 * gigabyte
)

// plan is what is sold. A zero block means that the excess is charged exactly.
type plan struct {
	name, class string
	quota       uint64 // octets
	quotaText   string
	direction   string // sum, in, out
	period      string // calendar, anniversary
	block       uint64 // octets
	blockText   string
}

type customer struct {
	id, name, email, reseller string
}

type service struct {
	id       string
	customer *customer
	plan     *plan
	place    string
	currency string
	opened   time.Time // local midnight
	guest    *guest    // nil unless it is a virtual server that we see from below

	// own are the contract's own settings, which win over the plan's; closed is a date or empty.
	own       oracle.Settings
	closed    string
	aim       bool // it uses a share of its quota that the racks say
	orders    []oracle.Order
	decisions []oracle.Decision
}

// ownership is true in [from, until); until is zero where it has no end.
type ownership struct {
	service     *service
	key         schemas.MeterID
	prefix      netip.Prefix
	from, until time.Time
}

// meter is an address, or an assigned IPv6 prefix, that has traffic.
type meter struct {
	id        schemas.MeterID
	prefix    netip.Prefix
	address   netip.Addr // the address of the prefix that talks
	exporter  *exporter
	port      schemas.IfIndex
	demands   []demand
	guest     *guest // whose vNIC carries the meter's traffic, or nil
	book      *MeterBook
	neighbour *meter // to whom it sends a backup at night inside the house, or nil
}

// demand is what a meter wants to send and receive in [from, until). Octets are the mean of ten
// minutes. A steady demand knows neither night nor weekend.
type demand struct {
	from, until time.Time
	in, out     uint64
	steady      bool
}

var plans = []plan{
	{"dedicated-10", "dedicated", 10 * terabyte, "10 TB", "sum", "anniversary", terabyte, "1 TB"},
	{"dedicated-5-out", "dedicated", 5 * terabyte, "5 TB", "out", "calendar", terabyte, "1 TB"},
	{"backup-2-in", "dedicated", 2 * terabyte, "2 TB", "in", "calendar", terabyte, "1 TB"},
	{"vps-2", "vps", 2 * terabyte, "2 TB", "sum", "calendar", terabyte / 10, "0.1 TB"},
	{"vps-1", "vps", terabyte, "1 TB", "sum", "anniversary", terabyte / 10, "0.1 TB"},
	{"vps-100", "vps", 100 * gigabyte, "100 GB", "sum", "calendar", 0, ""},
}

var prices = []oracle.Price{
	{SKU: "overage", Place: "london", Currency: "GBP", From: "2026-01-01", Noticed: "2025-12-01", Per: "TB", Begun: true, Amount: "60.00"},
	{SKU: "overage", Place: "manchester", Currency: "GBP", From: "2026-01-01", Noticed: "2025-12-01", Per: "TB", Begun: true, Amount: "30.00"},
	{SKU: "overage", Place: "manchester", Currency: "GBP", From: "2026-10-15", Noticed: "2026-10-01", Per: "TB", Begun: true, Amount: "36.00"}, // for periods that begin later
	{SKU: "overage", Place: "hannover", Currency: "GBP", From: "2026-01-01", Noticed: "2025-12-01", Per: "TB", Begun: true, Amount: "180.00"},
	{SKU: "overage", Place: "chicago", Currency: "USD", From: "2026-01-01", Noticed: "2025-12-01", Per: "TB", Begun: true, Amount: "30.00"},
	{SKU: "overage", Place: "new-york", Currency: "USD", From: "2026-01-01", Noticed: "2025-12-01", Per: "TB", Begun: true, Amount: "20.00"},
	{SKU: "overage", Place: "prague", Currency: "GBP", From: "2026-01-01", Noticed: "2025-12-01", Per: "GB", Amount: "0.047"},
	{SKU: "burst", Place: "london", Currency: "GBP", From: "2026-01-01", Noticed: "2025-12-01", Per: "Mbit/s", Begun: true, Amount: "10.00"},
	{SKU: "burst", Place: "manchester", Currency: "GBP", From: "2026-01-01", Noticed: "2025-12-01", Per: "Mbit/s", Begun: true, Amount: "5.00"},
	{SKU: "burst", Place: "chicago", Currency: "USD", From: "2026-01-01", Noticed: "2025-12-01", Per: "Mbit/s", Amount: "7.00"},
	{SKU: "burst", Place: "new-york", Currency: "USD", From: "2026-01-01", Noticed: "2025-12-01", Per: "Mbit/s", Begun: true, Amount: "5.00"},
}

// rack is a row of services behind one exporter.
type rack struct {
	exporter int // in order of exporterTable
	plan     string
	place    string
	currency string
	// targets are the shares of the quota, in percent, that the services use in a month; 0 is
	// drawn from the seed.
	targets []uint64
}

var racks = []rack{
	{0, "dedicated-10", "london", "GBP", []uint64{131, 0, 0, 0, 0}},
	{0, "dedicated-5-out", "hannover", "GBP", []uint64{122, 0}},
	{0, "vps-2", "london", "GBP", []uint64{104, 0, 0, 0, 0}},
	{1, "dedicated-10", "chicago", "USD", []uint64{0, 0, 123, 0, 0}},
	{1, "backup-2-in", "new-york", "USD", []uint64{140, 0}},
	{1, "vps-2", "new-york", "USD", []uint64{118, 0, 0, 0, 0}},
	{2, "dedicated-10", "manchester", "GBP", []uint64{0, 112, 0, 0}},
	{2, "vps-2", "manchester", "GBP", []uint64{0, 127, 0, 0, 0, 0, 0, 0}},
	{3, "dedicated-10", "london", "GBP", []uint64{0, 109, 0}},
	{3, "dedicated-5-out", "chicago", "USD", []uint64{0, 133}},
	{3, "vps-2", "london", "GBP", []uint64{0, 0, 0, 0, 0}},
	{4, "vps-100", "prague", "GBP", []uint64{0, 150, 0, 112, 0, 0, 0, 0}},
	{5, "vps-1", "manchester", "GBP", []uint64{0, 108, 0, 0, 0, 0}},
}

var customerNames = []string{
	"Ada", "Babbage", "Cerf", "Dijkstra", "Engelbart", "Floyd", "Northgate", "Hamming", "Iverson", "Jacquard",
	"Kahn", "Lovelace", "Metcalfe", "Naur", "Olsen", "Postel", "Quine", "Ritchie", "Shannon", "Turing",
	"Ulam", "Vaughan", "Wirth", "Xerxes", "Yao", "Zuse", "Amdahl", "Backus", "Codd", "Dahl",
	"Eckert", "Farber", "Gosper", "Hopper", "Ince", "Jennings", "Knuth", "Liskov", "Mauchly", "Newell",
}

// resellerIndex sells on to the five customers after it.
const resellerIndex, resoldCount = 6, 5

// rng returns the source of chance of one part of the provider. Each part has its own, so that a change to
// one leaves the others' bytes alone.
func (p *Provider) rng(part string) *rand.Rand {
	h := fnv.New64a()
	_, _ = h.Write([]byte(part)) // never fails
	return rand.New(rand.NewPCG(p.seed, h.Sum64()))
}

func (p *Provider) layCustomers() {
	for i, name := range customerNames {
		c := &customer{id: fmt.Sprintf("c%02d", i+1), name: name + " Ltd", email: fmt.Sprintf("ops@c%02d.example.net", i+1)}
		if i > resellerIndex && i <= resellerIndex+resoldCount {
			c.reseller = p.customers[resellerIndex].id
		}
		p.customers = append(p.customers, c)
	}
}

// layServices fills the racks: one service and its first address each, and its demand.
func (p *Provider) layServices() {
	rng := p.rng("services")
	for _, r := range racks {
		exp := p.exporters[r.exporter]
		plan := planNamed(r.plan)
		for _, target := range r.targets {
			aim := target != 0
			if !aim {
				target = 8 + rng.Uint64N(75)
			}
			s := &service{
				id: fmt.Sprintf("s%02d", len(p.services)+1), customer: p.customers[len(p.services)%len(p.customers)],
				plan: plan, place: r.place, currency: r.currency, opened: p.opened(plan), own: oracle.Settings{}, aim: aim,
			}
			p.services = append(p.services, s)
			m := p.layMeter(exp, exp.nextAddress())
			p.own(s, m.id, s.opened, time.Time{})
			p.want(m, s.opened, time.Time{}, plan, target, 100, 55+rng.Uint64N(31))
		}
	}
}

// opened is the day on which a service of a plan began: a day of the past that is played, so that its
// first period is whole.
func (p *Provider) opened(pl *plan) time.Time {
	local := p.begin.In(p.zone)
	if pl.period == "anniversary" {
		return time.Date(local.Year(), local.Month(), local.Day()+1, 0, 0, 0, 0, p.zone)
	}
	return p.monthStart
}

// layMeter adds an address, or an IPv6 prefix, behind an exporter.
func (p *Provider) layMeter(exp *exporter, prefix netip.Prefix) *meter {
	m := &meter{id: schemas.PrefixMeter(prefix), prefix: prefix, address: prefix.Addr(), exporter: exp}
	if prefix.Addr().Is6() {
		m.address = prefix.Addr().Next()
	}
	m.port = schemas.IfIndex(100 + len(exp.meters))
	m.book = p.books.meter(m.id)
	exp.meters = append(exp.meters, m)
	exp.CustomerInterfaces = append(exp.CustomerInterfaces, m.port)
	return m
}

func (p *Provider) own(s *service, key schemas.MeterID, from, until time.Time) {
	prefix, _ := key.Prefix()
	p.owners = append(p.owners, ownership{service: s, key: key, prefix: prefix, from: from.UTC(), until: until.UTC()})
	if until.IsZero() {
		p.owners[len(p.owners)-1].until = time.Time{}
	}
}

// intervalsPerMonth is how many ten minutes a mean month has.
const intervalsPerMonth = 4380

// want gives a meter the demand that uses target percent of the plan's quota in a month, or share
// percent of that. outShare is the percentage of octets that leave.
func (p *Provider) want(m *meter, from, until time.Time, pl *plan, target, share, outShare uint64) {
	mean := pl.quota / 100 * target / 100 * share / intervalsPerMonth
	var d demand
	switch pl.direction {
	case "in": // the quota is about one direction: the other is small beside it
		d = demand{in: mean, out: mean / 20}
	case "out":
		d = demand{out: mean, in: mean / 12}
	default:
		d = demand{out: mean * outShare / 100, in: mean * (100 - outShare) / 100}
	}
	d.from, d.until = from, until
	m.demands = append(m.demands, d)
}

func planNamed(name string) *plan {
	for i := range plans {
		if plans[i].name == name {
			return &plans[i]
		}
	}
	panic("simulate: no plan " + name) // a fault of the table above
}

// demandAt returns what a meter wants at a time.
func (m *meter) demandAt(at time.Time) (demand, bool) {
	for i := len(m.demands) - 1; i >= 0; i-- { // the last word counts
		d := m.demands[i]
		if !at.Before(d.from) && (d.until.IsZero() || at.Before(d.until)) {
			return d, true
		}
	}
	return demand{}, false
}
