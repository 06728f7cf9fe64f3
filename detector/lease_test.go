package detector_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"hostmeter/detector"
	"hostmeter/internal/clock"
	"hostmeter/internal/store"
	"hostmeter/internal/store/storetest"
	"hostmeter/internal/stream"
	"hostmeter/schemas"
)

// pausable is a log that delivers nothing while it is paused, as to a process that is stopped.
type pausable struct {
	*memory
	mu   sync.Mutex
	gate chan struct{} // closed while it delivers
}

func newPausable(log *memory) *pausable {
	p := &pausable{memory: log, gate: make(chan struct{})}
	close(p.gate)
	return p
}

func (p *pausable) pause() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gate = make(chan struct{})
}

func (p *pausable) wake() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.gate)
}

func (p *pausable) OpenReader(ctx context.Context, consumer string, after stream.Watermarks) (stream.Reader, error) {
	reader, err := p.memory.OpenReader(ctx, consumer, after)
	<-p.opened // nobody else looks
	return pausableReader{p, reader}, err
}

type pausableReader struct {
	p *pausable
	stream.Reader
}

func (r pausableReader) Next(ctx context.Context, most int) ([]*schemas.Batch, error) {
	batches, err := r.Reader.Next(ctx, most)
	r.p.mu.Lock()
	gate := r.p.gate
	r.p.mu.Unlock()
	select {
	case <-gate:
		return batches, err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// post is one of the processes that share a store and a log.
type post struct {
	clock  *clock.Manual
	log    *pausable
	cancel context.CancelFunc
	ended  chan error
	active chan bool // what runs beside has begun, or ended
}

func newPost(t *testing.T, db *store.DB, log *memory, rules, home string) *post {
	t.Helper()
	p := &post{clock: clock.NewManual(begin), log: newPausable(log), ended: make(chan error, 1), active: make(chan bool, 16)}
	cfg := detector.DefaultConfig()
	cfg.Rules, cfg.Checkpoint, cfg.Lease = rules, time.Second, 30*time.Second
	d, err := detector.New(cfg, detector.Deps{DB: db, Source: p.log, Clock: p.clock, Receivers: []string{"webhook-1"}, Standby: true, Home: home,
		WhileActive: func(ctx context.Context) error {
			p.active <- true
			<-ctx.Done()
			p.active <- false
			return ctx.Err()
		}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	go func() { p.ended <- d.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-p.ended; err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("Run ended with %v", err)
		}
	})
	return p
}

// until advances the posts' clocks, one second after the other, until f holds.
func until(t *testing.T, f func() bool, posts ...*post) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for look := time.NewTicker(2 * time.Millisecond); !f(); <-look.C {
		if time.Now().After(deadline) {
			t.Fatal("it does not come")
		}
		for _, p := range posts {
			p.clock.Advance(time.Second)
		}
	}
}

func (p *post) is(active bool) func() bool {
	return func() bool {
		select {
		case got := <-p.active:
			return got == active
		default:
			return false
		}
	}
}

// positionIs says whether a batch is in a checkpoint.
func positionIs(t *testing.T, db *store.DB, index int64) func() bool {
	return func() bool { return number(t, db, `SELECT COALESCE(MAX(batch), 0) FROM detector_watermark`) >= index }
}

func number(t *testing.T, db *store.DB, query string) (n int64) {
	t.Helper()
	if err := db.View(context.Background(), func(tx *store.Tx) error { return tx.QueryRow(context.Background(), query).Scan(&n) }); err != nil {
		t.Fatal(err)
	}
	return n
}

// told is what incidents, their history and the outbox say, without times.
func told(t *testing.T, db *store.DB) (lines []string) {
	t.Helper()
	err := db.View(context.Background(), func(tx *store.Tx) error {
		rows, err := tx.Query(context.Background(), `SELECT 'incident ' || id || ' ' || condition FROM incident
			UNION ALL SELECT 'event ' || incident || ' ' || action FROM incident_event UNION ALL SELECT 'notification ' || id || ' ' || event FROM notification`)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var line string
			if err := rows.Scan(&line); err != nil {
				return err
			}
			lines = append(lines, line)
		}
		return rows.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(lines)
	return lines
}

// hot is a minute of the address at a rate that the rule fires at, cold one at which it ends.
func hot(index uint64) *schemas.Batch { return paced(index, 2000) }

func paced(index, packetsPerSecond uint64) *schemas.Batch {
	to := begin.Add(time.Duration(index) * time.Minute)
	b := batch(index, to)
	b.Tallies = nil
	observe(b, to.Add(-time.Minute), to)
	addTallies(b, address, to.Add(-time.Minute), to, packetsPerSecond)
	return b
}

// TestOneIsActiveAndAnotherStandsBy stops the active detector as SIGSTOP does, lets the other take over in the
// middle of a condition, wakes the first, and compares what was told with a ledger on which one detector ran alone.
func TestOneIsActiveAndAnotherStandsBy(t *testing.T) {
	rules := filepath.Join(t.TempDir(), "rules.yaml")
	if err := os.WriteFile(rules, []byte(packetsRule), 0o600); err != nil {
		t.Fatal(err)
	}
	const firing, end = 8 * 60, 20 * 60 // minutes
	minute := func(index uint64) *schemas.Batch {
		if index <= firing {
			return hot(index)
		}
		return paced(index, 0)
	}
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		log := newMemory()
		a := newPost(t, db, log, rules, "")
		until(t, a.is(true), a)
		b := newPost(t, db, log, rules, "")
		add := func(from, to uint64) {
			for i := from; i <= to; i++ {
				log.Add(minute(i))
			}
		}
		add(1, 120)
		until(t, positionIs(t, db, 120), a, b)
		select {
		case <-b.active:
			t.Fatal("both are active")
		default:
		}

		a.log.pause()
		add(121, firing)
		until(t, b.is(true), b) // a's clock stands still
		until(t, positionIs(t, db, firing), b)
		if n := number(t, db, `SELECT COUNT(*) FROM incident`); n != 1 {
			t.Fatalf("%d incidents, want 1", n)
		}
		a.log.wake()
		until(t, a.is(false), a, b)
		add(firing+1, end)
		until(t, positionIs(t, db, end), a, b)

		b.cancel() // a planned stop: the other takes over at once
		until(t, a.is(true), a)
		log.Add(minute(end + 1))
		until(t, positionIs(t, db, end+1), a)
		got := told(t, db)
		if n := number(t, db, `SELECT generation FROM detector_lease`); n != 3 {
			t.Errorf("the lease was taken %d times, want 3", n)
		}

		alone := storetest.SQLite(t, clock.Real{})
		log = newMemory()
		c := newPost(t, alone, log, rules, "")
		add(1, end+1)
		until(t, positionIs(t, alone, end+1), c)
		if want := told(t, alone); !slices.Equal(got, want) || len(want) < 4 {
			t.Fatalf("told\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	})
}

// killed ends a post and leaves the lease as a killed process does: not given back.
func (p *post) killed(t *testing.T, db *store.DB) {
	t.Helper()
	p.cancel()
	p.ended <- <-p.ended // for the test's end
	err := db.Update(context.Background(), func(tx *store.Tx) error {
		_, err := tx.Exec(context.Background(), `UPDATE detector_lease SET renewed_at = ?`, tx.Now.UnixNano())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestAKilledDetectorComesBackAtOnce: where it ran, whoever else stands by; elsewhere its lease has to run out, and while
// it lives another one in the same folder stands by.
func TestAKilledDetectorComesBackAtOnce(t *testing.T) {
	rules := filepath.Join(t.TempDir(), "rules.yaml")
	if err := os.WriteFile(rules, []byte(packetsRule), 0o600); err != nil {
		t.Fatal(err)
	}
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		log, home := newMemory(), t.TempDir()
		generation := func() int64 { return number(t, db, `SELECT generation FROM detector_lease`) }
		stays := func(posts ...*post) {
			t.Helper()
			want, deadline := generation(), posts[0].clock.Now().Add(25*time.Second)
			until(t, func() bool { return posts[0].clock.Now().After(deadline) }, posts...)
			if got := generation(); got != want {
				t.Fatalf("generation %d after 25 s, want %d", got, want)
			}
		}
		a := newPost(t, db, log, rules, home)
		until(t, a.is(true), a)
		b := newPost(t, db, log, rules, home) // the folder is a's
		stays(b, a)
		b.cancel()
		b.ended <- <-b.ended // it has left
		a.killed(t, db)

		elsewhere := newPost(t, db, log, rules, t.TempDir())
		stays(elsewhere)
		again := newPost(t, db, log, rules, home)
		until(t, again.is(true)) // its clock stands still
		if n := generation(); n != 2 {
			t.Fatalf("generation %d, want 2", n)
		}
	})
}
