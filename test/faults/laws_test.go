package faults_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"hostmeter/aggregator/ledger"
	"hostmeter/internal/clock"
	"hostmeter/internal/store"
	"hostmeter/test/processtest"
)

// books is what the ledger says.
type books struct {
	usage    map[string]ledger.Usage // out, by address
	in       uint64
	accounts []ledger.Account
}

// readBooks reads the ledger, beside the processes that write it.
func (w *world) readBooks() (*books, error) {
	b := &books{usage: map[string]ledger.Usage{}}
	return b, w.withLedger(func(ctx context.Context, l *ledger.Ledger) error {
		from, to := time.Now().AddDate(-1, 0, 0), time.Now().AddDate(2, 0, 0)
		err := l.Rows(ctx, ledger.Query{From: from, To: to}, func(r ledger.UsageRow) error {
			address := strings.TrimPrefix(string(r.Meter), "address:")
			b.usage[address] = b.usage[address].Add(r.Out)
			b.in += uint64(r.In.Octets)
			return nil
		})
		if err != nil {
			return err
		}
		return l.Accounts(ctx, from, to, func(a ledger.Account) error {
			b.accounts = append(b.accounts, a)
			return nil
		})
	})
}

func (w *world) withLedger(f func(context.Context, *ledger.Ledger) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	db, err := store.Open(ctx, w.ledger, clock.Real{})
	if err != nil {
		return err
	}
	return errors.Join(f(ctx, ledger.New(db, ledger.DefaultConfig())), db.Close())
}

// counted is how much of an exporter is in the ledger, in the protocol's unit, as its account says.
func (b *books) counted(e *exporter) (n int64) {
	for _, a := range b.accounts {
		if a.Exporter == e.address && a.Protocol == e.protocol {
			n += received(a, e.unit)
		}
	}
	return n
}

func received(a ledger.Account, unit string) int64 {
	if unit == "datagrams" {
		return a.Datagrams
	}
	return a.Records
}

// lost is how much of an exporter is declared as lost, in the protocol's unit.
func (b *books) lost(e *exporter) (n int64) {
	for _, a := range b.accounts {
		for _, c := range a.Lost {
			if a.Exporter == e.address && c.Unit == e.unit {
				n += c.Count
			}
		}
	}
	return n
}

// laws checks the house laws to the record and returns how each is broken.
func (b *books) laws(exporters []*exporter) error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	for _, e := range exporters {
		var booked int64
		torn, twice := 0, 0
		for i, d := range e.sent {
			u, there := b.usage[e.meter(i)]
			switch {
			case !there:
				continue
			case uint64(u.Octets) == d.octets && uint64(u.Packets) == d.packets:
				booked += d.units
			case uint64(u.Octets) > d.octets:
				twice++
			default:
				torn++
			}
		}
		if torn+twice > 0 {
			fault("%s: %d datagrams are in the ledger in part, %d more than once", e.protocol, torn, twice)
		}
		counted, lost, sent := b.counted(e), b.lost(e), e.units()
		if booked != counted {
			fault("%s: meters hold %d %s, the exporter's account %d", e.protocol, booked, e.unit, counted)
		}
		if counted+lost != sent {
			fault("%s: sent %d %s, received %d, declared %d as lost: %+d", e.protocol, sent, e.unit, counted, lost, counted+lost-sent)
		}
	}
	for _, a := range b.accounts {
		for _, c := range append(a.Dropped, a.Held...) {
			fault("%s: %d %s dropped or held: %s", a.Exporter, c.Count, c.Unit, c.Reason)
		}
	}
	if b.in != 0 {
		fault("%d octets are in, and all were out", b.in)
	}
	return errors.Join(faults...)
}

// finish shows the last gap, stops everything, closes the books and checks all laws.
func (w *world) finish() error {
	w.sendSome(4 * len(w.exporters))
	if len(w.components) > 1 || w.incidents { // nobody tells when all is booked: the laws do
		err := processtest.Await(120*time.Second, func() error {
			b, err := w.readBooks()
			if err != nil {
				return err
			}
			return b.laws(w.exporters)
		})
		if err != nil {
			return err
		}
	}
	if w.incidents { // they need a second or two more
		if err := processtest.Await(60*time.Second, w.detected); err != nil {
			return err
		}
	}
	for _, c := range w.components {
		if err := w.running[c].End(syscall.SIGTERM, endsWithin); err != nil {
			return err
		}
	}
	return w.check()
}

// check closes the books of a world that stands still, and checks them.
func (w *world) check() error {
	b, err := w.readBooks()
	if err != nil {
		return err
	}
	if err := b.laws(w.exporters); err != nil {
		return err
	}
	if w.incidents {
		if err := w.checkIncidents(b); err != nil {
			return err
		}
	}
	// Two months on, everything is sealed, told and closed.
	if err := w.stepClock(w.furthest - w.step + 62*24*time.Hour); err != nil {
		return err
	}
	for _, command := range [][]string{{"statement", "close"}, {"verify"}, {"statement", "verify"}} {
		if _, err := w.command(command...); err != nil {
			return err
		}
	}
	return w.checkFeed(b)
}

// checkFeed compares what billing systems are told, and what is on statements, with the meters.
func (w *world) checkFeed(b *books) error {
	owner := []string{"s1", "s1", "s2", ""}
	var want, told, billed map[string]int64 = map[string]int64{}, map[string]int64{}, map[string]int64{}
	for i, e := range w.exporters {
		for k := range e.sent {
			if owner[i] != "" {
				want[owner[i]] += int64(b.usage[e.meter(k)].Octets)
			}
		}
	}
	return w.withLedger(func(ctx context.Context, l *ledger.Ledger) error {
		last := int64(0)
		for {
			records, err := l.UsageRecords(ctx, last, 0)
			if err != nil {
				return err
			}
			for _, r := range records {
				if r.Seq != last+1 {
					return fmt.Errorf("usage record %d follows %d", r.Seq, last)
				}
				last = r.Seq
				told[r.Service] += r.Octets
			}
			if len(records) == 0 {
				break
			}
		}
		err := l.Statements(ctx, ledger.StatementQuery{}, func(s ledger.Statement) error {
			billed[s.Body.Row.Service] += s.Body.Row.BillableOctets
			return nil
		})
		if err != nil {
			return err
		}
		if gaps, err := l.Gaps(ctx); err != nil || len(gaps) > 0 {
			return errors.Join(err, fmt.Errorf("%d gaps in the log: %v", len(gaps), gaps))
		}
		if refused, err := l.RefusedBatches(ctx); err != nil || len(refused) > 0 {
			return errors.Join(err, fmt.Errorf("%d batches were refused: %v", len(refused), refused))
		}
		var faults []error
		for _, service := range []string{"s1", "s2"} {
			if told[service] != want[service] {
				faults = append(faults, fmt.Errorf("service %s used %d octets, its usage records say %d", service, want[service], told[service]))
			}
			if billed[service] != want[service] {
				faults = append(faults, fmt.Errorf("service %s used %d octets, its statements say %d", service, want[service], billed[service]))
			}
		}
		return errors.Join(faults...)
	})
}
