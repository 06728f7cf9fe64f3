package ledger

import (
	"context"
	"fmt"
	"math"
	"math/big"
	"strings"
	"time"

	"hostmeter/internal/store"
)

// Finding is one way in which the books do not add up.
type Finding struct {
	// Law is what was checked: "slots", "days", "bookings", "observations", "chain", "statements", "pools", "exporters", "accounts"; of
	// VerifyOwned "services", "feed", "periods".
	Law string
	// Text names the row and both figures.
	Text string
}

// Verify adds up the books again and returns what does not agree, at most maxFindings of each law.
//
//   - slots: a row's slots add up to its octets.
//   - days: a derived day is the sum of its hours.
//   - bookings: late entries are numbered without a hole, and lie in sealed hours.
//   - observations: minutes of exporters that were told of late are numbered without a hole, and in their accounts.
//   - chain: statements are numbered without a hole, each has the hash of what it says and of the one before it, and the
//     columns beside it say the same.
//   - statements: each is what its bookings, observations, owners, contract and price make, octet by octet, also what its
//     pool used and the slots that were missing.
//   - pools: the shares of a pool's members are those that their statements' usage, contracts and price make.
//   - exporters: what an exporter's account counted is booked once, at both ends, in transit or left out; nothing
//     held, dropped or lost is less than nothing in all.
//   - accounts: what the exporters' accounts booked, octets_once + 2 octets_both, stands at the meters, in
//     plus out, late entries included. Tallies and accounts of one flush travel in different shards:
//     this law holds when all of a flush is booked, and is checked only where settled says so. A refused
//     batch or a gap breaks it, and should.
func (l *Ledger) Verify(ctx context.Context, settled bool) (findings []Finding, err error) {
	return l.VerifySince(ctx, settled, time.Time{})
}

// VerifySince is Verify that reads hours and days, the most of the books, from a time on; zero is the beginning.
func (l *Ledger) VerifySince(ctx context.Context, settled bool, since time.Time) (findings []Finding, err error) {
	first, _ := dayBounds(since, time.Time{})
	err = l.db.View(ctx, func(tx *store.Tx) error {
		v := &verifier{firstDay: first}
		laws := []func(context.Context, *store.Tx) error{v.slots, v.days, v.bookings, v.observations, v.chain, v.statements, v.pools, v.exporters}
		if settled {
			laws = append(laws, v.accounts)
		}
		for _, law := range laws {
			v.found = 0
			if err := law(ctx, tx); err != nil {
				return err
			}
		}
		findings = v.findings
		return nil
	})
	return findings, err
}

const maxFindings = 100

type verifier struct {
	findings []Finding
	found    int   // of the law at work
	firstDay int64 // days before it are not read
}

func (v *verifier) find(law, format string, args ...any) {
	if v.found++; v.found <= maxFindings {
		v.findings = append(v.findings, Finding{Law: law, Text: fmt.Sprintf(format, args...)})
	}
}

// slots reads every row of every table that has slots.
func (v *verifier) slots(ctx context.Context, tx *store.Tx) error {
	state, err := readState(ctx, tx)
	if err != nil {
		return err
	}
	for _, t := range tables {
		for _, name := range []string{t.name, t.late} {
			if err := v.slotsOf(ctx, tx, name, &t, state.slotsPruned); err != nil {
				return err
			}
		}
	}
	return nil
}

// slotsOf reads the rows of one table; those before pruned may have no slots any more.
func (v *verifier) slotsOf(ctx context.Context, tx *store.Tx, name string, t *table, pruned int64) error {
	rows, err := tx.Query(ctx, "SELECT hour, "+t.keys[0]+", "+t.sums[0]+", "+t.sums[1]+", slots FROM "+name+" WHERE hour >= ?", v.firstDay*24)
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	defer rows.Close()
	for rows.Next() {
		var hour int64
		var key string
		var sums [2]int64
		var packed []byte
		if err := rows.Scan(&hour, &key, &sums[0], &sums[1], &packed); err != nil {
			return err
		}
		if len(packed) == 0 && hour < pruned {
			continue
		}
		s, err := unpackSlots(packed)
		if err != nil {
			v.find("slots", "%s: %s, hour %s: %s", name, key, hourTime(hour), err)
			continue
		}
		for i := range sums {
			var sum uint64
			for _, n := range s[i] {
				sum += n
			}
			if sum != uint64(sums[i]) {
				v.find("slots", "%s: %s, hour %s: slots add up to %d, %s is %d", name, key, hourTime(hour), sum, t.sums[i], sums[i])
			}
		}
	}
	return rows.Err()
}

