package detector

import (
	"time"

	"hostmeter/detector/rule"
	"hostmeter/schemas"
)

// lane is a length of cells for the rules that share it: for one kind of subject, all rules over the
// same clock. Event lanes put a tally where its minute is and close a cell when the exporters are
// complete. Receive lanes, for short rules, put it where it was received and wait for nothing.
type lane struct {
	cell    int64 // nanoseconds
	receive bool
	guest   bool
	rules   []*rule.Rule
	prints  []uint64 // of the rules
	// columns are what a cell sums, by name; col is each rule's (traffic), or sketch its sketch.
	columns []string
	take    []func(*schemas.Tally) float64
	col     []int
	sketch  []int
	sketchs []rule.Metric
	// keep is for how many cells closed values are kept, for evidence and late data.
	keep int64
	// window is the most cells that a rule looks at.
	window int64
}

// Columns of a guest's cell: nanoseconds, and vCPUs times nanoseconds observed.
const (
	colCPU = iota
	colCapacity
	colSteal
	colObserved
	colVCPUs
)

// shortMost is the longest window of a rule that takes its rates from the receive interval.
const shortMost = 5 * time.Minute

// lateMost is for how long a closed cell is corrected.
const lateMost = 24 * time.Hour

// lanesOf sorts rules into lanes by what they are applied to.
func lanesOf(rules []rule.Rule, slot time.Duration) map[rule.Each][]*lane {
	out := map[rule.Each][]*lane{}
	for i := range rules {
		r := &rules[i]
		cell, receive := cellOf(r, slot)
		var l *lane
		for _, other := range out[r.Each] {
			if other.cell == int64(cell) && other.receive == receive && other.guest == r.Metric.OfGuest() {
				l = other
			}
		}
		if l == nil {
			l = &lane{cell: int64(cell), receive: receive, guest: r.Metric.OfGuest()}
			if l.guest {
				l.columns = []string{"cpu", "capacity", "steal", "observed", "vcpus"}
			} else {
				l.addColumn("octets", func(t *schemas.Tally) float64 {
					return float64(t.GetIn().GetOctets() + t.GetOut().GetOctets())
				})
				l.addColumn("variance_kib2", func(t *schemas.Tally) float64 {
					return float64(t.GetIn().GetVarianceKib2() + t.GetOut().GetVarianceKib2())
				})
			}
			out[r.Each] = append(out[r.Each], l)
		}
		l.addRule(r)
	}
	return out
}

// cellOf decides a rule's cell: the slot, or a twelfth of a window that is too short for it.
func cellOf(r *rule.Rule, slot time.Duration) (cell time.Duration, receive bool) {
	short := r.For <= shortMost
	cell = slot
	if r.For < 2*slot {
		cell = max(time.Second, r.For/12)
	}
	if r.Metric.Distinct() && short {
		cell = r.For // a distinct count of parts is not that of the whole
	}
	return cell, !r.Metric.OfGuest() && (short || cell < time.Minute)
}

func (l *lane) addRule(r *rule.Rule) {
	l.rules, l.prints = append(l.rules, r), append(l.prints, r.Print(time.Duration(l.cell)))
	window, _ := r.Cells(time.Duration(l.cell))
	l.window = max(l.window, int64(window))
	l.keep = min(max(l.window, int64(lateMost)/l.cell), 2000)
	col, sketch := -1, -1
	switch {
	case l.guest:
	case r.Metric.Distinct():
		sketch = len(l.sketchs)
		l.sketchs = append(l.sketchs, r.Metric)
	default:
		col = l.addColumn(string(r.Metric), columnOf(r.Metric))
	}
	l.col, l.sketch = append(l.col, col), append(l.sketch, sketch)
}

func (l *lane) addColumn(name string, take func(*schemas.Tally) float64) int {
	for i, other := range l.columns {
		if other == name {
			return i
		}
	}
	l.columns, l.take = append(l.columns, name), append(l.take, take)
	return len(l.columns) - 1
}

// seconds of a cell.
func (l *lane) seconds() float64 { return float64(l.cell) / float64(time.Second) }

// columnOf returns what a metric sums, in its own unit.
func columnOf(m rule.Metric) func(*schemas.Tally) float64 {
	counter := counters[m.Traffic()]
	if m.Out() {
		return func(t *schemas.Tally) float64 { return counter(t.GetOut()) }
	}
	return func(t *schemas.Tally) float64 { return counter(t.GetIn()) }
}

var counters = map[string]func(*schemas.Traffic) float64{
	"bits_per_second":           func(t *schemas.Traffic) float64 { return 8 * float64(t.GetOctets()) },
	"packets_per_second":        func(t *schemas.Traffic) float64 { return float64(t.GetPackets()) },
	"flows_per_second":          func(t *schemas.Traffic) float64 { return float64(t.GetFlows()) },
	"syn_packets_per_second":    func(t *schemas.Traffic) float64 { return float64(t.GetFeatures().GetSynPackets()) },
	"udp_packets_per_second":    func(t *schemas.Traffic) float64 { return float64(t.GetFeatures().GetUdpPackets()) },
	"icmp_packets_per_second":   func(t *schemas.Traffic) float64 { return float64(t.GetFeatures().GetIcmpPackets()) },
	"fragments_per_second":      func(t *schemas.Traffic) float64 { return float64(t.GetFeatures().GetFragments()) },
	"smtp_flows_per_second":     func(t *schemas.Traffic) float64 { return float64(t.GetFeatures().GetSmtpFlows()) },
	"telnet_flows_per_second":   func(t *schemas.Traffic) float64 { return float64(t.GetFeatures().GetTelnetFlows()) },
	"ssh_flows_per_second":      func(t *schemas.Traffic) float64 { return float64(t.GetFeatures().GetSshFlows()) },
	"rdp_flows_per_second":      func(t *schemas.Traffic) float64 { return float64(t.GetFeatures().GetRdpFlows()) },
	"amplifier_bits_per_second": func(t *schemas.Traffic) float64 { return 8 * float64(t.GetFeatures().GetAmplifierOctets()) },
}

// sketchOf returns the sketch that a distinct count is made of.
func sketchOf(m rule.Metric, t *schemas.Tally) *schemas.Sketch {
	traffic := t.GetIn()
	if m.Out() {
		traffic = t.GetOut()
	}
	if m.Traffic() == "remote_ports" {
		return traffic.GetRemotePorts()
	}
	return traffic.GetRemoteAddresses()
}
