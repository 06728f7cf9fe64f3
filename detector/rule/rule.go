// Package rule owns what a rule says and when its condition holds: the rules file, the share of
// observed time over a trailing window, and the machine of a condition's states.
//
// It is pure: it takes values and times and returns values. It promises that a window has the same
// answer whether it is fed live or by a backtest, and that a state written to bytes and read back goes
// on exactly where it was. It does not know meters, batches or incidents.
package rule

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Metric names what is compared with a threshold; the names are those of the rules file and of the
// columns of a series file.
type Metric string

// Metrics of guests; the others begin with in_ or out_.
const (
	CPURatio      Metric = "cpu_ratio"
	CPUStealRatio Metric = "cpu_steal_ratio"
	CPUCapacity   Metric = "cpu_capacity"
)

// TrafficMetrics are the metrics that exist once for each direction, without their prefix.
var trafficMetrics = []string{
	"bits_per_second", "packets_per_second", "flows_per_second", "syn_packets_per_second",
	"udp_packets_per_second", "icmp_packets_per_second", "fragments_per_second", "remote_addresses",
	"remote_ports", "smtp_flows_per_second", "telnet_flows_per_second", "ssh_flows_per_second",
	"rdp_flows_per_second", "amplifier_bits_per_second",
}

// Metrics returns the name of every metric.
func Metrics() []Metric {
	out := []Metric{CPURatio, CPUStealRatio, CPUCapacity}
	for _, direction := range []string{"in_", "out_"} {
		for _, name := range trafficMetrics {
			out = append(out, Metric(direction+name))
		}
	}
	return out
}

// Known says whether there is such a metric.
func (m Metric) Known() bool { return slices.Contains(Metrics(), m) }

// OfGuest says that the metric is of a guest's CPU.
func (m Metric) OfGuest() bool { return strings.HasPrefix(string(m), "cpu_") }

// Out says that the metric is of traffic that leaves the meter.
func (m Metric) Out() bool { return strings.HasPrefix(string(m), "out_") }

// Traffic returns the metric's name without direction.
func (m Metric) Traffic() string {
	return strings.TrimPrefix(strings.TrimPrefix(string(m), "in_"), "out_")
}

// Distinct says that the metric is a count of different things, which cannot be added up.
func (m Metric) Distinct() bool { return strings.Contains(string(m), "_remote_") }

// Each is what a rule has one condition for.
type Each string

// What a rule can be applied to; the last three are sums over the meters that are owned.
const (
	EachGuest    Each = "guest"
	EachAddress  Each = "address"
	EachPort     Each = "port"
	EachVNIC     Each = "vnic"
	EachService  Each = "service"
	EachCustomer Each = "customer"
	EachReseller Each = "reseller"
)

var eachAll = []Each{EachGuest, EachAddress, EachPort, EachVNIC, EachService, EachCustomer, EachReseller}

// Owned says that it is a sum over meters by their owner.
func (e Each) Owned() bool { return e == EachService || e == EachCustomer || e == EachReseller }

// Side is on which side of its threshold a value counts.
type Side uint8

// The sides.
const (
	Above Side = iota
	Below
)

// Baseline makes a threshold out of what is normal: quantile x Factor, at least Floor.
type Baseline struct{ Quantile, Factor, Floor float64 }

// Clear is how an incident ends: when less than BelowShare of the observed time of the last Over is
// beyond the threshold, and the condition no longer holds.
type Clear struct {
	BelowShare float64
	Over       time.Duration
}

// Rule is one valid rule: Parse makes it, and nothing else should.
type Rule struct {
	Name     string
	Metric   Metric
	Side     Side
	Value    float64 // the fixed threshold; unused where Baseline is set
	Baseline *Baseline
	For      time.Duration
	AtLeast  float64 // of the observed time of the window, beyond the threshold; in (0, 1]
	Coverage float64 // of the window, observed; in (0, 1]
	Clear    Clear
	Severity string
	Each     Each
}

// Beyond says whether a value counts against a threshold.
func (r *Rule) Beyond(value, threshold float64) bool {
	if r.Side == Below {
		return value < threshold
	}
	return value > threshold
}

// YAML returns the rule as text that Parse reads to the same rule, as an item of `rules:`.
func (r *Rule) YAML() string {
	var b strings.Builder
	number := func(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }
	fmt.Fprintf(&b, "  - name: %s\n    metric: %s\n", r.Name, r.Metric)
	switch {
	case r.Baseline != nil:
		fmt.Fprintf(&b, "    baseline: {quantile: %s, factor: %s, floor: %s}\n",
			number(r.Baseline.Quantile), number(r.Baseline.Factor), number(r.Baseline.Floor))
	case r.Side == Below:
		fmt.Fprintf(&b, "    below: %s\n", number(r.Value))
	default:
		fmt.Fprintf(&b, "    above: %s\n", number(r.Value))
	}
	fmt.Fprintf(&b, "    for: %s\n    at_least: %s\n    coverage: %s\n", r.For, number(r.AtLeast), number(r.Coverage))
	fmt.Fprintf(&b, "    clear: {below_share: %s, over: %s}\n", number(r.Clear.BelowShare), r.Clear.Over)
	fmt.Fprintf(&b, "    severity: %s\n    each: %s\n", r.Severity, r.Each)
	return b.String()
}

// Cells returns how many cells of a length make up the window and the window of Clear, at least one
// each, rounded up.
func (r *Rule) Cells(cell time.Duration) (window, recent int) {
	up := func(d time.Duration) int { return max(1, int((d+cell-1)/cell)) }
	return up(r.For), min(up(r.Clear.Over), up(r.For))
}
