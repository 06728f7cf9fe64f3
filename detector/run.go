package detector

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"hostmeter/internal/stream"
	"hostmeter/schemas"
)

const (
	tickEvery   = time.Second
	readMost    = 256
	closeMost   = 10 * time.Second
	patienceMin = time.Second
)

// Run opens, reads the log until ctx is done, and checkpoints. With Deps.Standby it stands by while another detector
// is active; without, only once another has taken over. It begins again where that one stopped.
//
// Errors: those of the log and of opening; Run may be called again then. A store that does not answer later is asked
// again.
func (d *Detector) Run(ctx context.Context) error {
	if d.deps.Standby {
		defer d.lease.Settle()()
	}
	for standby := d.deps.Standby; ; standby = true {
		if standby {
			if err := d.lease.StandBy(ctx, d.reopen); err != nil {
				return ended(ctx, err)
			}
		}
		err := d.runActive(ctx)
		if !errors.Is(err, ErrSuperseded) {
			return err
		}
		d.opened = false // nothing of what is in memory is this one's any more
		d.deps.Logger.Warn("another detector has taken over; this one stands by")
	}
}

// reopen reads anew what is in the store, whatever is in memory.
func (d *Detector) reopen(ctx context.Context) error {
	d.opened = false
	return d.Open(ctx)
}

// ended turns the end of ctx into no error.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// runActive runs until ctx is done or another detector has taken over, with what runs beside it.
func (d *Detector) runActive(ctx context.Context) error {
	if err := d.Open(ctx); err != nil {
		return err
	}
	d.metrics.active.Set(1)
	defer d.metrics.active.Set(0)
	if d.deps.WhileActive == nil {
		return d.read(ctx)
	}
	beside, stop := context.WithCancel(ctx)
	var both sync.WaitGroup
	var failed error
	both.Go(func() {
		if err := d.deps.WhileActive(beside); err != nil && beside.Err() == nil {
			failed = err
			stop()
		}
	})
	err := d.read(beside)
	stop()
	both.Wait()
	return errors.Join(err, failed)
}

// read reads the log until ctx is done, and checkpoints.
func (d *Detector) read(ctx context.Context) error {
	reader, err := d.deps.Source.OpenReader(ctx, "detector", maps.Clone(d.position))
	if err != nil {
		return fmt.Errorf("detector: open the log: %w", err)
	}
	inner, cancel := context.WithCancel(ctx)
	read, ticks := make(chan reading), make(chan struct{})
	var both sync.WaitGroup
	both.Go(func() { readAll(inner, reader, read) })
	both.Go(func() { d.tickAll(inner, ticks) })
	err = d.loop(ctx, read, ticks)
	cancel()
	both.Wait()
	_ = reader.Close() // it was only read
	closing, cancelClosing := context.WithTimeout(context.WithoutCancel(ctx), closeMost)
	defer cancelClosing()
	if errors.Is(err, ErrSuperseded) {
		return err
	}
	return errors.Join(err, d.Checkpoint(closing), d.lease.Release(closing))
}

type reading struct {
	batches []*schemas.Batch
	err     error
}

func readAll(ctx context.Context, reader stream.Reader, out chan<- reading) {
	for {
		batches, err := reader.Next(ctx, readMost)
		select {
		case out <- reading{batches, err}:
		case <-ctx.Done():
			return
		}
		var gap *stream.GapError
		if err != nil && !errors.As(err, &gap) {
			return
		}
	}
}

func (d *Detector) tickAll(ctx context.Context, out chan<- struct{}) {
	for d.deps.Clock.Sleep(ctx, tickEvery) == nil {
		select {
		case out <- struct{}{}:
		case <-ctx.Done():
			return
		}
	}
}

func (d *Detector) loop(ctx context.Context, read <-chan reading, ticks <-chan struct{}) error {
	for {
		var step func(context.Context) error
		select {
		case <-ctx.Done():
			return nil
		case r := <-read:
			var gap *stream.GapError
			switch {
			case errors.As(r.err, &gap):
				d.gap(gap)
			case r.err != nil && ctx.Err() != nil:
				return nil
			case r.err != nil:
				return fmt.Errorf("detector: read the log: %w", r.err)
			}
			step = func(ctx context.Context) error { return d.Process(ctx, r.batches) }
		case <-ticks:
			step = d.Tick
		case <-d.wake:
			step = d.checkpointIfDue
		}
		if err := d.insist(ctx, step); err != nil {
			return err
		}
	}
}

// insist does a step again and again until the store takes it, or ctx is done. Errors: ErrSuperseded.
func (d *Detector) insist(ctx context.Context, step func(context.Context) error) error {
	for {
		err := step(ctx)
		if err == nil {
			err = d.lease.Renew(ctx)
		}
		switch {
		case err == nil || ctx.Err() != nil:
			return nil
		case errors.Is(err, ErrSuperseded):
			return err
		}
		d.deps.Logger.Error("the detector cannot read or write the store; it tries again", "err", err)
		if d.deps.Clock.Sleep(ctx, patienceMin) != nil {
			return nil
		}
	}
}

// WaitFor waits until everything up to the watermarks has been processed and checkpointed.
//
// Errors: ctx's.
func (d *Detector) WaitFor(ctx context.Context, want stream.Watermarks) error {
	d.mu.Lock()
	d.wants = append(d.wants, want)
	d.mu.Unlock()
	select {
	case d.wake <- struct{}{}: // it may all have been processed, and wait for a checkpoint
	default:
	}
	for {
		d.mu.Lock()
		done, changed := d.saved.Reach(want), d.changed
		d.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// awaited says that a checkpoint now would end somebody's wait.
func (d *Detector) awaited() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.wants = slices.DeleteFunc(d.wants, func(want stream.Watermarks) bool { return d.saved.Reach(want) })
	return slices.ContainsFunc(d.wants, func(want stream.Watermarks) bool { return d.position.Reach(want) })
}

// Close checkpoints what Process took, if Run did not. It may be called twice, and not while Run runs.
func (d *Detector) Close() error {
	if !d.opened {
		return nil
	}
	d.opened = false
	ctx, cancel := context.WithTimeout(context.Background(), closeMost)
	defer cancel()
	if err := d.Checkpoint(ctx); err != nil && !errors.Is(err, ErrSuperseded) {
		return err
	}
	return nil
}
