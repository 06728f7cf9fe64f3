package faults_test

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"hostmeter/internal/failpoint"
	"hostmeter/test/processtest"
)

// world is an installation with its exporters: everything in one process, or the components apart.
type world struct {
	dir, config, clock    string
	listen, flows, ledger string
	components            []string // that run, in the order of their start
	running               map[string]*process
	ended                 []*process
	exporters             []*exporter
	random                *rand.Rand
	step, furthest        time.Duration // of the clock, against the machine's: now, and at most so far
	turn                  int
	wrong                 []string // failure points of every start
	activated             *os.File // the flows' socket, where the suite holds it
	incidents             bool     // are looked at
}

// hosts numbers the worlds of a run: their exporters send from 127.0.N.x.
var hosts atomic.Int32

// inventory owns the addresses of three exporters' flows; those of the fourth nobody has.
const inventory = `provider: {name: Lab, time_zone: UTC, currency: GBP}
prices:
  - {sku: overage, place: lab, currency: GBP, from: 2026-01-01, noticed: 2025-12-01, per: GB, begun: true, amount: "1.00"}
plans: [{name: small, class: virtual, quota: 1 GB, direction: sum, period: calendar, block: 1 GB}]
customers: [{id: c1, name: First}, {id: c2, name: Second}]
services:
  - {id: s1, customer: c1, plan: small, place: lab, currency: GBP, opened: 2026-01-01, bills: address}
  - {id: s2, customer: c2, plan: small, place: lab, currency: GBP, opened: 2026-01-01, bills: address}
ownership:
  - {service: s1, key: "address:10.1.0.0/16", from: 2026-01-01T00:00:00Z}
  - {service: s1, key: "address:10.2.0.0/16", from: 2026-01-01T00:00:00Z}
  - {service: s2, key: "address:10.3.0.0/16", from: 2026-01-01T00:00:00Z}
`

// setting is what tells one world from another.
type setting struct {
	store string // DSN; empty is SQLite
	kafka string // broker; empty is everything in one process
	begin time.Duration
	// commit is for how long batches are gathered for a booking; 0 is 100 ms.
	commit time.Duration
	influx string // URL of InfluxDB; empty is no series
	// incidents has the detector open one for each address that it hears of, and finish look at them. The log keeps
	// what the detector has yet to read again.
	incidents bool
}

// newWorld writes the configuration and the inventory and binds the exporters. Nothing runs yet.
func newWorld(dir string, random *rand.Rand, s setting) (*world, error) {
	w := &world{dir: dir, random: random, incidents: s.incidents, running: map[string]*process{}, components: []string{"run"}}
	var err1, err2 error
	w.listen, err1 = freePort()
	w.flows, err2 = freePort()
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	retain := "0s"
	if s.incidents {
		retain = "1h"
	}
	log := fmt.Sprintf("{segment_size: 4KiB, retain: %s}", retain)
	if s.kafka != "" {
		w.components = []string{"collect", "aggregate", "detect", "serve"}
		log = fmt.Sprintf(`{segment_size: 4KiB, retain: %s, kafka: {brokers: ["%s"], partitions: 3, topic_prefix: "faults%d."}}`, retain, s.kafka, time.Now().UnixNano())
	}
	w.ledger = s.store
	if w.ledger == "" {
		w.ledger = "sqlite:" + filepath.Join(dir, "data", "ledger.db")
	}
	host := int(hosts.Add(1))%200 + 20
	var err error
	if w.exporters, err = openExporters(host, w.flows); err != nil {
		return nil, err
	}
	var exporters strings.Builder
	timeout, detector := "1m", "{checkpoint: 1s, lease: 3s}"
	if s.incidents {
		timeout, detector = "1s", fmt.Sprintf("{checkpoint: 1s, lease: 3s, rules: %q}", filepath.Join(dir, "rules.yaml"))
	}
	for _, e := range w.exporters {
		fmt.Fprintf(&exporters, "    - {address: %s, name: %s, sampling: none, active_timeout: %s}\n", e.address, e.protocol, timeout)
	}
	w.config, w.clock = filepath.Join(dir, "hostmeter.yaml"), filepath.Join(dir, "clock")
	text := fmt.Sprintf(`data: %s/data
provider: {name: Lab, time_zone: UTC, currency: GBP}
collector:
  id: lab
  shards: 4
  udp: [{listen: "%s"}]
  local: [10.0.0.0/8]
  flush: {busy: 50ms, idle: 200ms}
  exporters:
%slog: %s
ledger: {store: "%s", settle: 0s, grace: 0s}
aggregator: {commit_every: %s, maintain_every: 200ms}
detector: %s
http: {listen: "%s"}
`, dir, w.flows, &exporters, log, w.ledger, cmp.Or(s.commit, 100*time.Millisecond), detector, w.listen)
	if s.influx != "" {
		text += fmt.Sprintf("series: {influxdb: {url: %q, bucket: lab, token: t}}\n", s.influx)
	}
	err = errors.Join(os.WriteFile(w.config, []byte(text), 0o600),
		os.WriteFile(filepath.Join(dir, "inventory.yaml"), []byte(inventory), 0o600),
		os.WriteFile(filepath.Join(dir, "rules.yaml"), []byte(rules), 0o600), w.stepClock(s.begin))
	return w, err
}

