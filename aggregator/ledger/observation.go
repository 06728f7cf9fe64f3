package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"time"

	"hostmeter/internal/store"
)

// Observation numbers what was told of exporters' minutes after their hour was sealed: 1, 2, 3 ... without a hole, in
// the order in which it was booked.
type Observation int64

// lateObservation is that minutes of an account were observed, which was not known when their hour was sealed.
type lateObservation struct {
	accountKey
	minutes uint64
}

// writeObservations numbers the minutes that are new in accounts of sealed hours.
func (b *booking) writeObservations(ctx context.Context) error {
	var late []lateObservation
	hold := false
	for _, key := range sortedAccounts(b.accounts) {
		r := b.accounts[key]
		minutes := r.minutes &^ r.told
		switch {
		case minutes == 0:
		case key.hour < b.frontier:
			late = append(late, lateObservation{key, minutes})
		case !hourTime(key.hour + 1).Add(b.l.cfg.Settle).After(b.tx.Now):
			hold = true
		}
	}
	if hold {
		if err := b.holdFrontier(ctx); err != nil {
			return err
		}
	}
	if len(late) == 0 {
		return nil
	}
	last, err := takeNumbers(ctx, b.tx, "observation", int64(len(late)))
	if err != nil {
		return err
	}
	into := newInserter(b.tx, "late_observation", []string{"observation", "booked_at", "exporter", "hour", "protocol", "minutes"})
	for i, o := range late {
		into.row(last-int64(len(late))+int64(i)+1, b.tx.Now.UnixNano(), o.exporter, o.hour, o.protocol, int64(o.minutes))
		if err := into.flush(ctx, rowsPerStatement); err != nil {
			return err
		}
	}
	return into.flush(ctx, 1)
}

// holdFrontier keeps hours from being sealed until the booking is committed, and fails as a conflict where some were since
// it began: accounts alone write no rows of a part, by which sealing would see it. It is for hours that are due. SQLite has
// one writer at a time.
func (b *booking) holdFrontier(ctx context.Context) error {
	if b.tx.Dialect != store.PostgreSQL {
		return nil
	}
	var frontier int64
	err := b.tx.QueryRow(ctx, `SELECT value FROM ledger_state WHERE name = 'sealed_through' FOR SHARE`).Scan(&frontier)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	return err
}

// observedAfter returns the minutes of an exporter in the hours of [from, to) that were told late with a greater number
// than through; none where it is nil.
func observedAfter(ctx context.Context, tx *store.Tx, exporter string, from, to time.Time, through *Observation) (map[accountKey]uint64, error) {
	if through == nil {
		return nil, nil
	}
	first, last := hourBounds(from, to)
	rows, err := tx.Query(ctx, `SELECT hour, protocol, minutes FROM late_observation WHERE exporter = ? AND hour >= ? AND hour < ? AND observation > ?`,
		exporter, first, last, int64(*through))
	if err != nil {
		return nil, fmt.Errorf("read late observations of %s: %w", exporter, err)
	}
	defer rows.Close()
	minutes := map[accountKey]uint64{}
	for rows.Next() {
		key := accountKey{exporter: exporter}
		var late int64
		if err := rows.Scan(&key.hour, &key.protocol, &late); err != nil {
			return nil, fmt.Errorf("read late observations of %s: %w", exporter, err)
		}
		minutes[key] |= uint64(late)
	}
	return minutes, rows.Err()
}

// observations checks that late observations are numbered without a hole, lie in sealed hours, and are in their accounts.
func (v *verifier) observations(ctx context.Context, tx *store.Tx) error {
	s, err := readState(ctx, tx)
	if err != nil {
		return err
	}
	rows, err := tx.Query(ctx, `SELECT o.observation, o.exporter, o.protocol, o.hour, o.minutes, COALESCE(a.minutes_observed, 0) FROM late_observation AS o
		LEFT JOIN exporter_hour AS a ON a.exporter = o.exporter AND a.hour = o.hour AND a.protocol = o.protocol ORDER BY o.observation`)
	if err != nil {
		return fmt.Errorf("read late observations: %w", err)
	}
	defer rows.Close()
	last := int64(0)
	for rows.Next() {
		var o lateObservation
		var number, minutes, observed int64
		if err := rows.Scan(&number, &o.exporter, &o.protocol, &o.hour, &minutes, &observed); err != nil {
			return fmt.Errorf("read late observations: %w", err)
		}
		if number != last+1 && s.hoursPruned == math.MinInt64 { // what has gone leaves holes
			v.find("observations", "late observation %d follows %d: what was between is missing", number, last)
		}
		if minutes&^observed != 0 || o.hour >= s.sealedThrough {
			v.find("observations", "late observation %d of %s (%s), hour %s: its minutes are not in the account, or the hour is not sealed",
				number, o.exporter, o.protocol, hourTime(o.hour).Format(time.RFC3339))
		}
		last = number
	}
	if last != s.observation && s.hoursPruned == math.MinInt64 {
		v.find("observations", "the last late observation is %d, and %d numbers were given", last, s.observation)
	}
	return rows.Err()
}
