package export

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"pgregory.net/rapid"

	"hostmeter/aggregator/export/whmcs/whmcstest"
	"hostmeter/aggregator/ledger"
	"hostmeter/internal/clock"
	"hostmeter/internal/store"
	"hostmeter/internal/store/storetest"
)

// chance draws what goes wrong with each call.
type chance struct {
	mu     sync.Mutex
	faults []whmcstest.Fault
}

// next is called by the server for each call; reading calls go wrong as well.
func (c *chance) next(string) whmcstest.Fault {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.faults) == 0 {
		return whmcstest.None
	}
	fault := c.faults[0]
	c.faults = c.faults[1:]
	return fault
}

func (c *chance) set(faults []whmcstest.Fault) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults = faults
}

// TestEachChargeOnce: whatever fails when, and whoever is killed where, each charge is at the receiver once
// or is listed for a person; and when the person has said what is there, each is there exactly once.
func TestEachChargeOnce(t *testing.T) {
	c := clock.NewManual(start)
	storetest.EachWithClock(t, c, func(t *testing.T, db *store.DB) {
		rapid.Check(t, func(r *rapid.T) {
			empty(r, db)
			l := newLab(t, db, c)
			defer l.server.Close()
			l.cfg.WHMCS.Timeout = 40 * time.Millisecond
			w := &onceWorld{lab: l, revisions: map[string]int{}}
			l.server.Fail(w.chance.next)
			r.Repeat(map[string]func(*rapid.T){
				"close":   w.close,
				"round":   w.round,
				"kill":    w.kill,
				"wait":    w.wait,
				"invoice": func(*rapid.T) { l.server.InvoiceAll() },
				"late":    func(*rapid.T) { l.server.EndLate() },
				"decide":  w.decide,
				"":        w.check,
			})
			w.end(r)
		})
	})
}

// TestManyAtOnce: even if the hold on the receiver did not work, each charge is sent by one alone.
func TestManyAtOnce(t *testing.T) {
	c := clock.NewManual(start)
	storetest.EachWithClock(t, c, func(t *testing.T, db *store.DB) {
		l := newLab(t, db, c)
		l.cfg.WHMCS.Timeout = 10 * time.Second
		for i := range 30 {
			l.books.close(fmt.Sprint("s", i), "c1", "60", 1, c.Now())
		}
		var group sync.WaitGroup
		for range 6 {
			h := l.process()
			h.biller.holder = "all the same"
			group.Go(func() {
				for range 3 {
					_ = h.biller.round(context.Background(), true) // another may have been faster
				}
			})
		}
		group.Wait()
		for _, s := range l.books.statements {
			l.want(s, Done, 1, "")
		}
	})
}

// empty takes out what the run before has put in.
func empty(r *rapid.T, db *store.DB) { emptyHandover(r, db) }

