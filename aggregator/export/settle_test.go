package export

import (
	"errors"
	"strings"
	"testing"
	"time"

	"hostmeter/aggregator/export/whmcs"
	"hostmeter/aggregator/export/whmcs/whmcstest"
	"hostmeter/aggregator/ledger"
)

func TestWhatAPersonDecides(t *testing.T) {
	l := sqliteLab(t)
	l.cfg.WHMCS.Credits = whmcs.ParkCredits
	l.cfg.WHMCS.Delay = 24 * time.Hour
	one := l.books.close("s1", "c1", "60", 1, start)
	credit := l.books.close("s1", "c1", "-60", 2, start)
	late := l.books.close("s2", "c1", "60", 2, start.Add(40*24*time.Hour))
	l.run(5, time.Hour)
	l.want(one, Pending, 0, "") // a day to look at it
	l.want(credit, Parked, 0, "a credit")
	l.want(late, Parked, 0, "beyond the window of 31")
	l.settle(late, Again)
	l.run(1, time.Minute)
	l.want(late, Done, 1, "")
	l.run(24, time.Hour)
	l.want(one, Done, 1, "")
	l.cfg.WHMCS.Credits = whmcs.CreditBalance
	l.settle(credit, Again)
	l.run(1, time.Minute)
	if c := l.want(credit, Done, 1, ""); !c.Approved {
		t.Fatalf("got %+v", c)
	}

	ctx, h := t.Context(), l.process()
	f := func(receiver, key string, s Settlement, want error) {
		t.Helper()
		if err := h.Settle(ctx, receiver, key, s); err == nil || want != nil && !errors.Is(err, want) {
			t.Fatalf("got %v, want %v", err, want)
		}
	}
	f("whmcs", keyOf(one), Settlement{Decision: Again, By: "ada", Reason: "x"}, ErrNotOpen)
	f("whmcs", keyOf(one), Settlement{Decision: Waive, By: "ada", Reason: "x"}, ErrNotOpen)
	f("whmcs", "hm-9-0", Settlement{Decision: Waive, By: "ada", Reason: "x"}, ErrUnknown)
	f("whmcs", keyOf(one), Settlement{Decision: There, Reason: "x"}, nil)
	f("whmcs", keyOf(one), Settlement{Decision: There, By: "ada", Reason: " "}, nil)
	_, events, err := h.Charge(ctx, "whmcs", keyOf(credit))
	if err != nil {
		t.Fatal(err)
	}
	decided := events[1]
	if decided.Actor != "ada" || decided.Action != "settled again" || decided.Text != "looked at WHMCS" {
		t.Fatalf("events %+v", events)
	}
}

// TestWhatIsOnItsWayCanBeSettled when the request is over, but not sent again.
func TestWhatIsOnItsWayCanBeSettled(t *testing.T) {
	f := func(d Decision, after time.Duration, want error) {
		t.Helper()
		l := sqliteLab(t)
		one := l.books.close("s1", "c1", "60", 1, start)
		l.server.Fail(func(action string) whmcstest.Fault {
			if action == "AddBillableItem" {
				return whmcstest.LostAnswer
			}
			return whmcstest.None
		})
		l.run(1, after)
		l.want(one, Intended, 1, "")
		err := l.process().Settle(t.Context(), receiverWHMCS, keyOf(one), Settlement{Decision: d, By: "ada", Reason: "looked at WHMCS"})
		if !errors.Is(err, want) {
			t.Fatalf("%s after %s: got %v, want %v", d, after, err, want)
		}
	}
	f(There, 2*time.Minute, nil)
	f(Waive, 2*time.Minute, nil)
	f(Again, 2*time.Minute, ErrNotOpen)
	f(There, time.Minute, ErrNotOpen)
	f(Waive, time.Minute, ErrNotOpen)
}

