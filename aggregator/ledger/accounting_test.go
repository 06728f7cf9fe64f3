package ledger

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	statements "hostmeter/aggregator/statement" // in this package a statement is also one of SQL
	"hostmeter/internal/clock"
	"hostmeter/internal/inventory"
	"hostmeter/internal/store"
	"hostmeter/internal/store/storetest"
	"hostmeter/schemas"
)

// rateImport adds services that are charged by a rate to a world: one alone, two in a pool.
const rateImport = `
prices:
  - {sku: burst, place: london, currency: GBP, from: 2026-01-01, noticed: 2025-12-01, per: Mbit/s, begun: true, amount: "10.00"}
plans:
  - {name: rate, quota: 1 Mbit/s, direction: p95, period: calendar, sku: burst}
services:
  - {id: fast, customer: c1, plan: rate, place: london, opened: 2026-01-12, time_zone: UTC}
  - {id: left, customer: c2, plan: month, place: london, opened: 2026-01-12, time_zone: UTC}
  - {id: right, customer: c2, plan: month, place: london, opened: 2026-01-12, time_zone: UTC}
pools:
  - {pool: both, customer: c2, plan: rate, place: london, opened: 2026-09-01, time_zone: UTC}
pool_members: [{service: left, pool: both, from: 2026-10-01}, {service: right, pool: both, from: 2026-10-01}]
`

const (
	fastMeter  = "address:10.1.0.1"
	leftMeter  = "address:10.1.0.2"
	rightMeter = "address:10.2.0.1"

	firstExporter  = "192.0.2.250"
	secondExporter = "192.0.2.99"
)

// turnedBack is a clock that begins anew, where another one is put into its place.
type turnedBack struct{ clock.Clock }

// eachRateWorld has fast, left and right, which own an address each, and the exporters of worldImport. Its store's clock is
// at the beginning of October.
func eachRateWorld(t *testing.T, f func(t *testing.T, w *world)) {
	t.Helper()
	c := &turnedBack{clock.NewManual(start)}
	storetest.EachWithClock(t, c, func(t *testing.T, db *store.DB) {
		f(t, newRateWorld(t, db, c))
	})
}

// newRateWorld is eachRateWorld's in an empty store that has the clock c.
func newRateWorld(t failer, db *store.DB, c *turnedBack) *world {
	m := clock.NewManual(start)
	c.Clock = m
	w := newWorld(t, db)
	w.clock = m
	w.importText(rateImport)
	w.own(fastMeter, ownedTime{"fast", 0, farMinute})
	w.own(leftMeter, ownedTime{"left", 0, farMinute})
	w.own(rightMeter, ownedTime{"right", 0, farMinute})
	return w
}

// at sets the clock to some hours after start, and imports.
func (w *world) at(hours float64, text string) {
	w.t.Helper()
	w.now = start.Add(time.Duration(hours * float64(time.Hour)))
	w.clock.Set(w.now)
	if text != "" {
		w.importText(text)
	}
}

// accountFor says which exporters account for a prefix from now on.
func accountFor(prefix string, exporters ...string) string {
	return fmt.Sprintf("prefixes: [{prefix: %s, exporters: [%s]}]", prefix, strings.Join(exporters, ", "))
}

// clean wants no finding of any law.
func (w *world) clean(when string) {
	w.t.Helper()
	for _, line := range w.findings() {
		w.t.Errorf("%s: %s", when, line)
	}
}

// findings are those of all laws.
func (w *world) findings() (list []string) {
	w.t.Helper()
	found, err := w.ledger.Verify(context.Background(), false)
	if err != nil {
		w.t.Fatal(err)
	}
	owned, err := w.ledger.VerifyOwned(context.Background(), w.inv, time.Time{}, w.now)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, f := range append(found, owned...) {
		list = append(list, f.Law+": "+f.Text)
	}
	return list
}

// wantSlots holds the report and the evidence of October to the slots of a service.
func (w *world) wantSlots(t *testing.T, when, service string, slots, missing int, exporters ...string) {
	t.Helper()
	report := w.report("2026-10")
	row := report.Rows[slices.IndexFunc(report.Rows, func(row statements.Row) bool { return row.Service == service })]
	if row.Slots != slots || row.SlotsMissing != missing || !slices.Equal(row.Missing, exporters) {
		t.Errorf("%s: %d slots of %s, %d missing, by %s; want %d, %d, by %s", when, row.Slots, service, row.SlotsMissing, row.Missing, slots, missing, exporters)
	}
	_, list := w.evidence("2026-10")
	for _, e := range list {
		if e.Rows[0].Service == service && (e.Slots.Expected != int64(slots) || e.Slots.Missing != int64(missing)) {
			t.Errorf("%s: the evidence has %d slots of %s, %d missing, want %d and %d", when, e.Slots.Expected, service, e.Slots.Missing, slots, missing)
		}
	}
}

