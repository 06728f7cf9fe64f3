package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/user"
	"text/tabwriter"
	"time"

	"hostmeter/aggregator/ledger"
	"hostmeter/aggregator/notice"
	"hostmeter/detector/incident"
	"hostmeter/internal/auth"
	"hostmeter/internal/clock"
	"hostmeter/internal/failpoint"
	"hostmeter/internal/inventory"
	"hostmeter/internal/mail"
	"hostmeter/internal/store"
)

// Desk is the store with everything that reads and keeps it: what a person's commands and the API
// work on. The log and the sources are not part of it.
type Desk struct {
	db        *store.DB
	clock     clock.Clock
	config    Config
	ledger    *ledger.Ledger
	inventory *inventory.Inventory
	notices   *notice.Notices
	incidents *incident.Store
	keeper    *auth.Keeper
}

// OpenDesk opens the store that a configuration file names and brings its schema up to date.
func OpenDesk(ctx context.Context, path string) (*Desk, error) {
	cfg, err := LoadConfig(path)
	if err != nil {
		return nil, err
	}
	return openDesk(ctx, cfg, failpoint.Clock())
}

func openDesk(ctx context.Context, cfg Config, c clock.Clock) (*Desk, error) {
	dsn, err := cfg.store()
	if err != nil {
		return nil, err
	}
	db, err := store.Open(ctx, dsn, c)
	if err != nil {
		hint := "check ledger.store, that the server runs, and that this user may use it"
		if errors.Is(err, store.ErrUnsafe) {
			hint = "correct the setting where the store has it, for this user and database too, and start again: what was handed over must survive a power cut"
		}
		return nil, &HintError{Err: fmt.Errorf("open the ledger: %w", err), Hint: hint}
	}
	if err := bringUpToDate(ctx, db); err != nil {
		_ = db.Close()
		err = fmt.Errorf("bring the ledger up to date: %w", err)
		if errors.Is(err, store.ErrNewer) {
			return nil, &HintError{Err: err, Hint: "start the newer hostmeter, or restore the backup that was made before the upgrade (docs/how-to/keep.md); nothing was changed"}
		}
		return nil, err
	}
	d := &Desk{
		db:        db,
		clock:     c,
		config:    cfg,
		ledger:    ledger.New(db, cfg.Ledger),
		inventory: inventory.New(db).WithClasses(cfg.Collector.ClassNames()),
		incidents: incident.New(db, cfg.Notify.Receivers()...),
		keeper:    auth.New(db, c, cfg.HTTP.Session),
	}
	if err := d.openNotices(); err != nil {
		_ = db.Close()
		return nil, err
	}
	return d, nil
}

// repliesLost is how many replies of the store may be lost while a ledger is brought up to date.
const repliesLost = 5

// bringUpToDate does nothing to a ledger that is up to date, so that where a reply was lost it is tried again.
func bringUpToDate(ctx context.Context, db *store.DB) error {
	for lost := 0; ; lost++ {
		err := db.Migrate(ctx)
		if err == nil {
			err = inventory.SealNames(ctx, db)
		}
		switch {
		case errors.Is(err, store.ErrNotScrubbed):
			return nil // something still reads the old rows: the next start takes them out of the files
		case !errors.Is(err, store.ErrUnknownOutcome) || lost == repliesLost:
			return err
		}
	}
}

func (d *Desk) openNotices() error {
	sender, err := mail.New(d.config.Mail)
	if err == nil {
		d.notices, err = notice.New(d.config.Notices, notice.Deps{DB: d.db, Ledger: d.ledger, Inventory: d.inventory, Mail: sender, Clock: d.clock,
			Alarm: resellerAlarm{d.db, d.incidents}})
	}
	if err != nil {
		return wrong(err, "correct the key in the configuration")
	}
	return nil
}

// Close closes the store. It may be called twice.
func (d *Desk) Close() error { return d.db.Close() }

// zone returns the provider's time zone: the inventory's, else the configuration's.
func (d *Desk) zone(ctx context.Context) (*time.Location, error) {
	snapshot, err := d.inventory.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	name := snapshot.Provider.TimeZone
	if name == "" {
		name = d.config.Provider.TimeZone
	}
	return time.LoadLocation(name)
}

// LocalActor names who runs a command on this machine, as incidents remember it.
func LocalActor() string {
	if u, err := user.Current(); err == nil && u.Username != "" {
		return "local:" + u.Username
	}
	return "local:unknown"
}

// printJSON writes v indented, with a line's end.
func printJSON(w io.Writer, v any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}

// printTable writes rows in columns; the first row is the heading.
func printTable(w io.Writer, rows [][]string) error {
	table := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	for _, row := range rows {
		for i, cell := range row {
			if i > 0 {
				fmt.Fprint(table, "\t")
			}
			fmt.Fprint(table, cell)
		}
		fmt.Fprintln(table)
	}
	return table.Flush()
}