// now is the world's time.
func (w *world) now() time.Time { return time.Now().Add(w.step) }

// stepClock moves the clock of all processes, at once.
func (w *world) stepClock(by time.Duration) error {
	w.step += by
	w.furthest = max(w.furthest, w.step)
	next := w.clock + ".new"
	if err := os.WriteFile(next, fmt.Append(nil, int64(w.step)), 0o600); err != nil {
		return err
	}
	return os.Rename(next, w.clock)
}

func (w *world) env(points ...string) []string {
	return []string{"HOSTMETER_CLOCK=" + w.clock, "HOSTMETER_FAILPOINTS=" + strings.Join(points, ",")}
}

// command runs a command of hostmeter on this world.
func (w *world) command(args ...string) (string, error) {
	return hostmeter(w.env(), append(args, "-c", w.config)...)
}

// start starts a component with failure points.
func (w *world) start(component string, points ...string) error {
	p, err := start(w.env(append(points, w.wrong...)...), w.activated, component, "-c", w.config)
	if err != nil {
		return err
	}
	if before := w.running[component]; before != nil {
		w.ended = append(w.ended, before)
	}
	w.running[component] = p
	return nil
}

// startAll starts all components and waits until they work.
func (w *world) startAll() error {
	for _, c := range w.components {
		if err := w.start(c); err != nil {
			return err
		}
	}
	return w.awaitReady()
}

// collects is the component that listens for flows, books the one that books, serves the one with the pages.
func (w *world) collects() string { return w.components[0] }
func (w *world) books() string    { return w.components[min(1, len(w.components)-1)] }
func (w *world) serves() string   { return w.components[len(w.components)-1] }

// errOver says that a process ended while it was waited for.
var errOver = errors.New("the process is over")

// awaitReady waits until the flows' port is bound and the pages answer, or one of these two ended.
func (w *world) awaitReady() error {
	return processtest.Await(90*time.Second, func() error {
		if w.running[w.collects()].Over() || w.running[w.serves()].Over() {
			return nil // the caller sees to it
		}
		if err := processtest.Listening(w.flows); err != nil {
			return err
		}
		return processtest.Ready(w.listen)
	})
}

// send sends the next datagram of the exporter whose turn it is.
func (w *world) send() {
	w.exporters[w.turn%len(w.exporters)].send(w.now(), w.random)
	w.turn++
}

// sendWhile sends datagrams at a pace of 500 a second until so many are sent, or stop says so.
func (w *world) sendWhile(n int, stop func() bool) {
	ticker := time.NewTicker(2 * time.Millisecond)
	defer ticker.Stop()
	for range n {
		if stop() {
			return
		}
		w.send()
		<-ticker.C
	}
}

// sendSome sends n datagrams.
func (w *world) sendSome(n int) { w.sendWhile(n, func() bool { return false }) }

// warmUp makes every exporter known: what is lost before anybody heard of it can be declared by nobody.
func (w *world) warmUp() error {
	w.sendSome(5 * len(w.exporters))
	return processtest.Await(60*time.Second, func() error {
		b, err := w.readBooks()
		if err != nil {
			return err
		}
		for _, e := range w.exporters {
			if b.counted(e) == 0 {
				return fmt.Errorf("%s is not in the ledger", e.protocol)
			}
		}
		return nil
	})
}

// close ends everything.
func (w *world) close() {
	for _, p := range w.running {
		if !p.Over() {
			_ = p.End(syscall.SIGKILL, endsWithin)
		}
	}
	for _, e := range w.exporters {
		_ = e.conn.Close()
	}
}

// said is what the processes said last.
func (w *world) said() string {
	var b strings.Builder
	for _, p := range w.running {
		fmt.Fprintf(&b, "--- %s said:\n%s\n", p.Component, processtest.Tail(p.Said.String(), 4000))
	}
	for i := max(0, len(w.ended)-3); i < len(w.ended); i++ {
		fmt.Fprintf(&b, "--- %s, ended, said:\n%s\n", w.ended[i].Component, processtest.Tail(w.ended[i].Said.String(), 1500))
	}
	return b.String()
}

// at is a failure point of a start.
func at(p failpoint.Point, action string, hit int) string {
	return fmt.Sprintf("%s=%s@%d", p, action, hit)
}
