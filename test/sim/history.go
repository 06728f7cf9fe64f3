package sim

import (
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"hostmeter/internal/clock"
	"hostmeter/internal/store"
	"hostmeter/internal/stream"
	"hostmeter/internal/stream/disk/faultdisk"
)

// history is one run.
type history struct {
	dir      string
	sabotage Sabotage
	random   *rand.Rand
	clock    *clock.Manual
	db       *store.DB
	// retain is for how long the logs keep what is confirmed.
	retain time.Duration
	// receive is by how much the collectors' clocks are wrong. It is a part of what is received: the
	// undisturbed run has it too.
	receive  time.Duration
	step     int
	result   Result
	template []byte

	senders  []*sender
	received map[*datagram]time.Time
	sent     []*datagram
	missed   map[*datagram]bool // the network lost it
	sites    []*site
	broker   *broker // nil: embedded, the aggregators read the log of the only site
	forwards []*forwarder
	bookers  []*booker
}

const keepAll = 1000 * time.Hour

func (s *Suite) newHistory(dir string, seed uint64) (*history, error) {
	h := &history{
		dir: dir, sabotage: s.Sabotage, template: s.template,
		random: newRandom(seed), clock: clock.NewManual(begin), result: Result{Counts: map[string]int{}},
		senders: newSenders(), received: map[*datagram]time.Time{}, missed: map[*datagram]bool{},
	}
	if seed%2 == 0 {
		h.retain = keepAll
	}
	var err error
	if h.db, err = h.newLedger("ledger.db"); err != nil {
		return nil, err
	}
	h.sites = append(h.sites, newSite(h, "one"))
	var source stream.Source = h.sites[0]
	if h.random.IntN(2) == 0 {
		h.broker = newBroker(h.random)
		source = h.broker
		if h.random.IntN(2) == 0 {
			h.sites = append(h.sites, newSite(h, "two"))
		}
		for _, site := range h.sites {
			h.forwards = append(h.forwards, &forwarder{from: site, to: h.broker})
		}
	}
	for range 2 {
		h.bookers = append(h.bookers, &booker{h: h, source: source, clock: &stepped{of: h.clock}})
	}
	return h, nil
}

// newLedger makes a store with an inventory and nothing else in it.
func (h *history) newLedger(name string) (*store.DB, error) {
	path := filepath.Join(h.dir, name)
	if err := os.WriteFile(path, h.template, 0o600); err != nil {
		return nil, err
	}
	return store.Open(background, "sqlite:"+path, h.clock)
}

func (h *history) close() {
	_ = h.db.Close()
	for _, s := range h.sites {
		if s.collector != nil {
			_ = s.collector.Close()
		}
	}
}

func (h *history) count(what string) { h.result.Counts[what]++ }

// siteOf is the collector that owns an exporter.
func (h *history) siteOf(s *sender) *site {
	return h.sites[int(s.address.Port())%len(h.sites)]
}

// run plays a history to its end and checks it.
func (h *history) run() {
	for _, s := range h.sites {
		s.up()
	}
	for range 20 + h.random.IntN(60) {
		h.step++
		h.clock.Advance(time.Duration(h.random.IntN(120)) * time.Second)
		h.act()
	}
	h.finish()
	h.check()
}

// act does one thing: most of the time what goes on anyway, else a fault.
func (h *history) act() {
	booker := h.bookers[h.random.IntN(len(h.bookers))]
	site := h.sites[h.random.IntN(len(h.sites))]
	switch n := h.random.IntN(100); {
	case n < 35:
		h.send(h.senders[h.random.IntN(len(h.senders))])
	case n < 47:
		site.flush(h.random.IntN(3) > 0)
	case n < 55:
		h.forward()
	case n < 63:
		booker.read(1 + h.random.IntN(9))
	case n < 71:
		booker.book()
	case n < 75:
		booker.maintain()
	case n < 79: // time passes, and what was due is done
		h.clock.Advance(time.Duration(h.random.IntN(200)) * time.Minute)
		booker.maintain()
	default:
		h.disturb(site, booker)
	}
	for _, s := range h.sites {
		if s.log == nil && h.random.IntN(4) == 0 {
			s.up()
		}
	}
}

// disturb lets something go wrong.
func (h *history) disturb(site *site, booker *booker) {
	switch h.random.IntN(16) {
	case 0:
		if site.log != nil {
			h.count(collectorKilled)
			site.down(false)
		}
	case 1: // counted by down
		site.down(true)
	case 2:
		if site.log != nil {
			h.count(collectorRestarted)
			site.stop()
		}
	case 3:
		site.disk.CrashAt(1 + h.random.IntN(12))
	case 4:
		site.disk.Set(faultdisk.Faults{Bounded: true, Room: h.random.Int64N(3000)})
	case 5:
		site.disk.Set(faultdisk.Faults{FailSync: unix.EIO})
	case 6:
		site.disk.Set(faultdisk.Faults{Tear: unix.EIO})
	case 7:
		site.disk.Set(faultdisk.Faults{Broken: unix.EIO})
	case 8:
		site.disk.Heal()
	case 9:
		// Once for each disk: a reader keeps count of its tries, and after seven a place is a gap, as it should be.
		if !site.readsFailed {
			site.readsFailed = true
			site.disk.Set(faultdisk.Faults{FailReads: 1 + h.step%5})
			h.count(failedRead)
		}
	case 10:
		if booker.ledger != nil {
			h.count(aggregatorKilled)
			booker.down()
		}
	case 11:
		booker.failCommit = booker.ledger != nil
	case 12:
		booker.loseReply = booker.ledger != nil
	case 13:
		h.count(clockOfAggregator)
		booker.clock.by = time.Duration(h.random.IntN(4*60)-2*60) * time.Minute * time.Duration(1+23*h.random.IntN(2))
	case 14:
		h.count(clockOfCollectors)
		h.receive = time.Duration(h.random.IntN(121)-60) * time.Minute
	case 15:
		if h.broker == nil {
			booker.read(1 + h.random.IntN(9))
			return
		}
		h.count(brokerWiped)
		h.broker.wipe()
	}
}

