package series

import (
	"context"
	"fmt"
	"strconv"

	"hostmeter/internal/store"
	"hostmeter/internal/stream"
)

func readPosition(ctx context.Context, db *store.DB) (watermarks, error) {
	position := watermarks{}
	err := db.View(ctx, func(tx *store.Tx) error {
		rows, err := tx.Query(ctx, `SELECT collector, log_id, shard, idx FROM series_position`)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var collector, logID string
			var shard, index int64
			if err := rows.Scan(&collector, &logID, &shard, &index); err != nil {
				return err
			}
			id, err := strconv.ParseUint(logID, 16, 64)
			if err != nil {
				return fmt.Errorf("log id %q: %w", logID, err)
			}
			position[stream.Key{Collector: collector, LogID: id, Shard: uint32(shard)}] = uint64(index)
		}
		return rows.Err()
	})
	return position, err
}

func writePosition(ctx context.Context, db *store.DB, position watermarks) error {
	return db.Update(ctx, func(tx *store.Tx) error {
		for id, index := range position {
			_, err := tx.Exec(ctx, `INSERT INTO series_position (collector, log_id, shard, idx) VALUES (?, ?, ?, ?)
				ON CONFLICT (collector, log_id, shard) DO UPDATE SET idx = excluded.idx`,
				id.Collector, fmt.Sprintf("%016x", id.LogID), int64(id.Shard), int64(index))
			if err != nil {
				return err
			}
		}
		return nil
	})
}
