package app

import (
	"cmp"
	"context"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"hostmeter/aggregator/ledger"
	"hostmeter/collector"
	"hostmeter/collector/tally"
	"hostmeter/internal/httpapi"
)

// exporterWatcher joins the API to the exporters' accounts in the ledger, and to the collector where
// it runs in this process.
type exporterWatcher struct {
	*Desk
	collector *collector.Collector // nil: it runs elsewhere
}

// accountSpan is how far back the counts of an exporter reach.
const accountSpan = 24 * time.Hour

func (d exporterWatcher) Exporters(ctx context.Context) (httpapi.Exporters, error) {
	now := d.clock.Now()
	out := httpapi.Exporters{At: now}
	byName := map[string]*exporterHealth{}
	for _, e := range d.config.Collector.Exporters {
		h := health(byName, e.Address.String())
		if e.Address.IsSingleIP() {
			delete(byName, e.Address.String())
			h = health(byName, e.Address.Addr().String())
		}
		sampling, _ := e.Sampling.MarshalText() // never fails
		h.row.Name, h.row.Mode, h.row.Sampling = e.Name, e.Mode, string(sampling)
		h.activeTimeout = cmp.Or(e.ActiveTimeout, collector.DefaultActiveTimeout)
	}
	for _, host := range d.config.Collector.Libvirt {
		health(byName, "libvirt/"+host.Name).row.Name = host.Name
	}
	if err := d.addAccounts(ctx, byName, now); err != nil {
		return out, err
	}
	if err := d.addCompleteness(ctx, byName); err != nil {
		return out, err
	}
	status := d.status(now)
	addStatus(byName, status.Exporters)
	for name, h := range byName {
		h.finish()
		if h.row.State != "never" {
			from := now.Add(-accountSpan)
			if h.first.After(from) {
				from = h.first
			}
			if coverage, err := d.ledger.Coverage(ctx, []string{name}, from, now); err == nil && coverage.Expected > 0 {
				h.row.Coverage = &coverage.Share
			}
		}
		out.Exporters = append(out.Exporters, h.row)
	}
	sort.Slice(out.Exporters, func(i, j int) bool { return out.Exporters[i].Exporter < out.Exporters[j].Exporter })
	out.Knocking, out.CountedTwice = knocking(status.Knocks), countedTwice(status.Twice)
	return out, nil
}

// statusAge is up to which age the status of a collector in another process is believed.
const statusAge = 5 * time.Minute

// status asks the collector of this process, or reads what one beside it wrote last. Where there is neither
// it is empty.
func (d exporterWatcher) status(now time.Time) collector.Status {
	if d.collector != nil {
		return d.collector.Status(now)
	}
	status, err := collector.ReadStatus(collectorDir(d.config))
	if err != nil || now.Sub(status.At).Abs() > statusAge {
		return collector.Status{}
	}
	return status
}

// addStatus adds what only the collector knows.
func addStatus(byName map[string]*exporterHealth, list []collector.ExporterStatus) {
	for _, s := range list {
		h := byName[s.Exporter]
		if h == nil {
			continue
		}
		if h.row.Sampling == "auto" {
			h.row.Sampling = samplingText(s)
		}
		if s.ClockAhead != 0 {
			seconds := s.ClockAhead.Seconds()
			h.row.ClockAhead = &seconds
		}
		if s.InEffect > 0 {
			h.row.SamplingInEffect = &s.InEffect
		}
		for _, r := range s.Doubts {
			h.row.SamplingDoubts = append(h.row.SamplingDoubts, httpapi.SamplingDoubt{
				Source: r.Source, Stated: r.Stated, InEffect: r.InEffect(), Samples: r.Samples, Unsent: r.Unsent,
			})
		}
	}
}

// samplingText says at which rates an exporter with sampling: auto samples.
func samplingText(s collector.ExporterStatus) string {
	var texts []string
	for _, rate := range s.Rates {
		if rate == 1 {
			texts = append(texts, "none")
			continue
		}
		texts = append(texts, "1 in "+strconv.FormatFloat(rate, 'f', -1, 64))
	}
	switch {
	case s.SamplingUnknown:
		return "auto (not told)"
	case len(texts) == 0:
		return "auto"
	}
	return strings.Join(texts, ", ")
}

