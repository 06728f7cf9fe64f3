package simulate

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"hostmeter/internal/simulate/oracle"
)

// Contracts is a demo month at the ledger: services under contracts that are drawn from a seed, with every setting that
// there is, and what their meters used. No wire and no exporter is played: Tallies says what a collector would have
// counted. Equal seeds give equal months.
type Contracts struct {
	World     *oracle.World
	Customers []string
	// Months are those whose reports are to be compared, "2026-10", and Now is when all of their periods are over
	// and sealed.
	Months []string
	Now    time.Time

	rng         *rand.Rand
	begin, end  time.Time           // of the usage
	first, last time.Time           // of the second month
	meters      map[string][]string // of each service
	sampled     map[string]bool     // by meter
}

// NewContracts draws the month of a seed.
func NewContracts(seed uint64) *Contracts {
	rng := rand.New(rand.NewPCG(seed, 0x636f6e7472616374))
	first := pick(rng, contractMonths)
	d := &Contracts{
		rng: rng, first: first, last: first.AddDate(0, 1, 0),
		Months: []string{first.AddDate(0, -1, 0).Format("2006-01"), first.Format("2006-01")},
		meters: map[string][]string{}, sampled: map[string]bool{},
	}
	d.begin, d.end = first.AddDate(0, -1, -2), d.last.AddDate(0, 0, 2)
	d.Now = d.end.AddDate(0, 0, 5)
	d.World = &oracle.World{Plans: map[string]oracle.Settings{}, Usage: map[string]*oracle.Usage{}}
	d.drawProvider()
	d.drawPlans()
	d.drawPrices()
	for i := range servicesDrawn {
		d.drawService(i)
	}
	d.drawHandovers()
	d.drawDecisions()
	d.drawUsage()
	d.World.Begin = d.begin
	d.fillUp()
	return d
}

const servicesDrawn = 15

// contractMonths are months of every length, and those in which clocks change, some of them at midnight of an anchor's
// day.
var contractMonths = []time.Time{
	month(2026, 2), month(2026, 3), month(2026, 4), month(2026, 10), month(2026, 11), month(2026, 12),
	month(2027, 3), month(2027, 4), month(2028, 2), month(2028, 3), month(2028, 4), month(2027, 9),
}

func month(year int, month time.Month) time.Time {
	return time.Date(year, month, 1, 0, 0, 0, 0, time.UTC)
}

// contractZones have offsets of whole, half and quarter hours, and clocks that jump over midnight.
var contractZones = []string{
	"UTC", "Europe/London", "Europe/London", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe", "America/Santiago", "Africa/Cairo", "Asia/Beirut",
	"America/St_Johns", "Pacific/Auckland",
}

func pick[T any](rng *rand.Rand, list []T) T { return list[rng.IntN(len(list))] }

// chance is true in so many of a hundred cases.
func (d *Contracts) chance(percent int) bool { return d.rng.IntN(100) < percent }

// may sets a setting in so many of a hundred cases.
func (d *Contracts) may(percent int, s oracle.Settings, name string, texts ...string) {
	if text := pick(d.rng, texts); d.chance(percent) {
		s[name] = text
	}
}

// common draws the settings that go with octets and rates alike, each in so many of a hundred cases.
func (d *Contracts) common(percent int, s oracle.Settings) {
	d.may(percent, s, "partial", "full", "prorated")
	d.may(percent, s, "grace", "10 % threshold", "10 % allowance", "7.5 % allowance", "0 % threshold", "2.25 % threshold")
	d.may(percent, s, "internal", "true", "false")
	d.may(percent, s, "free", "backup", "peering scrubbed", "backup peering", "none")
	d.may(percent, s, "missing", "ignore", "zero", "hold")
}

// ofOctets draws the settings of contracts that count octets.
func (d *Contracts) ofOctets(percent int, s oracle.Settings) {
	d.common(percent, s)
	d.may(percent, s, "direction", "sum", "sum", "in", "out", "max")
	d.may(percent, s, "block", "1 TB", "0.1 TB", "100 GB", "0.25 TiB")
	d.may(percent, s, "sampled", "estimate", "lower_bound", "hold")
	d.may(percent/2, s, "sku", "overage", "flat")
}

// ofRates draws the settings of contracts that count a 95th percentile. What a provider's defaults say of octets does
// not go with it, so that a plan says all of it.
func (d *Contracts) ofRates(percent int, s oracle.Settings) {
	d.common(percent, s)
	d.may(percent, s, "direction", "p95", "p95_in", "p95_out", "p95_sum")
	d.may(percent, s, "block", "1 Mbit/s", "0.1 Mbit/s", "10 Mbit/s")
}

