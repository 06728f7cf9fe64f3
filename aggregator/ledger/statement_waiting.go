package ledger

import (
	"context"
	"fmt"
	"slices"
	"time"

	"hostmeter/aggregator/rating"
	"hostmeter/internal/store"
)

// waitingPeriod is a closed period whose adjustment could not be computed: it is tried again at each closing.
type waitingPeriod struct {
	service string
	from    int64 // nanoseconds
}

func waitingOf(t *target) waitingPeriod {
	return waitingPeriod{t.contract.Service, t.period.From.UnixNano()}
}

// span is an instant of the period.
func (w waitingPeriod) span() changedSpan {
	from := time.Unix(0, w.from).UTC()
	return changedSpan{Period: rating.Period{From: from, To: from.Add(1)}, service: w.service}
}

func readWaiting(ctx context.Context, tx *store.Tx) ([]waitingPeriod, error) {
	list, err := store.List(ctx, tx, func(row store.Row) (w waitingPeriod, err error) {
		err = row.Scan(&w.service, &w.from)
		return w, err
	}, `SELECT service, period_from FROM statement_waiting ORDER BY service, period_from`)
	if err != nil {
		err = fmt.Errorf("read periods that wait: %w", err)
	}
	return list, err
}

// writeWaiting makes the list after of the list before.
func writeWaiting(ctx context.Context, tx *store.Tx, before, after []waitingPeriod) error {
	f := func(query string, list, but []waitingPeriod) error {
		for _, w := range list {
			if slices.Contains(but, w) {
				continue
			}
			if _, err := tx.Exec(ctx, query, w.service, w.from); err != nil {
				return fmt.Errorf("write period of %s that waits: %w", w.service, err)
			}
		}
		return nil
	}
	if err := f(`DELETE FROM statement_waiting WHERE service = ? AND period_from = ?`, before, after); err != nil {
		return err
	}
	return f(`INSERT INTO statement_waiting (service, period_from) VALUES (?, ?)`, after, before)
}
