package ledger

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"hostmeter/internal/failpoint"
	"hostmeter/internal/store"
	"hostmeter/internal/stream"
	"hostmeter/schemas"
)

// Bounds of one transaction of sealing, so that booking does not wait for long.
const (
	maxHoursPerSeal = 24 * 31
	maxRowsPerSeal  = 200_000
)

// Sealed says what a call of Seal did.
type Sealed struct {
	// Through is the beginning of the first hour that is not sealed; zero where none is.
	Through time.Time
	// DaysThrough is the beginning of the first UTC day whose sums are not derived; zero where none is.
	DaysThrough time.Time
	// Hours and Days that this call sealed and derived.
	Hours, Days int
	// Waiting names the exporters that hold an hour open which is old enough to be sealed.
	Waiting []string
}

// Seal seals the hours that are due at now, and derives the sums of the days whose hours are sealed.
//
// An hour is due Settle after its end, if every exporter that is not silent has said that it is
// complete past that end, and Grace after its end in any case. Hours are sealed in order. Seal may be
// called at any time, by several processes, and goes on where a killed one stopped.
func (l *Ledger) Seal(ctx context.Context, now time.Time) (Sealed, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var sealed Sealed
	for {
		more, err := l.sealSome(ctx, now, &sealed)
		if err != nil {
			return sealed, fmt.Errorf("seal hours: %w", err)
		}
		if !more {
			break
		}
	}
	for {
		more, err := l.deriveDay(ctx, &sealed)
		if err != nil {
			return sealed, fmt.Errorf("derive the sums of days: %w", err)
		}
		if !more {
			return sealed, nil
		}
	}
}

// retry runs a transaction again while it loses against others, or makes a row that another just made.
func (l *Ledger) retry(ctx context.Context, f func(tx *store.Tx) error) error {
	const attempts = 5
	for i := 1; ; i++ {
		err := l.db.Update(ctx, f)
		if err == nil || i == attempts || !store.IsConflict(err) && !store.IsDuplicate(err) {
			return err
		}
	}
}

// sealSome seals at most maxHoursPerSeal hours in one transaction. It moves the version of every part:
// whoever books at the same time either commits before, and is seen, or has to begin again.
func (l *Ledger) sealSome(ctx context.Context, now time.Time, sealed *Sealed) (more bool, err error) {
	var before map[uint32]int64
	var hours int
	err = l.retry(ctx, func(tx *store.Tx) error {
		before, hours, more = nil, 0, false
		s, err := readState(ctx, tx)
		if err != nil || s.parts == 0 {
			return err
		}
		exporters, err := readCompleteness(ctx, tx)
		if err != nil {
			return err
		}
		through, waiting := l.cfg.due(now, exporters)
		sealed.Waiting = waiting
		first := s.sealedThrough
		if first == math.MinInt64 {
			var found bool
			if first, found, err = firstHour(ctx, tx, 0, through); err != nil || !found {
				return err
			}
		}
		sealed.Through = hourTime(first)
		if s.sealedThrough == math.MinInt64 {
			sealed.Through = time.Time{}
		}
		if through <= first {
			return nil
		}
		if through > first+maxHoursPerSeal {
			through, more = first+maxHoursPerSeal, true
		}
		if before, err = readVersions(ctx, tx); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `UPDATE ledger_part SET version = version + 1`); err != nil {
			return err
		}
		if hours, err = insertSealedHours(ctx, tx, first, through, exporters); err != nil {
			return err
		}
		sealed.Through = hourTime(through)
		return setState(ctx, tx, "sealed_through", through)
	})
	if err != nil {
		l.memory.forget()
		return false, err
	}
	if hours > 0 {
		failpoint.Hit(failpoint.LedgerSealed)
	}
	sealed.Hours += hours
	for part, version := range before {
		if known, ok := l.memory.versions[part]; ok && known == version {
			l.memory.versions[part] = version + 1 // nobody but this call has moved it
		}
	}
	return more, nil
}

// due returns the first hour that is not to be sealed at now, and the names of the exporters that hold
// it back.
func (c Config) due(now time.Time, exporters []Completeness) (through int64, waiting []string) {
	settled := now.Add(-c.Settle).UnixNano() / nanosPerHour
	through = settled
	for _, e := range exporters {
		if e.Silent {
			continue
		}
		if complete := e.Through.UnixNano() / nanosPerHour; complete < settled {
			through = min(through, complete)
			waiting = append(waiting, e.Exporter)
		}
	}
	return max(through, now.Add(-c.Grace).UnixNano()/nanosPerHour), waiting
}

