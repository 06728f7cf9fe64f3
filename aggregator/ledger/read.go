package ledger

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"hostmeter/internal/store"
	"hostmeter/schemas"
)

// Rows calls f with each row of an hour in q, by meter, hour and class, with the late entries added in
// that q allows. f must not use the ledger's store in the same transaction.
func (l *Ledger) Rows(ctx context.Context, q Query, f func(UsageRow) error) error {
	return l.db.View(ctx, func(tx *store.Tx) error { return rows(ctx, tx, q, f) })
}

// rows is Rows inside a transaction.
func rows(ctx context.Context, tx *store.Tx, q Query, f func(UsageRow) error) error {
	s, err := readState(ctx, tx)
	if err != nil {
		return err
	}
	first, last := hourBounds(q.From, q.To)
	sums := tables[usageTable].sums
	var text statement
	text.add("SELECT usage_hour.hour AS hour, meter, class, " + columns(sums) + ", slots FROM ")
	text.from("usage_hour", "hour", first, last, q, s.parts)
	text.add(" UNION ALL SELECT hour, meter, class, "+columns(sums)+", slots FROM late_entry WHERE hour >= ? AND hour < ?", first, last)
	text.filter(q, s.parts)
	text.through(q)
	return text.each(ctx, tx, "hour", true, func(at int64, row UsageRow) error {
		row.Hour, row.Sealed = hourTime(at), at < s.sealedThrough
		return f(row)
	})
}

// slotRows calls f with the octets by slot, and the variance, of each row of some meters of one part in q, in no particular
// order: a late entry is a row of its own. Flows and packets are 0.
func slotRows(ctx context.Context, tx *store.Tx, q Query, part uint32, meters []schemas.MeterID, f func(UsageRow) error) error {
	first, last := hourBounds(q.From, q.To)
	of := " AND part = ? AND meter IN (?" + strings.Repeat(", ?", len(meters)-1) + ")"
	args := []any{int64(part)}
	for _, meter := range meters {
		args = append(args, string(meter))
	}
	const found = "SELECT hour, meter, class, in_variance_kib2, out_variance_kib2, slots FROM "
	var text statement
	text.add(found)
	text.times(first, last)
	text.add(" CROSS JOIN usage_hour WHERE usage_hour.hour = times.at"+of, args...)
	text.add(" UNION ALL "+found+"late_entry WHERE hour >= ? AND hour < ?", first, last)
	text.add(of, args...)
	text.through(q)
	rows, err := tx.Query(ctx, text.text.String(), text.args...)
	if err != nil {
		return fmt.Errorf("read slots: %w", err)
	}
	defer rows.Close()
	var packed sql.RawBytes
	for rows.Next() {
		var row UsageRow
		var hour int64
		if err := rows.Scan(&hour, &row.Meter, &row.Class, &row.In.VarianceKiB2, &row.Out.VarianceKiB2, &packed); err != nil {
			return fmt.Errorf("read slots: %w", err)
		}
		s, err := unpackSlots(packed)
		if err != nil {
			return fmt.Errorf("usage of %s: %w", row.Meter, err)
		}
		row.Hour, row.In.Slots, row.Out.Slots = hourTime(hour), s[0], s[1]
		for i := range SlotsPerHour {
			row.In.Octets += schemas.Octets(s[0][i])
			row.Out.Octets += schemas.Octets(s[1][i])
		}
		if err := f(row); err != nil {
			return err
		}
	}
	return rows.Err()
}

// Days is Rows by UTC day, for the days that begin in q. Days whose sums are not derived yet are added
// up from their hours. The slots are 0.
func (l *Ledger) Days(ctx context.Context, q Query, f func(UsageRow) error) error {
	return l.db.View(ctx, func(tx *store.Tx) error { return days(ctx, tx, q, f) })
}

// days is Days inside a transaction.
func days(ctx context.Context, tx *store.Tx, q Query, f func(UsageRow) error) error {
	s, err := readState(ctx, tx)
	if err != nil {
		return err
	}
	first, last := dayBounds(q.From, q.To)
	derived := min(max(first, s.daysThrough), last)
	sums := tables[usageTable].sums
	var text statement
	text.add("SELECT usage_day.day AS day, meter, class, " + columns(sums) + " FROM ")
	text.from("usage_day", "day", first, derived, q, s.parts)
	text.add(" UNION ALL SELECT usage_hour.hour / 24 AS day, meter, class, " + sumOf(sums) + " FROM ")
	text.from("usage_hour", "hour", hourOfDay(derived), hourOfDay(last), q, s.parts)
	text.add(" GROUP BY usage_hour.hour / 24, meter, class")
	text.add(" UNION ALL SELECT hour / 24 AS day, meter, class, "+columns(sums)+" FROM late_entry WHERE hour >= ? AND hour < ?",
		hourOfDay(first), hourOfDay(last))
	text.filter(q, s.parts)
	text.through(q)
	return text.each(ctx, tx, "day", false, func(at int64, row UsageRow) error {
		row.Hour, row.Sealed = dayTime(at), at*24+24 <= s.sealedThrough
		return f(row)
	})
}

