package incident

import (
	"context"
	"fmt"
	"time"

	"hostmeter/internal/store"
)

// pruneMost bounds a transaction of Prune.
const pruneMost = 1000

// Prune deletes the incidents that were resolved before a time, with what became of them and their
// notifications, and returns how many. With dryRun it only counts them. An open incident stays, however old.
func (s *Store) Prune(ctx context.Context, before time.Time, dryRun bool) (n int64, err error) {
	const old = ` WHERE resolved_at IS NOT NULL AND resolved_at < ?`
	if dryRun {
		err = s.db.View(ctx, func(tx *store.Tx) error {
			return tx.QueryRow(ctx, `SELECT COUNT(*) FROM incident`+old, before.UnixNano()).Scan(&n)
		})
		return n, wrapPrune(err)
	}
	for {
		var some int64
		err := s.db.Update(ctx, func(tx *store.Tx) (err error) {
			const these = `(SELECT id FROM incident` + old + ` ORDER BY resolved_at, id LIMIT ?)`
			for _, table := range []string{"incident_event", "notification"} {
				if _, err := tx.Exec(ctx, `DELETE FROM `+table+` WHERE incident IN `+these, before.UnixNano(), pruneMost); err != nil {
					return err
				}
			}
			some, err = tx.Exec(ctx, `DELETE FROM incident WHERE id IN `+these, before.UnixNano(), pruneMost)
			return err
		})
		n += some
		if err != nil || some < pruneMost {
			return n, wrapPrune(err)
		}
	}
}

func wrapPrune(err error) error {
	if err != nil {
		err = fmt.Errorf("prune incidents: %w", err)
	}
	return err
}
