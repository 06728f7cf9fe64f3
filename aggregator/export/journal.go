package export

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"hostmeter/aggregator/export/whmcs"
	"hostmeter/aggregator/ledger"
	"hostmeter/internal/restores"
	"hostmeter/internal/store"
)

// State is how far a charge is.
type State string

// The states. A request is made between pending and done, and only after intended is durable.
const (
	Pending  State = "pending"  // not sent, or sent and known to have had no effect
	Intended State = "intended" // a request may have been made, and what became of it is not known yet
	Done     State = "done"     // it is at the receiver, once
	Parked   State = "parked"   // a person decides
	Waived   State = "waived"   // a person decided that it is not charged
	Empty    State = "empty"    // there is nothing to charge
)

// Charge is one line of the journal: a closed statement, or an adjustment, and what became of it at one
// receiver.
type Charge struct {
	Receiver    string         `json:"receiver"`
	Key         string         `json:"charge"` // names it at the receiver, in brackets in the description
	Number      int64          `json:"number"` // of the statement
	Statement   string         `json:"statement"`
	Revision    int            `json:"revision"`
	Customer    string         `json:"customer"`
	Service     string         `json:"service"`
	Amount      string         `json:"amount_ex_vat"`
	Currency    string         `json:"currency"`
	Description string         `json:"description"`
	PeriodTo    time.Time      `json:"period_to"`
	State       State          `json:"state"`
	Approved    bool           `json:"approved"` // by a person, who settled it to be sent
	Attempts    int64          `json:"attempts"`
	Looks       int64          `json:"looks"`
	NextAt      time.Time      `json:"next_at,omitzero"` // zero where nothing happens by itself
	Request     *whmcs.Request `json:"request"`          // the last one
	IntendedAt  time.Time      `json:"intended_at,omitzero"`
	SettledAt   time.Time      `json:"settled_at,omitzero"`
	Remote      string         `json:"remote"` // what the receiver calls it
	LastError   string         `json:"last_error"`
	// Doubted says that the ledger was restored from a backup, and the one before it may have sent this.
	Doubted bool `json:"doubted,omitempty"`
	// Approval is what a person has said of the statement; empty where nobody has to.
	Approval ledger.Approval `json:"approval,omitempty"`

	periodFrom time.Time // known while it is entered
}

// Event is one entry of what became of a charge, or of an event of a feed.
type Event struct {
	Receiver string    `json:"receiver"`
	Subject  string    `json:"subject"`
	At       time.Time `json:"at"`
	Actor    string    `json:"actor"` // "hostmeter" or a person
	Action   string    `json:"action"`
	Text     string    `json:"text"`
}

// self is the actor of what no person decided.
const self = "hostmeter"

// errMoved says that a charge was changed by somebody else meanwhile.
var errMoved = errors.New("changed meanwhile")

// journal is the tables handover_….
type journal struct{ db *store.DB }

// update runs f in a transaction, again where it lost against another.
func (j journal) update(ctx context.Context, f func(tx *store.Tx) error) error {
	const attempts = 5
	for i := 1; ; i++ {
		err := j.db.Update(ctx, f)
		if !store.IsConflict(err) || i == attempts {
			return err
		}
	}
}

// enter puts new charges behind those that are there and moves the cursor from one number to another.
//
// Errors: errMoved where another process has done it.
func (j journal) enter(ctx context.Context, receiver string, from, to int64, charges []Charge) error {
	return j.update(ctx, func(tx *store.Tx) error {
		if err := moveCursor(ctx, tx, receiver, Statements, from, to); err != nil {
			return err
		}
		restored, err := restores.Last(ctx, tx)
		if err != nil {
			return err
		}
		for _, c := range charges {
			c.doubt(restored, tx.Now)
			_, err := tx.Exec(ctx, `INSERT INTO handover_charge (receiver, number, charge, statement, revision, customer, service, amount, currency,
				description, period_to, state, approved, attempts, looks, next_at, request, intended_at, settled_at, remote, last_error, doubted)
				VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0, 0, ?, '', 0, 0, '', ?, ?)`,
				receiver, c.Number, c.Key, c.Statement, c.Revision, c.Customer, c.Service, c.Amount, c.Currency,
				c.Description, c.PeriodTo.UnixNano(), string(c.State), nanoseconds(c.NextAt), c.LastError, flag(c.Doubted))
			if err != nil {
				return fmt.Errorf("enter charge %s: %w", c.Key, err)
			}
			if err := addEvent(ctx, tx, Event{Receiver: receiver, Subject: c.Key, Actor: self, Action: string(c.State), Text: c.LastError}); err != nil {
				return err
			}
		}
		return nil
	})
}

