package real_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"hostmeter/internal/store/storetest"
	"hostmeter/test/processtest"
)

// distributed is a set of processes on real Kafka and PostgreSQL.
type distributed struct {
	config, listen, flows             string
	collect, aggregate, detect, serve *process
}

// startDistributed starts collect, aggregate, detect and serve with a topic and a database of their own.
func startDistributed(t *testing.T, port int) *distributed {
	t.Helper()
	kafka := processtest.Need(t, "HOSTMETER_TEST_KAFKA")
	dir := t.TempDir()
	d := &distributed{listen: freePort(t), flows: fmt.Sprintf("127.0.0.1:%d", port)}
	d.config = writeFile(t, dir, "hostmeter.yaml", fmt.Sprintf(`data: %s/data
provider: {name: Lab, time_zone: UTC, currency: GBP}
collector:
  id: lab
  udp: [{listen: "%s"}]
  local: [10.50.0.0/16]
  flush: {busy: 500ms, idle: 1s}
  exporters: [{address: 127.0.1.30, name: sender, sampling: none}]
log: {kafka: {brokers: ["%s"], partitions: 4, topic_prefix: "test%d."}}
ledger: {store: "%s"}
detector: {checkpoint: 1s}
http: {listen: "%s"}
`, dir, d.flows, kafka, time.Now().UnixNano(), storetest.EmptyPostgres(t), d.listen))
	d.collect = start(t, "collect", d.config)
	d.aggregate = start(t, "aggregate", d.config)
	d.detect = start(t, "detect", d.config)
	d.serve = start(t, "serve", d.config)
	ready(t, d.listen)
	return d
}

// TestTotalsAreEqualWhenConsumersAreKilled kills the aggregator, the detector and the pages once each
// under load: not an octet is missing and none is there twice.
func TestTotalsAreEqualWhenConsumersAreKilled(t *testing.T) {
	processtest.Need(t, "HOSTMETER_TEST_KAFKA")
	d := startDistributed(t, 21400)
	s := newSender(t, "127.0.1.30:21399", d.flows)
	awaitListener(t, d)
	for _, p := range []struct {
		name    string
		process **process
	}{{"aggregate", &d.aggregate}, {"detect", &d.detect}, {"serve", &d.serve}} {
		s.send(t, 300, 200)
		(*p.process).kill()
		s.send(t, 300, 200)
		*p.process = start(t, p.name, d.config)
		s.send(t, 100, 200)
	}
	ready(t, d.listen)
	eventually(t, 90*time.Second, func() error {
		octets, packets := totals(t, d.config)
		if octets != s.records*recordOctets || packets != s.records*recordPackets {
			return fmt.Errorf("the ledger has %d octets in %d packets, %d in %d were sent", octets, packets, s.records*recordOctets, s.records*recordPackets)
		}
		return nil
	})
}

// TestLossIsDeclaredWhenTheCollectorIsKilled kills the collector under load: what the ledger has and
// what is declared as lost, in v5's unit, are together what was sent.
func TestLossIsDeclaredWhenTheCollectorIsKilled(t *testing.T) {
	processtest.Need(t, "HOSTMETER_TEST_KAFKA")
	d := startDistributed(t, 21410)
	s := newSender(t, "127.0.1.30:21409", d.flows)
	awaitListener(t, d)
	for range 2 {
		s.send(t, 400, 200)
		d.collect.kill()
		s.send(t, 200, 200)
		d.collect = start(t, "collect", d.config)
		s.send(t, 400, 200)
	}
	s.send(t, 100, 50) // what shows the last gap
	var booked, lost uint64
	eventually(t, 90*time.Second, func() error {
		octets, _ := totals(t, d.config)
		booked, lost = octets/recordOctets, lostFlows(t, d)
		if booked+lost != s.records {
			return fmt.Errorf("booked %d flows, declared %d as lost, sent %d", booked, lost, s.records)
		}
		return nil
	})
	if lost == 0 {
		t.Error("nothing was lost: the collector was not killed under load")
	}
	t.Logf("sent %d flows, booked %d, declared lost %d", s.records, booked, lost)
}

// awaitListener waits until the collector listens, so that nothing that the test counts is sent to a
// closed port.
func awaitListener(t *testing.T, d *distributed) {
	t.Helper()
	eventually(t, 60*time.Second, func() error { return processtest.Listening(d.flows) })
}

// totals adds up the usage of all addresses.
func totals(t *testing.T, config string) (octets, packets uint64) {
	t.Helper()
	for _, row := range usage(t, config) {
		octets += row.OutOctets
		packets += row.OutPackets
	}
	return octets, packets
}

// lostFlows reads what is declared as lost of the exporter.
func lostFlows(t *testing.T, d *distributed) (n uint64) {
	t.Helper()
	var health struct {
		Exporters []struct {
			Exporter string
			Lost     []struct {
				Unit  string
				Count uint64
			}
		}
	}
	if err := json.Unmarshal(hostmeter(t, "exporters", "-c", d.config, "--json"), &health); err != nil {
		t.Fatal(err)
	}
	for _, e := range health.Exporters {
		for _, c := range e.Lost {
			if e.Exporter == "127.0.1.30" && c.Unit == "flows" {
				n += c.Count
			}
		}
	}
	return n
}
