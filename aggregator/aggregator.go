// Package aggregator reads the log and books it: the loop around the ledger.
//
// It promises that a batch is confirmed to the log only after it is booked, that the loop goes on after
// whatever the store or the log says short of corruption, and that it says so. The books themselves, and
// that a batch is booked once, are package ledger's.
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
	"hostmeter/internal/store"
	"hostmeter/internal/stream"
	"hostmeter/schemas"
)

// Config is the part `aggregator` of the configuration.
type Config struct {
	// Batches is how many batches one transaction books at most.
	Batches int `yaml:"batches"`
	// Maintain is how often hours are sealed, usage records told and periods closed.
	Maintain time.Duration `yaml:"maintain"`
}

// DefaultConfig books up to 512 batches at once and looks every minute for what is due.
func DefaultConfig() Config { return Config{Batches: 512, Maintain: time.Minute} }

// Validate names the key that is wrong.
func (c Config) Validate() error {
	switch {
	case c.Batches < 1:
		return fmt.Errorf("batches: %d is less than 1", c.Batches)
	case c.Maintain < time.Second:
		return fmt.Errorf("maintain: %s is below 1s", c.Maintain)
	}
	return nil
}

// Deps are what an aggregator needs. Ledger and Source are required.
type Deps struct {
	Ledger  *ledger.Ledger
	Source  stream.Source
	Clock   clock.Clock
	Logger  *slog.Logger
	Metrics prometheus.Registerer
	// AfterSeal is called after hours were looked at for sealing; optional.
	AfterSeal func(ctx context.Context) error
}

// Aggregator books one log. Run, Process and Maintain are not for concurrent use with each other,
// but for Run's own; WaitFor is.
type Aggregator struct {
	cfg     Config
	deps    Deps
	metrics metrics

	mu      sync.Mutex
	booked  stream.Watermarks
	changed chan struct{} // closed and replaced when booked moves
}

// New returns an aggregator that has touched nothing yet.
func New(cfg Config, deps Deps) (*Aggregator, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("aggregator.%w", err)
	}
	if deps.Ledger == nil || deps.Source == nil {
		return nil, errors.New("an aggregator needs a ledger and a source")
	}
	if deps.Clock == nil {
		deps.Clock = clock.Real{}
	}
	if deps.Logger == nil {
		deps.Logger = slog.Default()
	}
	a := &Aggregator{cfg: cfg, deps: deps, booked: stream.Watermarks{}, changed: make(chan struct{})}
	return a, a.metrics.register(deps.Metrics)
}

// Run reads and books until ctx is done or the ledger is corrupt.
func (a *Aggregator) Run(ctx context.Context) error {
	ended := make(chan struct{})
	maintenance, stop := context.WithCancel(ctx)
	go func() {
		defer close(ended)
		a.maintainLoop(maintenance)
	}()
	defer func() {
		stop()
		<-ended
	}()
	for {
		err := a.follow(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.Is(err, ledger.ErrCorrupt) {
			return err
		}
		// Somebody else booked, the outcome of a commit is unknown, or the store or the log is away:
		// the watermarks in the store say what is true.
		a.deps.Logger.Warn("booking begins again behind the ledger's watermarks", "err", err)
		if err := a.deps.Clock.Sleep(ctx, time.Second); err != nil {
			return err
		}
	}
}

// follow reads behind the ledger's watermarks until something fails.
func (a *Aggregator) follow(ctx context.Context) error {
	watermarks, err := a.deps.Ledger.ReadWatermarks(ctx)
	if err != nil {
		return fmt.Errorf("read watermarks: %w", err)
	}
	a.move(watermarks)
	if err := a.deps.Source.Confirm(ctx, watermarks); err != nil {
		return fmt.Errorf("confirm: %w", err)
	}
	reader, err := a.deps.Source.OpenReader(ctx, "ledger", watermarks)
	if err != nil {
		return fmt.Errorf("open the log: %w", err)
	}
	defer reader.Close()
	for {
		batches, err := reader.Next(ctx, a.cfg.Batches)
		var gap *stream.GapError
		if errors.As(err, &gap) {
			a.deps.Logger.Error("batches are lost before they were booked; the gap is declared in the ledger", "gap", gap.Error())
			if err := a.deps.Ledger.DeclareGap(ctx, gap); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return fmt.Errorf("read the log: %w", err)
		}
		if err := a.Process(ctx, batches); err != nil {
			return err
		}
	}
}

// Process books batches and confirms them to the log.
//
// Errors: the ledger's; a conflict with another transaction is tried again.
func (a *Aggregator) Process(ctx context.Context, batches []*schemas.Batch) error {
	if len(batches) == 0 {
		return nil
	}
	began := time.Now()
	booked, err := a.deps.Ledger.Book(ctx, batches)
	for store.IsConflict(err) && ctx.Err() == nil {
		booked, err = a.deps.Ledger.Book(ctx, batches)
	}
	if err != nil {
		return err
	}
	a.metrics.observe(booked, time.Since(began), a.deps.Clock.Now())
	if booked.Refused > 0 {
		a.deps.Logger.Error("batches were refused and set aside; `hostmeter doctor` shows them", "batches", booked.Refused)
	}
	a.move(booked.Watermarks)
	if err := a.deps.Source.Confirm(ctx, booked.Watermarks); err != nil {
		return fmt.Errorf("confirm: %w", err)
	}
	return nil
}

// Maintain seals what is due and then calls Deps.AfterSeal.
func (a *Aggregator) Maintain(ctx context.Context) error {
	sealed, err := a.deps.Ledger.Seal(ctx, a.deps.Clock.Now())
	if err != nil {
		return err
	}
	if len(sealed.Waiting) > 0 {
		a.deps.Logger.Info("hours wait for exporters that are not complete", "exporters", sealed.Waiting, "sealed_through", sealed.Through)
	}
	if a.deps.AfterSeal == nil {
		return nil
	}
	return a.deps.AfterSeal(ctx)
}

func (a *Aggregator) maintainLoop(ctx context.Context) {
	for {
		if err := a.Maintain(ctx); err != nil && ctx.Err() == nil {
			a.deps.Logger.Error("sealing and closing will be tried again", "err", err)
		}
		if a.deps.Clock.Sleep(ctx, a.cfg.Maintain) != nil {
			return
		}
	}
}

// move notes what is booked and wakes who waits for it.
func (a *Aggregator) move(watermarks stream.Watermarks) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for key, index := range watermarks {
		a.booked[key] = max(a.booked[key], index)
	}
	close(a.changed)
	a.changed = make(chan struct{})
}

// Booked returns how far each sequence is booked, as far as this aggregator knows.
func (a *Aggregator) Booked() stream.Watermarks {
	a.mu.Lock()
	defer a.mu.Unlock()
	return maps.Clone(a.booked)
}

// WaitFor waits until everything up to the watermarks is booked.
func (a *Aggregator) WaitFor(ctx context.Context, want stream.Watermarks) error {
	for {
		a.mu.Lock()
		missing := false
		for key, index := range want {
			missing = missing || a.booked[key] < index
		}
		changed := a.changed
		a.mu.Unlock()
		if !missing {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
