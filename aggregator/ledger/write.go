package ledger

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"hostmeter/internal/store"
)

// rowsPerStatement is how many rows one INSERT carries: at 13 columns well below the 32766
// placeholders of SQLite.
const rowsPerStatement = 200

// writeRows writes the dirty rows whole.
func (b *booking) writeRows(ctx context.Context) error {
	for id := range b.dirty {
		t := &tables[id]
		rows := slices.DeleteFunc(b.dirty[id], func(r *row) bool {
			if r.stored || !r.isZero() {
				return false
			}
			r.dirty = false // made by a batch that was refused
			return true
		})
		slices.SortFunc(rows, func(x, y *row) int {
			return cmp.Or(
				cmp.Compare(x.page.key.hour, y.page.key.hour),
				cmp.Compare(x.page.key.part, y.page.key.part),
				b.compareKeys(x.key, y.key))
		})
		into := newInserter(b.tx, t.name, append(append([]string{"hour", "part"}, t.keys...), append(slices.Clone(t.sums), "slots")...))
		into.replace(2+len(t.keys), " ON CONFLICT (hour, part, "+columns(t.keys)+")")
		for _, r := range rows {
			into.row(r.page.key.hour, int64(r.page.key.part))
			b.appendRow(into, t, r)
			if err := into.flush(ctx, rowsPerStatement); err != nil {
				return fmt.Errorf("%s: %w", t.name, err)
			}
			r.stored, r.dirty = true, false
		}
		if err := into.flush(ctx, 1); err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
	}
	return nil
}

// appendRow appends the key, the sums and the slots of a row.
func (b *booking) appendRow(into *inserter, t *table, r *row) {
	into.more(r.key.meter)
	if len(t.keys) == 2 {
		into.more(b.className(r.key))
	}
	for i := range t.sums {
		into.more(r.sums[i])
	}
	into.more(r.slots.pack(make([]byte, 0, 64)))
}

// writeLate gives late entries their numbers and inserts them.
func (b *booking) writeLate(ctx context.Context) error {
	for id, rows := range b.late {
		if len(rows) == 0 {
			continue
		}
		t := &tables[id]
		last, err := takeNumbers(ctx, b.tx, t.counter, int64(len(rows)))
		if err != nil {
			return err
		}
		names := append([]string{"booking", "booked_at", "collector", "log_id", "shard", "idx", "hour", "part"}, t.keys...)
		into := newInserter(b.tx, t.late, append(append(names, t.sums...), "slots"))
		for i, r := range rows {
			into.row(last-int64(len(rows))+int64(i)+1, b.tx.Now.UnixNano(),
				r.batch.GetCollector(), hexID(r.batch.GetLogId()), int64(r.batch.GetShard()), int64(r.batch.GetIndex()),
				r.hour, int64(r.part))
			b.appendRow(into, t, &r.row)
			if err := into.flush(ctx, rowsPerStatement); err != nil {
				return fmt.Errorf("%s: %w", t.late, err)
			}
		}
		if err := into.flush(ctx, 1); err != nil {
			return fmt.Errorf("%s: %w", t.late, err)
		}
	}
	return nil
}

// takeNumbers takes n numbers of a counter and returns the last. The counter's row is locked until the
// transaction ends, which is what makes the numbers dense and ordered by commit.
func takeNumbers(ctx context.Context, tx *store.Tx, counter string, n int64) (last int64, err error) {
	err = tx.QueryRow(ctx, `INSERT INTO ledger_state (name, value) VALUES (?, ?)
		ON CONFLICT (name) DO UPDATE SET value = ledger_state.value + excluded.value RETURNING value`, counter, n).Scan(&last)
	return last, err
}

