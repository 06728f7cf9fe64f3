package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/big"
	"time"

	"hostmeter/internal/store"
	"hostmeter/schemas"
)

// accountsSide is one half of the books that accounts and meters are compared in: what flow records told, and
// the counters of ports and vNICs, which have accounts and a class of their own.
type accountsSide struct{ name, short, protocols, class string }

const flowProtocols = " IN ('netflow5', 'netflow9', 'ipfix', 'sflow5')"

var accountsSides = []accountsSide{
	{"flow records", "flows", "protocol" + flowProtocols, "class <> '" + schemas.ClassPort + "'"},
	{"counters", "counters", "protocol NOT" + flowProtocols, "class = '" + schemas.ClassPort + "'"},
}

// booked adds up what the exporters' accounts booked, where a condition holds; what pruning took is not in it.
func (s accountsSide) booked(ctx context.Context, tx *store.Tx, where string, args ...any) (*big.Int, error) {
	return addUp(ctx, tx, "SELECT octets_once, octets_both, octets_both FROM exporter_hour WHERE "+s.protocols+" AND "+where, args...)
}

// metered adds up what stands at the meters, late entries included.
func (s accountsSide) metered(ctx context.Context, tx *store.Tx, where string, args ...any) (*big.Int, error) {
	return addUp(ctx, tx, "SELECT CAST(SUM(in_octets) AS BIGINT), CAST(SUM(out_octets) AS BIGINT), CAST(0 AS BIGINT) FROM usage_hour WHERE "+s.class+" AND "+where+" GROUP BY hour, part"+
		" UNION ALL SELECT in_octets, out_octets, CAST(0 AS BIGINT) FROM late_entry WHERE "+s.class+" AND "+where, append(args, args...)...)
}

// rememberPruned adds what is in the hours before to, and goes now, to what has gone before.
func rememberPruned(ctx context.Context, tx *store.Tx, to int64) error {
	for _, side := range accountsSides {
		for name, sum := range map[string]func(context.Context, *store.Tx, string, ...any) (*big.Int, error){"accounts/": side.booked, "meters/": side.metered} {
			more, err := sum(ctx, tx, "hour < ?", to)
			if err != nil {
				return err
			}
			if err := addPruned(ctx, tx, name+side.short, more); err != nil {
				return err
			}
		}
	}
	for late, counter := range map[string]string{"late_entry": "pruned_bookings", "late_guest": "pruned_guest_bookings"} {
		_, err := tx.Exec(ctx, `INSERT INTO ledger_state (name, value) VALUES (?, (SELECT COUNT(*) FROM `+late+` WHERE hour < ?))
			ON CONFLICT (name) DO UPDATE SET value = ledger_state.value + excluded.value`, counter, to)
		if err != nil {
			return fmt.Errorf("count late entries: %w", err)
		}
	}
	return nil
}

func addPruned(ctx context.Context, tx *store.Tx, name string, more *big.Int) error {
	sum, err := prunedOctets(ctx, tx, name)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `INSERT INTO pruned_octets (name, octets) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET octets = excluded.octets`,
		name, sum.Add(sum, more).String())
	return err
}

// prunedOctets returns the octets of what has gone.
func prunedOctets(ctx context.Context, tx *store.Tx, name string) (*big.Int, error) {
	var text string
	err := tx.QueryRow(ctx, `SELECT octets FROM pruned_octets WHERE name = ?`, name).Scan(&text)
	if errors.Is(err, sql.ErrNoRows) {
		return new(big.Int), nil
	}
	if err != nil {
		return nil, fmt.Errorf("read what was pruned: %w", err)
	}
	sum, ok := new(big.Int).SetString(text, 10)
	if !ok {
		return nil, fmt.Errorf("pruned octets of %s are %q: %w", name, text, ErrCorrupt)
	}
	return sum, nil
}

// statements takes statements from the front of the chain, and usage records from the front of the feed, whose
// hours have gone and which are old enough.
func (p *pruning) statements(ctx context.Context) error {
	gone := p.hoursAt
	if p.hoursTo > gone {
		gone = p.hoursTo
	}
	if !p.pruneStatements || gone <= 0 {
		return nil
	}
	before := hourTime(gone).UnixNano()
	run := func(f func(tx *store.Tx) error) error {
		if p.dryRun {
			return p.l.db.View(ctx, f)
		}
		return p.l.retry(ctx, f)
	}
	var rows int64
	if err := run(func(tx *store.Tx) (err error) {
		rows, err = p.takeStatements(ctx, tx, before)
		return err
	}); err != nil {
		return err
	}
	p.done.Statements.Rows = rows
	if rows > 0 {
		p.done.Statements.Before = time.Unix(0, before).UTC()
	}
	return nil
}

func (p *pruning) takeStatements(ctx context.Context, tx *store.Tx, before int64) (rows int64, err error) {
	closed := p.statementsClosed.UnixNano()
	var first int64 // that stays
	err = tx.QueryRow(ctx, `SELECT COALESCE(MIN(number), (SELECT number + 1 FROM statement_head WHERE id = 1)) FROM statement WHERE period_to > ? OR closed_at >= ?`, before, closed).Scan(&first)
	if err != nil {
		return 0, err
	}
	if !p.dryRun {
		_, err := tx.Exec(ctx, `UPDATE statement_head SET pruned_number = ?, pruned_hash = (SELECT hash FROM statement WHERE number = ?)
			WHERE id = 1 AND EXISTS (SELECT 1 FROM statement WHERE number = ?)`, first-1, first-1, first-1)
		if err != nil {
			return 0, err
		}
	}
	if rows, err = p.take(ctx, tx, "statement", "number < ?", first); err != nil {
		return rows, err
	}
	n, err := p.take(ctx, tx, "usage_record", `seq < (SELECT COALESCE(MIN(seq), (SELECT last_seq + 1 FROM usage_record_head WHERE id = 1)) FROM usage_record WHERE to_at > ? OR recorded_at >= ?)`, before, closed)
	return rows + n, err
}
