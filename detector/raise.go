package detector

import (
	"cmp"
	"context"
	"math"
	"net/netip"
	"slices"
	"time"

	"hostmeter/detector/incident"
	"hostmeter/detector/rule"
	"hostmeter/internal/store"
	"hostmeter/schemas"
)

// action is a change of an incident that the next checkpoint writes.
type action struct {
	incident  incident.Incident // to be opened
	id        string            // to be changed
	condition string            // its new state; clear: resolve it
}

// site is where an open incident's condition is.
type site struct {
	subject *subject
	lane, k int
}

// lateIncident is how old a batch may be before the incident of a short rule pages nobody.
const lateIncident = time.Minute

// after turns what a step brought about into changes of incidents.
func (d *Detector) after(ctx context.Context, s *subject, ls *laneState, k int, events rule.Events) {
	if events == 0 {
		return
	}
	s.dirty, s.closed = true, s.closed || !ls.lane.receive
	machine := &ls.conditions[k].Machine
	r := ls.lane.rules[k]
	id := incident.NewID(r.Name, s.id, machine.Began)
	switch {
	case events&rule.Opened != 0:
		d.openSites[id] = d.siteOf(s, ls, k)
		d.actions = append(d.actions, action{incident: d.build(ctx, s, ls, k)})
	case events&rule.Resolve != 0:
		delete(d.openSites, id)
		d.actions = append(d.actions, action{id: id, condition: rule.Clearly.String()})
	case events&rule.Moved != 0 && machine.Open:
		d.actions = append(d.actions, action{id: id, condition: machine.State.String()})
	}
}

func (d *Detector) siteOf(s *subject, ls *laneState, k int) site {
	for i := range s.lanes {
		if &s.lanes[i] == ls {
			return site{s, i, k}
		}
	}
	return site{}
}

// build makes an incident with its evidence.
func (d *Detector) build(ctx context.Context, s *subject, ls *laneState, k int) incident.Incident {
	l, r, c := ls.lane, ls.lane.rules[k], ls.conditions[k]
	main, _ := c.Slots.Shares()
	at := c.At()
	i := incident.Incident{
		Rule: r.Name, Meter: s.id, Severity: r.Severity, Condition: c.Machine.State.String(), BeganAt: c.Machine.Began,
		Late: l.receive && d.deps.Clock.Now().Sub(at) > lateIncident,
	}
	i.Service, i.Customer = d.ownerOf(s, at)
	e := &i.Evidence
	e.RuleText, e.Metric, e.Threshold = r.YAML(), string(r.Metric), ls.threshold(k, at)
	e.WindowFrom, e.WindowTo = at.Add(-main.Length), at
	e.Share, e.Coverage = main.Of(), main.Coverage()
	e.Service, e.Customer = i.Service, i.Customer
	e.Series = ls.series(k)
	e.StandardErrorShare = ls.standardError()
	for _, t := range s.exporters {
		e.Exporters = append(e.Exporters, d.progress.names[t.exporter])
	}
	if s.tops != nil {
		e.TopPeers, e.TopPorts = s.tops.lists(r.Metric.Out())
	}
	return i
}

func (d *Detector) ownerOf(s *subject, at time.Time) (service, customer string) {
	switch {
	case s.each == rule.EachService:
		return s.id[len("service:"):], ""
	case s.each == rule.EachCustomer, s.each == rule.EachReseller:
		return "", s.id[len(s.each)+1:]
	case d.owner == nil:
		return "", ""
	}
	service, customer, _ = d.owner(schemas.MeterID(s.id), at)
	return service, customer
}

func (ls *laneState) threshold(k int, at time.Time) float64 {
	r := ls.lane.rules[k]
	if r.Baseline == nil {
		return r.Value
	}
	threshold, _ := ls.models[k].Threshold(at.Add(-time.Duration(ls.lane.cell)), r.Baseline.Quantile, r.Baseline.Factor, r.Baseline.Floor)
	return threshold
}

// series draws the window of rule k, with the values that are known.
func (ls *laneState) series(k int) incident.Series {
	c, l := ls.conditions[k], ls.lane
	text := c.Slots.Text()
	newest, _ := c.Slots.Newest()
	oldest := newest - int64(len(text)) + 1
	out := incident.Series{From: time.Unix(0, oldest*l.cell).UTC(), CellSeconds: l.seconds(), Cells: text}
	add := func(c *cell) {
		if value, ok := ls.value(k, c); ok && c.index >= oldest && c.index <= newest {
			out.Values = append(out.Values, incident.Value{At: time.Unix(0, c.index*l.cell).UTC(), Value: value})
		}
	}
	for _, index := range ls.kept.Cells {
		c := ls.kept.get(index, l)
		add(&c)
	}
	for i := range ls.cells { // the cell that is being closed, and those of a receive lane
		add(&ls.cells[i])
	}
	return out
}