func emptyHandover(t interface{ Fatal(args ...any) }, db *store.DB) {
	err := db.Update(context.Background(), func(tx *store.Tx) error {
		for _, table := range []string{"handover_charge", "handover_cursor", "handover_receiver", "handover_event", "handover_passed"} {
			if _, err := tx.Exec(context.Background(), "DELETE FROM "+table); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

type onceWorld struct {
	*lab
	chance    chance
	revisions map[string]int
}

func (w *onceWorld) close(r *rapid.T) {
	service := rapid.SampledFrom([]string{"s1", "s2", "s3"}).Draw(r, "service")
	w.revisions[service]++
	amounts := []string{"60", "6", "0"}
	if w.revisions[service] > 1 {
		amounts = append(amounts, "-6", "-60")
	}
	w.books.close(service, "c1", rapid.SampledFrom(amounts).Draw(r, "amount"), w.revisions[service], w.clock.Now())
}

func (w *onceWorld) draw(r *rapid.T) {
	w.chance.set(rapid.SliceOfN(rapid.SampledFrom(whmcstest.Faults()), 0, 6).Draw(r, "faults"))
}

func (w *onceWorld) round(r *rapid.T) {
	w.draw(r)
	_ = w.process().biller.round(context.Background(), rapid.Bool().Draw(r, "by hand")) // what went wrong is in the journal
}

func (w *onceWorld) kill(r *rapid.T) {
	w.draw(r)
	kill(w.process(), rapid.SampledFrom([]string{"before enter", "after enter", "after look", "before intent", "after intent", "after request", "after done"}).Draw(r, "point"))
}

func (w *onceWorld) wait(r *rapid.T) {
	w.clock.Advance(rapid.SampledFrom([]time.Duration{time.Minute, 11 * time.Minute, 5 * time.Hour, 25 * time.Hour}).Draw(r, "time"))
}

// decide settles what is parked as a person does who looks at what is there, when nothing is on its way.
func (w *onceWorld) decide(r *rapid.T) {
	w.server.EndLate()
	ctx := context.Background()
	parked, err := w.process().Charges(ctx, Parked)
	if err != nil {
		r.Fatal(err)
	}
	for _, c := range parked {
		s := Settlement{Decision: There, By: "ada", Reason: "looked"}
		if len(w.server.With("["+c.Key+"]")) == 0 {
			s.Decision = rapid.SampledFrom([]Decision{Again, Again, Waive}).Draw(r, "decision")
		}
		if err := w.process().Settle(ctx, receiverWHMCS, c.Key, s); err != nil {
			r.Fatal(err)
		}
	}
}

// check holds what must be true at any time.
func (w *onceWorld) check(r *rapid.T) {
	charges, err := w.process().Charges(context.Background())
	if err != nil {
		r.Fatal(err)
	}
	for _, c := range charges {
		n := len(w.server.With("[" + c.Key + "]"))
		switch {
		case n > 1:
			r.Fatalf("charge %s is there %d times", c.Key, n)
		case c.State == Done && n != 1, c.State != Done && c.State != Intended && c.State != Parked && n != 0:
			r.Fatalf("charge %s is %s and there %d times", c.Key, c.State, n)
		}
	}
}

// end lets everything work again and a person decide, until nothing is open.
func (w *onceWorld) end(r *rapid.T) {
	w.chance.set(nil)
	for i := 0; ; i++ {
		w.server.EndLate()
		if err := w.process().biller.round(context.Background(), false); err != nil {
			r.Logf("round: %v", err)
		}
		w.check(r)
		open, err := w.process().Charges(context.Background(), Pending, Intended, Parked)
		if err != nil {
			r.Fatal(err)
		}
		if len(open) == 0 && i > 0 {
			break
		}
		if i == 50 {
			r.Fatalf("still open: %+v", open)
		}
		w.decide(r)
		w.clock.Advance(time.Hour)
	}
	charges, err := w.process().Charges(context.Background())
	if err != nil || len(charges) != len(w.books.statements) {
		r.Fatalf("%d charges of %d statements, %v", len(charges), len(w.books.statements), err)
	}
	total := 0
	for _, c := range charges {
		if c.State == Done {
			total++
		}
	}
	if items := w.server.Items(); len(items) != total {
		r.Fatalf("%d items for %d charges", len(items), total)
	}
}

// Variables of the process that is killed.
const (
	envPoint = "HOSTMETER_TEST_KILL_AT"
	envStore = "HOSTMETER_TEST_KILL_STORE"
	envURL   = "HOSTMETER_TEST_KILL_URL"
	envTime  = "HOSTMETER_TEST_KILL_TIME"
)

// TestKilledForGood sends real processes a real SIGKILL, between the steps and while the receiver answers.
func TestKilledForGood(t *testing.T) {
	if os.Getenv(envPoint) != "" {
		t.Skip("the process that is killed")
	}
	f := func(point string, state State, there int) {
		t.Helper()
		c := clock.NewManual(start)
		path := "sqlite:" + filepath.Join(t.TempDir(), "ledger.db")
		db, err := store.Open(t.Context(), path, c)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if err := db.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		l := newLab(t, db, c)
		one := killedBooks(l.books)
		process := func(point string) *exec.Cmd {
			cmd := exec.Command(os.Args[0], "-test.run=^TestProcessThatIsKilled$")
			cmd.Env = append(os.Environ(), envPoint+"="+point, envStore+"="+path, envURL+"="+l.server.API(), envTime+"="+strconv.FormatInt(c.Now().UnixNano(), 10))
			return cmd
		}
		cmd := process(point)
		if point == "while it answers" {
			l.server.After(func(action string) {
				if action == "AddBillableItem" {
					_ = cmd.Process.Kill()
				}
			})
		}
		out, err := cmd.CombinedOutput()
		if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || !status.Signaled() || status.Signal() != syscall.SIGKILL {
			t.Fatalf("%s: it was not killed: %v\n%s", point, err, out)
		}
		l.server.After(nil)
		for range 4 {
			c.Advance(20 * time.Minute)
			if out, err := process("never").CombinedOutput(); err != nil {
				t.Fatalf("%s: %v\n%s", point, err, out)
			}
		}
		l.want(one, state, there, "")
	}
	f("before intent", Done, 1)
	f("after intent", Parked, 0)
	f("while it answers", Parked, 1)
	f("after request", Parked, 1)
	f("after done", Done, 1)
}

func killedBooks(b *books) ledger.Statement { return b.close("s1", "c1", "60", 1, start) }

func TestProcessThatIsKilled(t *testing.T) {
	point := os.Getenv(envPoint)
	if point == "" {
		t.Skip("only as a process of TestKilledForGood")
	}
	nanoseconds, err := strconv.ParseInt(os.Getenv(envTime), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	c := clock.NewManual(time.Unix(0, nanoseconds))
	db, err := store.Open(t.Context(), os.Getenv(envStore), c)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	l := newLab(t, db, c)
	l.cfg.WHMCS.URL, l.cfg.WHMCS.Timeout = os.Getenv(envURL), 30*time.Second
	killedBooks(l.books)
	h := l.process()
	h.biller.step = func(at string) {
		if at == point {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
	if err := h.biller.round(t.Context(), true); err != nil {
		t.Fatal(fmt.Errorf("round: %w", err))
	}
}