// statement is a query that is put together.
type statement struct {
	text strings.Builder
	args []any
}

func (s *statement) add(text string, args ...any) {
	s.text.WriteString(text)
	s.args = append(s.args, args...)
}

// maxProbes is the longest span, in hours or days, in which one meter is looked up time by time instead
// of being filtered out of all meters.
const maxProbes = 24 * 400

// from adds a table with its conditions: times in [first, last), and q's meter or kind.
func (s *statement) from(table, column string, first, last int64, q Query, parts int64) {
	if q.Meter != "" && last > first && last-first <= maxProbes {
		s.times(first, last)
		s.add(" CROSS JOIN " + table + " WHERE " + table + "." + column + " = times.at")
	} else {
		s.add(table+" WHERE "+column+" >= ? AND "+column+" < ?", first, last)
	}
	s.filter(q, parts)
}

// times adds a table of all times in [first, last), of which there is one.
func (s *statement) times(first, last int64) {
	s.add("(WITH RECURSIVE times(at) AS (SELECT CAST(? AS BIGINT) UNION ALL SELECT at + 1 FROM times WHERE at + 1 < ?) SELECT at FROM times) AS times", first, last)
}

func (s *statement) filter(q Query, parts int64) {
	if q.Meter != "" {
		s.add(" AND part = ? AND meter = ?", int64(schemas.ShardOf(string(q.Meter), uint32(max(parts, 1)))), string(q.Meter))
	}
	if q.Kind != "" {
		s.add(" AND meter LIKE ?", string(q.Kind)+":%")
	}
}

func (s *statement) through(q Query) {
	if q.Through != nil {
		s.add(" AND booking <= ?", int64(*q.Through))
	}
}

// each runs the query, whose columns are a time, meter, class, sums and, withSlots, the slots, and adds
// up the rows of one key.
func (s *statement) each(ctx context.Context, tx *store.Tx, column string, withSlots bool, f func(at int64, row UsageRow) error) error {
	order := " ORDER BY meter" + collate(tx) + ", " + column + ", class" + collate(tx)
	rows, err := tx.Query(ctx, "SELECT * FROM ("+s.text.String()+") AS usage_rows"+order, s.args...)
	if err != nil {
		return fmt.Errorf("read usage: %w", err)
	}
	defer rows.Close()
	var sum UsageRow
	var sumAt int64
	begun := false
	for rows.Next() {
		at, row, err := scanUsage(rows, withSlots)
		if err != nil {
			return err
		}
		if begun && at == sumAt && row.Meter == sum.Meter && row.Class == sum.Class {
			sum.In, sum.Out = sum.In.Add(row.In), sum.Out.Add(row.Out)
			continue
		}
		if begun {
			if err := f(sumAt, sum); err != nil {
				return err
			}
		}
		sum, sumAt, begun = row, at, true
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read usage: %w", err)
	}
	if begun {
		return f(sumAt, sum)
	}
	return nil
}

// scanUsage reads a time, meter, class, sums and slots.
func scanUsage(rows *sql.Rows, withSlots bool, before ...any) (at int64, row UsageRow, err error) {
	var packed []byte
	into := append(before, &at, &row.Meter, &row.Class,
		&row.In.Octets, &row.Out.Octets, &row.In.Packets, &row.Out.Packets,
		&row.In.Flows, &row.Out.Flows, &row.In.VarianceKiB2, &row.Out.VarianceKiB2)
	if withSlots {
		into = append(into, &packed)
	}
	if err := rows.Scan(into...); err != nil {
		return 0, row, fmt.Errorf("read usage: %w", err)
	}
	if withSlots {
		s, err := unpackSlots(packed)
		if err != nil {
			return 0, row, fmt.Errorf("usage of %s: %w", row.Meter, err)
		}
		row.In.Slots, row.Out.Slots = s[0], s[1]
	}
	return at, row, nil
}

// LateEntries calls f with the late entries with numbers greater than after, in their order.
func (l *Ledger) LateEntries(ctx context.Context, after Booking, f func(LateEntry) error) error {
	return l.db.View(ctx, func(tx *store.Tx) error { return lateEntries(ctx, tx, after, f) })
}

