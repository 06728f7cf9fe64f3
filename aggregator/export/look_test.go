package export

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"hostmeter/aggregator/export/whmcs"
	"hostmeter/aggregator/export/whmcs/whmcstest"
	"hostmeter/aggregator/ledger"
)

// TestAnInvoiceSettlesWhatIsOpen: the item was made, its answer lost, and an invoice shows it before or
// after it is parked.
func TestAnInvoiceSettlesWhatIsOpen(t *testing.T) {
	f := func(fault whmcstest.Fault, invoiceAfter int, last int) {
		t.Helper()
		l := sqliteLab(t)
		one := l.books.close("s1", "c1", "60", 1, start)
		l.server.Fail(func(action string) whmcstest.Fault {
			if action == "AddBillableItem" {
				return fault
			}
			return whmcstest.None
		})
		for i := range last {
			if i == invoiceAfter {
				l.server.EndLate()
				l.server.InvoiceAll()
			}
			l.run(1, 5*time.Hour)
		}
		if c := l.want(one, Done, 1, ""); c.Remote != "1 on invoice 1" || c.Attempts != 1 {
			t.Fatalf("got %+v", c)
		}
	}
	for _, fault := range []whmcstest.Fault{whmcstest.LostAnswer, whmcstest.LostPage, whmcstest.Hang, whmcstest.LateEffect, whmcstest.Truncated, whmcstest.EmptySuccess, whmcstest.LateError, whmcstest.Filtered, whmcstest.FilteredDenied, whmcstest.FilteredJSON} {
		f(fault, 1, 2)
		f(fault, 4, 12) // parked meanwhile
	}
}

// TestALookBeforeItIsSentAgain: a person was told "not there" too early, and meanwhile the configuration has
// changed what would be sent. The look is for what was sent.
func TestALookBeforeItIsSentAgain(t *testing.T) {
	l := sqliteLab(t)
	l.cfg.WHMCS.Credits = whmcs.NegativeItem
	credit := l.books.close("s1", "c1", "-60", 2, start)
	l.server.Fail(func(action string) whmcstest.Fault {
		if action == "AddBillableItem" {
			return whmcstest.LateEffect
		}
		return whmcstest.None
	})
	l.run(4, 20*time.Minute)
	l.want(credit, Parked, 0, "may be there or not")
	l.settle(credit, Again)
	l.cfg.WHMCS.Credits = whmcs.CreditBalance
	l.server.EndLate()
	l.server.InvoiceAll()
	l.run(2, time.Hour)
	l.want(credit, Done, 1, "")
}

// TestALookThatFailsStopsNoOther: one charge cannot be looked for, ever; three can, and one is new.
func TestALookThatFailsStopsNoOther(t *testing.T) {
	f := func(deleted bool, looks whmcstest.Fault, state State, says string) {
		t.Helper()
		l := sqliteLab(t)
		bad := l.books.close("s0", "c2", "-60", 1, start)
		lost := true
		l.server.Fail(func(action string) whmcstest.Fault {
			switch {
			case lost && strings.HasPrefix(action, "Add"):
				return whmcstest.LostAnswer
			case action == "GetCredits":
				return looks
			}
			return whmcstest.None
		})
		l.run(1, time.Second)
		if deleted {
			l.server.Delete(2)
		}
		var good []ledger.Statement
		for i := range 3 {
			good = append(good, l.books.close(fmt.Sprint("s", 1+i), "c1", "60", 1, start))
		}
		l.run(3, 20*time.Second)
		lost = false
		l.server.InvoiceAll()
		fresh := l.books.close("s4", "c1", "60", 1, start)
		l.run(40, time.Minute)
		for _, s := range append(good, fresh) {
			l.want(s, Done, 1, "")
		}
		if c := l.want(bad, state, 1, says); c.Attempts != 1 {
			t.Fatalf("got %+v", c)
		}
		if err := l.process().Settle(t.Context(), receiverWHMCS, keyOf(bad), Settlement{Decision: There, By: "ada", Reason: "in the books"}); err != nil {
			t.Fatal(err)
		}
		l.run(2, time.Hour)
		l.want(bad, Done, 1, "")
	}
	f(true, whmcstest.None, Parked, "Client ID Not Found")
	f(false, whmcstest.ErrorPage, Intended, "")
	f(false, whmcstest.Hang, Intended, "")
}

// TestWhatIsThereTwiceIsSaid: a proxy that repeats requests is beyond us, but not unseen.
func TestWhatIsThereTwiceIsSaid(t *testing.T) {
	l := sqliteLab(t)
	one := l.books.close("s1", "c1", "60", 1, start)
	l.server.Fail(func(action string) whmcstest.Fault {
		if action == "AddBillableItem" {
			return whmcstest.Twice
		}
		return whmcstest.None
	})
	l.run(1, time.Hour)
	l.server.InvoiceAll()
	l.run(1, time.Hour)
	l.want(one, Done, 2, "it is there 2 times")
}
