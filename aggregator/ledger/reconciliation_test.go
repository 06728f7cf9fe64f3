package ledger

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"hostmeter/aggregator/rating"
	"hostmeter/aggregator/reconcile"
	statements "hostmeter/aggregator/statement" // in this package a statement is also one of SQL
	"hostmeter/internal/clock"
	"hostmeter/internal/store"
	"hostmeter/internal/store/storetest"
	"hostmeter/schemas"
)

var update = flag.Bool("update", false, "write the golden files")

const (
	uuid = "6a6f1a2e-0000-4000-8000-000000000001"
	vnic = "vnic:" + uuid + "/52:54:00:00:00:01"
	port = "port:192.0.2.250/17"
	host = "address:10.1.0.1"
)

// counter is what a meter of any kind counted in one minute since start, in packets of 1,000 octets.
type counter struct {
	meter, class  string
	minute        int64
	in, out       uint64
	varianceOfOut uint64
}

// count books counters, each as a batch of its own.
func (w *world) count(list ...counter) {
	w.t.Helper()
	classes := []string{schemas.ClassExternal, schemas.ClassInternal, schemas.ClassPort}
	for _, c := range list {
		shard := schemas.ShardOf(c.meter, testShards)
		w.index[shard]++
		tally := &schemas.Tally{Meter: c.meter, Minute: start.Unix()/60 + c.minute,
			In: &schemas.Traffic{Octets: c.in, Packets: c.in / 1000}, Out: &schemas.Traffic{Octets: c.out, Packets: c.out / 1000, VarianceKib2: c.varianceOfOut}}
		for i, class := range classes {
			if class == c.class {
				tally.Class = uint32(i)
			}
		}
		batch := testBatch("c", 7, shard, w.index[shard], tally)
		batch.Classes = classes
		batch.ReceivedFrom, batch.ReceivedTo = w.now.Add(-time.Hour).UnixNano(), w.now.UnixNano()
		if booked := mustBook(w.t, w.ledger, batch); booked.Batches != 1 || booked.Refused != 0 {
			w.t.Errorf("booked %+v", booked)
		}
	}
}

// observe says that exporters were observed in all hours from first to last since start.
func (w *world) observe(first, last int, exporters ...string) {
	w.t.Helper()
	for _, name := range exporters {
		shard := schemas.ShardOf(name, testShards)
		w.index[shard]++
		batch := testBatch("c", 7, shard, w.index[shard])
		batch.ReceivedFrom, batch.ReceivedTo = w.now.Add(-time.Hour).UnixNano(), w.now.UnixNano()
		for hour := first; hour < last; hour++ {
			batch.Accounts = append(batch.Accounts, &schemas.ExporterAccount{Exporter: name, Protocol: "ipfix", Hour: start.Unix()/3600 + int64(hour), MinutesObserved: 1<<60 - 1, Datagrams: 10, Records: 100})
		}
		mustBook(w.t, w.ledger, batch)
	}
}

// three are the same traffic at three meters.
func three(minute int64, class string, in, out uint64) []counter {
	return []counter{{host, class, minute, in, out, 0}, {vnic, schemas.ClassPort, minute, in, out, 0}, {port, schemas.ClassPort, minute, in, out, 0}}
}

// ownAll gives london an address, a guest and a port for good.
func (w *world) ownAll() {
	w.importText(fmt.Sprintf("ownership:\n  - {service: london, key: %q, from: 2026-09-01T00:00:00Z}\n  - {service: london, key: \"guest:%s\", from: 2026-09-01T00:00:00Z}\n  - {service: london, key: %q, from: 2026-09-01T00:00:00Z}\n", host, uuid, port))
}

func (w *world) reconciliation(month string) []statements.Reconciled {
	w.t.Helper()
	rows, err := w.ledger.Reconciliation(context.Background(), w.inv, month, w.now)
	if err != nil {
		w.t.Fatal(err)
	}
	return rows
}

