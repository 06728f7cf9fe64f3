// Package clock lets everything that reads the time be given another time: the real one, one that
// is shifted to a simulated date, or one that a test moves by hand.
package clock

import (
	"context"
	"sync"
	"time"
)

// Clock tells the time. Loops take a Clock; pure code takes a time.Time.
type Clock interface {
	Now() time.Time
	// Sleep waits until Now has moved by d, or ctx is done, whose error it returns.
	Sleep(ctx context.Context, d time.Duration) error
}

// Real is the machine's clock, in UTC.
type Real struct{}

// Now returns the machine's time.
func (Real) Now() time.Time { return time.Now().UTC() }

// Sleep waits for d of the machine's time.
func (Real) Sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Shifted runs at the machine's pace from another date.
type Shifted struct {
	Real
	By time.Duration
}

// ShiftedTo returns a clock that says at now, and goes on from there.
func ShiftedTo(at time.Time) Shifted { return Shifted{By: time.Until(at)} }

// Now returns the machine's time plus By.
func (s Shifted) Now() time.Time { return s.Real.Now().Add(s.By) }

// Manual stands still until it is moved. Its zero value is the year 1: use NewManual.
type Manual struct {
	mu      sync.Mutex
	now     time.Time
	waiting []waiter
}

type waiter struct {
	until time.Time
	done  chan struct{}
}

// NewManual returns a clock that says at until it is moved.
func NewManual(at time.Time) *Manual { return &Manual{now: at.UTC()} }

// Now returns the time that was set last.
func (m *Manual) Now() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now
}

// Set moves the clock to at and wakes whoever slept until then. A time in the past is refused
// silently: this clock does not run backwards.
func (m *Manual) Set(at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if at.After(m.now) {
		m.now = at.UTC()
	}
	kept := m.waiting[:0]
	for _, w := range m.waiting {
		if w.until.After(m.now) {
			kept = append(kept, w)
			continue
		}
		close(w.done)
	}
	m.waiting = kept
}

// Advance moves the clock by d.
func (m *Manual) Advance(d time.Duration) { m.Set(m.Now().Add(d)) }

// Sleep waits until the clock has been moved by d.
func (m *Manual) Sleep(ctx context.Context, d time.Duration) error {
	m.mu.Lock()
	if d <= 0 {
		m.mu.Unlock()
		return ctx.Err()
	}
	w := waiter{until: m.now.Add(d), done: make(chan struct{})}
	m.waiting = append(m.waiting, w)
	m.mu.Unlock()
	select {
	case <-w.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
