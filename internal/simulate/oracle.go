package simulate

import (
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"hostmeter/internal/simulate/oracle"
	"hostmeter/schemas"
)

// Row is one line of the month's report, as the oracle has it. TrueOctets and Sampled are no columns: TrueOctets is the
// billable octets that truly crossed the wire, of which BillableOctets is what the exporters told: sampled, and short by
// what was lost on the way or never stated by an exporter that was silent.
type Row struct {
	oracle.Row
	TrueOctets schemas.Octets
	Sampled    bool // at least one of the meters is behind a sampling exporter
}

// WriteCSV writes rows with the columns of the month's report that the oracle computes.
func WriteCSV(w io.Writer, rows []Row) error {
	plain := make([]oracle.Row, len(rows))
	for i, r := range rows {
		plain[i] = r.Row
	}
	return oracle.WriteCSV(w, plain)
}

// Report bills the periods that end in a month ("2026-10") by what a perfect collector has seen, ordered by customer,
// service and period. A period ends in the month of its last day.
func (b *Books) Report(month string) ([]Row, error) {
	return b.bill(month, func(f Figures) schemas.Octets { return f.Seen })
}

// ReportTrue bills what truly crossed the wire: what would be charged if nothing were sampled or lost.
func (b *Books) ReportTrue(month string) ([]Row, error) {
	return b.bill(month, func(f Figures) schemas.Octets { return f.True })
}

func (b *Books) bill(month string, figure func(Figures) schemas.Octets) ([]Row, error) {
	rows, err := b.world(figure).Report(month, b.provider.end)
	if err != nil {
		return nil, err
	}
	truth, err := b.world(func(f Figures) schemas.Octets { return f.True }).Report(month, b.provider.end)
	if err != nil {
		return nil, err
	}
	list := make([]Row, len(rows))
	for i, r := range rows {
		octets, err := strconv.ParseUint(truth[i].BillableOctets, 10, 63)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.Service, err)
		}
		list[i] = Row{Row: r, TrueOctets: schemas.Octets(octets), Sampled: b.provider.isSampled(r.Service)}
	}
	return list, nil
}

// isSampled says whether a service ever owns a meter behind a sampling exporter.
func (p *Provider) isSampled(service string) bool {
	for _, e := range p.exporters {
		for _, m := range e.meters {
			for _, o := range p.owners {
				if e.SamplingRate > 1 && o.service.id == service && oracle.Covers(string(o.key), string(m.id)) {
					return true
				}
			}
		}
	}
	return false
}

// world is what the provider imports, and what its books have of one figure.
func (b *Books) world(figure func(Figures) schemas.Octets) *oracle.World {
	w := b.provider.world()
	for id, m := range b.meters {
		usage := &oracle.Usage{}
		for class, cells := range map[string][]Cell{schemas.ClassExternal: m.External, schemas.ClassInternal: m.Internal} {
			for i, cell := range cells {
				in, out := uint64(figure(cell.In)), uint64(figure(cell.Out))
				if in|out != 0 {
					usage.Add(class, m.First.Add(time.Duration(i)*SlotLength), in, out, 0, 0)
				}
			}
		}
		w.Usage[string(id)] = usage
	}
	return w
}

// world is the provider's terms without any usage.
func (p *Provider) world() *oracle.World {
	w := &oracle.World{
		Provider: oracle.Settings{"time_zone": zoneName, "currency": "GBP"},
		Plans:    map[string]oracle.Settings{}, Prices: prices, Usage: map[string]*oracle.Usage{}, Begin: p.begin.Truncate(time.Hour),
		Unobserved: []oracle.Unobserved{{Exporter: p.story.silent.Address.String(), From: p.story.silentFrom, Until: p.story.silentUntil}},
	}
	for _, pl := range plans {
		w.Plans[pl.name] = pl.settings()
	}
	for _, s := range p.services {
		w.Services = append(w.Services, &oracle.Service{
			ID: s.id, Customer: s.customer.id, Plan: s.plan.name, Place: s.place, Settings: s.settings(), Opened: s.opened.Format(time.DateOnly),
			Closed: s.closed, Orders: s.orders, Decisions: s.decisions,
		})
	}
	for _, e := range p.exporters {
		for _, prefix := range e.Prefixes {
			w.Prefixes = append(w.Prefixes, oracle.Prefix{Prefix: prefix.String(), Exporters: []string{e.Address.String()}})
		}
	}
	for _, o := range p.owners {
		w.Owned = append(w.Owned, oracle.Ownership{Service: o.service.id, Key: string(o.key), From: o.from, Until: o.until})
	}
	return w
}

