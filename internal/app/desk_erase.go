package app

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"hostmeter/internal/audit"
	"hostmeter/internal/httpapi"
	"hostmeter/internal/inventory"
	"hostmeter/internal/store"
)

// EraseOptions are the flags of `hostmeter erase`.
type EraseOptions struct {
	Reason, By string
	Confirm    string // the identifier again; asked for where it is empty
	JSON       bool
}

// Erase destroys a customer's name and e-mail address, and prints what it did. The identifier has to be given
// twice: by a flag, or as the answer on in.
func (d *Desk) Erase(ctx context.Context, customer string, o EraseOptions, in io.Reader, w io.Writer) error {
	if o.Confirm == "" {
		fmt.Fprintf(w, "The name and e-mail address of customer %s will be destroyed. This cannot be taken back.\nType the identifier again: ", customer)
		line, err := bufio.NewReader(in).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		o.Confirm = strings.TrimSpace(line)
	}
	if o.Confirm != customer {
		return wrong(errors.New("the identifier was not repeated: nothing was erased"), "type it again when asked, or give it as --confirm")
	}
	done, err := d.inventory.Erase(ctx, inventory.Erasure{Customer: customer, By: o.By, Reason: o.Reason})
	var invalid *inventory.InvalidError
	switch {
	case errors.As(err, &invalid):
		return wrong(fmt.Errorf("nothing was erased: %w", err), "give --by and --reason, without the customer's name: both are kept")
	case errors.Is(err, inventory.ErrUnknown):
		return &HintError{Err: err, Hint: "the identifiers are those of the inventory, as in the files that were imported"}
	case err != nil:
		return err
	}
	if o.JSON {
		return printJSON(w, done)
	}
	return printErased(w, done)
}

func printErased(w io.Writer, done inventory.Erased) error {
	at := done.At.UTC().Format(time.RFC3339)
	if done.Already {
		fmt.Fprintf(w, "customer %s was erased at %s\n", done.Customer, at)
	} else {
		fmt.Fprintf(w, "customer %s is erased: its statements stay as they are, and show the identifier\n", done.Customer)
	}
	if done.Rewritten > 0 {
		fmt.Fprintf(w, "the name stood in %d notes of incidents or the hand-over: the identifier stands there now\n", done.Rewritten)
	}
	if len(done.Remaining) > 0 {
		fmt.Fprintf(w, "these decisions still name the customer, and statements hold them for good: %s\n", strings.Join(done.Remaining, ", "))
	}
	if len(done.Running) > 0 {
		fmt.Fprintf(w, "these services are not closed, and go on under the identifier: %s\n", strings.Join(done.Running, ", "))
	}
	if !done.Scrubbed {
		return &HintError{Err: errors.New("the key is destroyed, and the store's files may still hold a copy: something was reading it"), Hint: "run the same command again in a minute"}
	}
	_, err := fmt.Fprintln(w, "backups and exported files that name the customer are yours to destroy")
	return err
}

// ListAudit prints who has done what, the oldest first.
func (d *Desk) ListAudit(ctx context.Context, subject string, asJSON bool, w io.Writer) error {
	rows := [][]string{{"TIME", "WHO", "WHAT", "OF", "WHY"}}
	all := []audit.Event{}
	for after := int64(0); ; {
		events, err := audit.Events(ctx, d.db, subject, after, auditAtOnce)
		if err != nil {
			return err
		}
		for _, e := range events {
			after = e.Seq
			rows = append(rows, []string{e.At.Format(time.RFC3339), e.Actor, e.Action, e.Subject, oneLine(e.Reason)})
		}
		all = append(all, events...)
		if len(events) < auditAtOnce {
			break
		}
	}
	if asJSON {
		return printJSON(w, all)
	}
	return printTable(w, rows)
}

const auditAtOnce = 1000

// eraser joins the API to the erasure, and to the audit log.
type eraser struct{ *Desk }

// Erase destroys a customer's name and e-mail address.
func (d eraser) Erase(ctx context.Context, customer, reason string, by httpapi.Actor) (httpapi.Erased, error) {
	done, err := d.inventory.Erase(ctx, inventory.Erasure{Customer: customer, By: string(by), Reason: reason})
	if errors.Is(err, inventory.ErrUnknown) {
		return httpapi.Erased{}, fmt.Errorf("customer %s: %w", customer, httpapi.ErrNotFound)
	}
	return httpapi.Erased(done), inventoryFault(err)
}

// AuditEvents returns what persons have done.
func (d eraser) AuditEvents(ctx context.Context, subject string, after int64, limit int) ([]httpapi.AuditEvent, error) {
	events, err := audit.Events(ctx, d.db, subject, after, limit)
	out := make([]httpapi.AuditEvent, len(events))
	for i, e := range events {
		out[i] = httpapi.AuditEvent(e)
	}
	return out, err
}

// Note adds what a person did.
func (d eraser) Note(ctx context.Context, by httpapi.Actor, deed httpapi.Deed) error {
	return d.db.Update(ctx, func(tx *store.Tx) error {
		return audit.Add(ctx, tx, audit.Event{Actor: string(by), Action: deed.Action, Subject: deed.Subject, Reason: deed.Text})
	})
}
