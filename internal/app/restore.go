package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"hostmeter/aggregator/export"
	"hostmeter/aggregator/notice"
	"hostmeter/detector/notify"
	"hostmeter/internal/clock"
	"hostmeter/internal/restores"
	"hostmeter/internal/store"
)

// Backup copies the ledger to a file while others work on it.
func (d *Desk) Backup(ctx context.Context, path string, w io.Writer) error {
	size, err := d.db.Backup(ctx, path)
	if errors.Is(err, store.ErrServer) {
		dsn, resolveErr := d.config.store()
		if resolveErr != nil {
			return resolveErr
		}
		return wrong(err, "PostgreSQL makes the copy: pg_dump --format=custom --no-owner --file="+quoted(path)+" "+database(dsn)+`; later pg_restore brings it back, and "hostmeter restore --restored" checks it`)
	}
	if err != nil {
		return fmt.Errorf("back up the ledger: %w", err)
	}
	through, _, err := d.ledger.SealedThrough(ctx)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s: %d bytes, checked; %s\n", path, size, sealedText(through))
	return err
}

// database names a database to PostgreSQL's tools, without the password, which belongs into PGPASSWORD or ~/.pgpass.
func database(dsn string) string {
	u, err := url.Parse(dsn)
	if err != nil || u.User == nil {
		return quoted(dsn)
	}
	u.User = url.User(u.User.Username())
	return quoted(u.String())
}

// quoted is text as one word of a shell.
func quoted(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// RestoreOptions are the arguments of `hostmeter restore`.
type RestoreOptions struct {
	File              string
	Replace, Restored bool
}

// Restore makes the ledger that a configuration names of a backup, checks it, and parks the charges that may
// have been made after the backup. With Restored the ledger has been brought back by other means.
func Restore(ctx context.Context, path string, o RestoreOptions, w io.Writer) error {
	if (o.File == "") == !o.Restored {
		return wrong(errors.New("restore needs a backup, or --restored"), `run "hostmeter restore --help"`)
	}
	cfg, err := LoadConfig(path)
	if err != nil {
		return err
	}
	dsn, err := cfg.store()
	if err != nil {
		return err
	}
	if !o.Restored {
		kept, err := store.Restore(ctx, o.File, dsn, o.Replace, clock.Real{})
		if err != nil {
			return restoreError(err, dsn)
		}
		if kept != "" {
			fmt.Fprintf(w, "the ledger before is kept as %s\n", kept)
		}
	}
	desk, err := openDesk(ctx, cfg, clock.Real{})
	if err != nil {
		return err
	}
	defer desk.Close()
	return desk.afterRestore(ctx, w)
}

func restoreError(err error, dsn string) error {
	switch {
	case errors.Is(err, store.ErrServer):
		return wrong(err, "PostgreSQL brings it back: pg_restore --clean --if-exists --no-owner --dbname="+database(dsn)+` FILE; then run "hostmeter restore --restored"`)
	case errors.Is(err, store.ErrExists):
		return &HintError{Err: err, Hint: "with --replace it is kept beside the restored one, under another name"}
	case errors.Is(err, store.ErrInUse):
		return &HintError{Err: err, Hint: "stop hostmeter first, all of its processes"}
	case errors.Is(err, store.ErrNewer):
		return &HintError{Err: err, Hint: "use the version of hostmeter that made this backup, or a later one"}
	}
	return fmt.Errorf("restore: %w", err)
}

// sealedText says how far hours are sealed.
func sealedText(through time.Time) string {
	if through.IsZero() {
		return "no hour is sealed yet"
	}
	return "hours sealed up to " + through.UTC().Format(time.RFC3339)
}

// doubtful counts what waits in a restored ledger and may have been sent by the one that was lost.
type doubtful struct{ charges, mails, alarms int }

// doubt notes the restore, and what may have been sent before it.
func (d *Desk) doubt(ctx context.Context) (n doubtful, err error) {
	err = d.db.Update(ctx, func(tx *store.Tx) error {
		if err := restores.Add(ctx, tx); err != nil {
			return err
		}
		var errs [3]error
		n.charges, errs[0] = export.Restored(ctx, tx)
		n.mails, errs[1] = notice.Restored(ctx, tx)
		n.alarms, errs[2] = notify.Waiting(ctx, tx)
		return errors.Join(errs[:]...)
	})
	return n, err
}

// afterRestore checks a restored ledger, and says what comes next.
func (d *Desk) afterRestore(ctx context.Context, w io.Writer) error {
	doubt, err := d.doubt(ctx)
	if err != nil {
		return err
	}
	findings, _, err := d.findings(ctx, time.Time{}, false)
	if err != nil {
		return err
	}
	if err := d.writeFindings(ctx, findings, false, w); err != nil {
		return &HintError{Err: fmt.Errorf("the restored ledger: %w", err), Hint: "keep it, and try an earlier backup"}
	}
	through, _, err := d.ledger.SealedThrough(ctx)
	if err != nil {
		return err
	}
	last, err := d.ledger.LastUsageRecord(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "the ledger is restored; %s; the last usage record is number %d\n", sealedText(through), last)
	if d.config.Handover.Enabled() {
		fmt.Fprintf(w, "%d charges are parked, and more will be, for periods that ended before now: they are looked for at the receiver, and \"hostmeter handover list\" names those that it does not show\n", doubt.charges)
	}
	if doubt.mails+doubt.alarms > 0 {
		fmt.Fprintf(w, "%d mails of notices and %d notifications of incidents may have been sent before: mails go out once, marked as possible repeats, and notifications when the logs are read again and the incident is still open\n", doubt.mails, doubt.alarms)
	}
	_, err = fmt.Fprintf(w, "next: start hostmeter, which books again what the logs hold; readers of the feed that are past number %d take out what they have behind it and read on from there; then run \"hostmeter doctor\"\n", last)
	return err
}