// TestCorrectionsWaitForWhatTheyCorrect: a credit is not given for a charge that may never have been made.
func TestCorrectionsWaitForWhatTheyCorrect(t *testing.T) {
	l := sqliteLab(t)
	one, credit, other := l.books.close("s1", "ada", "60", 1, start), l.books.close("s1", "c1", "-60", 2, start), l.books.close("s2", "c1", "60", 1, start)
	l.run(3, time.Hour)
	l.want(one, Pending, 0, "no WHMCS client")
	l.want(credit, Pending, 0, "")
	l.want(other, Done, 1, "")
	l.cfg.WHMCS.Clients = map[string]int64{"ada": 1}
	l.run(2, time.Hour)
	l.want(one, Done, 1, "")
	l.want(credit, Done, 1, "")
}

// TestACorrectionOfWhatWasWaived is a person's to decide: a client would get back what he never paid, or be
// charged though it was waived.
func TestACorrectionOfWhatWasWaived(t *testing.T) {
	f := func(amount string, first Decision, there int) {
		t.Helper()
		l := sqliteLab(t)
		l.cfg.WHMCS.Delay = 24 * time.Hour
		one, none, correction := l.books.close("s1", "c1", "60", 1, start), l.books.close("s1", "c1", "0", 2, start), l.books.close("s1", "c1", amount, 3, start)
		other := l.books.close("s2", "c1", "60", 1, start)
		l.run(1, time.Hour)
		l.settle(one, Waive)
		l.run(2, 25*time.Hour)
		l.want(other, Done, 1, "")
		l.want(none, Empty, 0, "")
		l.want(correction, Parked, 0, "revision 1 of statement s1/2026-10-01 was waived")
		next := l.books.close("s1", "c1", amount, 4, start.Add(51*time.Hour))
		l.run(2, 25*time.Hour)
		l.want(next, Pending, 0, "") // it waits for the one before
		l.settle(correction, first)
		l.run(1, time.Hour)
		l.want(correction, map[Decision]State{Again: Done, Waive: Waived, There: Done}[first], there, "")
		l.want(next, Parked, 0, "was waived")
		l.settle(next, Again)
		l.run(1, time.Hour)
		l.want(next, Done, 1, "")
	}
	f("-60", Waive, 0)
	f("-60", Again, 1)
	f("30", There, 0)
	f("30", Again, 1)
}

// TestALateCorrectionIsDecidedOnce: one that waits for an approval is not parked for being late as well.
func TestALateCorrectionIsDecidedOnce(t *testing.T) {
	l := sqliteLab(t)
	l.cfg.WHMCS.CorrectionWindow = time.Hour
	l.books.close("s1", "c1", "60", 1, start)
	late := l.books.close("s1", "c1", "30", 2, start)
	l.ask(late, ledger.ApprovalWaiting)
	l.run(2, time.Hour)
	l.want(late, Pending, 0, "")
	l.ask(late, ledger.ApprovalGiven)
	l.run(2, time.Hour)
	l.want(late, Done, 1, "")
}

// TestAWaiverEndsAnEarlierApproval: who said that a correction is sent did not know that what it corrects would be
// waived.
func TestAWaiverEndsAnEarlierApproval(t *testing.T) {
	l := sqliteLab(t)
	l.cfg.WHMCS.CorrectionWindow = time.Hour
	one, late := l.books.close("s1", "ada", "60", 1, start), l.books.close("s1", "c1", "-60", 2, start)
	l.run(1, time.Hour)
	l.want(late, Parked, 0, "beyond the window")
	l.settle(late, Again)
	l.run(1, time.Hour)
	l.want(late, Pending, 0, "")
	l.settle(one, Waive)
	planned, err := l.process().Plan(t.Context(), 10)
	if err != nil || len(planned) != 1 || planned[0].Request != nil || !strings.Contains(planned[0].Note, "was waived") {
		t.Fatalf("%+v, %v", planned, err)
	}
	l.run(1, time.Hour)
	l.want(late, Parked, 0, "was waived")
}