// TestReconciliationOfAMonth compares a month day by day, on the ledger's own tables, with a file that a
// person can check: the days are told in the order in which they are counted below.
func TestReconciliationOfAMonth(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		w.ownAll()
		w.own("address:10.1.0.2", ownedTime{"middle", 0, farMinute}) // has no witness
		w.now = start.Add(32 * 24 * time.Hour)
		w.observe(0, 24*16, "192.0.2.250")
		w.observe(24*17, 24*31, "192.0.2.250")
		day := func(n int64) int64 { return minutes(n-1, 12, 0) }
		w.count(three(day(1), schemas.ClassExternal, 1_000_000_000, 5_000_000_000)...)
		w.count(three(day(2), schemas.ClassInternal, 2_000_000_000, 3_000_000_000)...)         // internal passes all three
		w.count(counter{host, schemas.ClassExternal, day(3), 1_000_000_000, 2_500_000_000, 0}) // half of the flows are lost
		w.count(three(day(3), schemas.ClassExternal, 1_000_000_000, 5_000_000_000)[1:]...)
		w.count(counter{host, schemas.ClassExternal, day(4), 1_000_000_000, 4_000_000_000, 0}) // the rest had strange sources
		w.count(three(day(4), schemas.ClassExternal, 1_000_000_000, 5_000_000_000)[1:]...)
		w.count(counter{port, schemas.ClassExternal, day(4), 0, 1_000_000_000, 0})
		w.count(three(day(5), schemas.ClassExternal, 1_000_000_000, 5_000_000_000)[:2]...)     // the switch told no counters
		w.count(counter{host, schemas.ClassExternal, day(6), 5_000_000_000, 1_000_000_000, 0}) // the wrong way round
		w.count(three(day(6), schemas.ClassExternal, 1_000_000_000, 5_000_000_000)[1:]...)
		w.count(counter{host, schemas.ClassExternal, day(7), 1_000_000_000, 4_600_000_000, 60_000_000_000}) // 8 % less, and 5 % of standard error
		w.count(three(day(7), schemas.ClassExternal, 1_000_000_000, 5_000_000_000)[1:]...)
		w.count(three(day(17), schemas.ClassExternal, 1_000_000_000, 5_000_000_000)[1:]...) // the exporter was not observed
		w.count(counter{vnic, schemas.ClassPort, day(18), 0, 9_000_000_000, 0})             // no flow at all, though the exporter was observed
		w.seal(8 * 24 * time.Hour)
		var text bytes.Buffer
		rows := slices.DeleteFunc(w.reconciliation("2026-10"), func(r statements.Reconciled) bool {
			return r.Service == "nepal" || r.Day.Month() == 9 || r.Day.Day() > 19
		})
		if err := statements.WriteReconciledCSV(&text, rows); err != nil {
			t.Fatal(err)
		}
		const golden = "testdata/reconciliation.csv"
		if *update {
			if err := os.WriteFile(golden, text.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil || !bytes.Equal(text.Bytes(), want) {
			t.Errorf("%v, got\n%s\nwant\n%s", err, text.Bytes(), want)
		}
	})
}

