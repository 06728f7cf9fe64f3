package export

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"hostmeter/aggregator/export/whmcs"
	"hostmeter/aggregator/rating"
	"hostmeter/internal/clock"
	"hostmeter/internal/store"
	"hostmeter/internal/store/storetest"
)

func TestChargesOnEveryStore(t *testing.T) {
	c := clock.NewManual(start)
	storetest.EachWithClock(t, c, func(t *testing.T, db *store.DB) {
		l := newLab(t, db, c)
		now := c.Now()
		one := l.books.close("s1", "c1", "60", 1, now)
		none := l.books.close("s2", "c1", "0", 1, now)
		old := l.books.close("s3", "c1", "60", 1, now)
		l.books.statements[2].Body.Row.PeriodTo = time.Date(2026, 10, 15, 0, 0, 0, 0, time.UTC) // its last instant is on the 14th
		waived := l.books.close("s4", "c1", "60", 1, now)
		l.books.statements[3].Body.Row.Kind = rating.KindWaived
		more := l.books.close("s1", "c1", "30.5", 2, now)
		less := l.books.close("s1", "c1", "-90.50", 3, now)
		l.run(2, time.Minute)
		if got := l.want(one, Done, 1, ""); got.Remote != "1" || got.Attempts != 1 || got.SettledAt.IsZero() {
			t.Fatalf("got %+v", got)
		}
		item := l.server.Items()[0]
		want := "s1 dedicated-10 (2026-10-01 - 2026-10-31, UTC)\ntransfer 10.000000000001 TB, quota 10 TB, excess 0.000000000001 TB, 1 TB at 60.00 GBP [" + keyOf(one) + "]"
		if item.Amount != "60.00" || item.Description != want || item.Action != "nextinvoice" {
			t.Fatalf("WHMCS has %+v, want the description\n%s", item, want)
		}
		l.want(none, Empty, 0, "")
		l.want(waived, Empty, 0, "")
		text, err := json.Marshal(l.charge(one))
		if err != nil || strings.Contains(string(text), "secret") || strings.Contains(string(text), "identifier") {
			t.Fatalf("the journal keeps credentials: %s, %v", text, err)
		}
		l.want(more, Done, 1, "")
		l.want(less, Done, 1, "")
		credit := l.server.With(keyOf(less))[0]
		if !credit.Credit || credit.Amount != "90.50" || !strings.Contains(credit.Description, "correction 2 of statement s1/2026-10-01") {
			t.Fatalf("the credit is %+v", credit)
		}
		if _, _, err := l.process().Charge(t.Context(), receiverWHMCS, keyOf(old)); !errors.Is(err, ErrUnknown) {
			t.Fatalf("a period from before the hand-over: %v", err)
		}
		l.run(3, time.Hour)
		if n := len(l.server.Items()); n != 3 {
			t.Fatalf("WHMCS has %d items, want 3", n)
		}
		_, events, err := l.process().Charge(t.Context(), receiverWHMCS, keyOf(one))
		if err != nil || len(events) != 3 || events[0].Action != "pending" || events[1].Action != "intended" || events[2].Action != "done" {
			t.Fatalf("events %+v, %v", events, err)
		}
	})
}

// TestKilledAtEachStep ends a process between any two steps, and looks at what the next ones make of it.
func TestKilledAtEachStep(t *testing.T) {
	f := func(point string, state State, there int) {
		t.Helper()
		l := sqliteLab(t)
		one := l.books.close("s1", "c1", "60", 1, start)
		kill(l.process(), point)
		for range 4 { // the receiver's row is held for some minutes by the one that was killed
			l.run(1, 10*time.Minute)
		}
		l.want(one, state, there, "")
		if state != Parked {
			return
		}
		decision := Again
		if there > 0 {
			decision = There
		}
		l.settle(one, decision)
		l.run(2, time.Hour)
		l.want(one, Done, 1, "")
	}
	f("before enter", Done, 1)
	f("after enter", Done, 1)
	f("before intent", Done, 1)
	f("after intent", Parked, 0) // nobody can tell it from the next
	f("after request", Parked, 1)
	f("after done", Done, 1)
}

// killed is thrown where a process ends.
type killed struct{}

// kill runs a round that ends at a point, as a process that gets SIGKILL there does: nothing after it is
// done.
func kill(h *Handover, point string) {
	defer func() {
		if e := recover(); e != nil && e != (killed{}) {
			panic(e)
		}
	}()
	h.biller.step = func(at string) {
		if at == point {
			panic(killed{})
		}
	}
	_ = h.biller.round(context.Background(), false)
}

// TestTwoProcesses: while one works for the receiver, the other does not, and takes over when it is gone.
func TestTwoProcesses(t *testing.T) {
	l := sqliteLab(t)
	first, second := l.process(), l.process()
	l.books.close("s1", "c1", "60", 1, start)
	if err := first.biller.round(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	one := l.books.close("s2", "c1", "60", 1, start)
	if err := second.biller.round(t.Context(), false); !errors.Is(err, errHeld) {
		t.Fatalf("got %v", err)
	}
	l.want(one, Pending, 0, "")
	l.clock.Advance(5 * time.Minute)
	if err := second.biller.round(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	l.want(one, Done, 1, "")
}

// TestTheSlowOneSendsNothing: a process that was held up between intent and request finds its time over.
func TestTheSlowOneSendsNothing(t *testing.T) {
	l := sqliteLab(t)
	one := l.books.close("s1", "c1", "60", 1, start)
	h := l.process()
	h.biller.step = func(point string) {
		if point == "after intent" {
			l.clock.Advance(time.Hour)
		}
	}
	if err := h.biller.round(t.Context(), false); !errors.Is(err, whmcs.ErrUntouched) {
		t.Fatalf("got %v", err)
	}
	l.want(one, Pending, 0, "held up")
	l.run(2, time.Hour)
	l.want(one, Done, 1, "")
}