// days subtracts the derived days from their hours: nothing is left.
func (v *verifier) days(ctx context.Context, tx *store.Tx) error {
	s, err := readState(ctx, tx)
	if err != nil || s.daysThrough == math.MinInt64 {
		return err
	}
	names := tables[usageTable].sums
	negative := make([]string, len(names))
	differs := make([]string, len(names))
	for i, name := range names {
		negative[i] = "-" + name
		differs[i] = "SUM(" + name + ") <> 0"
	}
	rows, err := tx.Query(ctx, "SELECT day, meter, class, CAST(SUM(in_octets) AS BIGINT), CAST(SUM(out_octets) AS BIGINT) FROM ("+
		"SELECT hour / 24 AS day, meter, class, "+columns(names)+" FROM usage_hour WHERE hour >= ? AND hour < ?"+
		" UNION ALL SELECT day, meter, class, "+strings.Join(negative, ", ")+" FROM usage_day WHERE day >= ?) AS d"+
		" GROUP BY day, meter, class HAVING "+strings.Join(differs, " OR ")+" ORDER BY day, meter, class", v.firstDay*24, s.daysThrough*24, v.firstDay)
	if err != nil {
		return fmt.Errorf("compare days with hours: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var day, in, out int64
		var meter, class string
		if err := rows.Scan(&day, &meter, &class, &in, &out); err != nil {
			return err
		}
		v.find("days", "%s (%s) on %s: the hours have %d octets in and %d out more than the day",
			meter, class, dayTime(day).Format("2006-01-02"), in, out)
	}
	return rows.Err()
}

func (v *verifier) bookings(ctx context.Context, tx *store.Tx) error {
	s, err := readState(ctx, tx)
	if err != nil {
		return err
	}
	for _, late := range []struct {
		table      string
		last, gone int64
	}{{"late_entry", s.booking, s.prunedBookings}, {"late_guest", s.guestBooking, s.prunedGuestBookings}} {
		var count, greatest, early int64
		err := tx.QueryRow(ctx, "SELECT COUNT(*), COALESCE(MAX(booking), 0), COALESCE(SUM(CASE WHEN hour >= ? THEN 1 ELSE 0 END), 0) FROM "+late.table,
			s.sealedThrough).Scan(&count, &greatest, &early)
		if err != nil {
			return fmt.Errorf("count %s: %w", late.table, err)
		}
		if count+late.gone != late.last || greatest != late.last && late.gone == 0 {
			v.find("bookings", "%s has %d entries, %d more were pruned, the last is %d, and %d numbers were given", late.table, count, late.gone, greatest, late.last)
		}
		if early != 0 {
			v.find("bookings", "%s has %d entries in hours that are not sealed", late.table, early)
		}
	}
	return nil
}

// accounts compares what the exporters' accounts booked with what stands at meters: for what flow records
// told, and for the counters of ports and vNICs, which have accounts and a class of their own.
func (v *verifier) accounts(ctx context.Context, tx *store.Tx) error {
	for _, side := range accountsSides {
		booked, err := side.booked(ctx, tx, "hour >= ?", farPast)
		if err != nil {
			return err
		}
		metered, err := side.metered(ctx, tx, "hour >= ?", farPast)
		if err != nil {
			return err
		}
		for name, sum := range map[string]*big.Int{"accounts/": booked, "meters/": metered} {
			gone, err := prunedOctets(ctx, tx, name+side.short)
			if err != nil {
				return err
			}
			sum.Add(sum, gone)
		}
		if metered.Cmp(booked) != 0 {
			v.find("accounts", "%s: the exporters' accounts booked %s octets, the meters have %s: a difference of %s",
				side.name, booked, metered, new(big.Int).Sub(metered, booked))
		}
	}
	return nil
}

// farPast is before every hour that is booked.
const farPast = math.MinInt64

// addUp adds up three columns of all rows, without a bound.
func addUp(ctx context.Context, tx *store.Tx, query string, args ...any) (*big.Int, error) {
	rows, err := tx.Query(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("add up octets: %w", err)
	}
	defer rows.Close()
	sum := new(big.Int)
	for rows.Next() {
		var n [3]int64
		if err := rows.Scan(&n[0], &n[1], &n[2]); err != nil {
			return nil, err
		}
		for _, octets := range n {
			sum.Add(sum, big.NewInt(octets))
		}
	}
	return sum, rows.Err()
}