// writeAccounts writes the accounts whole.
func (b *booking) writeAccounts(ctx context.Context) error {
	into := newInserter(b.tx, "exporter_hour", append(append([]string{"exporter", "hour", "protocol", "minutes_observed"}, accountColumns...), "counts"))
	into.replace(3, " ON CONFLICT (exporter, hour, protocol)")
	for _, key := range sortedAccounts(b.accounts) {
		r := b.accounts[key]
		counts, err := json.Marshal(r.counts)
		if err != nil {
			return err
		}
		into.row(key.exporter, key.hour, key.protocol, int64(r.minutes))
		for _, sum := range r.sums {
			into.more(sum)
		}
		into.more(string(counts))
		if err := into.flush(ctx, rowsPerStatement); err != nil {
			return err
		}
	}
	return into.flush(ctx, 1)
}

// writeGuests remembers what was last told of the guests.
func (b *booking) writeGuests(ctx context.Context) error {
	uuids := make([]string, 0, len(b.guests))
	for uuid := range b.guests {
		uuids = append(uuids, uuid)
	}
	slices.Sort(uuids)
	into := newInserter(b.tx, "guest", []string{"guest", "host", "name", "vcpus", "state", "seen_at"})
	into.replace(1, " ON CONFLICT (guest)")
	into.suffix += " WHERE excluded.seen_at >= guest.seen_at"
	for _, uuid := range uuids {
		g := b.guests[uuid]
		into.row(uuid, g.GetHost(), g.GetName(), int64(g.GetVcpus()), int64(g.GetState()), g.GetTo())
		if err := into.flush(ctx, rowsPerStatement); err != nil {
			return err
		}
	}
	return into.flush(ctx, 1)
}

// inserter gathers rows for INSERT statements of many rows each. No key comes twice in one of them,
// which PostgreSQL would refuse: rows are summed in memory first.
type inserter struct {
	tx             *store.Tx
	prefix, suffix string
	columns        []string
	args           []any
	full           *sql.Stmt // of rowsPerStatement rows; it is closed with the transaction
}

func newInserter(tx *store.Tx, table string, columnNames []string) *inserter {
	return &inserter{
		tx: tx, columns: columnNames,
		prefix: "INSERT INTO " + table + " (" + columns(columnNames) + ") VALUES ",
	}
}

// replace makes a row that is there already take the values of the new one, but for its first keys
// columns.
func (i *inserter) replace(keys int, conflict string) {
	sets := make([]string, 0, len(i.columns))
	for _, name := range i.columns[keys:] {
		sets = append(sets, name+" = excluded."+name)
	}
	i.suffix = conflict + " DO UPDATE SET " + strings.Join(sets, ", ")
}

// row begins a row; more goes on with it.
func (i *inserter) row(values ...any) { i.args = append(i.args, values...) }

func (i *inserter) more(value any) { i.args = append(i.args, value) }

// flush inserts what is gathered when it is at least so many rows.
func (i *inserter) flush(ctx context.Context, atLeast int) error {
	rows := len(i.args) / len(i.columns)
	if rows < atLeast {
		return nil
	}
	args := i.args
	i.args = i.args[:0]
	if rows != rowsPerStatement {
		_, err := i.tx.Exec(ctx, i.statement(rows), args...)
		return err
	}
	if i.full == nil {
		var err error
		if i.full, err = i.tx.Prepare(ctx, i.statement(rows)); err != nil {
			return err
		}
	}
	_, err := i.full.ExecContext(ctx, args...)
	return err
}

func (i *inserter) statement(rows int) string {
	one := "(" + strings.Repeat("?, ", len(i.columns)-1) + "?)"
	return i.prefix + strings.Repeat(one+", ", rows-1) + one + i.suffix
}

// columns joins lists of column names.
func columns(lists ...[]string) string {
	return strings.Join(slices.Concat(lists...), ", ")
}

// collate orders text by octets on both stores.
func collate(tx *store.Tx) string {
	if tx.Dialect == store.PostgreSQL {
		return ` COLLATE "C"`
	}
	return ""
}

func hexID(logID uint64) string { return fmt.Sprintf("%016x", logID) }

// printable keeps what a batch brought from being refused by the store once more.
func printable(text string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(text, "?"), "\x00", "?")
}

func hourTime(hour int64) time.Time { return time.Unix(hour*3600, 0).UTC() }

func dayTime(day int64) time.Time { return time.Unix(day*86400, 0).UTC() }
