package collector_test

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"hostmeter/collector"
	"hostmeter/internal/clock"
	"hostmeter/schemas"
)

// run opens a collector over a log and a state folder, as a new process does.
func run(t tester, log *memLog, dir string, at time.Time) *collector.Collector {
	t.Helper()
	c := newCollector(t, config(), collector.Deps{Log: log, StateDir: dir, Clock: clock.NewManual(at)})
	if err := c.Open(background); err != nil {
		t.Fatal(err)
	}
	return c
}

// runApart opens a collector over a log that is not read back, so that each run may have its own.
func runApart(t tester, log *memLog, dir string, at time.Time) *collector.Collector {
	t.Helper()
	c := newCollector(t, config(), collector.Deps{Log: appendOnly{log}, StateDir: dir, Clock: clock.NewManual(at)})
	if err := c.Open(background); err != nil {
		t.Fatal(err)
	}
	return c
}

// A collector that is killed loses what it had not flushed, and the next one says how much: sent =
// counted + lost, in flows and datagrams, and the octets of what was counted are at meters or declared as dropped, whenever it
// is killed, however much waits, and whatever of its state file is left.
func TestKilledCollectorsDeclareWhatTheyLost(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp("", "hostmeter-restart")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = os.RemoveAll(dir) }()
		neverWhole := rapid.Bool().Draw(t, "never whole")
		open := func(log *memLog, now time.Time) *collector.Collector {
			c := run(t, log, dir, now)
			if neverWhole {
				c.FlushNeverWhole()
			}
			return c
		}
		log := newMemLog()
		now := begin
		c := open(log, now)
		var sequence, kills uint32
		var sequence9 uint64
		var fed, flushed uint64 // octets
		feed := func(flows ...flow) {
			half := len(flows) / 2
			c.Feed(edge, now, v5(now, sequence, 0, flows[half:]...))
			sequence += uint32(len(flows) - half)
			c.Feed(edge, now, v9(now, uint32(sequence9), 3, flowTemplate(false), flowData(false, flows[:half]...)))
			sequence9++
			for _, f := range flows {
				fed += uint64(f.octets)
			}
		}
		kinds := rapid.SampledFrom([]flow{
			download, {ours2, theirs, 3, 4001}, {ours, ours2, 5, 6007}, {theirs, theirs2, 7, 8009}, // quiet, transit
			{theirs, ours, 1000, 1_500_007}, {ours, ours2, 2000, 3_000_017}, // busy, or would be
		})
		first := true
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 30).Draw(t, "seconds")) * time.Second)
			before := len(log.batches)
			switch rapid.IntRange(0, 7).Draw(t, "what") {
			default:
				feed(rapid.SliceOfN(kinds, 1, 30).Draw(t, "flows")...)
				if first { // before its first flush a collector has told nobody that it knows the exporter
					flush(t, c, now)
					first = false
				}
			case 0:
				flush(t, c, now)
			case 1, 2:
				if err := c.Flush(background, now, false); err != nil {
					t.Fatal(err)
				}
			case 3: // killed: nothing more is flushed
				log = log.reopened()
				if rapid.IntRange(0, 3).Draw(t, "file lost") == 0 {
					_ = os.Remove(filepath.Join(dir, "positions.json"))
				}
				c = open(log, now)
				fed = flushed
				kills++
			}
			if len(log.batches) > before {
				flushed = fed
			}
		}
		// What comes after the last kill tells of the gap before it.
		feed(download, download)
		flush(t, c, now)
		b := log.books(t)
		b.checkLaws(t)
		if first {
			return
		}
		flows := b.accounts["198.51.100.1 netflow5"].GetRecords()
		lost := b.counts["198.51.100.1/lost/flows/sequence"]
		if flows+uint64(lost) != uint64(sequence) {
			t.Fatalf("%d counted + %d lost != %d sent, after %d kills", flows, lost, sequence, kills)
		}
		datagrams, lost9 := b.accounts["198.51.100.1 netflow9"].GetDatagrams(), b.counts["198.51.100.1/lost/datagrams/sequence"]
		if datagrams+uint64(lost9) != sequence9 {
			t.Fatalf("%d datagrams + %d lost != %d sent, after %d kills", datagrams, lost9, sequence9, kills)
		}
		booked := b.accounts["198.51.100.1 netflow5"].GetOctets() + b.accounts["198.51.100.1 netflow9"].GetOctets()
		dropped := b.counts["198.51.100.1/dropped/octets/restart"]
		if booked+uint64(dropped) != fed {
			t.Fatalf("%d octets booked + %d dropped != %d of what was counted, after %d kills", booked, dropped, fed, kills)
		}
		if !neverWhole && dropped != 0 {
			t.Fatalf("%d octets dropped, though every flush took all", dropped)
		}
	})
}

