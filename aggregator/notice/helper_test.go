package notice

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"hostmeter/aggregator/ledger"
	"hostmeter/aggregator/rating"
	"hostmeter/aggregator/statement"
	"hostmeter/internal/clock"
	"hostmeter/internal/config"
	"hostmeter/internal/inventory"
	"hostmeter/internal/mail"
	"hostmeter/internal/store"
	"hostmeter/internal/store/storetest"
)

var update = flag.Bool("update", false, "write golden files")

// start is a Monday.
var start = time.Date(2026, 11, 16, 9, 30, 0, 0, time.UTC)

const labImport = `
provider: {name: Example Hosting, time_zone: Europe/London, currency: GBP}
prefixes: [{prefix: 10.0.0.0/8, exporters: [192.0.2.250]}]
prices:
  - {sku: overage, place: london, currency: GBP, from: 2026-01-01, noticed: 2025-12-01, per: TB, begun: true, amount: "60"}
plans: [{name: dedicated-10, quota: 10 TB, direction: sum, period: calendar}]
customers: [{id: c1, name: Ada Ltd, email: ada@example.org}, {id: c2, name: Bob Ltd}]
services:
  - {id: s1, customer: c1, plan: dedicated-10, place: london, opened: 2026-01-12}
  - {id: s2, customer: c2, plan: dedicated-10, place: london, opened: 2026-01-12}
`

// lab is notices over a ledger that says what the test wants.
type lab struct {
	t     *testing.T
	clock *clock.Manual
	db    *store.DB
	inv   *inventory.Inventory
	books *books
	post  *post
	cfg   Config
	*Notices
}

type books struct {
	list, slots []ledger.Current
	resellers   []ledger.CurrentReseller
	slotReads   int
}

func (b *books) Current(context.Context, *inventory.Inventory, time.Time) ([]ledger.Current, []statement.Problem, error) {
	return b.list, nil, nil
}

func (b *books) CurrentPercentiles(context.Context, *inventory.Inventory, time.Time) ([]ledger.Current, []statement.Problem, error) {
	b.slotReads++
	return b.slots, nil, nil
}

func (b *books) CurrentResellers(context.Context, *inventory.Inventory, time.Time) ([]ledger.CurrentReseller, error) {
	return b.resellers, nil
}

// post is a mail server that answers as told.
type post struct {
	mu      sync.Mutex
	off     bool
	answers []error // the next ones; then it takes everything
	got     []mail.Message
}

func (p *post) Enabled() bool { return !p.off }

// Send takes a message, also where its answer is errLost.
func (p *post) Send(_ context.Context, m mail.Message) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var answer error
	if len(p.answers) > 0 {
		answer, p.answers = p.answers[0], p.answers[1:]
	}
	if answer == nil || errors.Is(answer, errLost) {
		p.got = append(p.got, m)
	}
	return answer
}

var errLost = errors.New("no answer came")

func eachLab(t *testing.T, f func(t *testing.T, l *lab)) {
	t.Helper()
	c := &labClock{clock.NewManual(start)}
	storetest.EachWithClock(t, c, func(t *testing.T, db *store.DB) {
		c.Manual = clock.NewManual(start)
		f(t, newLab(t, c.Manual, db))
	})
}

// labClock begins anew on each store.
type labClock struct{ *clock.Manual }

func oneLab(t *testing.T) *lab {
	t.Helper()
	c := clock.NewManual(start)
	return newLab(t, c, storetest.SQLite(t, c))
}

func newLab(t *testing.T, c *clock.Manual, db *store.DB) *lab {
	t.Helper()
	l := &lab{t: t, clock: c, db: db, inv: inventory.New(db), books: &books{}, post: &post{}, cfg: DefaultConfig()}
	l.cfg.LinkTo, l.cfg.LinkKey = "https://billing.example.net/", config.NewSecret("0123456789abcdef")
	l.load(labImport)
	l.restart()
	return l
}

func (l *lab) load(text string) {
	l.t.Helper()
	if _, err := l.inv.Import(context.Background(), []inventory.File{{Name: "lab.yaml", Text: []byte(text)}}, false); err != nil {
		l.t.Fatal(err)
	}
}

// restart makes another process over the same store.
func (l *lab) restart() {
	l.t.Helper()
	n, err := New(l.cfg, Deps{DB: l.db, Ledger: l.books, Inventory: l.inv, Mail: l.post, Clock: l.clock})
	if err != nil {
		l.t.Fatal(err)
	}
	l.Notices = n
}