func (pl plan) settings() oracle.Settings {
	s := oracle.Settings{"quota": pl.quotaText, "direction": pl.direction, "period": pl.period}
	if pl.block != 0 {
		s["block"] = pl.blockText
	}
	return s
}

func (s *service) settings() oracle.Settings {
	own := maps.Clone(s.own)
	own["currency"] = s.currency
	return own
}

// drawContracts gives some of the services that have no part in the story contracts that a seed draws: other directions,
// grace, percentiles, orders, decisions, and an end in the middle of the month.
func (p *Provider) drawContracts() {
	rng := p.rng("contracts")
	for i, s := range p.services {
		m := p.meterOf(s)
		if m == nil || p.inTheStory(s) || rng.IntN(3) == 0 {
			continue
		}
		switch kind := rng.IntN(7); {
		case kind == 0 && s.plan.period == "calendar" && m.exporter.SamplingRate == 1 && p.hasBurst(s):
			s.own["quota"] = pick(rng, []string{"2 Mbit/s", "5 Mbit/s", "0.5 Mbit/s"})
			s.own["direction"] = pick(rng, []string{"p95", "p95_in", "p95_out", "p95_sum"})
			s.own["sku"], s.own["block"], s.own["missing"] = "burst", pick(rng, []string{"1 Mbit/s", "0.1 Mbit/s"}), pick(rng, []string{"ignore", "zero", "hold"})
		case kind <= 1:
			s.own["quota"], s.own["direction"] = s.part(rng, 10, 60), "max"
		case kind == 2:
			s.own["quota"], s.own["grace"] = s.part(rng, 10, 60), pick(rng, []string{"10 % threshold", "10 % allowance", "7.5 % allowance"})
		case kind == 3:
			s.own["quota"] = s.part(rng, 10, 60)
			from := p.monthStart.AddDate(0, 0, rng.IntN(20)).Add(time.Duration(rng.IntN(144)) * TickEvery)
			s.decisions = []oracle.Decision{{
				ID: fmt.Sprintf("d%d", i), Kind: "exclude", From: from.UTC(), Until: from.UTC().Add(time.Duration(1+rng.IntN(300)) * TickEvery), Direction: pick(rng, []string{"", "in", "out"}),
			}}
		case kind == 4:
			s.own["quota"] = s.part(rng, 10, 60)
			s.decisions = []oracle.Decision{{ID: fmt.Sprintf("d%d", i), Kind: "waive", From: p.monthStart.AddDate(0, 0, 10).UTC()}}
		case kind == 5:
			s.own["partial"] = pick(rng, []string{"full", "prorated"})
			s.own["quota"] = s.part(rng, 10, 60)
			s.closed = p.monthStart.AddDate(0, 0, 3+rng.IntN(20)).Format(time.DateOnly)
		default:
			s.own["quota"] = s.part(rng, 10, 40)
			at := p.monthStart.AddDate(0, 0, 3+rng.IntN(15)).Add(time.Duration(rng.IntN(86400)) * time.Second)
			s.orders = []oracle.Order{{At: at.UTC(), Quota: s.part(rng, 41, 90)}, {At: at.UTC().AddDate(0, 0, 4), Quota: s.part(rng, 5, 30)}}
		}
	}
}

// part is a share of the plan's quota, of so many percent, as a text.
func (s *service) part(rng *rand.Rand, from, to uint64) string {
	return fmt.Sprintf("%d GB", max(s.plan.quota/100*(from+rng.Uint64N(to-from))/gigabyte, 1))
}

func (p *Provider) hasBurst(s *service) bool {
	return slices.ContainsFunc(prices, func(price oracle.Price) bool {
		return price.SKU == "burst" && price.Place == s.place && price.Currency == s.currency
	})
}

// inTheStory says whether a service is one that somebody is to find.
func (p *Provider) inTheStory(s *service) bool {
	h := p.story.highlights
	return s.aim || s.own["quota"] != "" || slices.Contains([]string{h.HandoverFrom, h.HandoverTo, h.FastService, h.NearQuota, h.InternalFrom, h.InternalTo, h.FloodingService, h.ScanningService, h.EarlyClient}, s.id)
}
