package export

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"hostmeter/aggregator/export/whmcs/whmcstest"
)

// TestAFaultyReceiverIsLeftAlone: what may have had an effect is not followed by more of it.
func TestAFaultyReceiverIsLeftAlone(t *testing.T) {
	l := sqliteLab(t)
	for i := range 20 {
		l.books.close(fmt.Sprint("s", i), "c1", "60", 1, start)
	}
	l.server.Fail(func(action string) whmcstest.Fault {
		if action == "AddBillableItem" {
			return whmcstest.LostAnswer
		}
		return whmcstest.None
	})
	l.run(60, time.Minute)
	if n := len(l.server.Items()); n < 3 || n > 8 {
		t.Fatalf("%d charges were sent in an hour to a receiver that never answers", n)
	}
	l.server.Fail(nil)
	l.server.InvoiceAll()
	l.run(30, time.Hour)
	for _, s := range l.books.statements {
		l.want(s, Done, 1, "")
	}
}

func TestWhatHasNoEffectIsSentAgain(t *testing.T) {
	f := func(fault whmcstest.Fault) {
		t.Helper()
		l := sqliteLab(t)
		one := l.books.close("s1", "c1", "60", 1, start)
		n := 0
		l.server.Fail(func(action string) whmcstest.Fault {
			if action != "AddBillableItem" {
				return whmcstest.None
			}
			if n++; n < 3 {
				return fault
			}
			return whmcstest.None
		})
		l.run(10, time.Minute)
		if c := l.want(one, Done, 1, ""); c.Attempts != 3 {
			t.Fatalf("got %+v", c)
		}
	}
	f(whmcstest.Forbidden)
	f(whmcstest.WrongIP)
	f(whmcstest.Busy)
}

// TestWrongSettingsSendNothing: calls that have no effect come first, so that a wrong address, password or
// proxy parks no charge.
func TestWrongSettingsSendNothing(t *testing.T) {
	for _, fault := range []whmcstest.Fault{whmcstest.Forbidden, whmcstest.Maintenance, whmcstest.ErrorPage, whmcstest.Closed, whmcstest.Hang} {
		l := sqliteLab(t)
		one := l.books.close("s1", "c1", "60", 1, start)
		l.server.Fail(func(string) whmcstest.Fault { return fault })
		l.run(5, time.Hour)
		if c := l.want(one, Pending, 0, ""); c.Attempts != 0 {
			t.Fatalf("fault %d: got %+v", fault, c)
		}
		r, err := l.process().receiver(t.Context(), receiverWHMCS)
		if err != nil || r.Failures != 5 || r.LastError == "" {
			t.Fatalf("fault %d: receiver %+v, %v", fault, r, err)
		}
		l.server.Fail(nil)
		if err := l.process().Now(t.Context()); err != nil {
			t.Fatal(err)
		}
		l.want(one, Done, 1, "")
	}
}

func TestWhatCannotBeSentWaitsForTheConfiguration(t *testing.T) {
	l := sqliteLab(t)
	other, dollars, good := l.books.close("s1", "ada", "60", 1, start), l.books.close("s2", "c3", "60", 1, start), l.books.close("s3", "c2", "60", 1, start)
	l.run(3, time.Minute)
	l.want(other, Pending, 0, "no WHMCS client")
	l.want(dollars, Pending, 0, `pays in "USD"`)
	l.want(good, Done, 1, "")
	l.cfg.WHMCS.Clients = map[string]int64{"ada": 1}
	if err := l.process().Now(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.want(other, Done, 1, "")
	l.settle(dollars, Waive)
	l.run(3, time.Hour)
	l.want(dollars, Waived, 0, "")
	byOther := l.books.close("s4", "c3", "60", 1, start)
	l.run(1, time.Hour)
	if err := l.process().Settle(t.Context(), receiverWHMCS, keyOf(byOther), Settlement{Decision: Again, By: "ada", Reason: "x"}); !errors.Is(err, ErrNotOpen) {
		t.Fatalf("got %v", err)
	}
	l.settle(byOther, There) // billed by hand, before it was sent
	l.run(1, time.Hour)
	l.want(byOther, Done, 0, "")
}