// TestOutsideIsHeldUntilItIsReleased closes nothing of a service whose witnesses contradict, until a person lets it go:
// the statement then says who and why.
func TestOutsideIsHeldUntilItIsReleased(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		w.ownAll()
		w.now = start.Add(32 * 24 * time.Hour)
		w.observe(0, 24*31, "192.0.2.250")
		w.count(three(minutes(3, 12, 0), schemas.ClassExternal, 0, 4_000_000_000)[1:]...)
		w.count(counter{host, schemas.ClassExternal, minutes(3, 12, 0), 0, 3_000_000_000, 0})
		w.count(three(minutes(5, 12, 0), schemas.ClassExternal, 0, 1_000_000_000)...)
		w.seal(8 * 24 * time.Hour)
		closed := w.close()
		if len(closed.Problems) != 1 || !strings.Contains(closed.Problems[0].Text, "is held: 1 of 2 days compared are outside what the witnesses allow, the first 2026-10-04 (out: address has 3000000000 octets") {
			t.Fatalf("closed %+v", closed)
		}
		if row := find(t, w.report("2026-10"), "london", 0); row.Kind != rating.KindHeld || !row.AmountExVAT.IsZero() || row.Disputed == "" {
			t.Fatalf("held: %+v", row)
		}
		w.importText(`decisions: [{id: d1, service: london, decision: release, from: 2026-10-15T00:00:00Z, by: Jane, reason: the backup VLAN has no exporter}]`)
		if closed := w.close(); closed.Statements == 0 || len(closed.Problems) != 0 {
			t.Fatalf("released: %+v", closed)
		}
		row := find(t, w.report("2026-10"), "london", 1)
		if row.Kind != rating.KindOverage || row.AmountExVAT.String() != "1" || row.Hold != "" || !strings.Contains(row.Disputed, "1 of 2 days") {
			t.Fatalf("released: %+v", row)
		}
		if text := w.rules("london", 1); !strings.Contains(text, "release=d1, by Jane: the backup VLAN has no exporter (decision)") {
			t.Fatalf("rules: %s", text)
		}
		for _, r := range w.reconciliation("2026-10") {
			if r.Service == "london" && r.Released != "d1, by Jane: the backup VLAN has no exporter" {
				t.Fatalf("day: %+v", r)
			}
		}
		// What a witness tells late changes no closed period; what the addresses tell late does, and is released with it.
		w.count(counter{vnic, schemas.ClassPort, minutes(9, 12, 0), 0, 9_000_000_000, 0})
		if again := w.close(); again.Adjustments != 0 || len(again.Problems) != 0 {
			t.Fatalf("a late witness: %+v", again)
		}
		w.count(counter{host, schemas.ClassExternal, minutes(3, 12, 0), 0, 1_000_000_000, 0})
		if again := w.close(); again.Adjustments != 1 || len(again.Problems) != 0 {
			t.Fatalf("late flows: %+v", again)
		}
		if _, err := w.ledger.VerifyStatements(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

// TestTheEvidenceHasTheReconciliation holds what the evidence of a period says of its days to the month's comparison, and
// to its own usage: all that the addresses counted is in either. A closed period's is what its statement had read.
func TestTheEvidenceHasTheReconciliation(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		w.ownAll()
		w.own("address:10.1.0.2", ownedTime{"middle", 0, farMinute}) // has no witness
		w.now = start.Add(32 * 24 * time.Hour)
		w.observe(0, 24*31, "192.0.2.250")
		w.count(three(minutes(2, 12, 0), schemas.ClassExternal, 1_000_000_000, 4_000_000_000)...)
		w.count(three(minutes(2, 13, 0), schemas.ClassInternal, 2_000_000_000, 3_000_000_000)...) // not charged, and compared
		w.count(three(minutes(3, 23, 30), schemas.ClassExternal, 0, 5_000_000_000)...)            // the next day in London
		w.count(counter{port, schemas.ClassExternal, minutes(3, 12, 0), 0, 7_000_000, 0})         // of strange sources
		w.count(counter{host, schemas.ClassExternal, minutes(5, 12, 0), 0, 3_000_000_000, 0})
		w.count(three(minutes(5, 12, 0), schemas.ClassExternal, 0, 4_000_000_000)[1:]...) // outside
		w.seal(8 * 24 * time.Hour)
		same := func(service string, want bool) {
			t.Helper()
			_, list := w.evidence("2026-10")
			e := evidenceOf(t, list, service)
			days := slices.DeleteFunc(w.reconciliation("2026-10"), func(r statements.Reconciled) bool {
				return r.Service != service || !r.PeriodFrom.Equal(e.Rows[0].PeriodFrom)
			})
			got, _ := json.Marshal(e.Reconciliation)
			month, _ := json.Marshal(days)
			if bytes.Equal(got, month) != want || len(days) < 20 {
				t.Errorf("%s: the evidence has\n%s\nthe month\n%s", service, got, month)
			}
			var in, out int64
			for _, r := range e.Reconciliation {
				if r.In.Address != nil {
					in, out = in+*r.In.Address, out+*r.Out.Address
				}
			}
			for _, d := range e.Days {
				in, out = in-d.InOctets, out-d.OutOctets
			}
			if service == "london" && (in != 0 || out != 0) {
				t.Errorf("the days that were compared have %d octets in and %d out more than the days of usage", in, out)
			}
		}
		same("london", true)
		same("middle", true)
		w.importText(`decisions: [{id: d1, service: london, decision: release, from: 2026-10-15T00:00:00Z, by: Jane, reason: the backup VLAN has no exporter}]`)
		if closed := w.close(); closed.Statements == 0 || len(closed.Problems) != 0 {
			t.Fatalf("closed %+v", closed)
		}
		same("london", true)
		w.count(counter{host, schemas.ClassExternal, minutes(5, 12, 30), 0, 1_000_000_000, 0})
		same("london", false) // the month's comparison knows what came late
		if closed := w.close(); closed.Adjustments != 1 {
			t.Fatalf("closed %+v", closed)
		}
		same("london", true)
	})
}

