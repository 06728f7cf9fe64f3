package ledger

import (
	"context"
	"database/sql"
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

// UsageRecord is what a billing system is told of a service's usage, once. The truth about a span is the
// sum of its records: a correction holds the signed difference to what was told before.
type UsageRecord struct {
	// Seq is dense and in the order of the commits: who keeps the last one misses nothing.
	Seq  int64
	ID   string
	Kind string // usage or correction

	Customer, Service string
	Meter             schemas.MeterID
	Class             string
	Direction         string // in or out
	// PeriodFrom and PeriodTo are the billing period that the usage is in.
	PeriodFrom, PeriodTo time.Time
	// From and To are a UTC day, cut where the period or the ownership begins or ends.
	From, To        time.Time
	Octets, Packets int64
	// OctetsStandardError is that of Octets as an estimate, in whole octets.
	OctetsStandardError int64
	// Coverage is nil where no exporter accounts for the meter.
	Coverage   *float64
	RecordedAt time.Time
	// Corrects is the ID of the span's first record; empty for that one itself.
	Corrects string

	varianceKiB2 int64
}

// MaxUsageRecords is the most that one call of UsageRecords returns.
const MaxUsageRecords = 10_000

// UsageRecords returns the records behind after, by Seq: at most limit, and MaxUsageRecords.
func (l *Ledger) UsageRecords(ctx context.Context, after int64, limit int) (records []UsageRecord, err error) {
	if limit < 1 || limit > MaxUsageRecords {
		limit = MaxUsageRecords
	}
	err = l.db.View(ctx, func(tx *store.Tx) error {
		rows, err := tx.Query(ctx, `SELECT seq, id, kind, customer, service, meter, class, direction, period_from, period_to,
			from_at, to_at, octets, packets, variance_kib2, coverage, recorded_at, corrects
			FROM usage_record WHERE seq > ? ORDER BY seq LIMIT ?`, after, limit)
		if err != nil {
			return fmt.Errorf("read usage records: %w", err)
		}
		defer rows.Close()
		for rows.Next() {
			record, err := scanRecord(rows)
			if err != nil {
				return fmt.Errorf("read usage records: %w", err)
			}
			records = append(records, record)
		}
		return rows.Err()
	})
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

func scanRecord(rows *sql.Rows) (r UsageRecord, err error) {
	var periodFrom, periodTo, from, to, recordedAt int64
	var covered string
	err = rows.Scan(&r.Seq, &r.ID, &r.Kind, &r.Customer, &r.Service, &r.Meter, &r.Class, &r.Direction, &periodFrom, &periodTo,
		&from, &to, &r.Octets, &r.Packets, &r.varianceKiB2, &covered, &recordedAt, &r.Corrects)
	if err != nil {
		return r, err
	}
	at := func(nanoseconds int64) time.Time { return time.Unix(0, nanoseconds).UTC() }
	r.PeriodFrom, r.PeriodTo, r.From, r.To, r.RecordedAt = at(periodFrom), at(periodTo), at(from), at(to), at(recordedAt)
	r.OctetsStandardError = int64(math.Ceil(math.Sqrt(math.Abs(float64(r.varianceKiB2))) * 1024))
	if covered != "" {
		share, err := strconv.ParseFloat(covered, 64)
		if err != nil {
			return r, err
		}
		r.Coverage = &share
	}
	return r, nil
}