const octoberSlots = 31 * 288

// TestExporterThatComesInsideAPeriod has an exporter more from the 11th day on, that is silent for an hour later, and is
// taken away on the 26th day; then the period is closed, and others account for the prefix.
func TestExporterThatComesInsideAPeriod(t *testing.T) {
	eachRateWorld(t, func(t *testing.T, w *world) {
		w.at(10*24+12.02, accountFor("10.0.0.0/8", firstExporter, secondExporter))
		w.at(25*24, accountFor("10.0.0.0/8", firstExporter))
		w.at(31*24+1, "")
		w.observe(0, 24*31, firstExporter)
		w.observe(10*24+12, 20*24, secondExporter)
		w.observe(20*24+1, 25*24, secondExporter)
		w.send(sentTally{fastMeter, schemas.ClassExternal, 10, 1_000_000, 0}, sentTally{rightMeter, schemas.ClassExternal, 10, 1_000_000, 0})
		w.wantSlots(t, "open", "fast", octoberSlots, 12, secondExporter)
		exporters := map[string]statements.Completeness{}
		for _, c := range w.report("2026-10").Exporters {
			exporters[c.Exporter.Exporter] = c
		}
		// From 12:05 on the 11th day to the end of the 25th, in the month of London, which began an hour before.
		if c := exporters[secondExporter]; c.MinutesExpected != (14*24+12)*60-5 || c.MissingMinutes() != 60 {
			t.Errorf("completeness of the second: %+v", c)
		}
		w.seal(60 * time.Hour)
		if closed := w.close(); closed.Statements == 0 || len(closed.Problems) > 0 {
			t.Fatalf("%+v", closed)
		}
		w.wantSlots(t, "closed", "fast", octoberSlots, 12, secondExporter)
		w.clean("closed")
		for _, text := range []string{
			accountFor("10.0.0.0/8", firstExporter, secondExporter), accountFor("10.1.0.0/16", "192.0.2.7"), accountFor("10.0.0.0/8", "192.0.2.8"), accountFor("10.0.0.0/8"),
		} {
			w.importText(text)
			w.wantSlots(t, "closed and "+text, "fast", octoberSlots, 12, secondExporter)
			w.clean(text)
			if closed := w.close(); closed.Adjustments != 0 {
				t.Errorf("%s: %+v", text, closed)
			}
		}
		w.send(sentTally{leftMeter, schemas.ClassExternal, 10, 1_000_000, 0}) // late, and the other member of the pool has nothing to say about it
		if closed := w.close(); closed.Adjustments != 1 {
			t.Errorf("%+v", closed)
		}
		w.clean("one member")
	})
}

// busy sends traffic in each slot of some hours, one tally in the middle of each.
func (w *world) busy(meter string, first, last int, octets uint64) {
	w.t.Helper()
	shard := schemas.ShardOf(meter, testShards)
	w.index[shard]++
	batch := testBatch("c", 7, shard, w.index[shard])
	batch.ReceivedFrom, batch.ReceivedTo = w.now.Add(-time.Hour).UnixNano(), w.now.UnixNano()
	for slot := first * 12; slot < last*12; slot++ {
		batch.Tallies = append(batch.Tallies, testTally(meter, int64(slot*5+2), octets, 0))
	}
	mustBook(w.t, w.ledger, batch)
}

