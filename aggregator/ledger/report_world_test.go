package ledger

import (
	"context"
	"flag"
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"hostmeter/internal/clock"
	"hostmeter/internal/inventory"
	"hostmeter/internal/store"
	"hostmeter/internal/store/storetest"
	"hostmeter/schemas"
)

const worldImport = `
provider: {name: Example Hosting, time_zone: Europe/London, currency: GBP}
prefixes: [{prefix: 10.0.0.0/8, exporters: [192.0.2.250]}]
prices:
  - {sku: overage, place: london, currency: GBP, from: 2026-01-01, noticed: 2025-12-01, per: GB, begun: true, amount: "0.50"}
plans:
  - {name: month, quota: 2 GB, direction: sum, period: calendar}
  - {name: anniversary, quota: 3 GB, direction: out, period: anniversary, block: 0.1 GB}
customers: [{id: c1, name: Ada Ltd}, {id: c2, name: Bob Ltd}]
services:
  - {id: london, customer: c1, plan: month, place: london, opened: 2026-01-12}
  - {id: nepal, customer: c1, plan: anniversary, place: london, opened: 2026-08-31, time_zone: Asia/Kathmandu}
  - {id: middle, customer: c2, plan: anniversary, place: london, opened: 2026-02-15, time_zone: UTC, internal: true}
`

// world is the truth beside a ledger: all that was sent, and who owned what as it is believed now.
type world struct {
	t      failer
	ledger *Ledger
	inv    *inventory.Inventory
	now    time.Time
	index  map[uint32]uint64
	sent   []sentTally
	owners map[string][]ownedTime // by key
	clock  *clock.Manual          // of the store, where closing sets it
}

type sentTally struct {
	meter, class string
	minute       int64 // since start
	in, out      uint64
}

type ownedTime struct {
	service     string
	from, until int64 // minutes since start; until is never open here
}

func newWorld(t failer, db *store.DB) *world {
	w := &world{t: t, ledger: New(db, DefaultConfig()), inv: inventory.New(db), now: start.Add(6 * time.Hour), index: map[uint32]uint64{}, owners: map[string][]ownedTime{}}
	w.importText(worldImport)
	return w
}

func (w *world) importText(text string) {
	w.t.Helper()
	if _, err := w.inv.Import(context.Background(), []inventory.File{{Name: "world.yaml", Text: []byte(text)}}, false); err != nil {
		w.t.Fatal(err)
	}
}

// send books tallies, each as a batch of its own.
func (w *world) send(list ...sentTally) {
	w.t.Helper()
	for _, s := range list {
		shard := schemas.ShardOf(s.meter, testShards)
		w.index[shard]++
		tally := testTally(s.meter, s.minute, s.in, s.out)
		if s.class == schemas.ClassInternal {
			tally.Class = 1
		}
		batch := testBatch("c", 7, shard, w.index[shard], tally)
		batch.ReceivedFrom, batch.ReceivedTo = w.now.Add(-time.Hour).UnixNano(), w.now.UnixNano()
		if booked := mustBook(w.t, w.ledger, batch); booked.Batches != 1 || booked.Refused != 0 {
			w.t.Errorf("booked %+v", booked)
		}
	}
	w.sent = append(w.sent, list...)
}

func (w *world) seal(d time.Duration) {
	w.t.Helper()
	w.now = w.now.Add(d)
	if _, err := w.ledger.Seal(context.Background(), w.now); err != nil {
		w.t.Fatal(err)
	}
}

// own replaces all ownership of a key.
func (w *world) own(key string, list ...ownedTime) {
	w.t.Helper()
	ctx := context.Background()
	at := func(minute int64) time.Time { return start.Add(time.Duration(minute) * time.Minute) }
	for _, old := range w.owners[key] {
		if err := w.inv.RemoveOwnership(ctx, inventory.Ownership{Key: schemas.MeterID(key), From: at(old.from)}); err != nil {
			w.t.Fatal(err)
		}
	}
	w.owners[key] = list
	if len(list) == 0 {
		return
	}
	var text strings.Builder
	text.WriteString("ownership:\n")
	for _, o := range list {
		fmt.Fprintf(&text, "  - {service: %s, key: %q, from: %s, until: %s}\n", o.service, key, at(o.from).Format(time.RFC3339), at(o.until).Format(time.RFC3339))
	}
	w.importText(text.String())
}

