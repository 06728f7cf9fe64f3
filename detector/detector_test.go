package detector_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"hostmeter/detector"
	"hostmeter/detector/incident"
	"hostmeter/detector/rule"
	"hostmeter/internal/clock"
	"hostmeter/internal/store"
	"hostmeter/internal/store/storetest"
	"hostmeter/schemas"
)

var begin = time.Date(2026, 10, 5, 0, 0, 0, 0, time.UTC)

const (
	address  = "address:192.0.2.9"
	exporter = "192.0.2.250"
	guest    = "6e0c1f9e-0000-4000-8000-000000000001"
)

// lab is a detector over an empty store, and a collector of one shard that a test speaks for.
type lab struct {
	t        *testing.T
	clock    *clock.Manual
	db       *store.DB
	cfg      detector.Config
	detector *detector.Detector
	index    uint64
	batches  []*schemas.Batch
}

func newLab(t *testing.T, rules string) *lab {
	t.Helper()
	c := clock.NewManual(begin)
	return newLabOn(t, c, storetest.SQLite(t, c), rules)
}

// newLabOn is newLab on a store that takes its time from c.
func newLabOn(t *testing.T, c *clock.Manual, db *store.DB, rules string) *lab {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rules.yaml")
	if err := os.WriteFile(path, []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
	l := &lab{t: t, clock: c, cfg: detector.DefaultConfig(), db: db}
	l.cfg.Rules = path
	l.restart()
	return l
}

// TestOnEveryStore is a life with restarts, on SQLite and on PostgreSQL.
func TestOnEveryStore(t *testing.T) {
	c := clock.NewManual(begin)
	storetest.EachWithClock(t, c, func(t *testing.T, db *store.DB) {
		from := c.Now().Truncate(time.Hour).Add(time.Hour)
		l := newLabOn(t, c, db, packetsRule)
		l.play(from, from.Add(3*time.Hour), 2000)
		l.restart()
		l.play(from.Add(3*time.Hour), from.Add(6*time.Hour), 2000)
		l.restart()
		l.one()
		l.play(from.Add(6*time.Hour), from.Add(9*time.Hour), 0)
		if i := l.one(); i.State != incident.Resolved || i.ResolvedBy != incident.Detector {
			t.Errorf("%+v", i)
		}
	})
}

// ownerOfTwo says that two addresses are of one service.
func ownerOfTwo(meter schemas.MeterID, _ time.Time) (service, customer, reseller string) {
	if meter == "address:192.0.2.8" || meter == address {
		return "s1", "c1", "r1"
	}
	return "", "", ""
}

// restart begins a new detector on the same store, without closing the old one: as after a kill.
func (l *lab) restart() {
	l.t.Helper()
	d, err := detector.New(l.cfg, detector.Deps{DB: l.db, Clock: l.clock, Receivers: []string{"sink"},
		Owners: func(context.Context) (detector.Owner, error) { return ownerOfTwo, nil }})
	if err != nil {
		l.t.Fatal(err)
	}
	if err := d.Open(context.Background()); err != nil {
		l.t.Fatal(err)
	}
	l.detector = d
}

// flush sends a batch that was received up to `to`, in which the exporter is complete up to there.
func (l *lab) flush(to time.Time, change func(b *schemas.Batch)) {
	l.t.Helper()
	l.index++
	b := &schemas.Batch{Collector: "c", LogId: 1, Index: l.index, Shards: 1,
		ReceivedFrom: to.Add(-10 * time.Second).UnixNano(), ReceivedTo: to.UnixNano(),
		Exporters: []string{exporter}, Classes: []string{schemas.ClassExternal},
		Complete: []*schemas.Completeness{
			{Exporter: exporter, Through: to.Add(-2 * time.Minute).UnixNano()},
			{Exporter: "libvirt/hv1", Through: to.Add(-20 * time.Second).UnixNano()},
		}}
	if change != nil {
		change(b)
	}
	l.clock.Set(to)
	l.batches = append(l.batches, b)
	if err := l.detector.Process(context.Background(), []*schemas.Batch{b}); err != nil {
		l.t.Fatal(err)
	}
}

// observe marks the minutes of [from, to) as observed.
func observe(b *schemas.Batch, from, to time.Time) {
	for at := from; at.Before(to); at = at.Add(time.Minute) {
		b.Accounts = append(b.Accounts, &schemas.ExporterAccount{Exporter: exporter, Hour: at.Unix() / 3600, MinutesObserved: 1 << (at.Unix() / 60 % 60)})
	}
}

// play sends a batch every five minutes from `from` to `to`, with rate packets a second out of the
// address in each minute, all observed.
func (l *lab) play(from, to time.Time, packetsPerSecond uint64) {
	l.t.Helper()
	for at := from; at.Before(to); at = at.Add(5 * time.Minute) {
		l.flush(at.Add(5*time.Minute), func(b *schemas.Batch) {
			observe(b, at, at.Add(5*time.Minute))
			if packetsPerSecond > 0 {
				addTallies(b, address, at, at.Add(5*time.Minute), packetsPerSecond)
			}
		})
	}
}

func addTallies(b *schemas.Batch, meter string, from, to time.Time, packetsPerSecond uint64) {
	for m := from; m.Before(to); m = m.Add(time.Minute) {
		packets := 60 * packetsPerSecond
		b.Tallies = append(b.Tallies, &schemas.Tally{Meter: meter, Minute: m.Unix() / 60,
			In:  &schemas.Traffic{Octets: 40 * packets / 10, Packets: packets / 10},
			Out: &schemas.Traffic{Octets: 100 * packets, Packets: packets, TopPeers: []*schemas.Peer{{Address: []byte{198, 51, 100, 7}, Octets: 100 * packets, Packets: packets}}},
		})
	}
}

func (l *lab) incidents() []incident.Incident {
	l.t.Helper()
	list, err := incident.New(l.db).List(context.Background(), incident.Filter{})
	if err != nil {
		l.t.Fatal(err)
	}
	return list
}

// one returns the only incident.
func (l *lab) one() incident.Incident {
	l.t.Helper()
	list := l.incidents()
	if len(list) != 1 {
		l.t.Fatalf("%d incidents, want 1: %+v", len(list), list)
	}
	return list[0]
}

func (l *lab) none() {
	l.t.Helper()
	if list := l.incidents(); len(list) != 0 {
		l.t.Fatalf("%d incidents, want none: %+v", len(list), list)
	}
}

const packetsRule = `rules:
  - {name: packets, metric: out_packets_per_second, above: 1000, for: 6h, at_least: 0.9, coverage: 0.8, clear: {below_share: 0.5, over: 1h}, each: address}
`

func hours(n float64) time.Time { return begin.Add(time.Duration(n * float64(time.Hour))) }

func TestSustainedRuleFiresAndEnds(t *testing.T) {
	l := newLab(t, packetsRule)
	l.play(hours(0), hours(4.5), 2000)
	l.none() // not yet 80 % of 6 h
	l.play(hours(4.5), hours(5.25), 2000)
	i := l.one()
	if want := begin.Add(4*time.Hour + 50*time.Minute); !i.BeganAt.Equal(want) { // 58 of 72 slots
		t.Errorf("began at %s, want %s", i.BeganAt, want)
	}
	if i.Service != "s1" || i.Customer != "c1" || i.Condition != "firing" || i.State != incident.Open || i.Severity != "warning" {
		t.Errorf("incident %+v", i)
	}
	e := i.Evidence
	if e.Share != 1 || e.Coverage < 0.8 || e.Coverage > 0.81 || e.Threshold != 1000 || e.Metric != "out_packets_per_second" {
		t.Errorf("evidence %+v", e)
	}
	if len(e.Series.Values) != 58 || e.Series.Values[0].Value != 2000 || len(e.TopPeers) != 1 || e.TopPeers[0].Address != "198.51.100.7" {
		t.Errorf("series %+v, peers %+v", e.Series, e.TopPeers)
	}
	l.play(hours(5.25), hours(7), 0)
	if i := l.one(); i.State != incident.Resolved || i.Condition != "clear" {
		t.Errorf("after the traffic stopped: %+v", i)
	}
	sent, err := incident.New(l.db).Notifications(context.Background(), i.ID)
	if err != nil || len(sent) != 2 {
		t.Errorf("notifications %+v, %v, want one of the begin and one of the end", sent, err)
	}
}

func TestBelowThresholdNeverFires(t *testing.T) {
	l := newLab(t, packetsRule)
	l.play(hours(0), hours(8), 1000) // exactly at the threshold is not above it
	l.none()
}

func TestRestartMidWindowLosesAndRepeatsNothing(t *testing.T) {
	for _, every := range []time.Duration{35 * time.Minute, 2 * time.Hour} {
		l := newLab(t, packetsRule)
		for at := hours(0); at.Before(hours(8)); at = at.Add(every) {
			l.play(at, at.Add(every), 2000)
			l.restart()
			again := l.batches // a log begins wherever it likes: what is known is passed over
			if err := l.detector.Process(context.Background(), again); err != nil {
				t.Fatal(err)
			}
		}
		if i := l.one(); !i.BeganAt.Equal(begin.Add(4*time.Hour + 50*time.Minute)) {
			t.Errorf("restarts every %s: began at %s", every, i.BeganAt)
		}
	}
}

func TestSilenceIsUnknownAndResolvesNothing(t *testing.T) {
	l := newLab(t, packetsRule)
	l.play(hours(0), hours(6), 2000)
	l.one()
	for at := hours(6); at.Before(hours(12)); at = at.Add(5 * time.Minute) { // the exporter says nothing any more
		l.flush(at.Add(5*time.Minute), func(b *schemas.Batch) {
			b.Complete[0].Through, b.Complete[0].Silent = hours(6).UnixNano(), at.After(hours(6.2))
		})
	}
	if i := l.one(); i.State != incident.Open || i.Condition != "unknown" {
		t.Fatalf("in the silence the incident is %s and %s, want open and unknown", i.State, i.Condition)
	}
	l.play(hours(12), hours(13), 2000)
	if i := l.one(); i.State != incident.Open {
		t.Fatalf("after the silence the incident is %s, want open", i.State)
	}
	l.play(hours(13), hours(15), 0)
	if i := l.one(); i.State != incident.Resolved {
		t.Fatalf("an hour of observed quiet did not resolve it: %s, %s", i.State, i.Condition)
	}
}

func TestZeroIsNotMissing(t *testing.T) {
	l := newLab(t, packetsRule)
	l.play(hours(0), hours(1), 2000)
	l.play(hours(1), hours(1.5), 0) // observed, and quiet: 6 slots that are not above
	l.play(hours(1.5), hours(8), 2000)
	i := l.one()
	// 6 of 72 slots are below: 0.917 of the window, once it is covered. With 58 slots 6 are too many.
	if want := hours(5); i.BeganAt.Before(want.Add(-time.Minute)) {
		t.Errorf("began at %s: the quiet half hour was taken for missing", i.BeganAt)
	}
}

func TestLateDataCorrectsClosedSlots(t *testing.T) {
	l := newLab(t, packetsRule)
	l.play(hours(0), hours(2), 2000)
	l.play(hours(2), hours(5), 100) // the rest of these hours comes late
	l.play(hours(5), hours(6), 2000)
	l.none()
	if err := l.detector.Close(); err != nil {
		t.Fatal(err)
	}
	l.restart() // what late data is added to is known after a restart, too
	l.flush(hours(6).Add(5*time.Minute), func(b *schemas.Batch) {
		observe(b, hours(6), hours(6).Add(5*time.Minute))
		addTallies(b, address, hours(2), hours(5), 950) // 100 and 950 are above 1000 only together
	})
	if i := l.one(); i.Evidence.Share < 0.9 {
		t.Errorf("share %v after late data", i.Evidence.Share)
	}
}

func TestGapMakesTimeUnknown(t *testing.T) {
	l := newLab(t, packetsRule)
	l.play(hours(0), hours(2), 2000)
	l.index += 12 // an hour of batches is gone
	l.play(hours(3), hours(5), 2000)
	l.none() // covered: 4 of 6 h
	l.play(hours(5), hours(6.2), 2000)
	i := l.one()
	if i.Evidence.Share != 1 || i.Evidence.Coverage > 0.9 {
		t.Errorf("share %v and coverage %v: the lost hour counts as zero, or as seen", i.Evidence.Share, i.Evidence.Coverage)
	}
}

func TestServiceIsTheSumOfItsAddresses(t *testing.T) {
	l := newLab(t, `rules:
  - {name: service, metric: out_packets_per_second, above: 1500, for: 2h, at_least: 0.9, coverage: 0.8, each: service}
  - {name: one, metric: out_packets_per_second, above: 1500, for: 2h, at_least: 0.9, coverage: 0.8, each: address}
`)
	for at := hours(0); at.Before(hours(2.5)); at = at.Add(5 * time.Minute) {
		l.flush(at.Add(5*time.Minute), func(b *schemas.Batch) {
			observe(b, at, at.Add(5*time.Minute))
			addTallies(b, address, at, at.Add(5*time.Minute), 1000)
			addTallies(b, "address:192.0.2.8", at, at.Add(5*time.Minute), 1000)
			addTallies(b, "port:192.0.2.250/3", at, at.Add(5*time.Minute), 2000)
		})
	}
	if i := l.one(); i.Rule != "service" || i.Meter != "service:s1" || i.Service != "s1" {
		t.Errorf("incident %+v", i)
	}
}

func TestGuestCPU(t *testing.T) {
	l := newLab(t, `rules:
  - {name: cpu, metric: cpu_ratio, above: 0.9, for: 1m, at_least: 0.9, coverage: 0.8, clear: {below_share: 0.5, over: 20s}, each: guest}
`)
	step := func(from time.Time, ratio float64) {
		l.flush(from.Add(2*time.Second), func(b *schemas.Batch) {
			b.Guests = []*schemas.GuestUsage{{Guest: guest, Host: "hv1", From: from.UnixNano(), To: from.Add(2 * time.Second).UnixNano(),
				CpuNanoseconds: uint64(4e9 * ratio), CapacityNanoseconds: 4e9, Vcpus: 2, State: schemas.GuestState_GUEST_STATE_RUNNING}}
			b.Complete[1].Through = from.Add(2 * time.Second).UnixNano()
		})
	}
	at := begin
	for ; at.Before(begin.Add(70 * time.Second)); at = at.Add(2 * time.Second) {
		step(at, 0.99)
	}
	if i := l.one(); i.Meter != "guest:"+guest || i.Condition != "firing" {
		t.Fatalf("incident %+v", i)
	}
	for ; at.Before(begin.Add(150 * time.Second)); at = at.Add(2 * time.Second) {
		step(at, 0.01)
	}
	if i := l.one(); i.State != incident.Resolved {
		t.Fatalf("an idle guest still has %+v", i)
	}
}

const floodRule = `rules:
  - {name: flood, metric: out_packets_per_second, above: 50000, for: 60s, at_least: 0.5, coverage: 0.8, severity: critical, clear: {below_share: 0.2, over: 60s}, each: address}
`

// flood sends a batch each second with the packets of that second.
func (l *lab) flood(from time.Time, seconds int, packetsPerSecond uint64) {
	l.t.Helper()
	for s := range seconds {
		at := from.Add(time.Duration(s) * time.Second)
		l.flush(at.Add(time.Second), func(b *schemas.Batch) {
			b.ReceivedFrom = at.UnixNano()
			b.Complete[0].Through = at.Add(-2 * time.Second).UnixNano()
			b.Tallies = []*schemas.Tally{{Meter: address, Minute: at.Unix() / 60, Out: &schemas.Traffic{Octets: 60 * packetsPerSecond, Packets: packetsPerSecond}}}
		})
	}
}

func TestFloodIsShort(t *testing.T) {
	l := newLab(t, floodRule)
	l.flood(begin, 120, 1000)
	l.none()
	l.flood(begin.Add(120*time.Second), 45, 100_000)
	i := l.one()
	if took := i.OpenedAt.Sub(begin.Add(120 * time.Second)); took > 37*time.Second || i.Late || i.Severity != "critical" {
		t.Errorf("opened after %s, late %v", took, i.Late)
	}
	l.flood(begin.Add(165*time.Second), 90, 1000)
	if i := l.one(); i.State != incident.Resolved {
		t.Errorf("after the flood: %s, %s", i.State, i.Condition)
	}
}

func TestOldBatchesPageNobody(t *testing.T) {
	l := newLab(t, floodRule)
	l.clock.Set(begin.Add(time.Hour))
	l.flood(begin, 60, 100_000)
	i := l.one()
	if !i.Late {
		t.Fatal("an incident of an hour ago is not late")
	}
	if sent, err := incident.New(l.db).Notifications(context.Background(), i.ID); err != nil || len(sent) != 0 {
		t.Fatalf("notifications %+v, %v", sent, err)
	}
}

// TestLumpsOfLongFlowsAreNoFlood: an exporter that tells of a flow once a minute, at a rate that is half
// the threshold.
func TestLumpsOfLongFlowsAreNoFlood(t *testing.T) {
	l := newLab(t, floodRule)
	for m := range 10 {
		at := begin.Add(time.Duration(m) * time.Minute)
		l.flush(at.Add(time.Minute), func(b *schemas.Batch) {
			b.ReceivedFrom = at.Add(59 * time.Second).UnixNano()
			b.Complete[0].Through = at.Add(-time.Minute).UnixNano()
			b.Tallies = []*schemas.Tally{{Meter: address, Minute: at.Unix() / 60, Out: &schemas.Traffic{Packets: 25_000 * 60}}}
		})
	}
	l.none()
}

func TestSupersededDetectorWritesNothing(t *testing.T) {
	l := newLab(t, packetsRule)
	l.play(hours(0), hours(1), 2000)
	old := l.detector
	l.restart()
	if err := old.Checkpoint(context.Background()); err == nil {
		t.Fatal("a detector that was superseded wrote")
	}
	l.play(hours(1), hours(6), 2000)
	l.one()
}

func TestResolvedByHandStaysResolvedWhileItHolds(t *testing.T) {
	l := newLab(t, packetsRule)
	l.play(hours(0), hours(5.5), 2000)
	if _, err := incident.New(l.db).Resolve(context.Background(), l.one().ID, "user:ada", "agreed with the customer"); err != nil {
		t.Fatal(err)
	}
	l.play(hours(5.5), hours(7), 2000)
	if i := l.one(); i.State != incident.Resolved {
		t.Fatalf("it opened again while the condition held: %+v", i)
	}
	l.play(hours(7), hours(9), 0)
	l.play(hours(9), hours(16), 2000)
	if n := len(l.incidents()); n != 2 {
		t.Fatalf("%d incidents, want a second one when the condition began anew", n)
	}
}

// TestWhatTheLedgerOpenedIsLeftAlone restarts a detector, which resolves what no rule of its own watches, beside a reseller's incident.
func TestWhatTheLedgerOpenedIsLeftAlone(t *testing.T) {
	l := newLab(t, packetsRule)
	incidents := incident.New(l.db)
	for _, name := range []string{rule.ResellerRate, "taken away"} {
		err := l.db.Update(t.Context(), func(tx *store.Tx) error {
			_, err := incidents.OpenTx(t.Context(), tx, incident.Incident{Rule: name, Meter: "reseller:r1", Severity: "warning", Condition: "firing", BeganAt: begin})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	l.restart()
	for _, i := range l.incidents() {
		if open := i.State == incident.Open; open != (i.Rule == rule.ResellerRate) {
			t.Errorf("%s is %s", i.Rule, i.State)
		}
	}
}