// What waited for a fact in a killed collector is gone with it, and no longer counts as held.
func TestHeldRecordsOfAKilledCollectorAreDropped(t *testing.T) {
	log, dir := newMemLog(), t.TempDir()
	c := run(t, log, dir, begin)
	c.Feed(edge, begin, v9(begin, 0, 1, flowTemplate(true), flowData(true, download, download)))
	c.Feed(edge, begin, v9(begin, 1, 2, flowData(true, download)))
	flush(t, c, after(time.Second))
	if n := log.books(t).counts["198.51.100.1/held/records/sampling"]; n != 2 {
		t.Fatalf("%d records held, want 2", n)
	}
	log = log.reopened()
	c = run(t, log, dir, after(time.Minute))
	flush(t, c, after(time.Minute))
	counts := log.books(t).counts
	for key, want := range map[string]int64{
		"held/records/sampling": 0, "dropped/records/restart": 2, "held/sets/template": 0, "dropped/sets/restart": 1,
	} {
		if got := counts["198.51.100.1/"+key]; got != want {
			t.Fatalf("%s: %d, want %d in %v", key, got, want, counts)
		}
	}
	// And once only.
	log = log.reopened()
	c = run(t, log, dir, after(2*time.Minute))
	flush(t, c, after(2*time.Minute))
	if got := log.books(t).counts["198.51.100.1/dropped/records/restart"]; got != 2 {
		t.Fatalf("dropped %d after another restart, want 2", got)
	}
}

// A stopped collector flushes everything; what hypervisors counted while it was away is not lost.
func TestGuestsGoOnOverARestart(t *testing.T) {
	reading := func(cpu, in uint64) []schemas.GuestReading {
		return []schemas.GuestReading{{
			UUID: "4D5E", Name: "g", State: schemas.GuestState_GUEST_STATE_RUNNING, VCPUs: 1, CPUKnown: true, CPUNanoseconds: cpu,
			VNICs: []schemas.VNICReading{{MAC: "52:54:00:00:00:01", Target: "vnet0", InOctets: in, InPackets: in / 1000}},
		}}
	}
	log, dir := newMemLog(), t.TempDir()
	for i := range 5 {
		at := after(time.Duration(i) * time.Minute)
		c := run(t, log, dir, at)
		// hv1 is not in the configuration here: as in a simulation, its state begins with its readings.
		c.FeedGuests("hv1", at, reading(uint64(i)*30e9, uint64(i)*1_000_000))
		c.FeedGuests("hv1", at.Add(10*time.Second), reading(uint64(i)*30e9+5e9, uint64(i)*1_000_000+100_000))
		flush(t, c, at.Add(11*time.Second))
		log = log.reopened()
	}
	b := log.books(t)
	b.checkLaws(t)
	if got, want := b.guestCPU["4d5e"], uint64(4*30e9+5e9); got != want {
		t.Fatalf("cpu %d, want %d", got, want)
	}
	if got, want := b.in["vnic:4d5e/52:54:00:00:00:01"], uint64(4_100_000-4100*14); got != want {
		t.Fatalf("in %d, want %d", got, want)
	}
	if a := b.accounts["libvirt/hv1 libvirt"]; a.GetDatagrams() != 10 || a.GetOctets() != b.rows {
		t.Fatalf("account %v, rows %d", a, b.rows)
	}
}

func TestDamagedStateIsNotUsed(t *testing.T) {
	for _, text := range []string{"", "{", `{"version":2,"collector":"collector-1"}`, `{"version":1,"collector":"other"}`, `{"version":1,"collector":"collector-1","watermarks":[{"log_id":"x"}]}`} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "positions.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		log := newMemLog()
		c := run(t, log, dir, begin)
		c.Feed(edge, begin, v5(begin, 0, 0, download))
		flush(t, c, begin)
		if got := log.books(t).in[meter]; got != 10_000 {
			t.Fatalf("%q: in %d", text, got)
		}
	}
}