// lateEntries is LateEntries inside a transaction.
func lateEntries(ctx context.Context, tx *store.Tx, after Booking, f func(LateEntry) error) error {
	rows, err := tx.Query(ctx, "SELECT booking, booked_at, collector, log_id, shard, idx, hour, meter, class, "+
		columns(tables[usageTable].sums)+", slots FROM late_entry WHERE booking > ? ORDER BY booking", int64(after))
	if err != nil {
		return fmt.Errorf("read late entries: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var e LateEntry
		var bookedAt, index int64
		var logID string
		at, row, err := scanUsage(rows, true, &e.Booking, &bookedAt, &e.Collector, &logID, &e.Shard, &index)
		if err != nil {
			return err
		}
		if e.LogID, err = strconv.ParseUint(logID, 16, 64); err != nil {
			return fmt.Errorf("late entry %d: log %q: %w", e.Booking, logID, ErrCorrupt)
		}
		e.BookedAt, e.Index, e.UsageRow = time.Unix(0, bookedAt).UTC(), uint64(index), row
		e.Hour, e.Sealed = hourTime(at), true
		if err := f(e); err != nil {
			return err
		}
	}
	return rows.Err()
}

// GuestRows calls f with each guest's hours that begin in [from, to), by guest and hour, late entries
// added in. An empty guest is all of them, a zero time no bound.
func (l *Ledger) GuestRows(ctx context.Context, guest string, from, to time.Time, f func(GuestRow) error) error {
	return l.db.View(ctx, func(tx *store.Tx) error { return guestRows(ctx, tx, guest, from, to, f) })
}

func guestRows(ctx context.Context, tx *store.Tx, guest string, from, to time.Time, f func(GuestRow) error) error {
	s, err := readState(ctx, tx)
	if err != nil {
		return err
	}
	first, last := hourBounds(from, to)
	var text statement
	for i, name := range []string{"guest_hour", "late_guest"} {
		if i > 0 {
			text.add(" UNION ALL ")
		}
		text.add("SELECT hour, guest, "+columns(tables[guestTable].sums)+", slots FROM "+name+" WHERE hour >= ? AND hour < ?", first, last)
		if guest != "" {
			part := schemas.ShardOf(string(schemas.GuestMeter(guest)), uint32(max(s.parts, 1)))
			text.add(" AND part = ? AND guest = ?", int64(part), guest)
		}
	}
	rows, err := tx.Query(ctx, "SELECT * FROM ("+text.text.String()+") AS guest_rows ORDER BY guest"+collate(tx)+", hour", text.args...)
	if err != nil {
		return fmt.Errorf("read guests: %w", err)
	}
	defer rows.Close()
	var sum GuestRow
	for rows.Next() {
		row, hour, err := scanGuest(rows)
		if err != nil {
			return err
		}
		row.Sealed = hour < s.sealedThrough
		if row.Guest == sum.Guest && row.Hour.Equal(sum.Hour) {
			sum.add(row)
			continue
		}
		if sum.Guest != "" {
			if err := f(sum); err != nil {
				return err
			}
		}
		sum = row
	}
	if err := rows.Err(); err != nil || sum.Guest == "" {
		return err
	}
	return f(sum)
}

func scanGuest(rows *sql.Rows) (row GuestRow, hour int64, err error) {
	var packed []byte
	if err := rows.Scan(&hour, &row.Guest, &row.CPU, &row.Capacity, &row.Steal, &packed); err != nil {
		return row, 0, err
	}
	s, err := unpackSlots(packed)
	if err != nil {
		return row, 0, fmt.Errorf("guest %s: %w", row.Guest, err)
	}
	row.Hour, row.CPUSlots, row.CapacitySlots = hourTime(hour), s[0], s[1]
	return row, hour, nil
}

func (r *GuestRow) add(s GuestRow) {
	r.CPU, r.Capacity, r.Steal = r.CPU+s.CPU, r.Capacity+s.Capacity, r.Steal+s.Steal
	for i := range r.CPUSlots {
		r.CPUSlots[i] += s.CPUSlots[i]
		r.CapacitySlots[i] += s.CapacitySlots[i]
	}
}

// Guests returns what was last told of each guest, by UUID.
func (l *Ledger) Guests(ctx context.Context) (guests []Guest, err error) {
	err = l.db.View(ctx, func(tx *store.Tx) error {
		rows, err := tx.Query(ctx, `SELECT guest, host, name, vcpus, state, seen_at FROM guest ORDER BY guest`+collate(tx))
		if err != nil {
			return fmt.Errorf("read guests: %w", err)
		}
		defer rows.Close()
		for rows.Next() {
			var g Guest
			var seenAt int64
			if err := rows.Scan(&g.Guest, &g.Host, &g.Name, &g.VCPUs, &g.State, &seenAt); err != nil {
				return err
			}
			g.SeenAt = time.Unix(0, seenAt).UTC()
			guests = append(guests, g)
		}
		return rows.Err()
	})
	return guests, err
}

// farHour is after every hour that is booked.
const farHour = math.MaxInt64 / int64(time.Hour)

// hourBounds returns the hours that begin in [from, to); a zero time is no bound.
func hourBounds(from, to time.Time) (first, last int64) { return bounds(from, to, int64(time.Hour)) }

// dayBounds is hourBounds for UTC days.
func dayBounds(from, to time.Time) (first, last int64) {
	return bounds(from, to, int64(24*time.Hour))
}

func bounds(from, to time.Time, length int64) (first, last int64) {
	first, last = 0, farHour
	if !from.IsZero() {
		first = max(0, ceil(from.UnixNano(), length))
	}
	if !to.IsZero() {
		last = max(first, ceil(to.UnixNano(), length))
	}
	return first, last
}

func ceil(n, d int64) int64 {
	q := n / d
	if n%d > 0 {
		q++
	}
	return q
}

// hourOfDay is the first hour of a day.
func hourOfDay(day int64) int64 { return min(day, farHour/24) * 24 }
