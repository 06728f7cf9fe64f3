package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"hostmeter/aggregator/ledger"
	"hostmeter/internal/inventory"
	"hostmeter/internal/store"
)

// The month is October 2026 in London: 745 hours, for the clocks go back, and its bounds cut two UTC days.
var (
	monthFrom = time.Date(2026, 9, 30, 23, 0, 0, 0, time.UTC)
	monthTo   = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	closedAt  = monthTo.Add(72 * time.Hour)
)

const monthHours = 745

// closing is one closing of the month.
type closing struct {
	what, bar string
	services  int
	cost      cost
}

// month loads a month of hours, and closes it by plans that count octets, and by plans that need every hour.
func month(ctx context.Context, o options, r *report) error {
	dir := filepath.Join(o.dir, "month")
	dsn := "sqlite:" + filepath.Join(dir, "ledger.db")
	say("loading a month of %s addresses", number(float64(o.addresses)))
	var loaded, sealed cost
	var size int64
	err := withLedger(ctx, dsn, func(db *store.DB, books *ledger.Ledger) (err error) {
		if loaded, err = measure("", func() error { return loadMonth(ctx, db, books, o.addresses) }); err != nil {
			return err
		}
		say("sealing it, loaded in %s s", seconds(loaded.wall))
		sealed, err = measure("", func() error { return seal(ctx, books) })
		return err
	})
	if err != nil {
		return err
	}
	if size, err = diskUse(dir); err != nil {
		return err
	}
	closings := []*closing{
		{what: "flat and block plans, from day sums (two days of hours)", bar: "120 s", services: o.addresses},
		{what: "95th percentile, from every hour row", bar: "120 s", services: o.addresses},
	}
	plans := [][]string{{"block", "flat"}, {"percentile"}}
	for i, c := range closings {
		copied := filepath.Join(o.dir, fmt.Sprintf("closing%d", i))
		if err := copyFolder(dir, copied); err != nil {
			return err
		}
		if err := c.run(ctx, "sqlite:"+filepath.Join(copied, "ledger.db"), plans[i]); err != nil {
			return err
		}
		if err := os.RemoveAll(copied); err != nil {
			return err
		}
	}
	rows := float64(o.addresses * monthHours)
	r.text("## A month of %s addresses\n", number(float64(o.addresses)))
	r.text("October 2026 in Europe/London, %d hours, each with traffic of each address: %s hour rows in SQLite with twelve slots of both directions each. Its first day went", monthHours, number(rows))
	r.text("through the ledger's own booking, the others are copies of that day's rows. On disk: **%s**, %.0f octets a row, day sums included.", gigabytes(size), float64(size)/rows)
	r.text("Sealing all of its hours and deriving the day sums took %s s (%s CPU s); a running ledger does so hour by hour.\n", seconds(sealed.wall), seconds(sealed.cpu))
	closingTable(r, closings)
	return os.RemoveAll(dir)
}

// days closes many services whose usage is in day sums.
func days(ctx context.Context, o options, r *report) error {
	dir := filepath.Join(o.dir, "days")
	dsn := "sqlite:" + filepath.Join(dir, "ledger.db")
	say("loading day sums of %s services", number(float64(o.many)))
	err := withLedger(ctx, dsn, func(db *store.DB, books *ledger.Ledger) error {
		if err := loadDays(ctx, db, books, o.many); err != nil {
			return err
		}
		return seal(ctx, books)
	})
	if err != nil {
		return err
	}
	c := &closing{what: "flat and block plans, from day sums", bar: "60 s", services: o.many}
	if err := c.run(ctx, dsn, []string{"block-utc", "flat-utc"}); err != nil {
		return err
	}
	r.text("## Day sums of %s services\n", number(float64(o.many)))
	r.text("October 2026 in UTC: %s day sums, which the ledger has derived from one hour row a day, and of which no day has to be cut.\n", number(float64(o.many*31)))
	closingTable(r, []*closing{c})
	return os.RemoveAll(dir)
}

