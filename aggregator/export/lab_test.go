package export

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
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
	"hostmeter/schemas"
)

var start = time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC)

// books is a ledger that says what a test put in.
type books struct {
	statements []ledger.Statement
	records    []schemas.UsageRecord
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

func (b *books) UsageRecords(_ context.Context, after int64, limit int) (list []schemas.UsageRecord, err error) {
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

// keyOf is the name of a statement's charge where handover.source is not set.
func keyOf(s ledger.Statement) string { return chargeKey(DefaultConfig().Source, s.Body.Row) }
