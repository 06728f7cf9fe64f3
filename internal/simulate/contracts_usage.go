package simulate

import (
	"fmt"
	"maps"
	"math/big"
	"slices"
	"time"

	"hostmeter/internal/simulate/oracle"
	"hostmeter/schemas"
)

// trafficClasses are the classes that are drawn, external the most.
var trafficClasses = []string{schemas.ClassExternal, schemas.ClassExternal, schemas.ClassExternal, schemas.ClassInternal, "backup", "peering", "scrubbed"}

// drawMeters gives a service its meters from its opening on: addresses, an IPv6 prefix, a block of addresses, or the
// interface of a guest.
func (d *Contracts) drawMeters(s *oracle.Service, i int) {
	opened, err := time.Parse(time.DateOnly, s.Opened)
	if err != nil {
		panic(err)
	}
	from := opened.Add(-time.Duration(d.rng.IntN(48)) * time.Hour)
	own := func(key string, meters ...string) {
		d.World.Owned = append(d.World.Owned, oracle.Ownership{Service: s.ID, Key: key, From: from})
		d.meters[s.ID] = append(d.meters[s.ID], meters...)
		sampled := d.chance(35)
		for _, meter := range meters {
			d.sampled[meter] = sampled
		}
	}
	if s.Settings["bills"] == "vnic" {
		key := fmt.Sprintf("vnic:7f3a/52:54:00:00:00:%02x", i)
		own(key, key)
		return
	}
	network := pick(d.rng, []int{0, 1, 200})
	address := func(host int) string { return fmt.Sprintf("address:10.%d.%d.%d", network, i, host) }
	own(address(1), address(1))
	if d.chance(30) {
		own(address(16)+"/29", address(17), address(18))
	}
	if d.chance(30) {
		key := fmt.Sprintf("address:2001:db8:%x::/48", i+1)
		own(key, key)
	}
}

// drawHandovers moves addresses to other services at any second, and one out of a block.
func (d *Contracts) drawHandovers() {
	for range 5 {
		n := d.rng.IntN(len(d.World.Owned))
		o := &d.World.Owned[n]
		to := pick(d.rng, d.World.Services)
		at := d.at(d.begin.AddDate(0, 0, 3), d.last)
		if to.ID == o.Service || !o.Until.IsZero() || to.Settings["bills"] == "vnic" || d.billsVNIC(o.Service) || !at.After(o.From) {
			continue
		}
		meters := slices.Collect(func(yield func(string) bool) {
			for _, meter := range d.meters[o.Service] {
				if oracle.Covers(o.Key, meter) && !yield(meter) {
					return
				}
			}
		})
		o.Until = at
		d.World.Owned = append(d.World.Owned, oracle.Ownership{Service: to.ID, Key: o.Key, From: at})
		d.meters[to.ID] = append(d.meters[to.ID], meters...)
	}
}

func (d *Contracts) billsVNIC(service string) bool {
	for _, s := range d.World.Services {
		if s.ID == service {
			return s.Settings["bills"] == "vnic"
		}
	}
	return false
}

// drawDecisions excludes spans, settles periods, waives and revokes.
func (d *Contracts) drawDecisions() {
	for _, s := range d.World.Services {
		if !d.chance(45) {
			continue
		}
		rate := s.Plan[0] == 'r'
		for range 1 + d.rng.IntN(3) {
			n := oracle.Decision{ID: fmt.Sprintf("%s-d%d", s.ID, len(s.Decisions)), From: d.at(d.begin, d.last)}
			switch kind := d.rng.IntN(10); {
			case kind < 5:
				n.Kind, n.From = "exclude", n.From.Truncate(SlotLength)
				n.Until = n.From.Add(time.Duration(1+d.rng.IntN(800)) * SlotLength)
				n.Direction = pick(d.rng, []string{"", "in", "out"})
			case kind < 7 && rate:
				n.Kind = pick(d.rng, []string{"ignore", "zero"})
			case kind < 7:
				n.Kind = pick(d.rng, []string{"estimate", "lower_bound"})
			case kind < 8:
				n.Kind = "waive"
			case len(s.Decisions) > 0 && s.Decisions[len(s.Decisions)-1].Kind != "revoke":
				n.Kind, n.From, n.Revokes = "revoke", time.Time{}, s.Decisions[len(s.Decisions)-1].ID
			default:
				continue
			}
			s.Decisions = append(s.Decisions, n)
		}
	}
}

// drawUsage lets meters that bill octets be used now and then, and those that bill a rate in nearly every slot.
func (d *Contracts) drawUsage() {
	d.use("address:10.255.0.1", schemas.ClassExternal, d.begin, 1000, 0) // nobody's; the ledger begins with it
	drawn := map[string]bool{}
	for _, s := range d.World.Services {
		for _, meter := range d.meters[s.ID] {
			if drawn[meter] {
				continue
			}
			drawn[meter] = true
			if s.Plan[0] == 'r' {
				d.drawRate(meter, uint64(len(d.meters[s.ID])))
				continue
			}
			class := func() string { return pick(d.rng, trafficClasses) }
			if d.billsVNIC(s.ID) {
				class = func() string { return schemas.ClassPort }
			}
			for range 20 + d.rng.IntN(40) {
				size := uint64(2+d.rng.IntN(60)) * 1_000_000_000
				d.use(meter, class(), d.at(d.begin, d.end), d.rng.Uint64N(size), d.rng.Uint64N(size))
			}
		}
	}
}

