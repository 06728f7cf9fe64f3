package ledger

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"time"

	"hostmeter/internal/store"
	"hostmeter/schemas"
)

// The kinds of usage records.
const (
	RecordUsage      = "usage"
	RecordCorrection = "correction"
)

// MaxUsageRecords is the most that one call of UsageRecords returns.
const MaxUsageRecords = 10_000

// UsageRecords returns the records behind after, by Seq: at most limit, and MaxUsageRecords.
func (l *Ledger) UsageRecords(ctx context.Context, after int64, limit int) (records []schemas.UsageRecord, err error) {
	if limit < 1 || limit > MaxUsageRecords {
		limit = MaxUsageRecords
	}
	err = l.db.View(ctx, func(tx *store.Tx) (err error) {
		records, err = store.List(ctx, tx, scanRecord, `SELECT seq, id, kind, customer, service, meter, class, direction, period_from, period_to,
			from_at, to_at, octets, packets, variance_kib2, coverage, recorded_at, corrects
			FROM usage_record WHERE seq > ? ORDER BY seq LIMIT ?`, after, limit)
		return err
	})
	if err != nil {
		err = fmt.Errorf("read usage records: %w", err)
	}
	return records, err
}

// LastUsageRecord returns the number of the last record; 0 where there is none.
func (l *Ledger) LastUsageRecord(ctx context.Context) (seq int64, err error) {
	err = l.db.View(ctx, func(tx *store.Tx) error {
		return tx.QueryRow(ctx, `SELECT last_seq FROM usage_record_head WHERE id = 1`).Scan(&seq)
	})
	if err != nil {
		err = fmt.Errorf("read the end of the feed: %w", err)
	}
	return seq, err
}

func scanRecord(row store.Row) (r schemas.UsageRecord, err error) {
	var periodFrom, periodTo, from, to, recordedAt, varianceKiB2 int64
	var covered, corrects string
	err = row.Scan(&r.Seq, &r.ID, &r.Kind, &r.Customer, &r.Service, &r.Meter, &r.Class, &r.Direction, &periodFrom, &periodTo,
		&from, &to, &r.Octets, &r.Packets, &varianceKiB2, &covered, &recordedAt, &corrects)
	if err != nil {
		return r, err
	}
	at := func(nanoseconds int64) time.Time { return time.Unix(0, nanoseconds).UTC() }
	r.PeriodFrom, r.PeriodTo, r.From, r.To, r.RecordedAt = at(periodFrom), at(periodTo), at(from), at(to), at(recordedAt)
	r.OctetsStandardError = int64(math.Ceil(math.Sqrt(math.Abs(float64(varianceKiB2))) * 1024))
	if covered != "" {
		share, err := strconv.ParseFloat(covered, 64)
		if err != nil {
			return r, err
		}
		r.Coverage = &share
	}
	if corrects != "" {
		r.Corrects = &corrects
	}
	return r, nil
}