// restores returns when the ledger was restored, the oldest first.
func (j journal) restores(ctx context.Context) (list []restores.Restore, err error) {
	err = j.db.View(ctx, func(tx *store.Tx) error {
		list, err = restores.All(ctx, tx)
		return err
	})
	return list, err
}

// cursor returns up to where a feed was handed over.
func (j journal) cursor(ctx context.Context, receiver string, feed Feed) (seq int64, err error) {
	err = j.db.View(ctx, func(tx *store.Tx) error {
		err := tx.QueryRow(ctx, `SELECT seq FROM handover_cursor WHERE receiver = ? AND feed = ?`, receiver, string(feed)).Scan(&seq)
		if errors.Is(err, sql.ErrNoRows) {
			seq, err = 0, nil
		}
		return err
	})
	if err != nil {
		err = fmt.Errorf("read how far %s was handed to %s: %w", feed, receiver, err)
	}
	return seq, err
}

func moveCursor(ctx context.Context, tx *store.Tx, receiver string, feed Feed, from, to int64) error {
	if from == 0 {
		_, err := tx.Exec(ctx, `INSERT INTO handover_cursor (receiver, feed, seq, moved_at) VALUES (?, ?, 0, ?)
			ON CONFLICT (receiver, feed) DO NOTHING`, receiver, string(feed), tx.Now.UnixNano())
		if err != nil {
			return err
		}
	}
	n, err := tx.Exec(ctx, `UPDATE handover_cursor SET seq = ?, moved_at = ? WHERE receiver = ? AND feed = ? AND seq = ?`,
		to, tx.Now.UnixNano(), receiver, string(feed), from)
	if err == nil && n != 1 {
		err = fmt.Errorf("%s of %s: %w", feed, receiver, errMoved)
	}
	return err
}

// change is what is written of a charge when it moves to a state.
type change struct {
	state    State
	from     []State // the states that it may move from; empty is the one that it was read in
	approved bool
	attempts int64 // added
	looks    int64 // set
	next     time.Time
	request  *whmcs.Request // nil keeps the last one
	intended bool           // from now on
	settled  bool
	remote   string
	fault    string

	actor, action, text string // of the event; without an action there is none
}

// move changes a charge and adds the event of it. c is the charge as it was read. Where it is waived, corrections
// of it that wait lose their approval.
//
// Errors: errMoved where the charge is not in that state, or another request of it has been made.
func (j journal) move(ctx context.Context, c Charge, to change) (Charge, error) {
	if len(to.from) == 0 {
		to.from = []State{c.State}
	}
	request := ""
	if c.Request = orElse(to.request, c.Request); c.Request != nil {
		text, err := json.Marshal(c.Request)
		if err != nil {
			return c, err
		}
		request = string(text)
	}
	err := j.update(ctx, func(tx *store.Tx) error {
		if to.intended {
			c.IntendedAt = tx.Now
		}
		if to.settled {
			c.SettledAt = tx.Now
		}
		args := []any{string(to.state), flag(c.Approved || to.approved), to.attempts, to.looks, nanoseconds(to.next), request,
			nanoseconds(c.IntendedAt), nanoseconds(c.SettledAt), to.remote, to.fault, c.Receiver, c.Number, c.Attempts}
		for _, state := range to.from {
			args = append(args, string(state))
		}
		n, err := tx.Exec(ctx, `UPDATE handover_charge SET state = ?, approved = ?, attempts = attempts + ?, looks = ?, next_at = ?, request = ?,
			intended_at = ?, settled_at = ?, remote = ?, last_error = ? WHERE receiver = ? AND number = ? AND attempts = ?
			AND state IN (?`+strings.Repeat(", ?", len(to.from)-1)+`)`, args...)
		if err == nil && n != 1 {
			err = errMoved
		}
		if err == nil && to.state == Waived { // who approved a correction did not know of it
			_, err = tx.Exec(ctx, `UPDATE handover_charge SET approved = 0 WHERE receiver = ? AND statement = ? AND revision > ? AND state = 'pending'`,
				c.Receiver, c.Statement, c.Revision)
		}
		if err != nil || to.action == "" {
			return err
		}
		return addEvent(ctx, tx, Event{Receiver: c.Receiver, Subject: c.Key, Actor: to.actor, Action: to.action, Text: to.text})
	})
	if err != nil {
		return c, fmt.Errorf("charge %s to %s: %w", c.Key, to.state, err)
	}
	c.State, c.Attempts, c.Looks, c.NextAt, c.Remote, c.LastError = to.state, c.Attempts+to.attempts, to.looks, to.next, to.remote, to.fault
	return c, nil
}