// knocking lists who sends and may not.
func knocking(knocks []collector.Knock) (out []httpapi.Knock) {
	for _, k := range knocks {
		out = append(out, httpapi.Knock{Address: k.Address.String(), Protocol: string(k.Protocol), Datagrams: k.Datagrams, FirstAt: k.First, LastAt: k.Last})
	}
	return out
}

// countedTwice lists who tells of the same traffic.
func countedTwice(twice []tally.Twice) (out []httpapi.Twice) {
	for _, t := range twice {
		out = append(out, httpapi.Twice{First: t.First.String(), Second: t.Second.String(), Flows: t.Flows, Share: t.Share, At: t.At})
	}
	return out
}

// exporterHealth gathers what is known of one exporter.
type exporterHealth struct {
	row                 httpapi.Exporter
	protocols           []string
	activeTimeout       time.Duration
	first               time.Time
	dropped, held, lost counts
	// Of the newest hour, for the rates.
	hour                       time.Time
	datagrams, records, octets int64
	observedMinutes            int
}

func health(byName map[string]*exporterHealth, name string) *exporterHealth {
	h, ok := byName[name]
	if !ok {
		h = &exporterHealth{row: httpapi.Exporter{Exporter: name, State: "never"}, dropped: counts{}, held: counts{}, lost: counts{}}
		byName[name] = h
	}
	return h
}

func (d exporterWatcher) addAccounts(ctx context.Context, byName map[string]*exporterHealth, now time.Time) error {
	return d.ledger.Accounts(ctx, now.Add(-accountSpan).Truncate(time.Hour), now.Add(time.Hour), func(a ledger.Account) error {
		h := health(byName, a.Exporter)
		if h.first.IsZero() {
			h.first = a.Hour
		}
		h.addProtocol(a.Protocol)
		h.dropped.add(a.Dropped)
		h.held.add(a.Held)
		h.lost.add(a.Lost)
		if a.Hour.After(h.hour) {
			h.hour, h.datagrams, h.records, h.octets, h.observedMinutes = a.Hour, 0, 0, 0, 0
		}
		if a.Hour.Equal(h.hour) {
			h.datagrams += a.Datagrams
			h.records += a.Records
			h.octets += a.Octets
			for m := a.MinutesObserved; m != 0; m &= m - 1 {
				h.observedMinutes++
			}
		}
		return nil
	})
}

// addProtocol notes a protocol that the exporter speaks; sFlow's counters are no other one.
func (h *exporterHealth) addProtocol(protocol string) {
	protocol = strings.TrimSuffix(protocol, "-counters")
	if !slices.Contains(h.protocols, protocol) {
		h.protocols = append(h.protocols, protocol)
	}
}

func (d exporterWatcher) addCompleteness(ctx context.Context, byName map[string]*exporterHealth) error {
	list, err := d.ledger.Completeness(ctx)
	if err != nil {
		return err
	}
	for _, c := range list {
		h := health(byName, c.Exporter)
		h.row.Collector = c.Collector
		if !c.Through.IsZero() { // which lies twice the active timeout before the last receipt
			last := c.Through.Add(2 * h.activeTimeout)
			h.row.LastDatagramAt = &last
		}
		switch {
		case c.Through.IsZero():
		case c.Silent:
			h.row.State = "silent"
		default:
			h.row.State = "ok"
		}
	}
	return nil
}

func (h *exporterHealth) finish() {
	slices.Sort(h.protocols)
	h.row.Protocol = strings.Join(h.protocols, ", ")
	h.row.Dropped, h.row.Held, h.row.Lost = h.dropped.list(), h.held.list(), h.lost.list()
	if seconds := float64(60 * h.observedMinutes); seconds > 0 {
		h.row.DatagramsPerSec = float64(h.datagrams) / seconds
		h.row.RecordsPerSecond = float64(h.records) / seconds
		h.row.BitsPerSecond = 8 * float64(h.octets) / seconds
	}
}

// counts adds up counts by unit and reason.
type counts map[[2]string]int64

func (c counts) add(list []ledger.Count) {
	for _, one := range list {
		c[[2]string{one.Unit, one.Reason}] += one.Count
	}
}

func (c counts) list() []httpapi.Count {
	var out []httpapi.Count
	for key, n := range c {
		if n > 0 {
			out = append(out, httpapi.Count{Unit: key[0], Reason: key[1], Count: uint64(n)})
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Count > out[j].Count })
	return out
}
