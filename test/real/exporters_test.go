// Package real_test proves the product against real exporters, hypervisors, brokers and databases,
// as its users run it: the binary, its configuration file and its commands.
package real_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hostmeter/test/processtest"
)

// exporter is one of deploy/testbed/netlab.sh: its number is the last octet of its address and is
// added to the collector's port.
type exporter struct {
	name   string
	number int
	// settings of its line in the configuration, where it needs any.
	settings string
	// mayDrop says that the switch in the exporter drops packets under load that its port has counted,
	// and tells nobody.
	mayDrop bool
}

var bridgeExporters = []exporter{
	{name: "softflowd-v5", number: 11},
	{name: "softflowd-v9", number: 12},
	{name: "softflowd-ipfix", number: 13},
	{name: "pmacct-v5", number: 14},
	{name: "pmacct-v9", number: 15},
	{name: "pmacct-ipfix", number: 16},
	{name: "pmacct-sflow", number: 17},
	{name: "fprobe-v5", number: 18},
}

var ovsExporters = []exporter{
	// Open vSwitch counts layer 2 in NetFlow v5, against the format's convention.
	{name: "ovs-v5", number: 19, settings: ", octets: layer2", mayDrop: true},
	// It tells every packet at ingress and again at each egress, and while the bridge floods at its own
	// port too: an edge with two customers' ports, not a single sighting.
	{name: "ovs-ipfix", number: 20, settings: ", mode: edge, customer_interfaces: [101, 102]", mayDrop: true},
	{name: "ovs-sflow", number: 21, mayDrop: true},
}

// truth is what the switch's port counted.
type truth struct {
	SA struct {
		Packets uint64 `json:"rx_packets"`
		Octets  uint64 `json:"rx_l3_octets"`
	} `json:"sa"`
}

// TestExportersAgreeWithThePortToTheOctet runs every exporter unsampled beside the others, each into a
// hostmeter of its own.
func TestExportersAgreeWithThePortToTheOctet(t *testing.T) {
	processtest.Need(t, "HOSTMETER_TEST_NETLAB")
	t.Run("bridge", func(t *testing.T) { exactTransfer(t, bridgeExporters, 21055) })
	t.Run("openvswitch", func(t *testing.T) { exactTransfer(t, ovsExporters, 21155) })
}

// attemptsMax is how often a transfer is made that lost datagrams, or packets, between the switch and
// the collector: on a busy machine the lab's relay and Open vSwitch do.
const attemptsMax = 4

// exactTransfer makes transfers until one lost nothing on its way to the collector, and compares that
// one. A difference without a loss that somebody declares is a fault at once.
func exactTransfer(t *testing.T, exporters []exporter, port int) {
	t.Helper()
	for attempt := 1; ; attempt++ {
		results, want := transfer(t, exporters, port+30*attempt, 1, 100)
		lossy := ""
		for i, e := range exporters {
			if faults := differences(results[i], want); len(faults) > 0 && (results[i].lost || e.mayDrop) && attempt < attemptsMax {
				lossy = e.name + ": " + strings.Join(faults, "; ")
			}
		}
		if lossy == "" {
			for i, e := range exporters {
				for _, fault := range differences(results[i], want) {
					t.Errorf("%s: %s", e.name, fault)
				}
			}
			return
		}
		t.Logf("attempt %d lost something in the lab, and is made again: %s", attempt, lossy)
	}
}

// TestSampledFlowsLieInsideThePrintedInterval samples 1 in 10 of 20,000 packets.
func TestSampledFlowsLieInsideThePrintedInterval(t *testing.T) {
	processtest.Need(t, "HOSTMETER_TEST_NETLAB")
	sampled := []exporter{
		{name: "softflowd-v5", number: 11}, {name: "softflowd-v9", number: 12}, {name: "softflowd-ipfix", number: 13},
		{name: "pmacct-v9", number: 15}, {name: "pmacct-sflow", number: 17},
	}
	results, want := transfer(t, sampled, 21355, 10, 2000)
	for i, e := range sampled {
		got := results[i].rows["address:10.98.0.2"]
		if got.Error == 0 {
			t.Errorf("%s: no standard error is printed for sampled traffic", e.name)
		}
		// 99.9 %: the test must not cry wolf one time in twenty.
		if low, high := interval(want.SA.Octets, got.Error, 3.3); got.OutOctets < low || got.OutOctets > high {
			t.Errorf("%s: %d octets ± %d, the port counted %d", e.name, got.OutOctets, got.Error, want.SA.Octets)
		}
	}
}

