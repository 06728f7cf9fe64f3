// Package aggregator reads the log and books it, exactly once, and does what is due: sealing hours,
// and what its owner does after that.
//
// It promises that a batch which it confirms to the log is durable in the ledger. It does not promise to
// be alone: another aggregator may take its place at any time, and then it begins again behind what
// that one has booked.
package aggregator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"hostmeter/aggregator/ledger"
	"hostmeter/internal/clock"
	"hostmeter/internal/failpoint"
	"hostmeter/internal/store"
	"hostmeter/internal/stream"
	"hostmeter/schemas"
)

// Consumer is the name under which the aggregator reads the log.
const Consumer = "ledger"

// behindAfter is from which age on of what is booked the aggregator counts as behind: it then judges
// what is due by the time of what it has booked, not by the clock.
const behindAfter = 5 * time.Minute

// Deps are what an aggregator needs. Ledger and Source are required.
type Deps struct {
	Ledger  *ledger.Ledger
	Source  stream.Source
	Clock   clock.Clock           // the machine's where nil
	Logger  *slog.Logger          // slog.Default where nil
	Metrics prometheus.Registerer // not shown where nil
	// AfterSeal is called by Maintain when what was due is sealed; it may be nil.
	AfterSeal func(ctx context.Context) error
}

// Aggregator books a log. Its methods may be called at the same time.
type Aggregator struct {
	cfg     Config
	deps    Deps
	metrics *metrics

	maintaining sync.Mutex // one Maintain at a time

	mu          sync.Mutex
	running     bool      // Run reads the log
	caughtUp    bool      // Run has booked all that the log has, or nearly
	bookedTo    time.Time // the end of receipt of what Run has booked, while it is behind
	unconfirmed stream.Watermarks
	changed     chan struct{} // closed and made anew when something was booked
}

// New returns an aggregator that has touched nothing yet.
func New(cfg Config, deps Deps) (*Aggregator, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if deps.Ledger == nil || deps.Source == nil {
		return nil, errors.New("aggregator needs a ledger and a source")
	}
	if deps.Clock == nil {
		deps.Clock = clock.Real{}
	}
	if deps.Logger == nil {
		deps.Logger = slog.Default()
	}
	if deps.Metrics == nil {
		deps.Metrics = prometheus.NewRegistry()
	}
	m, err := newMetrics(deps.Metrics)
	if err != nil {
		return nil, err
	}
	return &Aggregator{
		cfg: cfg, deps: deps, metrics: m,
		unconfirmed: make(stream.Watermarks), changed: make(chan struct{}),
	}, nil
}

// Ledger returns the ledger that is booked into.
func (a *Aggregator) Ledger() *ledger.Ledger { return a.deps.Ledger }

// Process books batches in one transaction and confirms them. Run does it with what it reads; a replay
// that reads the log itself calls it. A batch that was booked before is passed over.
//
// Errors: those of ledger.Book. What could not be confirmed is no error: it is confirmed later.
func (a *Aggregator) Process(ctx context.Context, batches []*schemas.Batch) error {
	const attempts = 3
	failpoint.Hit(failpoint.LedgerTaking)
	begin := time.Now()
	booked, err := a.deps.Ledger.Book(ctx, batches)
	for i := 1; store.IsConflict(err) && i < attempts; i++ {
		booked, err = a.deps.Ledger.Book(ctx, batches)
	}
	if err != nil {
		return err
	}
	a.metrics.booked(booked, a.deps.Clock.Now(), time.Since(begin))
	if booked.Refused > 0 {
		a.deps.Logger.Error("batches were refused and parked; hostmeter doctor shows them", "batches", booked.Refused)
	}
	a.confirm(ctx, booked.Watermarks)
	failpoint.Hit(failpoint.LedgerConfirmed)
	a.tell()
	return nil
}

// confirm tells the log what is booked, with what it could not be told before.
func (a *Aggregator) confirm(ctx context.Context, marks stream.Watermarks) {
	a.mu.Lock()
	maps.Copy(a.unconfirmed, marks)
	all := maps.Clone(a.unconfirmed)
	a.mu.Unlock()
	if len(all) == 0 {
		return
	}
	if err := a.deps.Source.Confirm(ctx, all); err != nil {
		a.metrics.confirmErrors.Inc()
		a.deps.Logger.Warn("what is booked was not confirmed to the log; it will be with the next", "err", err)
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for key, index := range all {
		if a.unconfirmed[key] == index {
			delete(a.unconfirmed, key)
		}
	}
}

func (a *Aggregator) tell() {
	a.mu.Lock()
	defer a.mu.Unlock()
	close(a.changed)
	a.changed = make(chan struct{})
}

// Maintain does what is due: it seals hours, derives day sums and calls AfterSeal. Run calls it every
// minute; it may be called at any time.
//
// While Run is behind, what is due is judged by the time up to which it has booked: hours whose usage
// still waits in the log are not sealed before it.
func (a *Aggregator) Maintain(ctx context.Context) error {
	a.maintaining.Lock()
	defer a.maintaining.Unlock()
	if at := a.asOf(); !at.IsZero() {
		sealed, err := a.deps.Ledger.Seal(ctx, at)
		if err != nil {
			return err
		}
		a.metrics.sealed(sealed)
		if sealed.Hours > 0 {
			a.deps.Logger.Info("sealed hours", "hours", sealed.Hours, "days", sealed.Days, "through", sealed.Through)
		}
	}
	if a.deps.AfterSeal == nil {
		return nil
	}
	if err := a.deps.AfterSeal(ctx); err != nil {
		return fmt.Errorf("after sealing: %w", err)
	}
	return nil
}

// asOf is the time by which Maintain judges; zero where nothing can be said yet.
func (a *Aggregator) asOf() time.Time {
	now := a.deps.Clock.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.running || a.caughtUp || a.bookedTo.After(now) {
		return now
	}
	return a.bookedTo
}

// WaitFor waits until everything up to the watermarks is booked, by this aggregator or another.
func (a *Aggregator) WaitFor(ctx context.Context, want stream.Watermarks) error {
	const lookAgain = 250 * time.Millisecond // another process does not tell
	for {
		a.mu.Lock()
		changed := a.changed
		a.mu.Unlock()
		have, err := a.deps.Ledger.ReadWatermarks(ctx)
		if err != nil {
			return err
		}
		if have.Reach(want) {
			return nil
		}
		timer := time.NewTimer(lookAgain)
		select {
		case <-changed:
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
		timer.Stop()
	}
}