// TestMinutesToldAfterTheyWereSealed closes a period whose busiest two days an exporter did not tell of, and then it does.
func TestMinutesToldAfterTheyWereSealed(t *testing.T) {
	eachRateWorld(t, func(t *testing.T, w *world) {
		w.at(31*24+1, "")
		w.observe(0, 10*24, firstExporter)
		w.observe(12*24, 31*24, firstExporter)
		for _, meter := range []string{fastMeter, leftMeter, rightMeter} {
			w.busy(meter, 0, 10*24, 75_000_000) // 2 Mbit/s
			w.busy(meter, 10*24, 12*24, 375_000_000)
		}
		w.seal(60 * time.Hour)
		w.close()
		w.wantSlots(t, "closed", "fast", octoberSlots, 576, firstExporter)
		w.clean("closed")
		was := find(t, w.report("2026-10"), "fast", 1)
		w.observe(10*24, 12*24, firstExporter)
		if found := w.findings(); len(found) != 0 {
			t.Errorf("told since: %v", found)
		}
		w.wantSlots(t, "told since", "fast", octoberSlots, 576, firstExporter)
		if closed := w.close(); closed.Adjustments != 3 {
			t.Fatalf("%+v", closed)
		}
		more := find(t, w.report("2026-10"), "fast", 2)
		if was.BitsPerSecond != 2_000_000 || more.BitsPerSecond != 8_000_000 || more.SlotsMissing != 0 || was.AmountExVAT.String() != "10" || more.AmountExVAT.String() != "80" {
			t.Errorf("first %d bit/s, %s; then %d more, %s, %d missing", was.BitsPerSecond, was.AmountExVAT, more.BitsPerSecond, more.AmountExVAT, more.SlotsMissing)
		}
		w.clean("adjusted")
		w.observe(10*24, 12*24, firstExporter)
		if closed := w.close(); closed.Adjustments != 0 {
			t.Errorf("told twice: %+v", closed)
		}
		w.clean("told twice")
	})
}

// TestVerifyCountsMissingSlotsItself tampers with what the percentiles of a closed period were taken from, one thing at a
// time, with a chain made anew.
func TestVerifyCountsMissingSlotsItself(t *testing.T) {
	eachRateWorld(t, func(t *testing.T, w *world) {
		w.at(31*24+1, "")
		w.observe(0, 10*24, firstExporter)
		w.observe(11*24, 31*24, firstExporter)
		for _, meter := range []string{fastMeter, leftMeter, rightMeter} {
			w.busy(meter, 0, 3*24, 75_000_000)
		}
		w.seal(60 * time.Hour)
		w.close()
		w.observe(10*24, 10*24+1, firstExporter) // late
		w.close()
		w.clean("before")
		db := w.ledger.DB()
		was := readChained(t, db)
		body := func(service, old, made string) func() {
			return func() {
				list, n, previous := slices.Clone(was), 0, ""
				for i := range list {
					if list[i].service == service {
						n += strings.Count(list[i].body, old)
						list[i].body = strings.ReplaceAll(list[i].body, old, made)
					}
					list[i].previous, list[i].hash = previous, chainHash(previous, list[i].body)
					previous = list[i].hash
				}
				if n == 0 {
					t.Fatalf("no statement of %s has %s", service, old)
				}
				writeChained(t, db, list)
			}
		}
		sql := func(query string) func() { return func() { exec(t, db, query) } }
		f := func(what string, do, undo func(), want ...string) {
			t.Helper()
			do()
			found := w.findings()
			wantSaid(t, what, found, want)
			writeChained(t, db, was)
			if undo != nil {
				undo()
			}
			w.clean("after " + what)
		}
		f("the count of a service", body("fast", `"slots_missing":288`, `"slots_missing":287`), nil, "(fast/2026-10-01) says", "in 8928 slots of which 288 are missing")
		f("the count of a pool", body("left", `"slots_missing":288,"slots_counted":8640`, `"slots_missing":287,"slots_counted":8641`), nil,
			"(left/2026-10-01) says that pool both used", "(left/2026-10-01) says that the service used")
		f("the percentile of a pool", body("right", `"octets":150000000,"bits_per_second":4000000`, `"octets":75000000,"bits_per_second":2000000`), nil,
			"(right/2026-10-01) says that pool both used 129600000000 octets in and 0 out, 2000000 bit/s in 8928 slots of which 288 are missing, and what it was computed from makes 129600000000 octets in and 0 out, 4000000 bit/s")
		f("who accounted", sql(`UPDATE prefix_exporter SET valid_until = 1790985600000000000`), sql(`UPDATE prefix_exporter SET valid_until = 0`), "(fast/2026-10-01) says", "of which 0 are missing")
		f("what was observed", sql(`UPDATE exporter_hour SET minutes_observed = minutes_observed - 1 WHERE hour = 497448`), sql(`UPDATE exporter_hour SET minutes_observed = minutes_observed + 1 WHERE hour = 497448`),
			"(fast/2026-10-01) says", "of which 289 are missing")
		f("a late observation", sql(`UPDATE late_observation SET minutes = 0`), sql(`UPDATE late_observation SET minutes = 1152921504606846975`), "(fast/2026-10-01) says", "of which 276 are missing")
		f("its hour", sql(`UPDATE late_observation SET hour = hour + 1`), sql(`UPDATE late_observation SET hour = hour - 1`), "observations: late observation 1 of 192.0.2.250 (ipfix)")
		exec(t, db, `DELETE FROM late_observation`)
		if found := w.findings(); !slices.ContainsFunc(found, func(line string) bool {
			return strings.Contains(line, "observations: the last late observation is 0, and 1 numbers were given")
		}) {
			t.Errorf("a late observation is gone: %v", found)
		}
	})
}

