// Package audit keeps who has done what, and why.
//
// It promises that an event is written in the transaction of what it tells of, where that has one: a file that is
// handed out is noted before, a reload after it. None is changed afterwards, but
// for a customer's name in a reason, in whose place the erasure of that customer puts the identifier. It does not
// promise to hold everything: decisions, hand-overs and incidents keep their own.
package audit

import (
	"context"
	"fmt"
	"time"

	"hostmeter/internal/store"
)

// Event is one deed of a person, or of a program with a token. It names customers by their identifiers alone.
type Event struct {
	Seq     int64     `json:"seq"`
	At      time.Time `json:"at"`
	Actor   string    `json:"actor"`   // "user:ada", "token:whmcs", "local:root"
	Action  string    `json:"action"`  // "erase customer"
	Subject string    `json:"subject"` // the identifier of what it was done to
	Reason  string    `json:"reason"`
}

// Add writes an event into a transaction; At and Seq are the transaction's.
func Add(ctx context.Context, tx *store.Tx, e Event) error {
	_, err := tx.Exec(ctx, `INSERT INTO audit_event (at, actor, action, subject, reason) VALUES (?, ?, ?, ?, ?)`,
		tx.Now.UnixNano(), e.Actor, e.Action, e.Subject, e.Reason)
	if err != nil {
		err = fmt.Errorf("note %s of %s: %w", e.Action, e.Subject, err)
	}
	return err
}

// Events returns at most limit events behind a number, the oldest first; of one subject where it is not empty.
func Events(ctx context.Context, db *store.DB, subject string, after int64, limit int) (list []Event, err error) {
	err = db.View(ctx, func(tx *store.Tx) (err error) {
		list, err = store.List(ctx, tx, readEvent, `SELECT seq, at, actor, action, subject, reason FROM audit_event
			WHERE seq > ? AND (? = '' OR subject = ?) ORDER BY seq LIMIT ?`, after, subject, subject, limit)
		return err
	})
	if err != nil {
		err = fmt.Errorf("read the audit log: %w", err)
	}
	return list, err
}

func readEvent(row store.Row) (e Event, err error) {
	var at int64
	err = row.Scan(&e.Seq, &at, &e.Actor, &e.Action, &e.Subject, &e.Reason)
	e.At = time.Unix(0, at).UTC()
	return e, err
}
