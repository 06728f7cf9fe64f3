package sim

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"hostmeter/aggregator/ledger"
	"hostmeter/collector"
	"hostmeter/internal/inventory"
	"hostmeter/schemas"
)

// check compares the ledger with the one of an undisturbed run.
func (h *history) check() {
	kept := map[*datagram]bool{}
	for _, s := range h.sites {
		if n := s.disk.SyncsAfterFailure(); n > 0 {
			failf("%s: a failed fsync was tried again %d times", s.id, n)
		}
		for _, d := range s.kept() {
			if kept[d] {
				failf("a datagram is in two flushes")
			}
			kept[d] = true
		}
	}
	h.result.Lost = len(h.sent) - len(kept)
	got := h.read(h.bookers[0].ledger)
	want := h.undisturbed()
	if diff := difference(got.lines, want.lines); diff != "" {
		failf("the ledger differs from that of an undisturbed run (-got +want):\n%s", diff)
	}
	for account, minutes := range got.minutes {
		if minutes&^want.minutes[account] != 0 {
			failf("%s: minutes %x observed, undisturbed %x", account, minutes, want.minutes[account])
		}
	}
	h.checkTruth(got, kept)
}

// canonical is a ledger without booking numbers and without times of booking.
type canonical struct {
	lines   []string
	minutes map[string]uint64 // observed, by account: a dead collector observes fewer, and never more
	octets  map[string]uint64 // by meter and direction
	lost    map[string]uint64 // by exporter
}

// read reads all of a ledger, and holds it to its own laws.
func (h *history) read(l *ledger.Ledger) canonical {
	c := canonical{minutes: map[string]uint64{}, octets: map[string]uint64{}, lost: map[string]uint64{}}
	add := func(format string, args ...any) { c.lines = append(c.lines, fmt.Sprintf(format, args...)) }
	must(l.Rows(background, ledger.Query{}, func(r ledger.UsageRow) error {
		add("usage %s %s %s in %v out %v", r.Hour.Format(time.RFC3339), r.Meter, r.Class, r.In, r.Out)
		c.octets[string(r.Meter)+" in"] += uint64(r.In.Octets)
		c.octets[string(r.Meter)+" out"] += uint64(r.Out.Octets)
		return nil
	}))
	must(l.Days(background, ledger.Query{}, func(r ledger.UsageRow) error {
		add("day %s %s %s in %v out %v", r.Hour.Format(time.DateOnly), r.Meter, r.Class, r.In, r.Out)
		return nil
	}))
	must(l.Accounts(background, time.Time{}, time.Time{}, func(a ledger.Account) error {
		key := fmt.Sprintf("account %s %s %s", a.Hour.Format(time.RFC3339), a.Exporter, a.Protocol)
		c.minutes[key], a.MinutesObserved = a.MinutesObserved, 0
		for _, lost := range a.Lost {
			c.lost[a.Exporter] += uint64(lost.Count)
		}
		a.Dropped = slices.DeleteFunc(a.Dropped, func(n ledger.Count) bool { return n.Reason == schemas.ReasonRepeated })
		if a.Datagrams == 0 && len(a.Dropped)+len(a.Held)+len(a.Lost) == 0 {
			return nil // of what was repeated alone
		}
		add("%s %+v", key, a)
		return nil
	}))
	feed := map[string]int64{}
	records, err := l.UsageRecords(background, 0, 0)
	must(err)
	for i, r := range records {
		if r.Seq != int64(i+1) {
			failf("usage record %d has the number %d", i+1, r.Seq)
		}
		span := fmt.Sprintf("told %s %s %s %s %s %s-%s", r.Customer, r.Service, r.Meter, r.Class, r.Direction, r.From.Format(time.RFC3339), r.To.Format(time.RFC3339))
		feed[span+" octets"] += r.Octets
		feed[span+" packets"] += r.Packets
	}
	for span, sum := range feed {
		if sum != 0 {
			add("%s %d", span, sum)
		}
	}
	gaps, err := l.Gaps(background)
	must(err)
	if len(gaps) > 0 {
		failf("the ledger was told of gaps: %v", gaps)
	}
	refused, err := l.RefusedBatches(background)
	must(err)
	if len(refused) > 0 {
		failf("batches were refused: %v", refused)
	}
	findings, err := l.Verify(background, true)
	must(err)
	for _, f := range findings {
		failf("verify: %s: %s", f.Law, f.Text)
	}
	must(l.LateEntries(background, 0, func(ledger.LateEntry) error {
		h.result.Late++
		return nil
	}))
	slices.Sort(c.lines)
	return c
}

