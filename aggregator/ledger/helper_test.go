package ledger

import (
	"context"
	"encoding/json"
	"fmt"
	"sort"
	"time"

	"hostmeter/internal/store"
	"hostmeter/schemas"
)

// start is the beginning of the tests' usage.
var start = time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC)

const testShards = 4

// failer is a *testing.T or a *rapid.T.
type failer interface {
	Helper()
	Fatal(args ...any)
	Errorf(format string, args ...any)
}

// testBatch makes a batch that says it was received at start plus an hour.
func testBatch(collector string, logID uint64, shard uint32, index uint64, tallies ...*schemas.Tally) *schemas.Batch {
	return &schemas.Batch{
		Collector: collector, LogId: logID, Shard: shard, Index: index, Shards: testShards,
		ReceivedFrom: start.UnixNano(), ReceivedTo: start.Add(time.Hour).UnixNano(),
		Exporters: []string{"192.0.2.250"}, Classes: []string{schemas.ClassExternal, schemas.ClassInternal},
		Tallies: tallies,
	}
}

// testTally makes a tally of minute minutes after start.
func testTally(meter string, minute int64, in, out uint64) *schemas.Tally {
	t := &schemas.Tally{Meter: meter, Minute: start.Unix()/60 + minute}
	if in > 0 {
		t.In = &schemas.Traffic{Octets: in, Packets: in/1000 + 1, Flows: 1, VarianceKib2: in / 7}
	}
	if out > 0 {
		t.Out = &schemas.Traffic{Octets: out, Packets: out/1000 + 1, Flows: 1}
	}
	return t
}

// meterIn returns a meter of a shard.
func meterIn(shard uint32, n int) string {
	for i := 0; ; i++ {
		meter := fmt.Sprintf("address:10.%d.%d.%d", n, i/256, i%256)
		if schemas.ShardOf(meter, testShards) == shard {
			return meter
		}
	}
}

func mustBook(t failer, l *Ledger, batches ...*schemas.Batch) Booked {
	t.Helper()
	booked, err := l.Book(context.Background(), batches)
	if err != nil {
		t.Fatal(err)
	}
	return booked
}

// allRows reads every row, late entries added in.
func allRows(t failer, l *Ledger, q Query) []UsageRow {
	t.Helper()
	var list []UsageRow
	err := l.Rows(context.Background(), q, func(r UsageRow) error {
		list = append(list, r)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func allDays(t failer, l *Ledger, q Query) []UsageRow {
	t.Helper()
	var list []UsageRow
	err := l.Days(context.Background(), q, func(r UsageRow) error {
		list = append(list, r)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// tablesOfUsage are what the canonical form of a ledger is made of, without times of booking.
var tablesOfUsage = []string{
	"SELECT 'watermark', collector, log_id, shard, idx, told_at FROM watermark",
	"SELECT 'usage', hour, part, meter, class, " + columns(tables[usageTable].sums) + ", slots FROM usage_hour",
	"SELECT 'guest_hour', hour, part, guest, " + columns(tables[guestTable].sums) + ", slots FROM guest_hour",
	"SELECT 'guest', guest, host, name, vcpus, state, seen_at FROM guest",
	"SELECT 'late', collector, log_id, shard, idx, hour, part, meter, class, " + columns(tables[usageTable].sums) + ", slots FROM late_entry",
	"SELECT 'late guest', collector, log_id, shard, idx, hour, part, guest, " + columns(tables[guestTable].sums) + ", slots FROM late_guest",
	"SELECT 'sealed', hour FROM sealed_hour",
	"SELECT 'day', day, part, meter, class, " + columns(tables[usageTable].sums) + " FROM usage_day",
	"SELECT 'account', exporter, hour, protocol, minutes_observed, " + columns(accountColumns) + ", counts FROM exporter_hour",
	"SELECT 'refused', collector, log_id, shard, idx, reason, batch FROM refused_batch",
	"SELECT 'gap', collector, log_id, shard, from_idx, to_idx FROM gap",
}

// canonical returns all rows of the ledger as text, sorted.
func canonical(t failer, db *store.DB) []string {
	t.Helper()
	var lines []string
	err := db.View(context.Background(), func(tx *store.Tx) error {
		for _, query := range tablesOfUsage {
			rows, err := tx.Query(context.Background(), query)
			if err != nil {
				return fmt.Errorf("%s: %w", query, err)
			}
			names, _ := rows.Columns()
			for rows.Next() {
				values := make([]any, len(names))
				into := make([]any, len(names))
				for i := range values {
					into[i] = &values[i]
				}
				if err := rows.Scan(into...); err != nil {
					return err
				}
				line, err := json.Marshal(values)
				if err != nil {
					return err
				}
				lines = append(lines, string(line))
			}
			if err := rows.Err(); err != nil {
				return err
			}
			_ = rows.Close()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	sort.Strings(lines)
	return lines
}

// verifyClean fails the test where the books do not add up.
func verifyClean(t failer, l *Ledger, settled bool) {
	t.Helper()
	findings, err := l.Verify(context.Background(), settled)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range findings {
		t.Errorf("%s: %s", f.Law, f.Text)
	}
}

// truncate empties the ledger's tables.
func truncate(t failer, db *store.DB) {
	t.Helper()
	err := db.Update(context.Background(), func(tx *store.Tx) error {
		for _, table := range []string{
			"ledger_state", "ledger_part", "watermark", "usage_hour", "guest_hour", "guest", "late_entry", "late_guest",
			"sealed_hour", "usage_day", "exporter_hour", "late_observation", "gap", "refused_batch", "pruned_octets",
		} {
			if _, err := tx.Exec(context.Background(), "DELETE FROM "+table); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
