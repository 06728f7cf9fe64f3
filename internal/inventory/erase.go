package inventory

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"hostmeter/internal/audit"
	"hostmeter/internal/store"
)

// Erasure asks for a customer's name and e-mail address to be destroyed.
type Erasure struct {
	Customer string
	By       string // who does it
	Reason   string
}

// Erased says what an erasure did.
type Erased struct {
	Customer string    `json:"customer"`
	At       time.Time `json:"at"`
	// Already says that it had been erased before, and its files were only gone over again.
	Already bool `json:"already"`
	// Scrubbed says that the store's files do not hold it any more. Where it is false, something still read the
	// old rows: the erasure is to be repeated.
	Scrubbed bool `json:"scrubbed"`
	// Rewritten counts the notes in which the name stood and the identifier stands now.
	Rewritten int `json:"rewritten"`
	// Remaining are decisions whose reason names the customer: statements hold them for good.
	Remaining []string `json:"remaining"`
	// Running are its services that are not closed: they go on, and are charged under the identifier.
	Running []string `json:"running"`
}

// Erase destroys the key of a customer's name and e-mail address, and takes both out of the notes of
// incidents, of the hand-over, of approvals and of notices about addresses. Everything that shows a name shows the identifier from then on; usage,
// statements and their hashes never had it. It cannot be taken back: an import that names the customer is
// taken without the name. A second call does no harm, and goes over the files again.
//
// Errors: ErrUnknown, *InvalidError, store's.
func (inv *Inventory) Erase(ctx context.Context, e Erasure) (done Erased, err error) {
	var tables []string
	for range conflictRetries {
		err = inv.db.Update(ctx, func(tx *store.Tx) error {
			done, tables, err = erase(ctx, tx, e)
			return err
		})
		if !store.IsConflict(err) {
			break
		}
	}
	if err != nil {
		return Erased{}, err
	}
	if err = inv.db.Scrub(ctx, tables...); errors.Is(err, store.ErrNotScrubbed) {
		return done, nil
	}
	done.Scrubbed = err == nil
	return done, err
}

// erase also returns the tables of which something was deleted.
func erase(ctx context.Context, tx *store.Tx, e Erasure) (done Erased, tables []string, err error) {
	done = Erased{Customer: e.Customer, At: tx.Now, Remaining: []string{}, Running: []string{}}
	s, err := load(ctx, tx)
	if err != nil {
		return done, nil, fmt.Errorf("read inventory: %w", err)
	}
	customer, ok := s.customers.rows[e.Customer]
	if !ok {
		return done, nil, fmt.Errorf("customer %q: %w", e.Customer, ErrUnknown)
	}
	for _, service := range s.services.sorted() {
		if service.Customer == customer.ID && service.Closed.IsZero() {
			done.Running = append(done.Running, service.ID)
		}
	}
	if !customer.Erased.IsZero() {
		done.At, done.Already = customer.Erased, true
		return done, append(noteTables(), sealedTables...), nil
	}
	if err := e.check(customer); err != nil {
		return done, nil, err
	}
	for _, d := range s.decisions.sorted() {
		if customer.namedIn(d.Reason) || customer.namedIn(d.By) {
			done.Remaining = append(done.Remaining, d.ID)
		}
	}
	if done.Rewritten, tables, err = rewriteNotes(ctx, tx, customer); err != nil {
		return done, nil, err
	}
	return done, append(tables, sealedTables...), destroy(ctx, tx, e)
}

var sealedTables = []string{"customer_key", "customer_name"}

// noteTables returns the tables that have notes, each once.
func noteTables() []string {
	var tables []string
	for _, t := range notes {
		if !slices.Contains(tables, t.table) {
			tables = append(tables, t.table)
		}
	}
	return tables
}

func (e Erasure) check(customer Customer) error {
	var faults []Fault
	for _, field := range []struct{ where, text string }{{"by", e.By}, {"reason", e.Reason}} {
		_, err := parseText(field.text)
		switch {
		case strings.TrimSpace(field.text) == "":
			faults = append(faults, Fault{field.where, "missing"})
		case err != nil:
			faults = append(faults, Fault{field.where, err.Error()})
		case customer.namedIn(field.text):
			faults = append(faults, Fault{field.where, fmt.Sprintf("it names the customer, and is kept: write %s instead", customer.ID)})
		}
	}
	if len(faults) > 0 {
		return &InvalidError{Faults: faults}
	}
	return nil
}

func destroy(ctx context.Context, tx *store.Tx, e Erasure) error {
	for _, query := range []string{`DELETE FROM customer_key WHERE customer = ?`, `DELETE FROM customer_name WHERE customer = ?`} {
		if _, err := tx.Exec(ctx, query, e.Customer); err != nil {
			return fmt.Errorf("erase customer %s: %w", e.Customer, err)
		}
	}
	_, err := tx.Exec(ctx, `INSERT INTO erasure (customer, erased_at, erased_by, reason) VALUES (?, ?, ?, ?)`, e.Customer, tx.Now.UnixNano(), e.By, e.Reason)
	if err != nil {
		return fmt.Errorf("erase customer %s: %w", e.Customer, err)
	}
	_, versionErr := nextVersion(ctx, tx)
	return errors.Join(versionErr, audit.Add(ctx, tx, audit.Event{Actor: e.By, Action: "erase customer", Subject: e.Customer, Reason: e.Reason}))
}

// notes are the texts that persons write, or other systems answer, beside what is hashed: a name that stands there is not kept.
var notes = []struct{ table, column string }{
	{"incident", "note"},
	{"incident", "silence_reason"},
	{"incident", "resolve_reason"},
	{"incident", "assigned_to"},
	{"incident_event", "text"},
	{"handover_event", "text"},
	{"handover_charge", "last_error"},
	{"handover_receiver", "last_error"},
	{"statement_approval", "reason"},
	{"address_notice", "reason"},
	{"audit_event", "reason"},
}

// rewriteNotes puts the identifier in the place of the name and the e-mail address, and returns in how many
// notes, and of which tables.
func rewriteNotes(ctx context.Context, tx *store.Tx, customer Customer) (n int, tables []string, err error) {
	for _, t := range notes {
		texts, err := readNotes(ctx, tx, t.table, t.column)
		if err != nil {
			return n, nil, err
		}
		for _, text := range texts {
			clean := customer.unname(text)
			if clean == text {
				continue
			}
			changed, err := tx.Exec(ctx, `UPDATE `+t.table+` SET `+t.column+` = ? WHERE `+t.column+` = ?`, clean, text)
			if err != nil {
				return n, nil, fmt.Errorf("take a name out of %s: %w", t.table, err)
			}
			n += int(changed)
			if !slices.Contains(tables, t.table) {
				tables = append(tables, t.table)
			}
		}
	}
	return n, tables, nil
}

func readNotes(ctx context.Context, tx *store.Tx, table, column string) ([]string, error) {
	texts, err := store.List(ctx, tx, func(row store.Row) (text string, err error) {
		err = row.Scan(&text)
		return text, err
	}, `SELECT DISTINCT `+column+` FROM `+table+` WHERE `+column+` <> ''`)
	if err != nil {
		err = fmt.Errorf("read %s: %w", table, err)
	}
	return texts, err
}