// A log that cannot be read back leaves the file alone to go on from.
func TestPositionsWithoutASource(t *testing.T) {
	log, dir := newMemLog(), t.TempDir()
	deps := collector.Deps{Log: appendOnly{log}, StateDir: dir}
	c := newCollector(t, config(), deps)
	if err := c.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.Feed(edge, begin, v5(begin, 100, 0, download))
	flush(t, c, after(10*time.Second))
	c = newCollector(t, config(), deps)
	if err := c.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.Feed(edge, after(20*time.Second), v5(after(20*time.Second), 105, 0, download))
	flush(t, c, after(20*time.Second))
	if got := log.books(t).counts["198.51.100.1/lost/flows/sequence"]; got != 4 {
		t.Fatalf("lost %d, want 4", got)
	}
}

type appendOnly struct{ inner *memLog }

func (l appendOnly) Append(ctx context.Context, batches []*schemas.Batch) error {
	return l.inner.Append(ctx, batches)
}

func (l appendOnly) Close() error { return nil }

var background = context.Background()

// What an exporter told once, templates and its sampling rate, is there after a kill: its next data
// counts at once, at that rate.
func TestTemplatesAndRatesAreThereAfterAKill(t *testing.T) {
	log, dir := newMemLog(), t.TempDir()
	c := run(t, log, dir, begin)
	c.Feed(edge, begin, v9(begin, 0, 1, append([][]byte{flowTemplate(false)}, samplingOptions(100)...)...))
	if err := c.Flush(background, after(time.Second), false); err != nil {
		t.Fatal(err)
	}
	for range 2 { // and after the next, when it was not told again
		log = log.reopened()
		c = run(t, log, dir, after(time.Minute))
	}
	c.Feed(edge, after(time.Minute), v9(after(time.Minute), 1, 1, flowData(false, download)))
	flush(t, c, after(time.Minute))
	b := log.books(t)
	b.checkLaws(t)
	if want := 100 * uint64(download.octets); b.in[meter] != want {
		t.Fatalf("%d octets in, want %d; %v", b.in[meter], want, b.counts)
	}
	if n := b.counts["198.51.100.1/held/sets/template"]; n != 0 {
		t.Fatalf("%d sets wait for a template that was told", n)
	}
}

// What an exporter told once holds for as long as it is heard, however often the collector is restarted.
func TestTemplatesOfAHeardExporterDoNotGrowOld(t *testing.T) {
	dir := t.TempDir()
	c := runApart(t, newMemLog(), dir, begin)
	c.Feed(edge, begin, v9(begin, 0, 1, flowTemplate(false)))
	flush(t, c, begin)
	const days = 40
	for day := 1; day <= days; day++ {
		log, at := newMemLog(), after(time.Duration(day)*25*time.Hour)
		c := runApart(t, log, dir, at)
		c.Feed(edge, at, v9(at, uint32(day), 1, flowData(false, download)))
		flush(t, c, at)
		if n := log.books(t).counts["198.51.100.1/held/sets/template"]; n != 0 {
			t.Fatalf("on day %d %d sets wait for a template that was told", day, n)
		}
	}
}

// A file that cannot be read costs what it held, and nothing else.
func TestDamagedTemplateFilesAreNotUsed(t *testing.T) {
	dir := t.TempDir()
	c := runApart(t, newMemLog(), dir, begin)
	c.Feed(edge, begin, v9(begin, 0, 1, flowTemplate(false)))
	flush(t, c, begin)
	path := filepath.Join(dir, "exporters.journal")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, spoiled := range []string{"", "x", string(text[:len(text)-2]), strings.Replace(string(text), "260", "261", 1)} {
		if err := os.WriteFile(path, []byte(spoiled), 0o600); err != nil {
			t.Fatal(err)
		}
		log, at := newMemLog(), after(time.Minute)
		c := runApart(t, log, dir, at)
		c.Feed(edge, at, v9(at, 1, 1, flowData(false, download)))
		flush(t, c, at)
		if n := log.books(t).counts["198.51.100.1/held/sets/template"]; n != 1 {
			t.Fatalf("%q: %d sets wait, want 1", spoiled, n)
		}
		c.Feed(edge, at, v9(at, 2, 1, flowTemplate(false))) // told again, it is saved again
		flush(t, c, at)
		c = runApart(t, newMemLog(), dir, at)
		c.Feed(edge, at, v9(at, 3, 1, flowData(false, download)))
		if n := c.Exporters()[0].HeldSets; n != 0 {
			t.Fatalf("%q: %d sets wait after the template was saved again", spoiled, n)
		}
	}
}