// use says that a service has used so much of its period, and so much each day of the weeks before.
func (l *lab) use(service string, usedTB, dayTB float64) *ledger.Current {
	l.t.Helper()
	snapshot, err := l.inv.Snapshot(context.Background())
	if err != nil {
		l.t.Fatal(err)
	}
	now := l.clock.Now()
	contract, err := snapshot.Contract(service, now)
	if err != nil {
		l.t.Fatal(err)
	}
	p := contract.Schedule.PeriodAt(now)
	used := uint64(usedTB * 1e12)
	c := l.current(contract, p, rating.Usage{InOctets: used}, snapshot.Prices())
	if dayTB > 0 {
		for i := range 28 { // a little more and less from day to day
			c.Days = append(c.Days, ledger.DayUsage{In: uint64(dayTB * 1e12 * (1 + 0.05*float64(i%3-1)))})
		}
	}
	for i, old := range l.books.list {
		if old.Contract.Service == service {
			l.books.list[i] = c
			return &l.books.list[i]
		}
	}
	l.books.list = append(l.books.list, c)
	return &l.books.list[len(l.books.list)-1]
}

// current rates what was used.
func (l *lab) current(contract rating.Contract, p rating.Period, usage rating.Usage, prices []rating.Price) ledger.Current {
	l.t.Helper()
	charge, err := rating.Rate(contract, p, usage, prices)
	if err != nil {
		l.t.Fatal(err)
	}
	return ledger.Current{Contract: contract, Period: p, Row: statement.Row{
		Customer: contract.Customer, Service: contract.Service, Plan: contract.Plan, PeriodFrom: p.From.In(contract.Schedule.Zone), PeriodTo: p.To.In(contract.Schedule.Zone),
		TimeZone: contract.Zone.Value, Direction: charge.Direction, InOctets: int64(usage.InOctets), BillableOctets: charge.BillableOctets, Quota: charge.Quota, Unit: charge.Unit, Used: charge.Used,
		Grace: charge.Grace, Currency: charge.Currency, AmountExVAT: charge.AmountExVAT, Provisional: true,
	}}
}

func (l *lab) look() {
	l.t.Helper()
	if err := l.Look(context.Background()); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) send() {
	l.t.Helper()
	if err := l.SendDue(context.Background()); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) settle() {
	l.t.Helper()
	if err := l.Settle(context.Background()); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) mails() (map[int64]Mail, error) {
	l.t.Helper()
	list, err := l.Notices.Notices(context.Background(), 0, 1000)
	if err != nil {
		l.t.Fatal(err)
	}
	return l.MailOf(context.Background(), list)
}

// all returns what was told, as "threshold 90".
func (l *lab) all() string {
	l.t.Helper()
	list, err := l.Notices.Notices(context.Background(), 0, 1000)
	if err != nil {
		l.t.Fatal(err)
	}
	var texts []string
	for _, n := range list {
		text := string(n.Kind)
		if n.Kind == KindThreshold {
			text += fmt.Sprintf(" %d", n.Threshold)
		}
		if n.Raised {
			text += " raised"
		}
		texts = append(texts, text)
	}
	if count, err := l.Verify(context.Background()); err != nil || count != int64(len(list)) {
		l.t.Fatalf("%d notices verify as %d, %v", len(list), count, err)
	}
	return strings.Join(texts, ", ")
}

func (l *lab) want(want string) {
	l.t.Helper()
	if got := l.all(); got != want {
		l.t.Fatalf("told %q, want %q", got, want)
	}
}

// asked returns the one request there is.
func (l *lab) asked() Request {
	l.t.Helper()
	list, err := l.Requests(context.Background(), false)
	if err != nil || len(list) != 1 {
		l.t.Fatalf("%d requests, %v", len(list), err)
	}
	return list[0]
}

// link returns the token in the last mail.
func (l *lab) link() string {
	l.t.Helper()
	_, rest, found := strings.Cut(l.post.got[len(l.post.got)-1].Text, "/decide?t=")
	if !found {
		l.t.Fatal("the last mail has no link")
	}
	token, _, _ := strings.Cut(rest, "\n")
	return token
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil || string(want) != got {
		t.Errorf("%s: %v\n%s", path, err, got)
	}
}

func dec(text string) decimal.Decimal { return decimal.RequireFromString(text) }