// TestStatementsFromBeforeSayWhatWasMissing has statements that do not name an observation, and another accounting than they
// were closed with: they alone know which slots were missing, and nothing else of them is taken from them.
func TestStatementsFromBeforeSayWhatWasMissing(t *testing.T) {
	eachRateWorld(t, func(t *testing.T, w *world) {
		w.at(31*24+1, "")
		w.observe(0, 10*24, firstExporter)
		w.observe(12*24, 31*24, firstExporter)
		for _, meter := range []string{fastMeter, leftMeter, rightMeter} {
			w.busy(meter, 0, 10*24, 75_000_000)
			w.busy(meter, 10*24, 12*24, 375_000_000)
		}
		w.seal(60 * time.Hour)
		w.close()
		db := w.ledger.DB()
		exec(t, db, fmt.Sprintf(`UPDATE prefix_exporter SET valid_until = %d`, start.Add(48*time.Hour).UnixNano()))
		w.inv = inventory.New(db)
		want := func(when string, laws ...string) {
			t.Helper()
			found := w.findings()
			for _, law := range laws {
				if !slices.ContainsFunc(found, func(line string) bool { return strings.Contains(line, law) }) {
					t.Errorf("%s: nothing says %q: %v", when, law, found)
				}
			}
			if len(laws) == 0 && len(found) > 0 {
				t.Errorf("%s: %v", when, found)
			}
		}
		want("now", "statements: statement number", "says that pool both used", "periods: statement fast/2026-10-01", "periods: statement left/2026-10-01")
		rewrite := func(old, made string) {
			list, previous := readChained(t, db), ""
			for i := range list {
				list[i].body = strings.ReplaceAll(list[i].body, old, made)
				list[i].previous, list[i].hash = previous, chainHash(previous, list[i].body)
				previous = list[i].hash
			}
			writeChained(t, db, list)
		}
		rewrite(`,"observation":0`, ``)
		want("from before")
		rewrite(`"bits_per_second":2000000`, `"bits_per_second":2000001`)
		want("from before, and tampered with", "statements: statement number")
		rewrite(`"bits_per_second":2000001`, `"bits_per_second":2000000`)
		w.busy(fastMeter, 20*24, 20*24+1, 75_000_000) // what comes late for it is adjusted, by what is known of the slots now
		if closed := w.close(); closed.Adjustments != 1 {
			t.Fatalf("%+v", closed)
		}
		if row := find(t, w.report("2026-10"), "fast", 2); row.SlotsMissing != 0 || row.BitsPerSecond != 8_000_000 {
			t.Errorf("adjusted: %+v", row)
		}
		want("adjusted")
	})
}

// accountedTwin is the slow twin of the accounting: it has all that was told, and looks at every slot and minute.
type accountedTwin struct {
	told     []toldPrefix
	observed map[string]map[int64]bool // by exporter: minutes since start
}

type toldPrefix struct {
	prefix    netip.Prefix
	minute    int64 // since start
	exporters []string
}

// exportersAt are those that account for an address in a slot: those that were last told of the longest prefix.
func (w *accountedTwin) exportersAt(addr netip.Addr, minute int64) (exporters []string) {
	longest := -1
	for _, p := range w.told {
		if from := (p.minute + 4) / 5 * 5; (from <= minute || p.minute == 0) && p.prefix.Contains(addr) && p.prefix.Bits() >= longest {
			longest, exporters = p.prefix.Bits(), p.exporters
		}
	}
	return exporters
}

// missing counts the slots of October in which one of the exporters of an address was not observed for a minute.
func (w *accountedTwin) missing(addr netip.Addr) (n int) {
	for slot := int64(0); slot < octoberSlots; slot++ {
		whole := true
		for _, exporter := range w.exportersAt(addr, slot*5) {
			for minute := slot * 5; minute < slot*5+5; minute++ {
				whole = whole && w.observed[exporter][minute]
			}
		}
		if !whole {
			n++
		}
	}
	return n
}

