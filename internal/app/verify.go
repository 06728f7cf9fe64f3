package app

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"hostmeter/aggregator/ledger"
	"hostmeter/internal/doctor"
)

// Verify adds up the whole ledger again and prints what does not agree.
func (d *Desk) Verify(ctx context.Context, asJSON bool, w io.Writer) error {
	findings, busy, err := d.findings(ctx, time.Time{}, true)
	if err != nil {
		return err
	}
	if busy && !asJSON {
		fmt.Fprintln(w, accountsBusy)
	}
	return d.writeFindings(ctx, findings, asJSON, w)
}

// accountsBusy says that one law could not be checked.
const accountsBusy = "accounts: the ledger is behind and was within a flush each time: accounts and meters are not compared; run \"hostmeter verify\" again when it has caught up"

func (d *Desk) writeFindings(ctx context.Context, findings []ledger.Finding, asJSON bool, w io.Writer) error {
	if asJSON {
		if err := printJSON(w, findings); err != nil {
			return err
		}
	}
	if len(findings) > 0 {
		for _, f := range findings {
			if !asJSON {
				fmt.Fprintf(w, "%s: %s\n", f.Law, f.Text)
			}
		}
		return &HintError{Err: fmt.Errorf("%d things do not add up", len(findings)), Hint: "keep a copy (\"hostmeter backup FILE\"), and report it as a fault of hostmeter; docs/explanation/ledger.md says what each law means"}
	}
	if asJSON {
		return nil
	}
	if _, err := fmt.Fprintln(w, "everything adds up"); err != nil {
		return err
	}
	return d.writeGone(ctx, w)
}

// Tallies and accounts of one flush travel in different shards, so that those of a live ledger agree only between
// flushes: it is looked at so often, with a pause in between, before that is a finding.
const (
	flushLooks = 6
	flushPause = 700 * time.Millisecond
)

// findings are all that does not add up, from a time on where since is not zero. settled: accounts and meters have
// to agree too, which they do not in a copy that was made within a flush. busy: so much was booked between all looks,
// and the difference was another one each time, that this says nothing; then it is no finding.
func (d *Desk) findings(ctx context.Context, since time.Time, settled bool) (findings []ledger.Finding, busy bool, err error) {
	busy = settled
	var before []ledger.Finding
	for look := 1; ; look++ {
		if findings, err = d.ledger.VerifySince(ctx, settled, since); err != nil {
			return nil, false, err
		}
		if !onlyAccounts(findings) || slices.Equal(findings, before) {
			busy = false
		}
		if before = findings; look == flushLooks || !onlyAccounts(findings) {
			break
		}
		if err := d.clock.Sleep(ctx, flushPause); err != nil {
			return nil, false, err
		}
	}
	if busy {
		findings = nil
	}
	owned, err := d.ledger.VerifyOwned(ctx, d.inventory, since, d.clock.Now())
	if err != nil {
		return nil, false, err
	}
	return slices.Concat([]ledger.Finding{}, findings, owned), busy, nil
}

// onlyAccounts says that nothing else is wrong than what a flush under way makes wrong.
func onlyAccounts(findings []ledger.Finding) bool {
	for _, f := range findings {
		if f.Law != "accounts" {
			return false
		}
	}
	return len(findings) > 0
}

// writeGone says of what verify could not speak: what retention has taken.
func (d *Desk) writeGone(ctx context.Context, w io.Writer) error {
	gone, err := d.ledger.Gone(ctx)
	if err != nil {
		return err
	}
	if !gone.Hours.IsZero() {
		fmt.Fprintf(w, "hours before %s have reached their age and are gone: statements of then are checked by their chain alone\n", gone.Hours.Format(time.DateOnly))
	}
	if gone.Slots.After(gone.Hours) {
		fmt.Fprintf(w, "slots of five minutes before %s have reached their age and are gone: hours of then are added up, not divided\n", gone.Slots.Format(time.DateOnly))
	}
	if gone.Statements > 0 {
		fmt.Fprintf(w, "statements number 1 to %d have reached their age and are gone: the chain begins behind them\n", gone.Statements)
	}
	return nil
}

// doctorReads is how much of the hours the doctor adds up again; verify reads all.
const doctorReads = 40 * 24 * time.Hour

// checkBooks adds up the newest part of the ledger again.
func (d *Desk) checkBooks(ctx context.Context) (out []doctor.Finding) {
	findings, busy, err := d.findings(ctx, d.clock.Now().Add(-doctorReads), true)
	if err != nil {
		return []doctor.Finding{{Level: doctor.Fault, Text: err.Error()}}
	}
	if busy {
		out = append(out, doctor.Finding{Level: doctor.Warning, Text: accountsBusy})
	}
	const most = 10
	for _, f := range findings[:min(len(findings), most)] {
		out = append(out, doctor.Finding{Level: doctor.Fault, Text: f.Law + ": " + f.Text})
	}
	if len(findings) > 0 {
		return append(out, doctor.Finding{Level: doctor.Fault, Text: fmt.Sprintf("%d things do not add up", len(findings)), Hint: "\"hostmeter verify\" reads the whole ledger and prints all of them"})
	}
	return append(out, doctor.Finding{Level: doctor.Good, Text: "the last 40 days add up (\"hostmeter verify\" reads all)"})
}

// checkLedger looks for what was set aside and for gaps.
func (d *Desk) checkLedger(ctx context.Context) []doctor.Finding {
	var out []doctor.Finding
	refused, err := d.ledger.RefusedBatches(ctx)
	if err != nil {
		return []doctor.Finding{{Level: doctor.Fault, Text: err.Error()}}
	}
	for _, r := range refused {
		out = append(out, doctor.Finding{Level: doctor.Fault, Text: fmt.Sprintf("batch %s/%d was set aside: %s", r.Key, r.Index, r.Reason),
			Hint: "keep it, and report it as a fault of hostmeter"})
	}
	gaps, err := d.ledger.Gaps(ctx)
	if err != nil {
		return []doctor.Finding{{Level: doctor.Fault, Text: err.Error()}}
	}
	out = append(out, gapFindings(gaps)...)
	if len(out) == 0 {
		out = []doctor.Finding{{Level: doctor.Good, Text: "no batch was set aside, and none is lost"}}
	}
	return out
}

// gapFindings has one finding for each log that has lost something: its shards mostly lost it together.
func gapFindings(gaps []ledger.Gap) (out []doctor.Finding) {
	for len(gaps) > 0 {
		first, batches := gaps[0], uint64(0)
		last := first.DeclaredAt
		var others []ledger.Gap
		for _, g := range gaps {
			if g.Key.Collector != first.Key.Collector || g.Key.LogID != first.Key.LogID {
				others = append(others, g)
				continue
			}
			batches += g.To - g.From + 1
			last = g.DeclaredAt
		}
		out = append(out, doctor.Finding{
			Level: doctor.Warning,
			Text: fmt.Sprintf("%d batches of log %016x of %s are lost, as was noticed from %s to %s", batches, first.Key.LogID, first.Key.Collector,
				first.DeclaredAt.Format(time.RFC3339), last.Format(time.RFC3339)),
			Hint: "usage of that time is missing, and the statements' evidence says so; if the process says \"cannot be read\" or \"is damaged\", look at dmesg and smartctl and replace the disk, else: was the disk replaced, or the log deleted?",
		})
		gaps = others
	}
	return out
}
