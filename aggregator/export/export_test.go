package export

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"hostmeter/aggregator/export/whmcs"
	"hostmeter/aggregator/export/whmcs/whmcstest"
	"hostmeter/aggregator/ledger"
	"hostmeter/aggregator/rating"
	"hostmeter/aggregator/statement"
	"hostmeter/internal/clock"
	"hostmeter/internal/config"
	"hostmeter/internal/store"
	"hostmeter/internal/store/storetest"
)

var start = time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC)

// books is a ledger that says what a test put in.
type books struct {
	statements []ledger.Statement
	records    []ledger.UsageRecord
}

func (b *books) Statements(_ context.Context, q ledger.StatementQuery, f func(ledger.Statement) error) error {
	for _, s := range b.statements {
		if s.Number > q.After {
			if err := f(s); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *books) UsageRecords(_ context.Context, after int64, limit int) (list []ledger.UsageRecord, err error) {
	for _, r := range b.records {
		if r.Seq > after && len(list) < limit {
			list = append(list, r)
		}
	}
	return list, nil
}

// close adds a statement of October, revision 1 or a later one.
func (b *books) close(service, customer, amount string, revision int, closedAt time.Time) ledger.Statement {
	n := int64(len(b.statements) + 1)
	from, to := time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC), time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	kind := rating.KindOverage
	if revision > 1 {
		kind = rating.KindAdjustment
	}
	number := decimal.RequireFromString
	s := ledger.Statement{Number: n, ClosedAt: closedAt, Hash: hashOf(n), Previous: hashOf(n - 1)}
	s.Body.Period = rating.Period{From: from, To: to}
	s.Body.Row = statement.Row{
		Customer: customer, Service: service, Plan: "dedicated-10", PeriodFrom: from, PeriodTo: to, TimeZone: "UTC", Direction: rating.Sum,
		Quota: number("10"), Unit: rating.TB, Used: number("10.000000000001"), Excess: number("0.000000000001"), BilledQuantity: number("1"),
		PriceUnit: rating.TB, UnitPrice: number("60"), Currency: "GBP", AmountExVAT: number(amount), Kind: kind,
		Statement: service + "/2026-10-01", Revision: revision, Coverage: 1,
	}
	b.statements = append(b.statements, s)
	return s
}

// keyOf is the name of a statement's charge where handover.source is not set.
func keyOf(s ledger.Statement) string { return chargeKey(DefaultConfig().Source, s.Body.Row) }

func hashOf(n int64) string {
	sum := sha256.Sum256([]byte(fmt.Sprint(n)))
	return hex.EncodeToString(sum[:])
}

// lab is a hand-over with a WHMCS, on a clock that a test moves.
type lab struct {
	t      testing.TB
	clock  *clock.Manual
	db     *store.DB
	books  *books
	server *whmcstest.Server
	cfg    Config
}

func newLab(t testing.TB, db *store.DB, c *clock.Manual) *lab {
	t.Helper()
	l := &lab{t: t, clock: c, db: db, books: &books{}}
	l.server = whmcstest.New(c.Now, map[int]string{1: "GBP", 2: "GBP", 3: "USD"})
	t.Cleanup(l.server.Close)
	l.cfg = DefaultConfig()
	w := &l.cfg.WHMCS
	w.URL, w.Identifier, w.Secret = l.server.API(), config.NewSecret("id"), config.NewSecret("secret")
	w.Since, w.ClientPrefix, w.Delay, w.Timeout = rating.Date{Year: 2026, Month: 10, Day: 15}, "c", 0, 200*time.Millisecond
	w.Credits = whmcs.CreditBalance
	return l
}

func sqliteLab(t *testing.T) *lab {
	t.Helper()
	c := clock.NewManual(start)
	return newLab(t, storetest.SQLite(t, c), c)
}

// process returns a hand-over as a process that has just started has it.
func (l *lab) process() *Handover {
	l.t.Helper()
	h, err := New(l.cfg, Deps{DB: l.db, Ledger: l.books, Clock: l.clock, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		l.t.Fatal(err)
	}
	return h
}

// run does rounds of new processes over a time.
func (l *lab) run(rounds int, every time.Duration) {
	l.t.Helper()
	for range rounds {
		_ = l.process().biller.round(context.Background(), false) // what went wrong is in the journal
		l.clock.Advance(every)
	}
}

func (l *lab) charge(s ledger.Statement) Charge {
	l.t.Helper()
	c, _, err := l.process().Charge(context.Background(), receiverWHMCS, keyOf(s))
	if err != nil {
		l.t.Fatal(err)
	}
	return c
}

func (l *lab) want(s ledger.Statement, state State, there int, says string) Charge {
	l.t.Helper()
	c := l.charge(s)
	items := l.server.With("[" + c.Key + "]")
	if c.State != state || len(items) != there || !strings.Contains(c.LastError, says) {
		l.t.Fatalf("charge %+v is at WHMCS %d times; want %s, %d times, and %q", c, len(items), state, there, says)
	}
	return c
}

func (l *lab) settle(s ledger.Statement, d Decision) {
	l.t.Helper()
	err := l.process().Settle(context.Background(), receiverWHMCS, keyOf(s), Settlement{Decision: d, By: "ada", Reason: "looked at WHMCS"})
	if err != nil {
		l.t.Fatal(err)
	}
}

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

// TestUsageIsShown from time to time; a product that is not as it should be holds up no other.
func TestUsageIsShown(t *testing.T) {
	l := sqliteLab(t)
	l.cfg.WHMCS.Usage.Products, l.cfg.WHMCS.Usage.OverageOff = map[string]int64{"s1": 301, "s2": 302, "s4": 304}, true
	l.server.AddProduct(302, map[string]string{"clientid": "1", "bwusage": "0", "bwlimit": "0"})
	rows := []statement.Row{
		{Service: "s1", Customer: "c1", Currency: "GBP", BillableOctets: 1 << 30, Quota: decimal.NewFromInt(10), Unit: rating.TB},
		{Service: "s2", Customer: "c1", Currency: "GBP", BillableOctets: 1 << 30, Quota: decimal.NewFromInt(10), Unit: rating.TiB},
		{Service: "s3", Customer: "c1", Currency: "GBP", BillableOctets: 1 << 30, Quota: decimal.NewFromInt(10), Unit: rating.TiB},
	}
	h := l.process()
	h.biller.open = func(context.Context) ([]statement.Row, error) { return rows, nil }
	round := func() {
		t.Helper()
		if err := h.biller.round(t.Context(), false); err != nil {
			t.Fatal(err)
		}
	}
	round()
	if p := l.server.Product(302); p["bwusage"] != "1024" || p["bwlimit"] != "10485760" {
		t.Fatalf("product %v", p)
	}
	rows[1].BillableOctets *= 2
	l.clock.Advance(time.Hour)
	round() // not yet
	if p := l.server.Product(302); p["bwusage"] != "1024" {
		t.Fatalf("product %v", p)
	}
	l.clock.Advance(6 * time.Hour)
	round()
	if p := l.server.Product(302); p["bwusage"] != "2048" || len(l.server.Items()) != 0 {
		t.Fatalf("product %v", p)
	}
	l.server.Fail(func(string) whmcstest.Fault { return whmcstest.ErrorPage })
	l.clock.Advance(7 * time.Hour)
	if err := h.biller.round(t.Context(), false); err == nil {
		t.Fatal("a page of errors was taken for success")
	}
}

func TestPlanSendsNothing(t *testing.T) {
	l := sqliteLab(t)
	l.cfg.WHMCS.Delay = time.Hour
	l.books.close("s1", "c1", "60", 1, start)
	l.books.close("s2", "ada", "60", 1, start)
	l.books.close("s3", "c1", "0", 1, start)
	check := func() {
		t.Helper()
		list, err := l.process().Plan(t.Context(), 10)
		if err != nil || len(list) != 2 {
			t.Fatalf("%+v, %v", list, err)
		}
		if list[0].Request == nil || list[0].Request.Fields["amount"] != "60.00" || !strings.Contains(list[0].Note, "not before 2026-11-02T10:00:00Z") {
			t.Fatalf("%+v", list[0])
		}
		if list[1].Request != nil || !strings.Contains(list[1].Note, "handover.whmcs.clients") {
			t.Fatalf("%+v", list[1])
		}
	}
	check()
	if calls := l.server.Calls(); len(calls) != 0 {
		t.Fatalf("it called %v", calls)
	}
	if charges, err := l.process().Charges(t.Context()); err != nil || len(charges) != 0 {
		t.Fatalf("it wrote %+v, %v", charges, err)
	}
	_ = l.process().biller.enter(t.Context())
	check()
}
