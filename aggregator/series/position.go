package series

import (
	"context"
	"fmt"
	"strconv"

	"hostmeter/internal/store"
	"hostmeter/internal/stream"
)

// saved is what a restart needs of one collector: see the table series_position.
type saved struct {
	position, done, seen watermarks
	closed               int64
}

// readSaved returns what was saved, by collector.
func readSaved(ctx context.Context, tx *store.Tx) (map[string]saved, error) {
	states := make(map[string]saved)
	rows, err := tx.Query(ctx, `SELECT collector, log_id, shard, idx, done, seen, closed FROM series_position ORDER BY collector, log_id, shard`)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var collector, logID string
		var shard, index, done, seen, closed int64
		if err := rows.Scan(&collector, &logID, &shard, &index, &done, &seen, &closed); err != nil {
			return nil, err
		}
		id, err := strconv.ParseUint(logID, 16, 64)
		if err != nil {
			return nil, fmt.Errorf("log id %q: %w", logID, err)
		}
		s, known := states[collector]
		if !known {
			s = saved{position: watermarks{}, done: watermarks{}, seen: watermarks{}}
		}
		key := stream.Key{Collector: collector, LogID: id, Shard: uint32(shard)}
		s.position[key], s.done[key], s.seen[key] = uint64(index), uint64(done), uint64(seen)
		s.closed = max(s.closed, closed)
		states[collector] = s
	}
	return states, rows.Err()
}

// writeClosed saves where a restart begins, after minutes were closed and all their points written. writeSeen saves
// how far the log was read, before points are written.
const (
	writeClosed = `INSERT INTO series_position (collector, log_id, shard, seen, idx, done, closed) VALUES (?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (collector, log_id, shard) DO UPDATE SET seen = excluded.seen, idx = excluded.idx, done = excluded.done, closed = excluded.closed`
	writeSeen = `INSERT INTO series_position (collector, log_id, shard, seen, idx, done, closed) VALUES (?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (collector, log_id, shard) DO UPDATE SET seen = excluded.seen`
)

func writeEach(ctx context.Context, tx *store.Tx, states map[string]saved, query string) error {
	for _, s := range states {
		for id, seen := range s.seen {
			_, err := tx.Exec(ctx, query, id.Collector, fmt.Sprintf("%016x", id.LogID), int64(id.Shard),
				int64(seen), int64(s.position[id]), int64(s.done[id]), s.closed)
			if err != nil {
				return err
			}
		}
	}
	return nil
}