// drawRate gives a meter a rate of some 10 to 200 Mbit/s, shared with the service's other meters, in most slots.
func (d *Contracts) drawRate(meter string, of uint64) {
	const mbit = 1_000_000 * 300 / 8 // octets of a slot at 1 Mbit/s
	mean := (10 + d.rng.Uint64N(190)) * mbit / of
	idle, class := d.rng.IntN(10), schemas.ClassExternal
	for at := d.begin.Add(time.Duration(d.rng.IntN(48)) * time.Hour); at.Before(d.end); at = at.Add(SlotLength) {
		if at.Minute() == 0 && d.rng.IntN(4) == 0 {
			class = pick(d.rng, trafficClasses)
		}
		if d.rng.IntN(10) >= idle {
			d.use(meter, class, at, mean/2+d.rng.Uint64N(mean), mean/3+d.rng.Uint64N(mean))
		}
	}
}

// use books octets, and where the meter is behind a sampling exporter, the variance of their estimate.
func (d *Contracts) use(meter, class string, at time.Time, in, out uint64) {
	u := d.World.Usage[meter]
	if u == nil {
		u = &oracle.Usage{}
		d.World.Usage[meter] = u
	}
	variance := func(octets uint64) uint64 {
		if !d.sampled[meter] || octets == 0 {
			return 0
		}
		kib := octets >> 10 / (3 + d.rng.Uint64N(40)) // a standard error of some percent
		return kib * kib
	}
	u.Add(class, at, in, out, variance(in), variance(out))
}

// fillUp brings some periods to where the charge is decided: to the quota and grace, an octet less, an octet more, or a
// block more.
func (d *Contracts) fillUp() {
	for _, s := range d.World.Services {
		if s.Plan[0] == 'r' || !d.chance(65) {
			continue
		}
		for _, p := range d.World.Periods(s, d.Now) {
			room := d.World.Room(s, p)
			if room == nil || !d.chance(70) {
				continue
			}
			room.Add(room, big.NewInt(pick(d.rng, []int64{0, 0, 1, 1, -1, 100_000_000_000, 100_000_000_001, 1_000_000_000_000})))
			if room.Sign() <= 0 || !room.IsInt64() {
				continue
			}
			d.fill(s, p, room.Uint64())
		}
	}
}

// fill finds a slot of a period in which a meter is the service's and counts, and uses it.
func (d *Contracts) fill(s *oracle.Service, p oracle.Period, octets uint64) {
	class := schemas.ClassExternal
	if d.billsVNIC(s.ID) {
		class = schemas.ClassPort
	}
	from, to := later(p.From, d.begin), p.To
	if to.After(d.end) {
		to = d.end
	}
	if !from.Before(to) {
		return
	}
	in, out := d.World.Side(s, p)
	for range 40 {
		at, meter := d.at(from, to), pick(d.rng, d.meters[s.ID])
		if d.World.CountsAt(s, meter, at) {
			if in && out {
				in = d.chance(50)
				out = !in
			}
			amounts := map[bool]uint64{true: octets}
			d.World.Usage[meter].Add(class, at, amounts[in], amounts[out], 0, 0)
			return
		}
	}
}

// Tallies calls f with what a collector would have counted, a tally of each slot, in an order that does not change.
func (d *Contracts) Tallies(f func(class string, tally *schemas.Tally)) {
	for _, meter := range slices.Sorted(maps.Keys(d.World.Usage)) {
		classes := d.World.Usage[meter].Classes
		for _, class := range slices.Sorted(maps.Keys(classes)) {
			for _, number := range slices.Sorted(maps.Keys(classes[class])) {
				talliesOf(meter, number, classes[class][number], func(t *schemas.Tally) { f(class, t) })
			}
		}
	}
}

// talliesOf makes the tallies of an hour; its variance comes with the first of each direction.
func talliesOf(meter string, number int64, hour *oracle.Hour, f func(*schemas.Tally)) {
	inVariance, outVariance := hour.InVariance, hour.OutVariance
	traffic := func(octets uint64, variance *uint64) *schemas.Traffic {
		if octets == 0 {
			return nil
		}
		t := &schemas.Traffic{Octets: octets, Packets: octets/1000 + 1, Flows: 1, VarianceKib2: *variance}
		*variance = 0
		return t
	}
	for i := range hour.In {
		in, out := traffic(hour.In[i], &inVariance), traffic(hour.Out[i], &outVariance)
		if in != nil || out != nil {
			f(&schemas.Tally{Meter: meter, Minute: number*60 + int64(i)*5 + int64(i*7%5), In: in, Out: out})
		}
	}
}

// Observed calls f with the minutes of each hour, as bits, in which an exporter was observed, from long before the usage
// to the end.
func (d *Contracts) Observed(f func(exporter string, hour time.Time, minutes uint64)) {
	for _, exporter := range []string{"192.0.2.1", "192.0.2.2", "192.0.2.3"} {
		for hour := d.begin.AddDate(0, 0, -40); hour.Before(d.Now); hour = hour.Add(time.Hour) {
			minutes := uint64(1<<60 - 1)
			for _, gap := range d.World.Unobserved {
				if gap.Exporter != exporter || !gap.From.Before(hour.Add(time.Hour)) || !hour.Before(gap.Until) {
					continue
				}
				for m := range 60 {
					if at := hour.Add(time.Duration(m) * time.Minute); !at.Before(gap.From) && at.Before(gap.Until) {
						minutes &^= 1 << m
					}
				}
			}
			if minutes != 0 {
				f(exporter, hour, minutes)
			}
		}
	}
}
