package aggregator

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"hostmeter/aggregator/ledger"
	"hostmeter/internal/store"
	"hostmeter/internal/stream"
	"hostmeter/schemas"
)

// Run books the log, and maintains the ledger, until ctx is done. A fault of the store or the log does
// not end it: it begins again behind what is booked, after a pause that grows.
func (a *Aggregator) Run(ctx context.Context) error {
	a.setRunning(true)
	defer a.setRunning(false)
	var group sync.WaitGroup
	group.Go(func() { a.maintainAlways(ctx) })
	defer group.Wait()
	const shortest, longest = time.Second, 30 * time.Second
	pause := shortest
	for {
		progress, err := a.session(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if progress {
			pause = shortest
		}
		a.metrics.reopened.Inc()
		if ordinary(err) {
			a.deps.Logger.Info("reading the log again behind what is booked", "err", err)
			if progress {
				continue
			}
		} else {
			a.deps.Logger.Error("booking stopped; it begins again behind what is booked", "err", err, "pause", pause)
		}
		if a.deps.Clock.Sleep(ctx, pause) != nil {
			return nil
		}
		pause = min(2*pause, longest)
	}
}

// ordinary errors are part of owning a log together with others.
func ordinary(err error) bool {
	return errors.Is(err, ledger.ErrOvertaken) || errors.Is(err, store.ErrUnknownOutcome) || store.IsConflict(err)
}

func (a *Aggregator) maintainAlways(ctx context.Context) {
	for a.deps.Clock.Sleep(ctx, a.cfg.MaintainEvery) == nil {
		if err := a.Maintain(ctx); err != nil && ctx.Err() == nil {
			a.metrics.maintainErrors.Inc()
			a.deps.Logger.Error("maintaining the ledger", "err", err)
		}
	}
}

func (a *Aggregator) setRunning(running bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.running, a.caughtUp, a.bookedTo = running, false, time.Time{}
}

// portion is what one transaction is made of: batches, or a gap, or nothing, which says that the log
// had nothing for a while.
type portion struct {
	batches []*schemas.Batch
	gap     *stream.GapError
	// behind says of nothing that the log may hold something all the same.
	behind bool
}

// session reads and books from the ledger's watermarks on until an error. While one portion is booked,
// the next is read. progress says whether anything was booked.
func (a *Aggregator) session(ctx context.Context) (progress bool, err error) {
	marks, err := a.deps.Ledger.Watermarks(ctx)
	if err != nil {
		return false, err
	}
	a.confirm(ctx, marks) // a process that was killed may have booked without confirming
	reader, err := a.deps.Source.OpenReader(ctx, Consumer, marks)
	if err != nil {
		return false, fmt.Errorf("open the log: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	portions := make(chan portion)
	var readErr error
	var group sync.WaitGroup
	group.Go(func() {
		defer close(portions)
		readErr = a.read(ctx, reader, portions)
	})
	defer func() {
		cancel()
		group.Wait()
		if closeErr := reader.Close(); err == nil {
			err = closeErr
		}
	}()
	for p := range portions {
		if err := a.take(ctx, p); err != nil {
			return progress, err
		}
		progress = progress || len(p.batches) > 0
	}
	return progress, readErr // written before the channel was closed
}

// read gathers portions until an error.
func (a *Aggregator) read(ctx context.Context, reader stream.Reader, out chan<- portion) error {
	for {
		batches, err := a.gather(ctx, reader)
		behind := errors.Is(err, stream.ErrBehind)
		var gap *stream.GapError
		if err != nil && !errors.As(err, &gap) && !behind {
			return err
		}
		if len(batches) > 0 || gap == nil {
			if err := send(ctx, out, portion{batches: batches, behind: behind}); err != nil {
				return err
			}
		}
		if gap != nil {
			if err := send(ctx, out, portion{gap: gap}); err != nil {
				return err
			}
		}
	}
}

func send(ctx context.Context, out chan<- portion, p portion) error {
	select {
	case out <- p:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// gather reads batches for one transaction: none where the log had none for CommitEvery. The batches are
// good even where there is an error; stream.ErrBehind is one where time was up.
func (a *Aggregator) gather(ctx context.Context, reader stream.Reader) (batches []*schemas.Batch, err error) {
	waiting, cancel := context.WithTimeout(ctx, a.cfg.CommitEvery)
	defer cancel()
	tallies := 0
	for len(batches) < a.cfg.MaxBatches && tallies < a.cfg.MaxTallies {
		more, err := reader.Next(waiting, min(a.cfg.MaxBatches-len(batches), 64))
		batches = append(batches, more...)
		for _, b := range more {
			tallies += len(b.GetTallies())
		}
		switch {
		case err == nil:
		case waiting.Err() != nil && ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded):
			if errors.Is(err, stream.ErrBehind) {
				return batches, stream.ErrBehind
			}
			return batches, nil // time is up
		default:
			return batches, err
		}
	}
	return batches, nil
}

// take books a portion and notes how far behind that is.
func (a *Aggregator) take(ctx context.Context, p portion) error {
	if p.gap != nil {
		a.metrics.gapBatches.Add(float64(p.gap.To - p.gap.From + 1))
		a.deps.Logger.Error("a part of the log was lost before it was booked; the gap is in the ledger", "err", p.gap)
		if err := a.deps.Ledger.DeclareGap(ctx, p.gap); err != nil {
			return err
		}
		a.confirm(ctx, stream.Watermarks{p.gap.Key: p.gap.To})
		a.tell()
		return nil
	}
	if len(p.batches) == 0 {
		if !p.behind {
			a.note(time.Time{})
		}
		return nil
	}
	if err := a.Process(ctx, p.batches); err != nil {
		return err
	}
	least := p.batches[0].GetReceivedTo()
	for _, b := range p.batches {
		least = min(least, b.GetReceivedTo())
	}
	a.note(time.Unix(0, least).UTC())
	return nil
}

// note remembers that everything received before at is booked; the zero time is everything there is.
func (a *Aggregator) note(at time.Time) {
	now := a.deps.Clock.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.caughtUp = at.IsZero() || now.Sub(at) < behindAfter
	if at.After(a.bookedTo) {
		a.bookedTo = at
	}
}