func interval(centre, standardError uint64, z float64) (low, high uint64) {
	half := uint64(z * float64(standardError))
	if half > centre {
		half = centre
	}
	return centre - half, centre + half
}

// differences says where totals and the port's counters differ.
func differences(got result, want truth) (faults []string) {
	out, in := got.rows["address:10.98.0.2"], got.rows["address:10.98.0.3"]
	if out.OutOctets != want.SA.Octets || out.OutPackets != want.SA.Packets {
		faults = append(faults, fmt.Sprintf("out of 10.98.0.2: %d octets in %d packets, the port counted %d in %d", out.OutOctets, out.OutPackets, want.SA.Octets, want.SA.Packets))
	}
	if in.InOctets != want.SA.Octets || in.InPackets != want.SA.Packets {
		faults = append(faults, fmt.Sprintf("in of 10.98.0.3: %d octets in %d packets, the port counted %d in %d", in.InOctets, in.InPackets, want.SA.Octets, want.SA.Packets))
	}
	return faults
}

// result is what a hostmeter made of one exporter's datagrams.
type result struct {
	rows map[string]usageRow
	lost bool // it declares a loss
}

// transfer carries 10 flows of so many packets through the lab's switch, and returns what a hostmeter
// of its own made of each exporter's datagrams, and what the port counted.
func transfer(t *testing.T, exporters []exporter, port, sampling, packets int) ([]result, truth) {
	t.Helper()
	state := filepath.Join(t.TempDir(), "netlab")
	names := make([]string, len(exporters))
	configs := make([]string, len(exporters))
	processes := make([]*process, len(exporters))
	for i, e := range exporters {
		names[i] = e.name
		configs[i] = exporterConfig(t, e, port+e.number)
		processes[i] = start(t, "run", configs[i])
	}
	for _, c := range configs {
		ready(t, listenOf(t, c))
	}
	defer script(t, "netlab.sh", "down", "--state", state)
	lab := func(verb string) string {
		return script(t, "netlab.sh", verb, "--state", state, "--exporters", strings.Join(names, ","), "--each",
			"--collector", fmt.Sprintf("127.0.0.1:%d", port), "--sampling", fmt.Sprint(sampling), "--packets", fmt.Sprint(packets))
	}
	lab("up")
	lab("traffic")
	lab("flush")
	var want truth
	if err := json.Unmarshal([]byte(lab("truth")), &want); err != nil {
		t.Fatal(err)
	}
	results := make([]result, len(exporters))
	for i, c := range configs {
		processes[i].stop()
		results[i] = result{rows: usage(t, c), lost: strings.Contains(string(hostmeter(t, "exporters", "-c", c, "--json")), `"lost": [`)}
	}
	return results, want
}

// exporterConfig is a provider's first configuration with one exporter.
func exporterConfig(t *testing.T, e exporter, port int) string {
	t.Helper()
	dir := t.TempDir()
	listen := freePort(t)
	text := fmt.Sprintf(`data: %s/data
provider: {name: Lab, time_zone: UTC, currency: GBP}
collector:
  id: lab
  udp: [{listen: "127.0.0.1:%d"}]
  local: [10.98.0.0/24]
  exporters: [{address: 127.0.1.%d, name: %s, active_timeout: %s%s}]
http: {listen: "%s"}
`, dir, port, e.number, e.name, 5*time.Second, e.settings, listen)
	writeFile(t, dir, "listen", listen)
	return writeFile(t, dir, "hostmeter.yaml", text)
}