// undisturbed runs a collector for each site over what was kept, in the order in which it came, and books
// all of it at once.
func (h *history) undisturbed() canonical {
	db, err := h.newLedger("undisturbed.db")
	must(err)
	defer func() { _ = db.Close() }()
	l := ledger.New(db, ledgerConfig())
	l.SetLogger(quiet)
	var batches []*schemas.Batch
	for _, s := range h.sites {
		memory := &memoryLog{}
		quietly, err := collector.New(collectorConfig(s.id), collector.Deps{Log: memory, Clock: h.clock, Logger: quiet})
		must(err)
		at := begin
		for _, f := range s.flushes { // where they were cut tells how the errors of samples are rounded
			if f.outcome != durable {
				continue
			}
			for _, d := range f.datagrams {
				quietly.Feed(d.from.address, h.received[d], d.payload)
				at = h.received[d]
			}
			must(quietly.Flush(background, at, true))
		}
		batches = append(batches, memory.batches...)
	}
	_, err = l.Book(background, batches)
	must(err)
	_, err = l.Seal(background, h.clock.Now())
	must(err)
	_, err = l.EmitUsageRecords(background, inventory.New(db))
	must(err)
	late := h.result.Late
	defer func() { h.result.Late = late }()
	return h.read(l)
}

// checkTruth compares with what was sent, without a collector: octets of each meter, and for each exporter
// sent = received + lost.
func (h *history) checkTruth(got canonical, kept map[*datagram]bool) {
	octets, lost := map[string]uint64{}, map[string]uint64{}
	heard := map[*sender]bool{}
	for _, d := range h.sent {
		if !kept[d] {
			if heard[d.from] { // nobody can know of what came before the first
				lost[d.from.address.Addr().String()] += d.units
			}
			continue
		}
		heard[d.from] = true
		for _, f := range d.flows {
			h.truth(octets, d.from, f)
		}
	}
	for name, want := range octets {
		if got.octets[name] != want {
			failf("%s: %d octets, and %d were sent and not lost", name, got.octets[name], want)
		}
	}
	for name, n := range got.octets {
		if n != octets[name] {
			failf("%s: %d octets, and %d were sent and not lost", name, n, octets[name])
		}
	}
	for _, s := range h.senders {
		name := s.address.Addr().String()
		if got.lost[name] != lost[name] {
			failf("%s: %d units are declared as lost, and %d are", name, got.lost[name], lost[name])
		}
	}
}

// truth books a flow as the design says for the mode of its exporter: all interfaces are the customers'.
func (h *history) truth(octets map[string]uint64, s *sender, f flow) {
	n := uint64(f.octets) * uint64(s.sampling)
	source, destination := isLocal(f.source), isLocal(f.destination)
	if int(s.address.Addr().As4()[3]) == 2 && source && destination { // border: counted, not booked
		return
	}
	if source {
		octets["address:"+f.source.String()+" out"] += n
	}
	if destination {
		octets["address:"+f.destination.String()+" in"] += n
	}
}

func isLocal(a netip.Addr) bool { return slices.Contains(customers, a) }

func difference(got, want []string) string {
	var b strings.Builder
	for _, line := range got {
		if _, ok := slices.BinarySearch(want, line); !ok {
			fmt.Fprintf(&b, "- %s\n", line)
		}
	}
	for _, line := range want {
		if _, ok := slices.BinarySearch(got, line); !ok {
			fmt.Fprintf(&b, "+ %s\n", line)
		}
	}
	if b.Len() == 0 && len(got) != len(want) {
		return fmt.Sprintf("%d lines, want %d", len(got), len(want))
	}
	return b.String()
}