// TestLateFlowsThatAreDisputedWait closes a period that agrees, and adds flows that no witness has.
func TestLateFlowsThatAreDisputedWait(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		w.ownAll()
		w.now = start.Add(32 * 24 * time.Hour)
		w.observe(0, 24*31, "192.0.2.250")
		w.count(three(minutes(3, 12, 0), schemas.ClassExternal, 0, 3_000_000_000)...)
		w.seal(8 * 24 * time.Hour)
		if closed := w.close(); closed.Statements == 0 || len(closed.Problems) != 0 {
			t.Fatalf("closed %+v", closed)
		}
		w.count(counter{host, schemas.ClassExternal, minutes(4, 12, 0), 0, 5_000_000_000, 0}, counter{vnic, schemas.ClassPort, minutes(4, 12, 0), 0, 1, 0})
		if closed := w.close(); closed.Adjustments != 0 || len(closed.Problems) != 1 || !strings.Contains(closed.Problems[0].Text, "adjustment of statement london/2026-10-01") {
			t.Fatalf("late: %+v", closed)
		}
		w.importText(`decisions: [{id: d1, service: london, decision: release, from: 2026-10-15T00:00:00Z, by: Jane, reason: seen on the switch}]`)
		if closed := w.close(); closed.Adjustments != 1 || len(closed.Problems) != 0 {
			t.Fatalf("released: %+v", closed)
		}
	})
}

// TestNothingIsHeldWithoutAWitness has mismatches that must not be called so.
func TestNothingIsHeldWithoutAWitness(t *testing.T) {
	f := func(name string, want string, prepare func(w *world)) {
		t.Run(name, func(t *testing.T) {
			eachWorld(t, func(t *testing.T, w *world) {
				w.now = start.Add(32 * 24 * time.Hour)
				w.observe(0, 24*31, "192.0.2.250")
				w.count(counter{host, schemas.ClassExternal, minutes(3, 12, 0), 0, 3_000_000_000, 0})
				prepare(w)
				w.seal(8 * 24 * time.Hour)
				found := reconcile.Verdict("")
				for _, r := range w.reconciliation("2026-10") {
					if r.Service == "london" && r.Day.Day() == 4 {
						found = r.Verdict
						var reasons []string
						for _, m := range r.Missing {
							reasons = append(reasons, string(m.Kind)+": "+m.Reason)
						}
						if !strings.Contains(strings.Join(reasons, "; "), want) {
							t.Errorf("%s: %q", r.Verdict, reasons)
						}
					}
				}
				if found != reconcile.NotCompared && want != "" {
					t.Errorf("verdict %s", found)
				}
				if closed := w.close(); len(closed.Problems) != 0 {
					t.Errorf("closed %+v", closed)
				}
			})
		})
	}
	f("addresses alone", "vnic: none is the service's; port: none is the service's", func(w *world) { w.own(host, ownedTime{"london", 0, farMinute}) })
	f("nothing was read", "vnic: nothing was read of it; port: nothing was read of it", func(w *world) { w.ownAll() })
	f("the port came at noon", "port: port:192.0.2.250/17 changed hands on that day", func(w *world) {
		w.own(host, ownedTime{"london", 0, farMinute})
		w.importText(`ownership: [{service: london, key: "port:192.0.2.250/17", from: 2026-10-04T11:59:00Z}]`)
		w.count(counter{port, schemas.ClassPort, minutes(3, 12, 0), 0, 9_000_000_000, 0})
	})
	f("it is only reported", "", func(w *world) {
		w.ledger.cfg.Reconcile.Action = ReconcileReport
		w.ownAll()
		w.count(counter{port, schemas.ClassPort, minutes(3, 12, 0), 0, 9_000_000_000, 0})
	})
	f("exporters at the border", "", func(w *world) {
		w.ledger.cfg.Reconcile.InternalBooked = false
		w.ownAll()
		w.count(counter{port, schemas.ClassPort, minutes(3, 12, 0), 0, 9_000_000_000, 0})
	})
	f("an unlimited quota", "", func(w *world) {
		w.importText("plans: [{name: month, quota: unlimited, direction: sum, period: calendar}]")
		w.ownAll()
		w.count(counter{port, schemas.ClassPort, minutes(3, 12, 0), 0, 9_000_000_000, 0})
	})
}

