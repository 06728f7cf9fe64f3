// Package export hands closed statements and usage records to billing systems.
//
// It owns the journal of what was handed over. It promises that a billing system which knows a repeat by
// its id is told of everything, in order; and that one which does not is sent no charge a second time
// unless it is known that the first was without effect: whoever is killed when, each charge is there once,
// or it is parked and listed, and a person decides.
//
// It does not promise that a charge is there at once, and computes none: what it hands over is closed.
package export

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"hostmeter/aggregator/export/whmcs"
	"hostmeter/aggregator/ledger"
	"hostmeter/aggregator/notice"
	"hostmeter/aggregator/statement"
	"hostmeter/internal/clock"
	"hostmeter/internal/store"
	"hostmeter/internal/webhook"
	"hostmeter/schemas"
)

// Errors for people.
var (
	// ErrUnknown says that there is no such receiver or charge.
	ErrUnknown = errors.New("unknown")
	// ErrNotOpen says that a charge is not in a state in which that can be decided.
	ErrNotOpen = errors.New("cannot be decided")

	errHeld = errors.New("another process works for this receiver")
)

// Ledger is what is handed over.
type Ledger interface {
	// Statements calls f with statements, by number.
	Statements(ctx context.Context, q ledger.StatementQuery, f func(ledger.Statement) error) error
	// UsageRecords returns at most limit records behind after.
	UsageRecords(ctx context.Context, after int64, limit int) ([]schemas.UsageRecord, error)
}

// Teller has notices.
type Teller interface {
	// Notices returns at most limit notices behind after.
	Notices(ctx context.Context, after int64, limit int) ([]notice.Notice, error)
}

// Deps are what a hand-over needs. DB and Ledger are required.
type Deps struct {
	DB      *store.DB
	Ledger  Ledger
	Clock   clock.Clock
	Logger  *slog.Logger
	Metrics prometheus.Registerer
	// OpenPeriods returns the lines of the periods that are open now; nil where no usage is shown.
	OpenPeriods func(ctx context.Context) ([]statement.Row, error)
	// Notices are what customers were told and chose; nil where there are none.
	Notices Teller
	// Client is for tests.
	Client *http.Client
}

// Handover hands over to all receivers of a configuration.
type Handover struct {
	cfg     Config
	deps    Deps
	journal journal
	metrics *metrics
	holder  string  // this process, in the receivers' rows
	biller  *biller // nil where there is no WHMCS
	pushers []*pusher
}

// New returns a hand-over that has touched nothing yet.
func New(cfg Config, deps Deps) (*Handover, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("handover.%w", err)
	}
	if deps.DB == nil || deps.Ledger == nil {
		return nil, errors.New("a hand-over needs a store and a ledger")
	}
	if deps.Clock == nil {
		deps.Clock = clock.Real{}
	}
	if deps.Logger == nil {
		deps.Logger = slog.Default()
	}
	m, err := newMetrics(deps.Metrics)
	if err != nil {
		return nil, err
	}
	var random [8]byte
	_, _ = rand.Read(random[:]) // never fails
	holder := hex.EncodeToString(random[:])
	nowhere := func(string) {}
	h := &Handover{cfg: cfg, deps: deps, journal: journal{deps.DB}, metrics: m, holder: holder}
	if cfg.WHMCS.Enabled() {
		h.biller = &biller{
			cfg: cfg.WHMCS, source: cfg.Source, client: whmcs.New(cfg.WHMCS, deps.Client), journal: h.journal, ledger: deps.Ledger,
			clock: deps.Clock, logger: deps.Logger, metrics: m, holder: holder, step: nowhere, open: deps.OpenPeriods,
		}
	}
	for _, w := range cfg.Webhooks {
		p := &pusher{
			cfg: w, source: cfg.Source, http: deps.Client, journal: h.journal, ledger: deps.Ledger, notices: deps.Notices,
			clock: deps.Clock, logger: deps.Logger, metrics: m, holder: holder, step: nowhere,
		}
		for _, secret := range w.Secrets {
			p.keys = append(p.keys, webhook.Key(secret.Reveal()))
		}
		if p.http == nil {
			p.http = webhook.Client(pushTimeout)
		}
		h.pushers = append(h.pushers, p)
	}
	return h, nil
}