// standardError is that of the octets of the cells at hand, as a share of them.
func (ls *laneState) standardError() float64 {
	if ls.lane.guest {
		return 0
	}
	octets, variance := 0.0, 0.0
	add := func(c *cell) {
		octets += c.sums[0]
		variance += c.sums[1] * (1 << 20)
	}
	for i := range ls.cells {
		add(&ls.cells[i])
	}
	for _, index := range ls.kept.Cells {
		c := ls.kept.get(index, ls.lane)
		add(&c)
	}
	if octets == 0 {
		return 0
	}
	return math.Sqrt(variance) / octets
}

// apply writes the changes of incidents that wait.
func (d *Detector) apply(ctx context.Context, tx *store.Tx) error {
	for i := range d.actions {
		a := &d.actions[i]
		var err error
		switch {
		case a.id == "":
			_, err = d.incidents.OpenTx(ctx, tx, a.incident)
		case a.condition == rule.Clearly.String():
			_, err = d.incidents.ResolveTx(ctx, tx, a.id, incident.Detector, "the condition ended")
		default:
			err = d.incidents.ConditionTx(ctx, tx, a.id, a.condition)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// tops are the heaviest peers and ports of a busy subject, of the last slot or two.
type tops struct {
	from  int64
	peers [2]map[netip.Addr][2]uint64 // in, out; octets, packets
	ports [2]map[[2]uint32][2]uint64
}

const topsMost = 64

// noteTops adds a tally's heaviest peers and ports where the subject is near a threshold.
func (d *Detector) noteTops(s *subject, t *schemas.Tally, minute int64) {
	if len(t.GetIn().GetTopPeers())+len(t.GetOut().GetTopPeers())+len(t.GetIn().GetTopPorts())+len(t.GetOut().GetTopPorts()) == 0 {
		return
	}
	if s.tops == nil {
		s.tops = &tops{}
	}
	if slot := 2 * int64(max(d.cfg.Slot, time.Minute)); minute >= s.tops.from+slot {
		*s.tops = tops{from: minute}
	}
	for i, traffic := range []*schemas.Traffic{t.GetIn(), t.GetOut()} {
		for _, p := range traffic.GetTopPeers() {
			if addr, ok := netip.AddrFromSlice(p.GetAddress()); ok {
				addTop(&s.tops.peers[i], addr, p.GetOctets(), p.GetPackets())
			}
		}
		for _, p := range traffic.GetTopPorts() {
			addTop(&s.tops.ports[i], [2]uint32{p.GetProtocol(), p.GetPort()}, p.GetOctets(), p.GetPackets())
		}
	}
}

func addTop[K comparable](m *map[K][2]uint64, key K, octets, packets uint64) {
	if *m == nil {
		*m = map[K][2]uint64{}
	}
	if _, there := (*m)[key]; !there && len(*m) >= topsMost {
		return
	}
	sum := (*m)[key]
	(*m)[key] = [2]uint64{sum[0] + octets, sum[1] + packets}
}

// lists returns the heaviest 16 of the rule's direction.
func (t *tops) lists(out bool) (peers []incident.Peer, ports []incident.Port) {
	i, direction := 0, "in"
	if out {
		i, direction = 1, "out"
	}
	for addr, sum := range t.peers[i] {
		peers = append(peers, incident.Peer{Address: addr.Unmap().String(), Direction: direction, Octets: sum[0], Packets: sum[1]})
	}
	for key, sum := range t.ports[i] {
		ports = append(ports, incident.Port{Protocol: key[0], Port: key[1], Direction: direction, Octets: sum[0], Packets: sum[1]})
	}
	slices.SortFunc(peers, func(a, b incident.Peer) int {
		return cmp.Or(cmp.Compare(b.Octets, a.Octets), cmp.Compare(a.Address, b.Address))
	})
	slices.SortFunc(ports, func(a, b incident.Port) int {
		return cmp.Or(cmp.Compare(b.Octets, a.Octets), cmp.Compare(a.Port, b.Port), cmp.Compare(a.Protocol, b.Protocol))
	})
	return peers[:min(16, len(peers))], ports[:min(16, len(ports))]
}
