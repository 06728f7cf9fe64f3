package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"google.golang.org/protobuf/proto"

	"hostmeter/internal/failpoint"
	"hostmeter/internal/store"
	"hostmeter/internal/stream"
	"hostmeter/schemas"
)

// Watermarks returns how far each sequence has been booked, and makes the ledger forget what it
// believed: it is the beginning of an ownership, and of a new one after an error of Book.
func (l *Ledger) Watermarks(ctx context.Context) (stream.Watermarks, error) {
	l.mu.Lock()
	l.memory.forget()
	l.mu.Unlock()
	return l.ReadWatermarks(ctx)
}

// ReadWatermarks returns how far each sequence has been booked, for one who does not book.
func (l *Ledger) ReadWatermarks(ctx context.Context) (stream.Watermarks, error) {
	marks := make(stream.Watermarks)
	err := l.db.View(ctx, func(tx *store.Tx) error {
		return eachWatermark(ctx, tx, func(key stream.Key, index uint64, _ int64, _ []byte) error {
			marks[key] = index
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("read watermarks: %w", err)
	}
	return marks, nil
}

func eachWatermark(ctx context.Context, tx *store.Tx, f func(key stream.Key, index uint64, toldAt int64, complete []byte) error) error {
	rows, err := tx.Query(ctx, `SELECT collector, log_id, shard, idx, told_at, complete FROM watermark`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var key stream.Key
		var logID string
		var shard, index, toldAt int64
		var complete []byte
		if err := rows.Scan(&key.Collector, &logID, &shard, &index, &toldAt, &complete); err != nil {
			return err
		}
		if key.LogID, err = strconv.ParseUint(logID, 16, 64); err != nil {
			return fmt.Errorf("watermark of log %q: %w", logID, ErrCorrupt)
		}
		key.Shard = uint32(shard)
		if err := f(key, uint64(index), toldAt, complete); err != nil {
			return err
		}
	}
	return rows.Err()
}

// read reads a watermark; a sequence without one is at 0.
func (m *mark) read(ctx context.Context, tx *store.Tx, key stream.Key) error {
	var index int64
	err := tx.QueryRow(ctx, `SELECT idx, told_at FROM watermark WHERE collector = ? AND log_id = ? AND shard = ?`,
		key.Collector, hexID(key.LogID), int64(key.Shard)).Scan(&index, &m.toldAt)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the watermark of %s: %w", key, err)
	}
	m.known, m.expected, m.index = true, uint64(index), uint64(index)
	return nil
}

// write moves a watermark from what was expected. Errors: ErrOvertaken.
func (m *mark) write(ctx context.Context, tx *store.Tx, key stream.Key) error {
	var complete any // NULL leaves what is there
	if len(m.complete) > 0 {
		data, err := proto.Marshal(&schemas.Batch{Complete: m.complete})
		if err != nil {
			return err
		}
		complete = data
	}
	var n int64
	var err error
	if m.known {
		n, err = tx.Exec(ctx, `UPDATE watermark SET idx = ?, told_at = ?, complete = COALESCE(?, complete)
			WHERE collector = ? AND log_id = ? AND shard = ? AND idx = ?`,
			int64(m.index), m.toldAt, complete, key.Collector, hexID(key.LogID), int64(key.Shard), int64(m.expected))
	} else {
		n, err = tx.Exec(ctx, `INSERT INTO watermark (collector, log_id, shard, idx, told_at, complete) VALUES (?, ?, ?, ?, ?, ?)
			ON CONFLICT (collector, log_id, shard) DO NOTHING`,
			key.Collector, hexID(key.LogID), int64(key.Shard), int64(m.index), m.toldAt, complete)
	}
	if err != nil {
		return err
	}
	if n == 0 {
		return fmt.Errorf("%s: %w", key, ErrOvertaken)
	}
	return nil
}

// writeMarks moves the watermarks that the batches moved, and asserts those that they did not: a
// duplicate in the eyes of an owner who was overtaken is told so too.
func (b *booking) writeMarks(ctx context.Context) error {
	for _, key := range sortedKeys(b.marks) {
		m := b.marks[key]
		if m.index == m.expected || failpoint.Fault(failpoint.ForgetWatermark) {
			continue
		}
		if err := m.write(ctx, b.tx, key); err != nil {
			return err
		}
	}
	return nil
}

func sortedKeys[V any](m map[stream.Key]V) []stream.Key {
	return slices.SortedFunc(maps.Keys(m), func(a, b stream.Key) int {
		switch x, y := a.String(), b.String(); {
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return 0
	})
}

// RefusedBatch is a batch that broke an invariant: nothing of it is booked.
type RefusedBatch struct {
	Key       stream.Key
	Index     uint64
	RefusedAt time.Time
	Reason    string
	// Size of the batch in bytes.
	Size int64
}

// RefusedBatches returns what was refused, the oldest first.
func (l *Ledger) RefusedBatches(ctx context.Context) ([]RefusedBatch, error) {
	var refused []RefusedBatch
	err := l.db.View(ctx, func(tx *store.Tx) error {
		rows, err := tx.Query(ctx, `SELECT collector, log_id, shard, idx, refused_at, reason, length(batch) FROM refused_batch ORDER BY refused_at, collector, log_id, shard, idx`)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var r RefusedBatch
			var logID string
			var shard, index, at int64
			if err := rows.Scan(&r.Key.Collector, &logID, &shard, &index, &at, &r.Reason, &r.Size); err != nil {
				return err
			}
			if r.Key.LogID, err = strconv.ParseUint(logID, 16, 64); err != nil {
				return fmt.Errorf("refused batch of log %q: %w", logID, ErrCorrupt)
			}
			r.Key.Shard, r.Index, r.RefusedAt = uint32(shard), uint64(index), time.Unix(0, at).UTC()
			refused = append(refused, r)
		}
		return rows.Err()
	})
	return refused, err
}