// firstHour returns the first hour in [from, to) of which there is a row.
func firstHour(ctx context.Context, tx *store.Tx, from, to int64) (hour int64, found bool, err error) {
	hour = math.MaxInt64
	for _, t := range tables {
		var least sql.NullInt64
		err := tx.QueryRow(ctx, "SELECT MIN(hour) FROM "+t.name+" WHERE hour >= ? AND hour < ?", from, to).Scan(&least)
		if err != nil {
			return 0, false, err
		}
		if least.Valid {
			hour, found = min(hour, least.Int64), true
		}
	}
	return hour, found, nil
}

// beginning returns the first hour of which the ledger has usage, also such as came late, when its hour, which
// had none, was sealed.
func beginning(ctx context.Context, tx *store.Tx) (hour int64, found bool, err error) {
	if hour, found, err = firstHour(ctx, tx, 0, farHour); err != nil {
		return 0, false, err
	}
	for _, t := range tables {
		var least sql.NullInt64
		if err := tx.QueryRow(ctx, "SELECT MIN(hour) FROM "+t.late).Scan(&least); err != nil {
			return 0, false, err
		}
		if least.Valid && (!found || least.Int64 < hour) {
			hour, found = least.Int64, true
		}
	}
	return hour, found, nil
}

// insertSealedHours remembers the hours of [from, to) that have rows.
func insertSealedHours(ctx context.Context, tx *store.Tx, from, to int64, exporters []Completeness) (n int, err error) {
	for {
		hour, found, err := firstHour(ctx, tx, from, to)
		if err != nil || !found {
			return n, err
		}
		var waiting []string
		for _, e := range exporters {
			if !e.Silent && e.Through.Before(hourTime(hour+1)) {
				waiting = append(waiting, e.Exporter)
			}
		}
		_, err = tx.Exec(ctx, `INSERT INTO sealed_hour (hour, sealed_at, waiting) VALUES (?, ?, ?)`,
			hour, tx.Now.UnixNano(), printable(strings.Join(waiting, " ")))
		if err != nil {
			return n, err
		}
		n, from = n+1, hour+1
	}
}

// deriveDay derives the sums of the next whole day that has rows, in transactions of several parts
// each. They add up rows that change no more, so that doing it twice does no harm.
func (l *Ledger) deriveDay(ctx context.Context, sealed *Sealed) (more bool, err error) {
	var day, parts, count int64
	var found bool
	err = l.db.View(ctx, func(tx *store.Tx) error {
		s, err := readState(ctx, tx)
		if err != nil || s.sealedThrough == math.MinInt64 {
			return err
		}
		end := s.sealedThrough / 24 * 24
		if s.daysThrough != math.MinInt64 {
			sealed.DaysThrough = dayTime(s.daysThrough)
		}
		var hour int64
		if hour, found, err = firstHour(ctx, tx, max(s.daysThrough, 0)*24, end); err != nil || !found {
			if err == nil && s.daysThrough < end/24 {
				day, found = end/24-1, true // only empty days are left: go behind them at once
			}
			return err
		}
		day, parts = hour/24, s.parts
		return tx.QueryRow(ctx, `SELECT COUNT(*) FROM usage_hour WHERE hour >= ? AND hour < ?`, day*24, day*24+24).Scan(&count)
	})
	if err != nil || !found {
		return false, err
	}
	step := max(1, parts*maxRowsPerSeal/max(count, 1))
	for part := int64(0); part == 0 || part < parts; part += step {
		last := part+step >= parts
		err := l.retry(ctx, func(tx *store.Tx) error {
			if err := insertDay(ctx, tx, day, part, part+step); err != nil {
				return err
			}
			if !last {
				return nil
			}
			return moveDays(ctx, tx, day+1)
		})
		if err != nil {
			return false, err
		}
	}
	if count > 0 {
		sealed.Days++
	}
	sealed.DaysThrough = dayTime(day + 1)
	return true, nil
}

func insertDay(ctx context.Context, tx *store.Tx, day, fromPart, toPart int64) error {
	sums := tables[usageTable].sums
	query := "INSERT INTO usage_day (day, part, meter, class, " + columns(sums) + ") SELECT CAST(? AS BIGINT), part, meter, class, " + sumOf(sums) +
		" FROM usage_hour WHERE hour >= ? AND hour < ? AND part >= ? AND part < ? GROUP BY part, meter, class" +
		" ON CONFLICT (day, part, meter, class) DO NOTHING"
	_, err := tx.Exec(ctx, query, day, day*24, day*24+24, fromPart, toPart)
	return err
}