// ended ends what ran in a collector's process: its forwarder, and where there is no broker the aggregators'
// readers.
func (h *history) ended(site *site) {
	for _, f := range h.forwards {
		if f.from == site {
			f.stop()
		}
	}
	if h.broker == nil {
		for _, b := range h.bookers {
			b.leave()
		}
	}
}

var customers = []netip.Addr{netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("203.0.113.2"), netip.MustParseAddr("203.0.113.3"), netip.MustParseAddr("203.0.113.4")}
var outside = []netip.Addr{netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("192.0.2.8")}

// send lets an exporter send one datagram, which the network may lose.
func (h *history) send(s *sender) {
	flows := make([]flow, 1+h.random.IntN(4))
	for i := range flows {
		local, remote := customers[h.random.IntN(len(customers))], outside[h.random.IntN(len(outside))]
		if h.random.IntN(6) == 0 {
			remote = customers[h.random.IntN(len(customers))]
		}
		flows[i] = flow{source: local, destination: remote, packets: 1 + h.random.Uint32N(1000), length: time.Duration(h.random.IntN(400_000)) * time.Millisecond}
		if h.random.IntN(2) == 0 {
			flows[i].source, flows[i].destination = remote, local
		}
		flows[i].octets = flows[i].packets * (40 + h.random.Uint32N(1460))
	}
	d := s.send(h.clock.Now(), flows)
	h.sent = append(h.sent, d)
	h.result.Datagrams++
	if h.random.IntN(25) == 0 {
		h.count(datagramLost)
		h.missed[d] = true
		return
	}
	h.received[d] = h.clock.Now().Add(h.receive)
	site := h.siteOf(s)
	if h.random.IntN(15) == 0 {
		h.count(datagramsSwapped)
		h.send(s) // overtakes it
	}
	site.feed(d)
	if h.random.IntN(10) == 0 {
		site.repeat()
	}
}

func (h *history) forward() {
	if h.broker == nil {
		return
	}
	f := h.forwards[h.random.IntN(len(h.forwards))]
	switch {
	case f.from.log == nil:
	case h.random.IntN(8) == 0:
		h.count(brokerReplyLost)
		f.step(1+h.random.IntN(12), true)
	case h.random.IntN(10) == 0:
		h.count(forwarderRestarted)
		f.stop()
	default:
		f.step(1+h.random.IntN(12), false)
	}
	if h.random.IntN(3) == 0 && f.from.log != nil {
		must(f.from.Confirm(background, h.broker.confirmed))
	}
}

// finish mends everything and brings what is under way to its end.
func (h *history) finish() {
	h.receive = 0
	for _, s := range h.sites {
		s.disk.CrashAt(0)
		if s.disk.Crashed() {
			s.down(true)
		}
		s.disk.Heal()
		if s.log == nil && !s.up() {
			failf("%s does not start on a sound disk", s.id)
		}
	}
	for _, b := range h.bookers {
		b.clock.by, b.failCommit, b.loseReply = 0, false, false
		b.book() // who was paused wakes up
	}
	h.clock.Advance(time.Minute)
	for _, s := range h.senders { // what comes last tells of the loss before it
		d := s.send(h.clock.Now(), []flow{{source: customers[0], destination: outside[0], packets: 1, octets: 100}})
		h.sent = append(h.sent, d)
		h.received[d] = h.clock.Now()
		h.siteOf(s).feed(d)
	}
	for _, s := range h.sites {
		for range 2 { // a refused flush is offered again first
			must(s.collector.Flush(background, h.clock.Now(), true))
		}
	}
	for round := 0; !h.booked(); round++ {
		if round == 1000 {
			failf("the ledger does not get everything")
		}
		for _, f := range h.forwards {
			f.step(100, false)
		}
		b := h.bookers[round%2]
		b.read(100)
		b.book()
	}
	h.clock.Advance(36 * time.Hour) // the day is over, and sealed
	h.bookers[0].maintain()
}

// booked says whether the ledger has all that the logs hold.
func (h *history) booked() bool {
	h.bookers[0].up()
	marks, err := h.bookers[0].ledger.ReadWatermarks(background)
	must(err)
	for _, s := range h.sites {
		if !marks.Reach(s.known) {
			return false
		}
	}
	return true
}
