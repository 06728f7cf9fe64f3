package detector

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"hostmeter/internal/store"
)

// The lease says which detector is active. It keeps two from doing the same work; what keeps the books right is its
// generation, which whoever takes over moves on and every checkpoint compares: a detector that was paused and wakes
// up writes nothing, whatever the clocks say.

// errHeld says that somebody else was faster.
var errHeld = errors.New("another detector has the lease")

// seenLease is a lease as a standby has seen it, and since when it has not changed, by the standby's own clock: the
// clocks of two machines are never compared.
type seenLease struct {
	generation, renewedAt int64
	since                 time.Time
}

// standBy waits until nobody renews the lease for cfg.Lease, or its holder has given it back or is known to be dead,
// and opens.
func (d *Detector) standBy(ctx context.Context) error {
	var seen seenLease
	for first := true; ; first = false {
		free, err := d.look(ctx, &seen, first)
		if err == nil && free {
			d.opened = false
			err = d.take(ctx, seen.generation)
			if err == nil {
				return nil
			}
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, errHeld), store.IsConflict(err), store.IsDuplicate(err):
			d.deps.Logger.Info("another detector was faster; this one stands by")
		case err != nil:
			d.deps.Logger.Error("the detectors' lease cannot be read; it will be tried again", "err", err)
		case first && !free:
			d.deps.Logger.Info("another detector is active; this one stands by")
		}
		if err := d.deps.Clock.Sleep(ctx, d.cfg.Lease/6); err != nil {
			return err
		}
	}
}

// look reads the lease and says whether it is free.
func (d *Detector) look(ctx context.Context, seen *seenLease, first bool) (free bool, err error) {
	now := d.deps.Clock.Now()
	var generation, renewedAt int64
	var holder string
	err = d.deps.DB.View(ctx, func(tx *store.Tx) error {
		err := tx.QueryRow(ctx, `SELECT generation, holder, renewed_at FROM detector_lease WHERE id = 1`).Scan(&generation, &holder, &renewedAt)
		if errors.Is(err, sql.ErrNoRows) {
			generation, renewedAt, err = 0, 0, nil
		}
		return err
	})
	if err != nil {
		return false, fmt.Errorf("read the detectors' lease: %w", err)
	}
	if first || generation != seen.generation || renewedAt != seen.renewedAt {
		*seen = seenLease{generation, renewedAt, now}
	}
	dead := d.before != "" && holder == d.before
	return renewedAt == 0 || dead || now.Sub(seen.since) >= d.cfg.Lease, nil
}

// take opens if the lease is still that of a generation. Errors: errHeld, a conflict, the store's.
func (d *Detector) take(ctx context.Context, generation int64) error {
	d.expect = &generation
	defer func() { d.expect = nil }()
	return d.Open(ctx)
}

// renew tells those who stand by that this detector is there. Errors: ErrSuperseded.
func (d *Detector) renew(ctx context.Context) error {
	now := d.deps.Clock.Now()
	if !d.deps.Standby || now.Sub(d.renewedAt) < d.cfg.Lease/3 {
		return nil
	}
	err := d.setRenewed(ctx, func(tx *store.Tx) int64 { return tx.Now.UnixNano() })
	if err == nil {
		d.renewedAt = now
	}
	return err
}

// release gives the lease back, so that another takes over at once.
func (d *Detector) release(ctx context.Context) error {
	if !d.deps.Standby {
		return nil
	}
	return d.setRenewed(ctx, func(*store.Tx) int64 { return 0 })
}

func (d *Detector) setRenewed(ctx context.Context, at func(tx *store.Tx) int64) error {
	err := d.deps.DB.Update(ctx, func(tx *store.Tx) error {
		n, err := tx.Exec(ctx, `UPDATE detector_lease SET renewed_at = ? WHERE id = 1 AND generation = ?`, at(tx), d.generation)
		if err == nil && n != 1 {
			err = ErrSuperseded
		}
		return err
	})
	if err != nil {
		err = fmt.Errorf("renew the detectors' lease: %w", err)
	}
	return err
}