// moveDays says that the days before through are derived, unless more are.
func moveDays(ctx context.Context, tx *store.Tx, through int64) error {
	s, err := readState(ctx, tx)
	if err != nil || s.daysThrough >= through {
		return err
	}
	return setState(ctx, tx, "days_through", through)
}

// sumOf makes sums that stay 64-bit integers: one that does not fit is an error on both stores.
func sumOf(names []string) string {
	sums := make([]string, len(names))
	for i, name := range names {
		sums[i] = "CAST(SUM(" + name + ") AS BIGINT)"
	}
	return strings.Join(sums, ", ")
}

// SealedThrough returns the beginning of the first hour that is not sealed, the zero time where none
// is, and the last booking number.
func (l *Ledger) SealedThrough(ctx context.Context) (through time.Time, last Booking, err error) {
	err = l.db.View(ctx, func(tx *store.Tx) error {
		through, last, err = sealedThrough(ctx, tx)
		return err
	})
	return through, last, err
}

func sealedThrough(ctx context.Context, tx *store.Tx) (through time.Time, last Booking, err error) {
	s, err := readState(ctx, tx)
	return s.sealedTime(), Booking(s.booking), err
}

// sealedTime is the beginning of the first hour that is not sealed; zero where none is.
func (s state) sealedTime() time.Time {
	if s.sealedThrough == math.MinInt64 {
		return time.Time{}
	}
	return hourTime(s.sealedThrough)
}

// Completeness is what was last booked of an exporter.
type Completeness struct {
	Exporter  string
	Collector string
	// Through: no usage before it is still expected.
	Through time.Time
	// Silent exporters hold nothing back.
	Silent bool
	// ToldAt is the end of receipt of the batch that said so.
	ToldAt time.Time
}

// Completeness returns what was last booked of each exporter, by name: the least of what the shards of
// its collector say, for a shard knows only itself to be booked.
func (l *Ledger) Completeness(ctx context.Context) (list []Completeness, err error) {
	err = l.db.View(ctx, func(tx *store.Tx) error {
		list, err = readCompleteness(ctx, tx)
		return err
	})
	return list, err
}

func readCompleteness(ctx context.Context, tx *store.Tx) ([]Completeness, error) {
	type shardOf struct {
		collector string
		shard     uint32
	}
	newest := make(map[shardOf]int64) // a shard's newest log speaks for it
	told := make(map[shardOf][]*schemas.Completeness)
	err := eachWatermark(ctx, tx, func(key stream.Key, _ uint64, toldAt int64, complete []byte) error {
		of := shardOf{key.Collector, key.Shard}
		if len(complete) == 0 || told[of] != nil && toldAt < newest[of] {
			return nil
		}
		batch, err := schemas.DecodeBatch(complete)
		if err != nil {
			return fmt.Errorf("completeness of %s: %w", key, ErrCorrupt)
		}
		newest[of], told[of] = toldAt, batch.GetComplete()
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the exporters' completeness: %w", err)
	}
	type source struct{ exporter, collector string }
	least := make(map[source]Completeness)
	for of, list := range told {
		for _, c := range list {
			this := Completeness{
				Exporter: c.GetExporter(), Collector: of.collector, Silent: c.GetSilent(),
				Through: time.Unix(0, c.GetThrough()).UTC(), ToldAt: time.Unix(0, newest[of]).UTC(),
			}
			key := source{this.Exporter, of.collector}
			if seen, ok := least[key]; !ok || this.holdsMoreThan(seen) {
				least[key] = this
			}
		}
	}
	return newestCollectors(least), nil
}

// holdsMoreThan orders what two shards say of one exporter: not silent before silent, then the earlier.
func (c Completeness) holdsMoreThan(d Completeness) bool {
	if c.Silent != d.Silent {
		return !c.Silent
	}
	return c.Through.Before(d.Through)
}

// newestCollectors keeps, of an exporter that moved from one collector to another, what the one says
// that told last.
func newestCollectors[K comparable](least map[K]Completeness) []Completeness {
	byExporter := make(map[string]Completeness)
	for _, c := range least {
		seen, ok := byExporter[c.Exporter]
		if !ok || c.ToldAt.After(seen.ToldAt) || c.ToldAt.Equal(seen.ToldAt) && c.Collector < seen.Collector {
			byExporter[c.Exporter] = c
		}
	}
	list := make([]Completeness, 0, len(byExporter))
	for _, c := range byExporter {
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b Completeness) int { return strings.Compare(a.Exporter, b.Exporter) })
	return list
}
