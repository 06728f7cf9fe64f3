package series

import (
	"context"
	"fmt"
	"strconv"

	"hostmeter/internal/store"
	"hostmeter/internal/stream"
)

// saved is what a restart needs: see the table series_position.
type saved struct {
	position, done watermarks
	closed         int64
}

func readSaved(ctx context.Context, db *store.DB) (saved, error) {
	s := saved{position: watermarks{}, done: watermarks{}}
	err := db.View(ctx, func(tx *store.Tx) error {
		rows, err := tx.Query(ctx, `SELECT collector, log_id, shard, idx, done, closed FROM series_position`)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var collector, logID string
			var shard, index, done int64
			if err := rows.Scan(&collector, &logID, &shard, &index, &done, &s.closed); err != nil {
				return err
			}
			id, err := strconv.ParseUint(logID, 16, 64)
			if err != nil {
				return fmt.Errorf("log id %q: %w", logID, err)
			}
			key := stream.Key{Collector: collector, LogID: id, Shard: uint32(shard)}
			s.position[key], s.done[key] = uint64(index), uint64(done)
		}
		return rows.Err()
	})
	return s, err
}

func writeSaved(ctx context.Context, db *store.DB, s saved) error {
	return db.Update(ctx, func(tx *store.Tx) error {
		for id, done := range s.done {
			_, err := tx.Exec(ctx, `INSERT INTO series_position (collector, log_id, shard, idx, done, closed) VALUES (?, ?, ?, ?, ?, ?)
				ON CONFLICT (collector, log_id, shard) DO UPDATE SET idx = excluded.idx, done = excluded.done, closed = excluded.closed`,
				id.Collector, fmt.Sprintf("%016x", id.LogID), int64(id.Shard), int64(s.position[id]), int64(done), s.closed)
			if err != nil {
				return err
			}
		}
		return nil
	})
}