func closingTable(r *report, closings []*closing) {
	r.text("A closing reads the usage, rates every service and chains its statement, on SQLite with `synchronous=FULL`. A second one finds nothing to do.\n")
	r.head("plans", "services", "wall, s", "bar", "CPU s", "CPU ms a service", "heap at most, MiB")
	for _, c := range closings {
		r.row(c.what, number(float64(c.services)), seconds(c.cost.wall), c.bar, seconds(c.cost.cpu),
			fmt.Sprintf("%.2f", c.cost.cpu/float64(c.services)*1e3), number(float64(c.cost.heap>>20)))
	}
	r.text("")
}

// run imports a service of each address under the plans in turn, and closes the month.
func (c *closing) run(ctx context.Context, dsn string, plans []string) error {
	return withLedger(ctx, dsn, func(db *store.DB, books *ledger.Ledger) error {
		inv := inventory.New(db)
		began := time.Now()
		if err := importServices(ctx, inv, c.services, plans); err != nil {
			return err
		}
		say("closing %s services, %s; imported in %s s", number(float64(c.services)), c.what, seconds(time.Since(began).Seconds()))
		var closed ledger.Closed
		var err error
		c.cost, err = measure("", func() error {
			closed, err = books.CloseDue(ctx, inv, closedAt)
			return err
		})
		if err != nil {
			return err
		}
		if closed.Statements != c.services || closed.Adjustments != 0 || len(closed.Problems) != 0 {
			return fmt.Errorf("closed %d statements of %d, %d adjustments, problems %.3v", closed.Statements, c.services, closed.Adjustments, closed.Problems)
		}
		if closed, err = books.CloseDue(ctx, inv, closedAt); err == nil && closed.Statements != 0 {
			err = fmt.Errorf("a second closing closed %d statements", closed.Statements)
		}
		return err
	})
}

func withLedger(ctx context.Context, dsn string, f func(db *store.DB, books *ledger.Ledger) error) error {
	db, err := openStore(ctx, dsn)
	if err != nil {
		return err
	}
	err = f(db, ledger.New(db, ledger.DefaultConfig()))
	if closeErr := db.Close(); err == nil {
		err = closeErr
	}
	return err
}

// loadMonth books 1 October, and copies its rows to the other days of the month.
func loadMonth(ctx context.Context, db *store.DB, books *ledger.Ledger, addresses int) error {
	first := monthFrom.Add(time.Hour)
	if err := bookDay(ctx, books, addresses, first, 24, 12); err != nil {
		return err
	}
	if err := copyHours(ctx, db, first.Add(23*time.Hour), first.Add(24*time.Hour), -24*time.Hour); err != nil {
		return err
	}
	for day := 24 * time.Hour; first.Add(day).Before(monthTo); day += 24 * time.Hour {
		if err := copyHours(ctx, db, first, first.Add(24*time.Hour), day); err != nil {
			return err
		}
	}
	return nil
}

// loadDays books one hour of each day of the month.
func loadDays(ctx context.Context, db *store.DB, books *ledger.Ledger, services int) error {
	first := monthFrom.Add(time.Hour)
	if err := bookDay(ctx, books, services, first, 1, 1); err != nil {
		return err
	}
	for day := 24 * time.Hour; first.Add(day).Before(monthTo); day += 24 * time.Hour {
		if err := copyHours(ctx, db, first, first.Add(time.Hour), day); err != nil {
			return err
		}
	}
	return nil
}

// bookDay books the hours of a day with so many tallies an hour of each address.
func bookDay(ctx context.Context, books *ledger.Ledger, addresses int, first time.Time, hours, tallies int) error {
	for hour := range hours {
		at := first.Add(time.Duration(hour) * time.Hour)
		batches := batchesOf(addresses, tallies, at, 5*time.Minute)
		observe(batches, at, closedAt)
		for _, b := range batches {
			b.LogId, b.Index = 1, uint64(hour+1)
		}
		if _, err := books.Book(ctx, batches); err != nil {
			return err
		}
	}
	return nil
}