// What an earlier version wrote, a file for each exporter, is read, and is gone once the journal has it.
func TestTemplateFilesOfAnEarlierVersionAreRead(t *testing.T) {
	dir := t.TempDir()
	folder := filepath.Join(dir, "exporters")
	if err := os.Mkdir(folder, 0o750); err != nil {
		t.Fatal(err)
	}
	old := `{"version":1,"exporter":"198.51.100.1","protocol":"netflow9","at":` + strconv.FormatInt(begin.UnixNano(), 10) + `,"state":{"domains":[{"version":9,"id":1,
		"sessions":[{"port":40000,"templates":[{"id":260,"fields":[{"id":8,"length":4},{"id":12,"length":4},{"id":1,"length":4},{"id":2,"length":4},{"id":10,"length":2}]}]}],
		"rates":[{"scope":"system","numerator":100,"denominator":1}]}]}}`
	for name, text := range map[string]string{"198.51.100.1-netflow9.json": old, "198.51.100.1-ipfix.json": "{"} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for i := range uint32(2) { // by the file, then by the journal
		at := after(time.Duration(i+1) * time.Minute)
		log := newMemLog()
		c := runApart(t, log, dir, at)
		c.Feed(edge, at, v9(at, i, 1, flowData(false, download)))
		flush(t, c, at)
		if b := log.books(t); b.in[meter] != 1_000_000 {
			t.Fatalf("start %d: %d octets in; %v", i, b.in[meter], b.counts)
		}
		if _, err := os.Stat(filepath.Join(folder, "198.51.100.1-netflow9.json")); err != nil {
			t.Fatalf("the file is gone before there is anything new to save: %v", err)
		}
	}
	at := after(time.Hour)
	c := runApart(t, newMemLog(), dir, at)
	c.Feed(edge, at, v9(at, 9, 1, set(0, words(270, 1, 8, 4))))
	flush(t, c, at)
	if _, err := os.Stat(filepath.Join(folder, "198.51.100.1-netflow9.json")); !os.IsNotExist(err) {
		t.Fatalf("the file is still there: %v", err)
	}
	log := newMemLog()
	c = run(t, log, dir, at)
	c.Feed(edge, at, v9(at, 10, 1, flowData(false, download)))
	flush(t, c, at)
	if b := log.books(t); b.in[meter] != 1_000_000 {
		t.Fatalf("by the journal: %d octets in; %v", b.in[meter], b.counts)
	}
}

// A source that cannot be saved is offered again, and what others told is there.
func TestTemplatesThatCannotBeSavedAreSavedLater(t *testing.T) {
	dir := t.TempDir()
	c := runApart(t, newMemLog(), dir, begin)
	path := filepath.Join(dir, "exporters.journal")
	if err := os.Mkdir(path, 0o750); err != nil { // a folder in its place
		t.Fatal(err)
	}
	c.Feed(edge, begin, v9(begin, 0, 1, flowTemplate(false)))
	flush(t, c, begin)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	flush(t, c, after(time.Second)) // too early to try again
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Fatalf("tried again at once: %v", err)
	}
	flush(t, c, after(20*time.Second))
	c = runApart(t, newMemLog(), dir, after(time.Minute))
	c.Feed(edge, after(time.Minute), v9(after(time.Minute), 1, 1, flowData(false, download)))
	if n := c.Exporters()[0].HeldSets; n != 0 {
		t.Fatalf("%d sets wait", n)
	}
}

// A stop saves what many exporters told just before.
func TestAStopSavesWhatAllExportersTold(t *testing.T) {
	dir, exporters := t.TempDir(), 300
	cfg := config(collector.ExporterConfig{Address: network("10.0.0.0/16")})
	sender := func(i int) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 2055)
	}
	open := func(at time.Time) *collector.Collector {
		c := newCollector(t, cfg, collector.Deps{Log: appendOnly{newMemLog()}, StateDir: dir, Clock: clock.NewManual(at)})
		if err := c.Open(background); err != nil {
			t.Fatal(err)
		}
		return c
	}
	c := open(begin)
	for i := range exporters {
		c.Feed(sender(i), begin, v9(begin, 0, 1, flowTemplate(false)))
	}
	stopped, stop := context.WithCancel(background)
	stop()
	if err := c.Run(stopped); err != nil {
		t.Fatal(err)
	}
	c = open(after(time.Minute))
	for i := range exporters {
		c.Feed(sender(i), after(time.Minute), v9(after(time.Minute), 1, 1, flowData(false, download)))
	}
	flush(t, c, after(time.Minute))
	for _, e := range c.Exporters() {
		if e.HeldSets != 0 {
			t.Fatalf("%s: %d sets wait", e.Exporter, e.HeldSets)
		}
	}
}
