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
	"strconv"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"hostmeter/aggregator/export/cloudevents"
	"hostmeter/aggregator/export/whmcs"
	"hostmeter/aggregator/ledger"
	"hostmeter/aggregator/statement"
	"hostmeter/internal/clock"
	"hostmeter/internal/store"
	"hostmeter/internal/webhook"
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
	UsageRecords(ctx context.Context, after int64, limit int) ([]ledger.UsageRecord, error)
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
			cfg: cfg.WHMCS, client: whmcs.New(cfg.WHMCS, deps.Client), journal: h.journal, ledger: deps.Ledger,
			clock: deps.Clock, logger: deps.Logger, metrics: m, holder: holder, step: nowhere, open: deps.OpenPeriods,
		}
	}
	for _, w := range cfg.Webhooks {
		p := &pusher{
			cfg: w, source: cfg.Source, http: deps.Client, journal: h.journal, ledger: deps.Ledger,
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
	Behind   int    `json:"behind"` // how many wait; at most 10000 are counted
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
			waiting, err := p.read(ctx, feed, seq, ledger.MaxUsageRecords)
			if err != nil {
				return nil, err
			}
			list = append(list, Position{Receiver: p.cfg.Name, Feed: feed, Seq: seq, Behind: len(waiting), Error: r.LastError})
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

// Decision is what a person decides about a charge that is parked, or not sent yet.
type Decision string

// The decisions.
const (
	There Decision = "there"  // it is at the receiver: the person has looked
	Again Decision = "again"  // it is not, and is sent
	Waive Decision = "waived" // it is not charged
)

// Settlement is a decision with who made it and why.
type Settlement struct {
	Decision Decision
	Remote   string // what the receiver calls the charge, where it is there
	By       string
	Reason   string
}

// Settle settles a charge, or leaves out an event of a feed ("usage-records/17") that a receiver refuses.
//
// Errors: ErrUnknown, ErrNotOpen, and what is wrong with the settlement.
func (h *Handover) Settle(ctx context.Context, receiver, key string, s Settlement) error {
	switch {
	case s.By == "":
		return errors.New("a settlement needs a name")
	case strings.TrimSpace(s.Reason) == "":
		return errors.New("a settlement needs a reason")
	}
	if feed, number, ok := strings.Cut(key, "/"); ok {
		return h.leaveOut(ctx, receiver, Feed(feed), number, s)
	}
	c, _, err := h.Charge(ctx, receiver, key)
	if err != nil {
		return err
	}
	to := change{actor: s.By, action: "settled " + string(s.Decision), text: s.Reason, looks: c.Looks}
	switch s.Decision {
	case There:
		to.state, to.settled, to.remote = Done, true, s.Remote
	case Again:
		to.state, to.approved, to.looks, to.next = Pending, true, 0, h.deps.Clock.Now()
	case Waive:
		to.state, to.settled = Waived, true
	default:
		return fmt.Errorf("decision %q: want %s, %s or %s", s.Decision, There, Again, Waive)
	}
	if c.State != Parked && (c.State != Pending || s.Decision == Again) {
		return fmt.Errorf("charge %s is %s: %w: only what is parked or pending", key, c.State, ErrNotOpen)
	}
	_, err = h.journal.move(ctx, c, to)
	if errors.Is(err, errMoved) {
		return fmt.Errorf("%w: %w: look at it again", err, ErrNotOpen)
	}
	return err
}

// leaveOut moves a receiver's cursor over the event that it refuses.
func (h *Handover) leaveOut(ctx context.Context, receiver string, feed Feed, number string, s Settlement) error {
	seq, err := strconv.ParseInt(number, 10, 64)
	i := slices.IndexFunc(h.pushers, func(p *pusher) bool { return p.cfg.Name == receiver && slices.Contains(p.cfg.feeds(), feed) })
	if err != nil || i < 0 {
		return fmt.Errorf("event %s/%s of %s: %w", feed, number, receiver, ErrUnknown)
	}
	if s.Decision != Waive {
		return fmt.Errorf("event %s/%d: %w: an event can only be left out (%s)", feed, seq, ErrNotOpen, Waive)
	}
	from, err := h.journal.cursor(ctx, receiver, feed)
	if err != nil {
		return err
	}
	next, err := h.pushers[i].read(ctx, feed, from, 1)
	if err != nil {
		return err
	}
	if len(next) == 0 || next[0].seq != seq {
		return fmt.Errorf("event %s/%d: %w: only the one that %s is told next can be left out", feed, seq, ErrNotOpen, receiver)
	}
	return h.journal.update(ctx, func(tx *store.Tx) error {
		if err := moveCursor(ctx, tx, receiver, feed, from, seq); err != nil {
			return err
		}
		return addEvent(ctx, tx, Event{Receiver: receiver, Subject: subjectOf(feed, seq), Actor: s.By, Action: "left out", Text: s.Reason})
	})
}

// Planned is one thing that would be sent.
type Planned struct {
	Receiver string `json:"receiver"`
	Subject  string `json:"subject"` // the charge's name, or "usage-records/17"
	// Charge and Request are set for charges, Event for events. A charge without a request is not
	// sent, and Note says why.
	Charge  *Charge            `json:"charge,omitempty"`
	Request *whmcs.Request     `json:"request,omitempty"`
	Event   *cloudevents.Event `json:"event,omitempty"`
	Note    string             `json:"note,omitempty"`
}

// Plan returns what would be sent: all charges that are not settled, and the first so many events of each
// feed. It asks no receiver and writes nothing.
func (h *Handover) Plan(ctx context.Context, events int) (list []Planned, err error) {
	if h.biller != nil {
		if list, err = h.biller.plan(ctx); err != nil {
			return nil, err
		}
	}
	for _, p := range h.pushers {
		for _, feed := range p.cfg.feeds() {
			from, err := h.journal.cursor(ctx, p.cfg.Name, feed)
			if err != nil {
				return nil, err
			}
			messages, err := p.read(ctx, feed, from, events)
			if err != nil {
				return nil, err
			}
			for _, m := range messages {
				list = append(list, Planned{Receiver: p.cfg.Name, Subject: subjectOf(feed, m.seq), Event: &m.event})
			}
		}
	}
	return list, nil
}

func (b *biller) plan(ctx context.Context) (list []Planned, err error) {
	charges, err := b.journal.charges(ctx, "receiver = ? AND state IN ('pending', 'intended', 'parked') ORDER BY number", receiverWHMCS)
	if err != nil {
		return nil, err
	}
	from, err := b.journal.cursor(ctx, receiverWHMCS, Statements)
	if err != nil {
		return nil, err
	}
	fresh, _, err := b.fresh(ctx, from, int(^uint(0)>>1))
	if err != nil {
		return nil, err
	}
	for _, c := range append(charges, fresh...) {
		planned := Planned{Receiver: receiverWHMCS, Subject: c.Key, Charge: &c, Note: c.LastError}
		switch c.State {
		case Empty:
			continue
		case Pending:
			charge, err := c.forWHMCS()
			if err != nil {
				return nil, err
			}
			request, err := b.client.Build(charge)
			if err != nil {
				planned.Note = err.Error()
				break
			}
			planned.Request = &request
			if now := b.clock.Now(); c.NextAt.After(now) {
				planned.Note = "not before " + c.NextAt.Format("2006-01-02T15:04:05Z07:00")
			}
		case Intended:
			planned.Note = "a request was made, and what became of it is looked for"
		}
		list = append(list, planned)
	}
	return list, nil
}
