// Package notice tells customers and the provider how far a quota is used, what it will come to, and asks the
// customer what to do about it.
//
// It owns the notices, which are append-only and chained by hash, the mail of each of them, and the requests for decisions
// with their deadlines. It promises that nothing is told twice of a service and period, however often it is killed; and that a mail whose outcome
// is not known is repeated at most once, and says so. It does not throttle or disconnect anybody: it tells the
// provider what was chosen.
//
// A choice itself is a decision of package inventory, so that it stands on the period's statement.
package notice

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/shopspring/decimal"

	"hostmeter/aggregator/ledger"
	"hostmeter/aggregator/rating"
	"hostmeter/aggregator/statement"
	"hostmeter/internal/clock"
	"hostmeter/internal/inventory"
	"hostmeter/internal/mail"
	"hostmeter/internal/store"
)

// Kind is what a notice tells.
type Kind string

// The kinds of notices.
const (
	KindThreshold Kind = "threshold"          // a share of the allowance is used
	KindForecast  Kind = "forecast"           // the allowance will be exceeded, and nobody is asked what to do
	KindSpike     Kind = "spike"              // a day's peaks are far above the average
	KindRequest   Kind = "decision_requested" // the allowance is exceeded, or will be: the customer is asked
	KindDecision  Kind = "decision_made"      // what the customer chose; no answer is "nothing"
)

// Subject is what a notice is about.
type Subject string

// The subjects. Of notices that were told before there were others, all are services.
const (
	SubjectService  Subject = "service"
	SubjectPool     Subject = "pool"     // its owner is told, and none of its members
	SubjectReseller Subject = "reseller" // what all of its customers use together, against the rate that it has bought
)

// Notice is one thing that was told. It never changes.
type Notice struct {
	Number   int64     `json:"number"` // 1, 2, 3 ... in the order in which they were told
	At       time.Time `json:"at"`
	Kind     Kind      `json:"kind"`
	Customer string    `json:"customer"`
	// Subject is what it is about. Service is the id of the service or the pool, and empty for a reseller's sum.
	Subject Subject `json:"subject"`
	Service string  `json:"service"`
	Members int     `json:"members,omitempty"` // services in the pool
	Plan    string  `json:"plan"`
	// The period, in TimeZone, and how it stood.
	PeriodFrom  time.Time        `json:"period_from"`
	PeriodTo    time.Time        `json:"period_to"`
	TimeZone    string           `json:"time_zone"`
	Direction   rating.Direction `json:"direction"`
	Unit        rating.Unit      `json:"unit"` // of Used, Quota, Grace and the forecast
	Used        decimal.Decimal  `json:"used"`
	Quota       decimal.Decimal  `json:"quota"`
	Grace       decimal.Decimal  `json:"grace"`
	Currency    string           `json:"currency"`
	AmountExVAT decimal.Decimal  `json:"amount_ex_vat"` // for what was used until then

	// Threshold is in per cent of the allowance. Passed are lower ones that were reached since the last look: they are
	// not told apart.
	Threshold int   `json:"threshold,omitempty"`
	Passed    []int `json:"passed,omitempty"`
	// Raised says that a threshold as high was told before in this period, of a lower quota.
	Raised bool `json:"raised,omitempty"`
	// Burst is of percentiles: then Used is that of the slots that were observed until then.
	Burst *rating.Burst `json:"burst,omitempty"`
	// Forecast is nil where it was not known, and of percentiles.
	Forecast *Forecast `json:"forecast,omitempty"`
	Spike    *Spike    `json:"spike,omitempty"`
	// Deadline is of a request; Request is the number of the one that a decision answers.
	Deadline time.Time `json:"deadline,omitzero"`
	Request  int64     `json:"request,omitempty"`
	// Choice, DecidedAt, By and How are of a decision.
	Choice    rating.DecisionKind `json:"choice,omitempty"`
	DecidedAt time.Time           `json:"decided_at,omitzero"`
	By        string              `json:"by,omitempty"`
	How       string              `json:"how,omitempty"`

	// Hash is that of the chain; it is not part of what it is over.
	Hash string `json:"-"`
}

// Exceeded says that what is used is charged for already.
func (n Notice) Exceeded() bool { return n.Used.GreaterThan(n.Quota.Add(n.Grace)) }

