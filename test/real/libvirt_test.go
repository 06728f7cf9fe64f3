package real_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"testing"
	"time"
)

// The guests of deploy/testbed/libvirt-up.sh --spin 1 --halt 2 --talk 1.
const (
	spinGuest = "guest:00000000-0000-4000-8000-000000000001"
	haltGuest = "guest:00000000-0000-4000-8000-000000000002"
	talkVNIC  = "vnic:00000000-0000-4000-8000-000000000004/52:54:00:00:00:04"
)

// shortRules is the shipped CPU rule with windows of seconds, and a threshold that a spinning guest
// passes on a host whose cores are busy with other tests too.
const shortRules = `rules:
  - name: sustained-cpu
    metric: cpu_ratio
    above: 0.20
    for: 40s
    at_least: 0.60
    coverage: 0.60
    clear: {below_share: 0.30, over: 20s}
    severity: warning
    each: guest
`

// TestHypervisorCPUAndInterfaces runs hostmeter on a real libvirt daemon with QEMU guests: one spins,
// one is halted, one sends frames.
func TestHypervisorCPUAndInterfaces(t *testing.T) {
	uri := takeGuests(t)
	virsh := func(args ...string) string {
		return script(t, "libvirt-up.sh", append([]string{"virsh"}, args...)...)
	}
	virsh("suspend", "talk1")
	t.Cleanup(func() { virsh("resume", "talk1") })
	before := interfaceCounters(t, virsh("domifstat", "talk1", "talk1-0"))

	dir := t.TempDir()
	listen := freePort(t)
	config := writeFile(t, dir, "hostmeter.yaml", fmt.Sprintf(`data: %s/data
provider: {name: Lab, time_zone: UTC, currency: GBP}
collector:
  id: lab
  flush: {busy: 500ms, idle: 1s}
  libvirt: [{name: hv1, uri: "%s", every: 1s}]
detector: {rules: %s, slot: 5s, checkpoint: 1s}
http: {listen: "%s"}
`, dir, uri, writeFile(t, dir, "rules.yaml", shortRules), listen))
	run := start(t, "run", config)
	ready(t, listen)

	// The first reading is where counting begins; the talker is silent until it has been made.
	eventually(t, 60*time.Second, func() error {
		if ratio, _ := cpuRatio(t, config, spinGuest); ratio == 0 {
			return fmt.Errorf("no CPU usage of %s yet", spinGuest)
		}
		return nil
	})
	virsh("resume", "talk1")
	eventually(t, 120*time.Second, func() error { return fires(t, config, spinGuest) })
	virsh("suspend", "talk1")
	after := interfaceCounters(t, virsh("domifstat", "talk1", "talk1-0"))

	eventually(t, 60*time.Second, func() error {
		got := usage(t, config)[talkVNIC]
		// The ledger holds layer 3: a frame less its 14 octets of Ethernet header.
		if octets := got.OutOctets + 14*got.OutPackets; octets != after.txOctets-before.txOctets || got.OutPackets != after.txPackets-before.txPackets {
			return fmt.Errorf("%s sent %d octets in %d frames, the tap counted %d in %d", talkVNIC, octets, got.OutPackets, after.txOctets-before.txOctets, after.txPackets-before.txPackets)
		}
		return nil
	})
	if after.txPackets == before.txPackets {
		t.Error("the talker sent nothing: the comparison shows nothing")
	}
	if err := fires(t, config, haltGuest); err == nil {
		t.Errorf("the CPU rule fires for %s, which is halted", haltGuest)
	}
	if ratio, steal := cpuRatio(t, config, spinGuest); ratio+steal < 0.85 || ratio > 1.2 {
		t.Errorf("%s: CPU %.2f and steal %.2f of its vCPU, want about 1 together", spinGuest, ratio, steal)
	}
	if ratio, _ := cpuRatio(t, config, haltGuest); ratio > 0.05 {
		t.Errorf("%s: CPU %.2f of its vCPU, want about 0", haltGuest, ratio)
	}
	run.stop()
}

type counters struct{ txOctets, txPackets uint64 }

// interfaceCounters reads `virsh domifstat`, seen from the guest.
func interfaceCounters(t *testing.T, text string) counters {
	t.Helper()
	read := func(name string) uint64 {
		match := regexp.MustCompile(name + ` (\d+)`).FindStringSubmatch(text)
		if match == nil {
			t.Fatalf("no %s in %q", name, text)
		}
		n, err := strconv.ParseUint(match[1], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	return counters{txOctets: read("tx_bytes"), txPackets: read("tx_packets")}
}

// fires says why there is no open incident on a meter.
func fires(t *testing.T, config, meter string) error {
	t.Helper()
	var incidents []struct{ Meter, Condition string }
	if err := json.Unmarshal(hostmeter(t, "incidents", "list", "-c", config, "--state", "open", "--json"), &incidents); err != nil {
		return err
	}
	for _, i := range incidents {
		if i.Meter == meter {
			return nil
		}
	}
	return fmt.Errorf("no open incident on %s among %d", meter, len(incidents))
}

// cpuRatio returns the CPU time and the steal of a guest as shares of its vCPU time so far.
func cpuRatio(t *testing.T, config, guest string) (cpu, steal float64) {
	t.Helper()
	out := hostmeter(t, "guests", "-c", config, "--json")
	var parsed []struct {
		Meter    string  `json:"meter"`
		CPU      float64 `json:"cpu_seconds"`
		Steal    float64 `json:"steal_seconds"`
		Capacity float64 `json:"capacity_seconds"`
	}
	if err := json.Unmarshal(out, &parsed); err != nil {
		t.Fatalf("guests printed no JSON: %v", err)
	}
	for _, row := range parsed {
		if row.Meter == guest && row.Capacity > 0 {
			return row.CPU / row.Capacity, row.Steal / row.Capacity
		}
	}
	return 0, 0
}