func addEvent(ctx context.Context, tx *store.Tx, e Event) error {
	_, err := tx.Exec(ctx, `INSERT INTO handover_event (receiver, subject, at, actor, action, text) VALUES (?, ?, ?, ?, ?, ?)`,
		e.Receiver, e.Subject, tx.Now.UnixNano(), e.Actor, e.Action, e.Text)
	if err != nil {
		err = fmt.Errorf("note %s of %s: %w", e.Action, e.Subject, err)
	}
	return err
}

const chargeColumns = `receiver, number, charge, statement, revision, customer, service, amount, currency, description, period_to,
	state, approved, attempts, looks, next_at, request, intended_at, settled_at, remote, last_error, doubted,
	COALESCE((SELECT a.state FROM statement_approval AS a WHERE a.number = c.number), '')`

// charges returns the charges that a condition chooses, by number.
func (j journal) charges(ctx context.Context, condition string, args ...any) (list []Charge, err error) {
	err = j.db.View(ctx, func(tx *store.Tx) error {
		list = nil
		rows, err := tx.Query(ctx, `SELECT `+chargeColumns+` FROM handover_charge AS c WHERE `+condition, args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			c, err := scanCharge(rows)
			if err != nil {
				return err
			}
			list = append(list, c)
		}
		return rows.Err()
	})
	if err != nil {
		err = fmt.Errorf("read the journal of the hand-over: %w", err)
	}
	return list, err
}

func scanCharge(rows *sql.Rows) (c Charge, err error) {
	var periodTo, approved, next, intended, settled, doubted int64
	var request string
	err = rows.Scan(&c.Receiver, &c.Number, &c.Key, &c.Statement, &c.Revision, &c.Customer, &c.Service, &c.Amount, &c.Currency, &c.Description, &periodTo,
		&c.State, &approved, &c.Attempts, &c.Looks, &next, &request, &intended, &settled, &c.Remote, &c.LastError, &doubted, &c.Approval)
	if err != nil {
		return c, err
	}
	c.PeriodTo, c.NextAt, c.IntendedAt, c.SettledAt, c.Approved, c.Doubted = at(periodTo), at(next), at(intended), at(settled), approved != 0, doubted != 0
	if request != "" {
		c.Request = new(whmcs.Request)
		err = json.Unmarshal([]byte(request), c.Request)
	}
	return c, err
}

// events returns what became of a subject, the oldest first.
func (j journal) events(ctx context.Context, receiver, subject string) (list []Event, err error) {
	err = j.db.View(ctx, func(tx *store.Tx) error {
		list = nil
		rows, err := tx.Query(ctx, `SELECT receiver, subject, at, actor, action, text FROM handover_event WHERE receiver = ? AND subject = ? ORDER BY seq`, receiver, subject)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var e Event
			var when int64
			if err := rows.Scan(&e.Receiver, &e.Subject, &when, &e.Actor, &e.Action, &e.Text); err != nil {
				return err
			}
			e.At = at(when)
			list = append(list, e)
		}
		return rows.Err()
	})
	if err != nil {
		err = fmt.Errorf("read what became of %s: %w", subject, err)
	}
	return list, err
}

// nanoseconds and at keep the zero time as 0.
func nanoseconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func at(nanoseconds int64) time.Time {
	if nanoseconds == 0 {
		return time.Time{}
	}
	return time.Unix(0, nanoseconds).UTC()
}

func flag(on bool) int64 {
	if on {
		return 1
	}
	return 0
}

func orElse[T any](first, second *T) *T {
	if first != nil {
		return first
	}
	return second
}
