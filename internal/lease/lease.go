// Package lease has one of several processes at work and lets the others stand by.
//
// A lease is a row of the store. It keeps two from doing the same work; what keeps the books right is its
// generation, which whoever takes it moves on and each transaction of its holder compares (Update): one that was
// paused and wakes up writes nothing, whatever the clocks say. Those who stand by judge by their own clock since
// when the row has not changed: the clocks of two machines are never compared. It does not promise that a holder
// knows at once that it has lost the lease.
package lease

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"hostmeter/internal/clock"
	"hostmeter/internal/store"
)

// ErrSuperseded is returned when another has taken over: who gets it has written nothing since.
var ErrSuperseded = errors.New("another process has taken over")

// errHeld says that somebody else was faster.
var errHeld = errors.New("another process has the lease")

// Config names a lease.
type Config struct {
	// Table is where its row stands, with the columns id, generation, holder and renewed_at. The row has the
	// id 1 and is there before anybody asks for it.
	Table string
	// What is at work, in the words of the log: "detector".
	What string
	// Age is how long its holder may not be heard of before one that stands by takes over.
	Age time.Duration
	// Home is a folder of this process' own on its machine: one that is killed and started again there goes on at
	// once, where it would wait for its own lease to run out. Empty: it waits.
	Home string
}

// Lease is one process' view of a lease. Update, Renew and Release may be called at the same time.
type Lease struct {
	cfg    Config
	db     *store.DB
	clock  clock.Clock
	logger *slog.Logger
	holder string // this process
	before string // one that is surely dead; empty where none is

	expect *int64 // the generation that Take takes over from; nil is any

	mu         sync.Mutex // one transaction of the holder's at a time: two would be in each other's way
	generation int64
	renewed    time.Time
}

// New returns a lease that nobody has asked for yet.
func New(cfg Config, db *store.DB, c clock.Clock, logger *slog.Logger) *Lease {
	return &Lease{cfg: cfg, db: db, clock: c, logger: logger, holder: newHolder()}
}

// seen is a lease as a standby has seen it, and since when it has not changed.
type seen struct {
	generation, renewedAt int64
	since                 time.Time
}

// StandBy waits until nobody renews the lease for cfg.Age, or its holder has given it back or is known to be dead, and opens. open calls
// Take in the transaction in which it reads what the holder before has written.
//
// Errors: ctx's. Others are logged, and it is tried again.
func (l *Lease) StandBy(ctx context.Context, open func(context.Context) error) error {
	var last seen
	for first := true; ; first = false {
		free, err := l.look(ctx, &last, first)
		if err == nil && free {
			if err = l.openFrom(ctx, last.generation, open); err == nil {
				l.logger.Info("this "+l.cfg.What+" is the active one", "generation", l.generation)
				return nil
			}
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, errHeld), store.IsConflict(err), store.IsDuplicate(err):
			l.logger.Info("another " + l.cfg.What + " was faster; this one stands by")
		case err != nil:
			l.logger.Error("the lease of the "+l.cfg.What+" cannot be read or taken; it will be tried again", "err", err)
		case first:
			l.logger.Info("another " + l.cfg.What + " is active; this one stands by")
		}
		if err := l.clock.Sleep(ctx, l.cfg.Age/6); err != nil {
			return err
		}
	}
}

// look reads the lease and says whether it is free.
func (l *Lease) look(ctx context.Context, last *seen, first bool) (free bool, err error) {
	now := l.clock.Now()
	var generation, renewedAt int64
	var holder string
	err = l.db.View(ctx, func(tx *store.Tx) error {
		return tx.QueryRow(ctx, `SELECT generation, holder, renewed_at FROM `+l.cfg.Table+` WHERE id = 1`).Scan(&generation, &holder, &renewedAt)
	})
	if err != nil {
		return false, err
	}
	if first || generation != last.generation || renewedAt != last.renewedAt {
		*last = seen{generation, renewedAt, now}
	}
	dead := l.before != "" && holder == l.before
	return renewedAt == 0 || dead || now.Sub(last.since) >= l.cfg.Age, nil
}

// openFrom opens if the lease is still that of a generation. Errors: errHeld, a conflict, the store's.
func (l *Lease) openFrom(ctx context.Context, generation int64, open func(context.Context) error) error {
	l.expect = &generation
	defer func() { l.expect = nil }()
	return open(ctx)
}

// Take takes the lease, from whomever has it. Errors: those of StandBy's open, sql.ErrNoRows where there is no row.
func (l *Lease) Take(ctx context.Context, tx *store.Tx) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var generation int64
	if err := tx.QueryRow(ctx, `SELECT generation FROM `+l.cfg.Table+` WHERE id = 1`).Scan(&generation); err != nil {
		if errors.Is(err, sql.ErrNoRows) {
			err = fmt.Errorf("the table %s is empty: %w", l.cfg.Table, err)
		}
		return err
	}
	if l.expect != nil && *l.expect != generation {
		return errHeld
	}
	l.generation, l.renewed = generation+1, l.clock.Now()
	n, err := tx.Exec(ctx, `UPDATE `+l.cfg.Table+` SET generation = ?, holder = ?, renewed_at = ? WHERE id = 1 AND generation = ?`,
		l.generation, l.holder, tx.Now.UnixNano(), generation)
	if err == nil && n != 1 {
		err = errHeld
	}
	return err
}

// Update runs f in a transaction that also renews the lease. Errors: ErrSuperseded, with which nothing is written;
// f's, the store's.
func (l *Lease) Update(ctx context.Context, f func(tx *store.Tx) error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.update(ctx, f)
}

func (l *Lease) update(ctx context.Context, f func(tx *store.Tx) error) error {
	now := l.clock.Now()
	err := l.db.Update(ctx, func(tx *store.Tx) error {
		if err := l.set(ctx, tx, tx.Now.UnixNano()); err != nil {
			return err
		}
		return f(tx)
	})
	if err == nil {
		l.renewed = now
	}
	return err
}

// Renew tells those who stand by that its holder is there, where that was not told for a while.
// Errors: ErrSuperseded, the store's.
func (l *Lease) Renew(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.clock.Now().Sub(l.renewed) < l.cfg.Age/3 {
		return nil
	}
	return l.confirm(ctx)
}

// Confirm renews the lease in any case: it asks the store, and not the clock, who has it. A machine that was suspended
// has a clock that stood still. Errors: those of Renew.
func (l *Lease) Confirm(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.confirm(ctx)
}

func (l *Lease) confirm(ctx context.Context) error {
	if err := l.update(ctx, func(*store.Tx) error { return nil }); err != nil {
		return fmt.Errorf("renew the lease of the %s: %w", l.cfg.What, err)
	}
	return nil
}

// Release gives the lease back, so that another takes over at once. Errors: ErrSuperseded, the store's.
func (l *Lease) Release(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.db.Update(ctx, func(tx *store.Tx) error { return l.set(ctx, tx, 0) })
	if err != nil {
		return fmt.Errorf("give back the lease of the %s: %w", l.cfg.What, err)
	}
	return nil
}

func (l *Lease) set(ctx context.Context, tx *store.Tx, renewedAt int64) error {
	n, err := tx.Exec(ctx, `UPDATE `+l.cfg.Table+` SET renewed_at = ? WHERE id = 1 AND generation = ?`, renewedAt, l.generation)
	if err == nil && n != 1 {
		err = ErrSuperseded
	}
	return err
}