// Run hands over until ctx is done. A receiver that does not answer holds up no other.
func (h *Handover) Run(ctx context.Context) error {
	var group sync.WaitGroup
	for name, round := range h.rounds() {
		group.Go(func() {
			for h.deps.Clock.Sleep(ctx, h.cfg.Every) == nil {
				err := round(ctx, false)
				if err != nil && ctx.Err() == nil && !errors.Is(err, errHeld) {
					h.deps.Logger.Error("the hand-over stopped; it goes on later", "receiver", name, "err", err)
				}
				h.count(ctx)
			}
			if err := h.journal.release(context.WithoutCancel(ctx), name, h.holder); err != nil {
				h.deps.Logger.Warn("a receiver was not released: the next process waits some minutes for it", "receiver", name, "err", err)
			}
		})
	}
	group.Wait()
	return ctx.Err()
}

func (h *Handover) rounds() map[string]func(context.Context, bool) error {
	rounds := map[string]func(context.Context, bool) error{}
	if h.biller != nil {
		rounds[receiverWHMCS] = h.biller.round
	}
	for _, p := range h.pushers {
		rounds[p.cfg.Name] = p.round
	}
	return rounds
}

// Now does one round for each receiver at once, also for one that is left alone after it did not answer.
//
// Errors: of each receiver that did not take everything.
func (h *Handover) Now(ctx context.Context) error {
	var errs []error
	rounds := h.rounds()
	for _, name := range slices.Sorted(maps.Keys(rounds)) {
		if err := rounds[name](ctx, true); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
		if err := h.journal.release(ctx, name, h.holder); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Position is how far a feed was handed to a receiver.
type Position struct {
	Receiver string `json:"receiver"`
	Feed     Feed   `json:"feed"`
	Seq      int64  `json:"seq"`    // the last that was taken
	Behind   int    `json:"behind"` // how many wait, and for no person; at most 10000 are counted
	// Error is why the receiver took no more at the last attempt.
	Error string `json:"error"`
}

// Positions returns how far each feed was handed over.
func (h *Handover) Positions(ctx context.Context) (list []Position, err error) {
	for _, p := range h.pushers {
		r, err := h.receiver(ctx, p.cfg.Name)
		if err != nil {
			return nil, err
		}
		for _, feed := range p.cfg.feeds() {
			seq, err := h.journal.cursor(ctx, p.cfg.Name, feed)
			if err != nil {
				return nil, err
			}
			messages, err := p.read(ctx, feed, seq, ledger.MaxUsageRecords)
			if err != nil {
				return nil, err
			}
			messages = slices.DeleteFunc(messages, func(m message) bool { return m.action != tell })
			list = append(list, Position{Receiver: p.cfg.Name, Feed: feed, Seq: seq, Behind: len(messages), Error: r.LastError})
		}
	}
	return list, nil
}

// Receivers returns the receivers and how they answered last.
func (h *Handover) Receivers(ctx context.Context) (list []Receiver, err error) {
	for _, name := range slices.Sorted(maps.Keys(h.rounds())) {
		r, err := h.receiver(ctx, name)
		if err != nil {
			return nil, err
		}
		list = append(list, r)
	}
	return list, nil
}

func (h *Handover) receiver(ctx context.Context, name string) (r Receiver, err error) {
	err = h.deps.DB.View(ctx, func(tx *store.Tx) error {
		r, err = readReceiver(ctx, tx, name)
		return noRows(err)
	})
	return r, err
}

// Charges returns the journal's lines in one of the states, or all of them, by number.
func (h *Handover) Charges(ctx context.Context, states ...State) ([]Charge, error) {
	if len(states) == 0 {
		return h.journal.charges(ctx, "1 = 1 ORDER BY receiver, number")
	}
	args := make([]any, len(states))
	for i, state := range states {
		args[i] = string(state)
	}
	return h.journal.charges(ctx, "state IN (?"+strings.Repeat(", ?", len(states)-1)+") ORDER BY receiver, number", args...)
}

// Charge returns one line of the journal, with what became of it. key is the charge's name.
//
// Errors: ErrUnknown.
func (h *Handover) Charge(ctx context.Context, receiver, key string) (Charge, []Event, error) {
	list, err := h.journal.charges(ctx, "receiver = ? AND charge = ?", receiver, key)
	if err == nil && len(list) == 0 {
		err = fmt.Errorf("charge %s of %s: %w", key, receiver, ErrUnknown)
	}
	if err != nil {
		return Charge{}, nil, err
	}
	events, err := h.journal.events(ctx, receiver, key)
	return list[0], events, err
}
