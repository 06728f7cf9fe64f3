package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"time"

	statements "hostmeter/aggregator/statement" // in this package a statement is also one of SQL
	"hostmeter/internal/store"
	"hostmeter/internal/stream"
	"hostmeter/schemas"
)

// DeclareGap books that a part of a sequence is lost, and moves its watermark behind it. Whose usage it was nobody
// knows: it stands in the accounts of all exporters of which the collector told last.
//
// A gap that is behind the watermark already changes nothing. Errors: *HoleError for one that does not
// begin behind the watermark, and as Book.
func (l *Ledger) DeclareGap(ctx context.Context, gap *stream.GapError) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.memory.forget()
	err := l.db.Update(ctx, func(tx *store.Tx) error {
		m := &mark{}
		if err := m.read(ctx, tx, gap.Key); err != nil {
			return err
		}
		if gap.To <= m.index {
			return nil
		}
		if gap.From > m.index+1 {
			return &HoleError{Key: gap.Key, Booked: m.index, Index: gap.From}
		}
		_, err := tx.Exec(ctx, `INSERT INTO gap (collector, log_id, shard, from_idx, to_idx, declared_at) VALUES (?, ?, ?, ?, ?, ?)`,
			gap.Key.Collector, hexID(gap.Key.LogID), int64(gap.Key.Shard), int64(m.index+1), int64(gap.To), tx.Now.UnixNano())
		if err != nil {
			return err
		}
		if err := l.accountGap(ctx, tx, m, gap); err != nil {
			return err
		}
		m.index = gap.To
		return m.write(ctx, tx, gap.Key)
	})
	if err != nil {
		return fmt.Errorf("declare a gap in %s: %w", gap.Key, err)
	}
	return nil
}

// Gap is a part of the log that was lost before it was booked.
type Gap struct {
	stream.GapError
	DeclaredAt time.Time
}

// Gaps returns the declared gaps, the oldest first.
func (l *Ledger) Gaps(ctx context.Context) (gaps []Gap, err error) {
	err = l.db.View(ctx, func(tx *store.Tx) (err error) {
		gaps, err = store.List(ctx, tx, readGap, `SELECT collector, log_id, shard, from_idx, to_idx, declared_at FROM gap ORDER BY declared_at, collector, log_id, shard, from_idx`)
		return err
	})
	return gaps, err
}

func readGap(row store.Row) (g Gap, err error) {
	var logID string
	var shard, from, to, at int64
	if err := row.Scan(&g.Key.Collector, &logID, &shard, &from, &to, &at); err != nil {
		return g, err
	}
	if g.Key.LogID, err = strconv.ParseUint(logID, 16, 64); err != nil {
		return g, fmt.Errorf("gap of log %q: %w", logID, ErrCorrupt)
	}
	g.Key.Shard, g.From, g.To, g.DeclaredAt = uint32(shard), uint64(from), uint64(to), time.Unix(0, at).UTC()
	return g, nil
}

// accountGap adds the lost batches to the accounts of the exporters that the collector told of last and that were not
// silent, in the hour in which the batch before the gap was received: so evidence and completeness of that time show
// them. An exporter without any account has none that they could stand in.
func (l *Ledger) accountGap(ctx context.Context, tx *store.Tx, m *mark, gap *stream.GapError) error {
	told, at, err := lastTold(ctx, tx, gap.Key.Collector)
	if err != nil {
		return err
	}
	if m.toldAt == 0 { // nothing of this log was booked
		m.toldAt = at
	}
	b := newBooking(l, tx)
	for _, c := range told {
		if c.GetSilent() {
			continue
		}
		key := accountKey{exporter: c.GetExporter(), hour: max(m.toldAt-1, 0) / int64(time.Hour)} // the end of receipt is behind the last datagram
		err := tx.QueryRow(ctx, `SELECT protocol FROM exporter_hour WHERE exporter = ? AND hour <= ? ORDER BY hour DESC, protocol LIMIT 1`,
			key.exporter, key.hour).Scan(&key.protocol)
		if errors.Is(err, sql.ErrNoRows) {
			continue
		}
		if err != nil {
			return fmt.Errorf("find the account of %s: %w", key.exporter, err)
		}
		row, err := readAccount(ctx, tx, key)
		if err != nil {
			return err
		}
		row.counts["lost/"+statements.UnitBatches+"/"+statements.LostByLog] += int64(gap.To - m.index)
		b.accounts[key] = row
	}
	return b.writeAccounts(ctx)
}

// lastTold returns what a collector told last of the completeness of its exporters, and when its last batch was
// received.
func lastTold(ctx context.Context, tx *store.Tx, collector string) (told []*schemas.Completeness, at int64, err error) {
	newest := int64(-1)
	err = eachWatermark(ctx, tx, func(key stream.Key, _ uint64, toldAt int64, complete []byte) error {
		if key.Collector != collector {
			return nil
		}
		at = max(at, toldAt)
		if len(complete) == 0 || toldAt <= newest {
			return nil
		}
		batch, err := schemas.DecodeBatch(complete)
		if err != nil {
			return fmt.Errorf("completeness of %s: %w", key, ErrCorrupt)
		}
		newest, told = toldAt, batch.GetComplete()
		return nil
	})
	return told, at, err
}