func (d *Contracts) drawProvider() {
	s := oracle.Settings{
		"currency": pick(d.rng, []string{"GBP", "USD", "JPY"}), "time_zone": pick(d.rng, contractZones), "quota": "1 TB",
		"rounding": pick(d.rng, []string{"half_even", "half_up"}),
	}
	d.ofOctets(25, s)
	d.may(50, s, "period", "calendar", "anniversary")
	d.World.Provider = s
	d.World.Prefixes = []oracle.Prefix{
		{Prefix: "10.0.0.0/9", Exporters: []string{"192.0.2.1"}}, {Prefix: "10.1.0.0/16", Exporters: []string{"192.0.2.2"}},
		{Prefix: "10.128.0.0/9", Exporters: []string{"192.0.2.1", "192.0.2.2"}}, {Prefix: "2001:db8::/32", Exporters: []string{"192.0.2.3"}},
	}
	for _, exporter := range []string{"192.0.2.1", "192.0.2.2", "192.0.2.3"} {
		for range d.rng.IntN(3) {
			from := d.at(d.begin, d.end).Truncate(time.Minute)
			d.World.Unobserved = append(d.World.Unobserved, oracle.Unobserved{
				Exporter: exporter, From: from, Until: from.Add(time.Duration(1+d.rng.IntN(400)) * time.Minute),
			})
		}
	}
}

// at draws a time.
func (d *Contracts) at(from, to time.Time) time.Time {
	return from.Add(time.Duration(d.rng.Int64N(int64(to.Sub(from)/time.Second))) * time.Second)
}

var (
	octetQuotas = []string{"1 TB", "2.5 TB", "500 GB", "0.333 TB", "2 TiB", "750 GiB", "5 TB"}
	rateQuotas  = []string{"100 Mbit/s", "50 Mbit/s", "0.2 Gbit/s", "33.3 Mbit/s"}
)

func (d *Contracts) drawPlans() {
	for i := range 5 {
		s := oracle.Settings{"quota": pick(d.rng, octetQuotas)}
		if i == 4 && d.chance(50) {
			s["quota"] = "unlimited"
		}
		d.ofOctets(40, s)
		d.may(40, s, "period", "calendar", "anniversary")
		d.may(40, s, "time_zone", contractZones...)
		d.World.Plans[fmt.Sprintf("octets-%d", i)] = s
	}
	for i := range 3 {
		s := oracle.Settings{"sku": "burst"}
		d.ofRates(40, s)
		for name, text := range map[string]string{
			"quota": pick(d.rng, rateQuotas), "direction": pick(d.rng, []string{"p95", "p95_in", "p95_out", "p95_sum"}), "sampled": "estimate", "block": "1 Mbit/s",
		} {
			if s[name] == "" {
				s[name] = text
			}
		}
		d.may(40, s, "period", "calendar", "anniversary")
		d.World.Plans[fmt.Sprintf("rate-%d", i)] = s
	}
}

func (d *Contracts) drawPrices() {
	units := map[string][]string{"overage": {"TB", "GB", "TiB"}, "flat": {"GB", "GiB", "TB"}, "burst": {"Mbit/s", "Gbit/s"}}
	for _, sku := range []string{"burst", "flat", "overage"} {
		for _, place := range []string{"london", "vienna"} {
			for _, currency := range []string{"GBP", "JPY", "USD"} {
				dates := []time.Time{time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)}
				for range d.rng.IntN(3) {
					dates = append(dates, d.begin.AddDate(0, 0, d.rng.IntN(62)))
				}
				slices.SortFunc(dates, time.Time.Compare)
				for _, date := range slices.Compact(dates) {
					d.World.Prices = append(d.World.Prices, oracle.Price{
						SKU: sku, Place: place, Currency: currency, From: date.Format(time.DateOnly), Noticed: date.AddDate(0, 0, -10-d.rng.IntN(5)).Format(time.DateOnly),
						Per: pick(d.rng, units[sku]), Begun: d.chance(60), Amount: pick(d.rng, []string{"60.00", "0.047", "7.125", "1250.00", "0.3333", "18.005"}),
					})
				}
			}
		}
	}
}