// TestMissingSlotsAreThoseOfTheTime changes who accounts for two prefixes, lets exporters be silent, closes the month, changes
// all again, and holds the slots that are missing to a slow twin: they are those of the time, whatever comes afterwards.
func TestMissingSlotsAreThoseOfTheTime(t *testing.T) {
	c := &turnedBack{clock.NewManual(start)}
	db, runs := storetest.SQLite(t, c), 0
	rapid.Check(t, func(t *rapid.T) {
		if runs++; runs > worldsAtMost() {
			return
		}
		emptyWorld(t, db)
		w := newRateWorld(t, db, c)
		names := []string{firstExporter, secondExporter, "192.0.2.7"}
		twin := &accountedTwin{told: []toldPrefix{{netip.MustParsePrefix("10.0.0.0/8"), 0, names[:1]}}, observed: map[string]map[int64]bool{}}
		tell := func(minute int64) {
			prefix := rapid.SampledFrom([]string{"10.0.0.0/8", "10.1.0.0/16"}).Draw(t, "prefix")
			exporters := rapid.SliceOfNDistinct(rapid.SampledFrom(names), 0, 3, rapid.ID[string]).Draw(t, "exporters")
			twin.told = append(twin.told, toldPrefix{netip.MustParsePrefix(prefix), minute, exporters})
			w.at(float64(minute)/60, accountFor(prefix, exporters...))
		}
		minute := int64(0)
		for range rapid.IntRange(0, 5).Draw(t, "changes") {
			minute += rapid.Int64Range(1, 8*24*60).Draw(t, "after")
			tell(minute)
		}
		w.at(float64(max(minute/60+1, 31*24+1)), "")
		for _, name := range names {
			twin.observed[name] = map[int64]bool{}
			at := int64(0)
			for range rapid.IntRange(1, 3).Draw(t, "spans") {
				at += rapid.Int64Range(0, 5*24*60).Draw(t, "silent")
				from := at
				at += rapid.Int64Range(1, 20*24*60).Draw(t, "observed")
				w.observeMinutes(name, from, at)
				for m := from; m < at; m++ {
					twin.observed[name][m] = true
				}
			}
		}
		w.busy(fastMeter, 3, 4, 1_000_000)
		w.seal(60 * time.Hour)
		w.close()
		meters := map[string]string{"fast": fastMeter, "left": leftMeter, "right": rightMeter}
		check := func(when string) {
			for _, row := range w.report("2026-10").Rows {
				if meter, ok := meters[row.Service]; ok {
					if want := twin.missing(netip.MustParseAddr(strings.TrimPrefix(meter, "address:"))); row.SlotsMissing != want {
						t.Errorf("%s: %d slots of %s are missing, want %d", when, row.SlotsMissing, row.Service, want)
					}
				}
			}
			w.clean(when)
		}
		check("closed")
		minute = int64(w.now.Sub(start) / time.Minute)
		for range rapid.IntRange(1, 3).Draw(t, "changes afterwards") {
			tell(minute)
			minute += rapid.Int64Range(0, 60).Draw(t, "after")
		}
		if closed := w.close(); closed.Adjustments != 0 {
			t.Errorf("closing again: %+v", closed)
		}
		check("afterwards")
		name := rapid.SampledFrom(names).Draw(t, "late")
		from := rapid.Int64Range(0, 30*24*60).Draw(t, "late from")
		w.observeMinutes(name, from, from+rapid.Int64Range(1, 3*24*60).Draw(t, "late for"))
		check("told late")
		w.close()
		w.clean("adjusted")
	})
}

// observeMinutes says that an exporter was observed from one minute since start to another.
func (w *world) observeMinutes(name string, from, to int64) {
	w.t.Helper()
	shard := schemas.ShardOf(name, testShards)
	w.index[shard]++
	batch := testBatch("c", 7, shard, w.index[shard])
	batch.ReceivedFrom, batch.ReceivedTo = w.now.Add(-time.Hour).UnixNano(), w.now.UnixNano()
	for hour := from / 60; hour*60 < to; hour++ {
		batch.Accounts = append(batch.Accounts, &schemas.ExporterAccount{Exporter: name, Protocol: "ipfix", Hour: start.Unix()/3600 + hour, Datagrams: 1, Records: 1,
			MinutesObserved: minutesBetween(max(from-hour*60, 0), min(to-hour*60, 60))})
	}
	mustBook(w.t, w.ledger, batch)
}