// Spike is what was seen on a day.
type Spike struct {
	Day                  string          `json:"day"` // UTC
	Minutes              int             `json:"minutes"`
	Percent              decimal.Decimal `json:"percent"` // of the average
	AverageBitsPerSecond int64           `json:"average_bits_per_second"`
	PeakBitsPerSecond    int64           `json:"peak_bits_per_second"`
}

// Errors for people.
var (
	ErrUnknown  = errors.New("no such request for a decision")
	ErrDecided  = errors.New("it is decided already")
	ErrDeadline = errors.New("the time to decide is over")
	ErrLink     = errors.New("the link is not one of ours, or was changed")
)

// Ledger is what notices are about.
type Ledger interface {
	Current(ctx context.Context, inv *inventory.Inventory, now time.Time) ([]ledger.Current, []statement.Problem, error)
	CurrentPercentiles(ctx context.Context, inv *inventory.Inventory, now time.Time) ([]ledger.Current, []statement.Problem, error)
	CurrentResellers(ctx context.Context, inv *inventory.Inventory, now time.Time) ([]ledger.CurrentReseller, error)
}

// Alarm tells the provider's people of resellers.
type Alarm interface {
	// Over is called with each reseller whose month is looked at and known well enough, each time. What it does has to be
	// done once a month and reseller.
	Over(ctx context.Context, r ledger.CurrentReseller, now time.Time) error
}

// Mailer sends mail.
type Mailer interface {
	Enabled() bool
	Send(ctx context.Context, m mail.Message) error
}

// Deps are what notices need. DB, Ledger, Inventory and Mail are required.
type Deps struct {
	Alarm     Alarm // optional
	DB        *store.DB
	Ledger    Ledger
	Inventory *inventory.Inventory
	Mail      Mailer
	Clock     clock.Clock
	Logger    *slog.Logger
}

// Notices looks, tells and asks.
type Notices struct {
	cfg   Config
	deps  Deps
	mails *prometheus.CounterVec
	told  *prometheus.CounterVec
	step  func(point string) // for tests that kill it
	met   map[statement.Problem]bool
	// slotted is when percentiles were last looked at, and unrated what could not be rated then.
	slotted time.Time
	unrated []statement.Problem
}

// New returns notices that have touched nothing yet.
func New(cfg Config, deps Deps) (*Notices, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("notices.%w", err)
	}
	if deps.DB == nil || deps.Ledger == nil || deps.Inventory == nil || deps.Mail == nil {
		return nil, errors.New("notices need a store, a ledger, an inventory and mail")
	}
	if deps.Clock == nil {
		deps.Clock = clock.Real{}
	}
	if deps.Logger == nil {
		deps.Logger = slog.Default()
	}
	n := &Notices{cfg: cfg, deps: deps, step: func(string) {},
		mails: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "hostmeter_notice_mails_total", Help: "Attempts to send the mail of a notice, by what is known of the outcome.",
		}, []string{"outcome"}),
		told: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "hostmeter_notices_total", Help: "Notices that were told, by kind.",
		}, []string{"kind"}),
	}
	return n, nil
}

// Attach gives the notices of a process its log and its metrics. It is called before Run.
func (n *Notices) Attach(logger *slog.Logger, metrics prometheus.Registerer) error {
	n.deps.Logger = logger
	for _, m := range []prometheus.Collector{n.mails, n.told} {
		if err := metrics.Register(m); err != nil {
			return fmt.Errorf("register the notices' metrics: %w", err)
		}
	}
	return nil
}

// sendEvery is how often mail is looked for, and deadlines that are over.
const sendEvery = 10 * time.Second

// Run looks and tells until ctx is done.
func (n *Notices) Run(ctx context.Context) error {
	var looked time.Time
	for {
		if now := n.deps.Clock.Now(); now.Sub(looked) >= n.cfg.Every {
			n.report(ctx, "the open periods could not be looked at; they will be again", n.Look(ctx))
			looked = now
		}
		n.report(ctx, "decisions could not be settled; it is tried again", n.Settle(ctx))
		n.report(ctx, "the mail of notices could not be sent; it is tried again", n.SendDue(ctx))
		if err := n.deps.Clock.Sleep(ctx, sendEvery); err != nil {
			return err
		}
	}
}

func (n *Notices) report(ctx context.Context, text string, err error) {
	if err != nil && ctx.Err() == nil {
		n.deps.Logger.Error(text, "err", err)
	}
}