func (w *world) emit() {
	w.t.Helper()
	if _, err := w.ledger.EmitUsageRecords(context.Background(), w.inv); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) close() Closed {
	w.t.Helper()
	if w.clock != nil {
		w.clock.Set(w.now)
	}
	closed, err := w.ledger.CloseDue(context.Background(), w.inv, w.now)
	if err != nil {
		w.t.Fatal(err)
	}
	return closed
}

// ownerAt is the slow twin of the inventory: it looks at every ownership there is.
func (w *world) ownerAt(meter string, minute int64) string {
	slot := minute / 5 * 5
	up := func(m int64) int64 { return (m + 4) / 5 * 5 }
	addr := netip.MustParseAddr(strings.TrimPrefix(meter, "address:"))
	owner, longest := "", -1
	for key, list := range w.owners {
		text := strings.TrimPrefix(key, "address:")
		if !strings.Contains(text, "/") {
			text += "/32"
		}
		prefix := netip.MustParsePrefix(text)
		if !prefix.Contains(addr) || prefix.Bits() < longest {
			continue
		}
		for _, o := range list {
			if up(o.from) <= slot && slot < up(o.until) {
				owner, longest = o.service, prefix.Bits()
			}
		}
	}
	return owner
}

// periodOf is the slow twin of the periods: it goes from day to day until one begins.
func periodOf(service string, at time.Time) time.Time {
	zone, day := map[string]string{"london": "Europe/London", "nepal": "Asia/Kathmandu", "middle": "UTC"}[service], map[string]int{"london": 1, "nepal": 31, "middle": 15}[service]
	z, err := time.LoadLocation(zone)
	if err != nil {
		panic(err)
	}
	for local := at.In(z); ; local = local.AddDate(0, 0, -1) {
		last := local.AddDate(0, 0, 1).Day() == 1
		if local.Day() == day || last && day > local.Day() {
			return time.Date(local.Year(), local.Month(), local.Day(), 0, 0, 0, 0, z).UTC()
		}
	}
}

// cell is what the feed is compared by.
type cell struct {
	service, meter, class, direction string
	day                              int64
	period                           int64
}

// checkFeed compares the sums of the feed with the truth, for the days that are sealed.
func (w *world) checkFeed() {
	w.t.Helper()
	sealed, _, err := w.ledger.SealedThrough(context.Background())
	if err != nil {
		w.t.Fatal(err)
	}
	last := int64(math.MinInt64)
	if !sealed.IsZero() {
		last = sealed.Unix() / 86400
	}
	want := map[cell]int64{}
	for _, s := range w.sent {
		at := start.Add(time.Duration(s.minute) * time.Minute)
		owner := w.ownerAt(s.meter, s.minute)
		if owner == "" || at.Unix()/86400 >= last {
			continue
		}
		c := cell{owner, s.meter, s.class, "in", at.Unix() / 86400, periodOf(owner, at).UnixNano()}
		want[c] += int64(s.in)
		c.direction = "out"
		want[c] += int64(s.out)
	}
	got := map[cell]int64{}
	var seq, after int64
	ids := map[string]bool{}
	for {
		records, err := w.ledger.UsageRecords(context.Background(), after, 7)
		if err != nil {
			w.t.Fatal(err)
		}
		if len(records) == 0 {
			break
		}
		for _, r := range records {
			seq++
			if r.Seq != seq || ids[r.ID] || (r.Kind == RecordCorrection) != (r.Corrects != nil && ids[*r.Corrects]) || r.Kind == RecordUsage && r.Octets <= 0 {
				w.t.Errorf("record %d is %+v", seq, r)
			}
			ids[r.ID] = true
			if r.To.After(sealed) || r.To.Sub(r.From) > 24*time.Hour || r.From.Unix()/86400 != (r.To.Unix()-1)/86400 {
				w.t.Errorf("record %+v is of [%s, %s), sealed is %s", r, r.From, r.To, sealed)
			}
			if c := (cell{r.Service, string(r.Meter), r.Class, r.Direction, r.From.Unix() / 86400, r.PeriodFrom.UnixNano()}); c.day < last {
				got[c] += r.Octets
			}
			after = r.Seq
		}
	}
	for c, octets := range want {
		if got[c] != octets {
			w.t.Errorf("feed says %d of %+v, want %d", got[c], c, octets)
		}
		delete(got, c)
	}
	for c, octets := range got {
		if octets != 0 {
			w.t.Errorf("feed says %d of %+v, of which nothing is true", octets, c)
		}
	}
}