// TestTheSameTrafficAgreesWhoeverOwnsIt lets an address, a guest and a port go from service to service together, with the same
// traffic at all three, told early and late: nothing is outside, and each figure is the slow sum.
func TestTheSameTrafficAgreesWhoeverOwnsIt(t *testing.T) {
	storetest.EachWithClock(t, clock.NewManual(start), func(t *testing.T, db *store.DB) {
		runs, compared := 0, 0
		rapid.Check(t, func(t *rapid.T) {
			if runs++; runs > worldsAtMost() {
				return
			}
			emptyWorld(t, db)
			w := newWorld(t, db)
			spans := w.drawTrio(t)
			w.now = start.Add(32 * 24 * time.Hour)
			w.observe(-24, 24*32, "192.0.2.250")
			var sent []counter
			for range rapid.IntRange(1, 8).Draw(t, "steps") {
				if rapid.IntRange(0, 3).Draw(t, "step") == 0 {
					w.seal(time.Duration(rapid.IntRange(1, 48).Draw(t, "hours")) * time.Hour)
					continue
				}
				list := three(rapid.Int64Range(0, 31*24*60).Draw(t, "minute"), rapid.SampledFrom([]string{schemas.ClassExternal, schemas.ClassInternal}).Draw(t, "class"),
					rapid.Uint64Range(0, 4e9).Draw(t, "in"), rapid.Uint64Range(0, 4e9).Draw(t, "out"))
				w.count(list...)
				sent = append(sent, list[0])
			}
			w.seal(20 * 24 * time.Hour)
			for _, month := range []string{"2026-09", "2026-10", "2026-11"} {
				for _, r := range w.reconciliation(month) {
					if r.Verdict == reconcile.Outside || r.Verdict == reconcile.WitnessesDiffer {
						t.Errorf("%+v", r)
					}
					if r.Verdict != reconcile.Agrees {
						continue
					}
					compared++
					var in, out int64
					for _, c := range sent {
						at := start.Add(time.Duration(c.minute) * time.Minute)
						if ownedBySpans(spans, c.minute) == r.Service && dayOf(at).Equal(r.Day) && periodOf(r.Service, at).Equal(r.PeriodFrom) {
							in, out = in+int64(c.in), out+int64(c.out)
						}
					}
					for _, got := range []*int64{r.In.Address, r.In.VNIC, r.In.Port} {
						if *got != in {
							t.Errorf("%s of %s: in %d, want %d", r.Service, r.Day, *got, in)
						}
					}
					for _, got := range []*int64{r.Out.Address, r.Out.VNIC, r.Out.Port} {
						if *got != out {
							t.Errorf("%s of %s: out %d, want %d", r.Service, r.Day, *got, out)
						}
					}
				}
			}
			if closed := w.close(); len(closed.Problems) != 0 {
				t.Errorf("closed %+v", closed)
			}
		})
		if compared == 0 {
			t.Error("no day was compared")
		}
	})
}

// drawTrio gives an address, a guest and a port to the same services at the same times.
func (w *world) drawTrio(t *rapid.T) []ownedTime {
	var spans []ownedTime
	var text strings.Builder
	text.WriteString("ownership:\n")
	at := int64(0)
	for range rapid.IntRange(1, 3).Draw(t, "spans") {
		o := ownedTime{service: rapid.SampledFrom([]string{"london", "nepal", "middle"}).Draw(t, "service")}
		o.from = at + rapid.Int64Range(0, 5*24*60).Draw(t, "gap")
		o.until = o.from + rapid.Int64Range(10, 20*24*60).Draw(t, "length")
		at = o.until
		spans = append(spans, o)
		for _, key := range []string{host, "guest:" + uuid, port} {
			fmt.Fprintf(&text, "  - {service: %s, key: %q, from: %s, until: %s}\n", o.service, key, start.Add(time.Duration(o.from)*time.Minute).Format(time.RFC3339), start.Add(time.Duration(o.until)*time.Minute).Format(time.RFC3339))
		}
	}
	w.importText(text.String())
	return spans
}

func ownedBySpans(spans []ownedTime, minute int64) string {
	slot, up := minute/5*5, func(m int64) int64 { return (m + 4) / 5 * 5 }
	for _, o := range spans {
		if up(o.from) <= slot && slot < up(o.until) {
			return o.service
		}
	}
	return ""
}