func (d *Contracts) drawService(i int) {
	customer := fmt.Sprintf("c%02d", i%6)
	if !slices.Contains(d.Customers, customer) {
		d.Customers = append(d.Customers, customer)
	}
	s := &oracle.Service{ID: fmt.Sprintf("s%02d", i), Customer: customer, Place: pick(d.rng, []string{"london", "vienna"}), Settings: oracle.Settings{}}
	rate := i%5 == 2
	if rate {
		s.Plan = fmt.Sprintf("rate-%d", d.rng.IntN(3))
		d.ofRates(15, s.Settings)
		d.may(20, s.Settings, "quota", rateQuotas...)
	} else {
		s.Plan = fmt.Sprintf("octets-%d", d.rng.IntN(5))
		d.ofOctets(15, s.Settings)
		d.may(20, s.Settings, "quota", octetQuotas...)
		d.may(12, s.Settings, "bills", "vnic")
		if s.Settings["bills"] == "vnic" { // with counters these have no meaning, and are refused
			for _, name := range []string{"internal", "free", "sampled"} {
				delete(s.Settings, name)
			}
		}
	}
	d.may(30, s.Settings, "currency", "GBP", "USD", "JPY")
	d.may(40, s.Settings, "period", "anniversary", "anniversary", "calendar")
	d.may(30, s.Settings, "time_zone", contractZones...)
	d.drawDates(s)
	if d.chance(45) {
		d.drawOrders(s, rate)
	}
	d.World.Services = append(d.World.Services, s)
	d.drawMeters(s, i)
}

// drawDates says when a service was opened, mostly near the end of a month, and whether it is closed again.
func (d *Contracts) drawDates(s *oracle.Service) {
	opened := d.first.AddDate(0, -3-d.rng.IntN(20), 0)
	if d.chance(30) { // inside the months that are billed
		opened = d.first.AddDate(0, -d.rng.IntN(2), 0)
	}
	day := pick(d.rng, []int{28, 29, 30, 31, 31, 1, 2, 15, 1 + d.rng.IntN(28)})
	last := opened.AddDate(0, 1, -1).Day()
	opened = opened.AddDate(0, 0, min(day, last)-1)
	s.Opened = opened.Format(time.DateOnly)
	if d.chance(15) {
		if closed := d.first.AddDate(0, 0, d.rng.IntN(28)); closed.After(opened.AddDate(0, 0, 1)) {
			s.Closed = closed.Format(time.DateOnly)
		}
	}
	if d.chance(25) {
		s.Committed = d.first.AddDate(0, 0, d.rng.IntN(40)-20).Format(time.DateOnly)
	}
}

// drawOrders lets a customer order other plans or quotas. Period and time zone are then the service's own, for they
// cannot change.
func (d *Contracts) drawOrders(s *oracle.Service, rate bool) {
	s.Settings["time_zone"] = pick(d.rng, contractZones)
	s.Settings["period"] = pick(d.rng, []string{"calendar", "anniversary"})
	opened, err := time.Parse(time.DateOnly, s.Opened)
	if err != nil {
		panic(err)
	}
	own := s.Settings["quota"] != ""
	for range 1 + d.rng.IntN(3) {
		order := oracle.Order{At: d.at(later(d.begin, opened.AddDate(0, 0, 2)), d.last.AddDate(0, 0, 2))}
		if d.chance(50) {
			order.At = order.At.Truncate(24 * time.Hour)
		}
		if slices.ContainsFunc(s.Orders, func(o oracle.Order) bool { return o.At.Equal(order.At) }) || !order.At.After(opened.AddDate(0, 0, 1)) {
			continue
		}
		plans, quotas := "octets-%d", octetQuotas
		if rate {
			plans, quotas = "rate-%d", rateQuotas
		}
		if d.chance(60) {
			order.Plan = fmt.Sprintf(plans, d.rng.IntN(3))
		}
		if own || order.Plan == "" || d.chance(30) { // a quota of its own wins over every plan's: it has to be said again
			order.Quota, own = pick(d.rng, quotas), true
		}
		s.Orders = append(s.Orders, order)
	}
	slices.SortFunc(s.Orders, func(a, b oracle.Order) int { return a.At.Compare(b.At) })
	for i, seen := 0, s.Settings["quota"] != ""; i < len(s.Orders); i++ {
		if seen && s.Orders[i].Quota == "" {
			s.Orders[i].Quota = pick(d.rng, map[bool][]string{true: rateQuotas, false: octetQuotas}[rate])
		}
		seen = seen || s.Orders[i].Quota != ""
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