// checkStatements compares the sums of each closed period's revisions with the truth.
func (w *world) checkStatements(before []Statement) []Statement {
	w.t.Helper()
	var list []Statement
	type key struct {
		service string
		from    int64
	}
	in, out := map[key]int64{}, map[key]int64{}
	ends := map[string]time.Time{}
	err := w.ledger.Statements(context.Background(), StatementQuery{}, func(s Statement) error {
		list = append(list, s)
		k := key{s.Body.Row.Service, s.Body.Period.From.UnixNano()}
		in[k] += s.Body.Row.InOctets
		out[k] += s.Body.Row.OutOctets
		if s.Body.Row.Revision == 1 {
			if end, ok := ends[k.service]; ok && !end.Equal(s.Body.Period.From) {
				w.t.Errorf("statement %s does not follow %s", s.Body.Row.Statement, end)
			}
			ends[k.service] = s.Body.Period.To
			if want := periodOf(k.service, s.Body.Period.To.Add(-time.Second)); !want.Equal(s.Body.Period.From) {
				w.t.Errorf("statement %s begins %s, want %s", s.Body.Row.Statement, s.Body.Period.From, want)
			}
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	for i, s := range before {
		if list[i].Hash != s.Hash {
			w.t.Errorf("statement %d has changed", i)
		}
	}
	wantIn, wantOut := map[key]int64{}, map[key]int64{}
	for _, s := range w.sent {
		at := start.Add(time.Duration(s.minute) * time.Minute)
		owner := w.ownerAt(s.meter, s.minute)
		if owner == "" || s.class == schemas.ClassInternal && owner != "middle" {
			continue
		}
		k := key{owner, periodOf(owner, at).UnixNano()}
		wantIn[k] += int64(s.in)
		wantOut[k] += int64(s.out)
	}
	for k := range in {
		if in[k] != wantIn[k] || out[k] != wantOut[k] {
			w.t.Errorf("period of %s from %s: statements say %d in, %d out; want %d, %d", k.service, time.Unix(0, k.from).UTC(), in[k], out[k], wantIn[k], wantOut[k])
		}
	}
	if n, err := w.ledger.VerifyStatements(context.Background()); err != nil || n != int64(len(list)) {
		w.t.Errorf("verify: %d of %d statements, %v", n, len(list), err)
	}
	return list
}

// emptyWorld takes away what a world has written.
func emptyWorld(t failer, db *store.DB) {
	t.Helper()
	truncate(t, db)
	err := db.Update(context.Background(), func(tx *store.Tx) error {
		for _, text := range []string{"DELETE FROM statement", "DELETE FROM statement_waiting", "DELETE FROM usage_record", "DELETE FROM ownership", "DELETE FROM contract_change", "DELETE FROM decision", "DELETE FROM address_notice", "DELETE FROM pool_member", "DELETE FROM pool", "DELETE FROM service", "DELETE FROM statement_approval", "DELETE FROM customer_key", "DELETE FROM customer_name", "DELETE FROM customer",
			"DELETE FROM plan", "DELETE FROM price", "DELETE FROM prefix", "DELETE FROM prefix_exporter", "DELETE FROM provider", "UPDATE inventory_state SET version = 0",
			"UPDATE statement_head SET number = 0, hash = '', booking = 0, observation = 0, inventory_version = 0, pruned_number = 0, pruned_hash = ''",
			"UPDATE usage_record_head SET last_seq = 0, through = 0, booking = 0, inventory_version = 0"} {
			if _, err := tx.Exec(context.Background(), text); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (w *world) drawTally(t *rapid.T) sentTally {
	return sentTally{
		meter:  rapid.SampledFrom([]string{"address:10.1.0.1", "address:10.1.0.2", "address:10.2.0.1"}).Draw(t, "meter"),
		class:  rapid.SampledFrom([]string{schemas.ClassExternal, schemas.ClassInternal}).Draw(t, "class"),
		minute: rapid.Int64Range(0, int64(w.now.Sub(start)/time.Minute)-1).Draw(t, "minute"),
		in:     rapid.Uint64Range(0, 3e9).Draw(t, "in"),
		out:    rapid.Uint64Range(1, 3e9).Draw(t, "out"),
	}
}

func (w *world) drawOwnership(t *rapid.T) {
	key := rapid.SampledFrom([]string{"address:10.1.0.1", "address:10.1.0.2", "address:10.1.0.0/24"}).Draw(t, "key")
	var list []ownedTime
	at := int64(0)
	for range rapid.IntRange(0, 3).Draw(t, "spans") {
		o := ownedTime{service: rapid.SampledFrom([]string{"london", "nepal", "middle"}).Draw(t, "service")}
		o.from = at + rapid.Int64Range(0, 20*24*60).Draw(t, "from")
		o.until = o.from + rapid.Int64Range(1, 40*24*60).Draw(t, "length")
		at = o.until
		list = append(list, o)
	}
	w.own(key, list...)
}

// worldsAtMost keeps the test below half a minute, unless -rapid.checks asks for another number.
func worldsAtMost() int {
	const standard = 100
	if checks := flag.Lookup("rapid.checks"); checks != nil && checks.Value.String() != strconv.Itoa(standard) {
		return math.MaxInt
	}
	return 40
}

// TestSumsAreTheTruthWhateverComesBetween books, seals, tells, closes and changes owners in any order,
// late and early, and compares the feed and the statements with the truth.
func TestSumsAreTheTruthWhateverComesBetween(t *testing.T) {
	storetest.EachWithClock(t, clock.NewManual(start), func(t *testing.T, db *store.DB) {
		runs := 0
		rapid.Check(t, func(t *rapid.T) {
			if runs++; runs > worldsAtMost() {
				return
			}
			emptyWorld(t, db)
			w := newWorld(t, db)
			w.importText(`provider: {name: Example Hosting, time_zone: Europe/London, currency: GBP, credit_window: unlimited}`)
			w.drawOwnership(t)
			var statements []Statement
			for range rapid.IntRange(5, 14).Draw(t, "steps") {
				switch rapid.SampledFrom([]string{"send", "seal", "own", "emit", "close"}).Draw(t, "step") {
				case "send":
					for range rapid.IntRange(1, 4).Draw(t, "tallies") {
						w.send(w.drawTally(t))
					}
				case "seal":
					w.seal(time.Duration(rapid.IntRange(1, 14*24).Draw(t, "hours")) * time.Hour)
				case "own":
					w.drawOwnership(t)
				case "emit":
					w.emit()
					w.checkFeed()
				case "close":
					w.close()
					statements = w.checkStatements(statements)
				}
			}
			w.seal(70 * 24 * time.Hour)
			w.emit()
			w.checkFeed()
			w.close()
			w.checkStatements(statements)
			if n, err := w.ledger.EmitUsageRecords(context.Background(), w.inv); n != 0 || err != nil {
				t.Errorf("telling again told %d, %v", n, err)
			}
			if again := w.close(); again.Statements+again.Adjustments != 0 {
				t.Errorf("closing again closed %+v", again)
			}
			found, err := w.ledger.Verify(context.Background(), false)
			if len(found) != 0 || err != nil {
				t.Errorf("verify: %v, %v", found, err)
			}
		})
	})
}