// copyHours copies the rows and the exporters' accounts of [from, to) to a time that is off by shift.
func copyHours(ctx context.Context, db *store.DB, from, to time.Time, shift time.Duration) error {
	return db.Update(ctx, func(tx *store.Tx) error {
		for _, table := range []string{"usage_hour", "exporter_hour"} {
			columns, err := columnsBesideHour(ctx, tx, table)
			if err != nil {
				return err
			}
			text := "INSERT INTO " + table + " (hour, " + columns + ") SELECT hour + ?, " + columns + " FROM " + table + " WHERE hour >= ? AND hour < ? ORDER BY hour"
			if _, err := tx.Exec(ctx, text, int64(shift/time.Hour), from.Unix()/3600, to.Unix()/3600); err != nil {
				return err
			}
		}
		return nil
	})
}

func columnsBesideHour(ctx context.Context, tx *store.Tx, table string) (string, error) {
	rows, err := tx.Query(ctx, "SELECT * FROM "+table+" WHERE hour < 0")
	if err != nil {
		return "", err
	}
	defer func() { _ = rows.Close() }()
	names, err := rows.Columns()
	if err != nil {
		return "", err
	}
	var others []string
	for _, name := range names {
		if name != "hour" {
			others = append(others, name)
		}
	}
	return strings.Join(others, ", "), rows.Err()
}

// seal seals the month.
func seal(ctx context.Context, books *ledger.Ledger) error {
	sealed, err := books.Seal(ctx, closedAt)
	if err == nil && (sealed.Through.Before(monthTo) || sealed.DaysThrough.Before(monthTo)) {
		err = fmt.Errorf("sealed through %s, days through %s, waiting for %v", sealed.Through, sealed.DaysThrough, sealed.Waiting)
	}
	return err
}

const terms = `
provider: {name: Example Hosting, time_zone: Europe/London, currency: GBP}
prices:
  - {sku: overage, place: london, currency: GBP, from: 2026-01-01, noticed: 2025-12-01, per: TB, begun: true, amount: "60.00"}
  - {sku: flat, place: london, currency: GBP, from: 2026-01-01, noticed: 2025-12-01, per: GB, begun: false, amount: "0.047"}
  - {sku: rate, place: london, currency: GBP, from: 2026-01-01, noticed: 2025-12-01, per: Mbit/s, begun: true, amount: "10.00"}
plans:
  - {name: block, quota: 1 TB, block: 0.1 TB}
  - {name: flat, quota: 500 GB, sku: flat}
  - {name: block-utc, quota: 10 GB, block: 0.1 TB, time_zone: UTC}
  - {name: flat-utc, quota: 5 GB, sku: flat, time_zone: UTC}
  - {name: percentile, quota: 10 Mbit/s, direction: p95, sku: rate, block: 0.1 Mbit/s}
customers: [{id: c1, name: Ada Ltd}]
`

// importServices makes a service of each address.
func importServices(ctx context.Context, inv *inventory.Inventory, services int, plans []string) error {
	var text, bought, owned strings.Builder
	text.WriteString(terms + "prefixes:\n")
	for i := 0; i < services; i += addressesPerExporter {
		fmt.Fprintf(&text, "  - {prefix: %s/20, exporters: [%s]}\n", address(i), exporter(i))
	}
	bought.WriteString("id,customer,plan,place,opened\n")
	owned.WriteString("service,key,from\n")
	for i := range services {
		fmt.Fprintf(&bought, "s%06d,c1,%s,london,2026-01-01\n", i, plans[i%len(plans)])
		fmt.Fprintf(&owned, "s%06d,%s,2026-01-01T00:00:00Z\n", i, meterOf(i))
	}
	_, err := inv.Import(ctx, []inventory.File{
		{Name: "terms.yaml", Text: []byte(text.String())},
		{Name: "services.csv", Text: []byte(bought.String())},
		{Name: "ownership.csv", Text: []byte(owned.String())},
	}, false)
	return err
}

func copyFolder(from, to string) error {
	if err := os.MkdirAll(to, 0o750); err != nil {
		return err
	}
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if err := copyFile(filepath.Join(from, entry.Name()), filepath.Join(to, entry.Name())); err != nil {
			return err
		}
	}
	return nil
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		_ = out.Close()
		return err
	}
	return out.Close()
}
