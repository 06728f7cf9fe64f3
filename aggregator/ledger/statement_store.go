package ledger

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/shopspring/decimal"

	"hostmeter/aggregator/rating"
	statements "hostmeter/aggregator/statement" // in this package a statement is also one of SQL
	"hostmeter/internal/store"
	"hostmeter/schemas"
)

// ErrChain is returned where the chain of statements is not as it was written.
var ErrChain = errors.New("chain of statements is broken")

// Statement is one row of the chain: a closed period (revision 1), or a difference to it.
type Statement struct {
	Number   int64         `json:"number"` // 1, 2, 3 ... in the order in which they were closed
	ClosedAt time.Time     `json:"closed_at"`
	Hash     string        `json:"hash"`
	Previous string        `json:"previous_hash"`
	Body     StatementBody `json:"body"`
	// Approval is not part of the chain: it is what a person has said since. ApprovalReason is why, or why it waits.
	Approval       Approval `json:"-"`
	ApprovalReason string   `json:"-"`
}

// StatementBody is what a statement says and what it was computed from. Its JSON is kept as it was
// written and is what the hash is over.
type StatementBody struct {
	FormatVersion int             `json:"format_version"`
	RatingVersion int             `json:"rating_version"`
	Row           statements.Row  `json:"row"`
	Contract      rating.Contract `json:"contract"`
	Period        rating.Period   `json:"period"`
	// Price is the version that applied; nil where there was none, and nothing to charge.
	Price *rating.Price `json:"price"`
	// Usage is all that counted up to and including this revision.
	Usage rating.Usage `json:"usage"`
	// PoolUsage is what all services used together of the pool that the service was in; nil where it was in none.
	PoolUsage *rating.Usage `json:"pool_usage,omitempty"`
	// Booking is the last late entry that was read, InventoryVersion the ownership that was read,
	// SealedThrough the first hour that was not sealed.
	Booking          Booking   `json:"booking"`
	InventoryVersion int64     `json:"inventory_version"`
	SealedThrough    time.Time `json:"sealed_through"`
	// Observation is the last late observation that was read. It is nil in statements from before these were numbered and
	// the accounting of prefixes was kept: which slots were missing for them is known from themselves alone.
	Observation *Observation `json:"observation,omitempty"`
	// Uncredited is what would have been credited, had it not come after the window for claims, or for credits:
	// then it waits for a decision.
	Uncredited decimal.Decimal `json:"uncredited,omitzero"`
}

// saysMissing says whether a statement alone tells which slots were missing for it: nobody can count them again.
func (b StatementBody) saysMissing() bool { return b.Observation == nil }

// sameBooks says whether two statements were computed from the same of everything.
func (b StatementBody) sameBooks(other StatementBody) bool {
	return b.Booking == other.Booking && b.InventoryVersion == other.InventoryVersion && (b.Observation == nil) == (other.Observation == nil) &&
		(b.Observation == nil || *b.Observation == *other.Observation)
}

// chainHash is the hash of a statement: SHA-256 over the hash before it, a line feed and the body.
func chainHash(previous, body string) string {
	sum := sha256.Sum256([]byte(previous + "\n" + body))
	return hex.EncodeToString(sum[:])
}

// StatementQuery chooses statements. The zero value of a field chooses everything.
type StatementQuery struct {
	// EndFrom and EndTo bound the ends of the periods, [EndFrom, EndTo).
	EndFrom, EndTo time.Time
	Service        string
	// Approval chooses those in one state of it.
	Approval Approval
	// After leaves out the statements with this number and lower ones.
	After int64
}

// Statements calls f with statements, by number.
func (l *Ledger) Statements(ctx context.Context, q StatementQuery, f func(Statement) error) error {
	return l.db.View(ctx, func(tx *store.Tx) error { return readStatements(ctx, tx, q, f) })
}

func readStatements(ctx context.Context, tx *store.Tx, q StatementQuery, f func(Statement) error) error {
	return readChain(ctx, tx, q, func(s Statement, body string) error {
		var err error
		if s.Body, err = readBody(body); err != nil {
			return fmt.Errorf("statement number %d: %w: %w", s.Number, ErrCorrupt, err)
		}
		return f(s)
	})
}

// readBody reads a body of any version. The first ones say neither what is free nor the estimate: then all
// that was free is internal, and all was charged by the estimate.
func readBody(text string) (body StatementBody, err error) {
	if err := json.Unmarshal([]byte(text), &body); err != nil {
		return body, err
	}
	told := func(key string) bool { return strings.Contains(text, `"`+key+`":`) } // inside a string its quotes are escaped
	row := &body.Row
	if !told("estimated_octets") {
		row.EstimatedOctets = row.BillableOctets
	}
	byAddress := body.Contract.Bills.Value == string(schemas.KindAddress)
	if !told("free_in_octets") && byAddress && !body.Contract.Counts(schemas.ClassInternal) {
		row.FreeInOctets, row.FreeOutOctets = row.InternalInOctets, row.InternalOutOctets
	}
	return body, nil
}

func readChain(ctx context.Context, tx *store.Tx, q StatementQuery, f func(Statement, string) error) error {
	var text statement
	text.add("SELECT s.number, s.closed_at, s.hash, s.previous_hash, s.body, COALESCE(a.state, ''), COALESCE(a.reason, '') FROM statement AS s"+
		" LEFT JOIN statement_approval AS a ON a.number = s.number WHERE s.number > ?", q.After)
	if q.Approval != "" {
		text.add(" AND a.state = ?", string(q.Approval))
	}
	if !q.EndFrom.IsZero() {
		text.add(" AND period_to >= ?", q.EndFrom.UnixNano())
	}
	if !q.EndTo.IsZero() {
		text.add(" AND period_to < ?", q.EndTo.UnixNano())
	}
	if q.Service != "" {
		text.add(" AND service = ?", q.Service)
	}
	rows, err := tx.Query(ctx, text.text.String()+" ORDER BY s.number", text.args...)
	if err != nil {
		return fmt.Errorf("read statements: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var s Statement
		var closedAt int64
		var body string
		if err := rows.Scan(&s.Number, &closedAt, &s.Hash, &s.Previous, &body, &s.Approval, &s.ApprovalReason); err != nil {
			return fmt.Errorf("read statements: %w", err)
		}
		s.ClosedAt = time.Unix(0, closedAt).UTC()
		if err := f(s, body); err != nil {
			return err
		}
	}
	return rows.Err()
}

// VerifyStatements reads the whole chain, from the first statement that retention has left, and returns how many statements are in it.
//
// Errors: ErrChain where a row is missing, or says something else than when it was written.
func (l *Ledger) VerifyStatements(ctx context.Context) (n int64, err error) {
	err = l.db.View(ctx, func(tx *store.Tx) error {
		var first int64
		var previous string
		if err := tx.QueryRow(ctx, `SELECT pruned_number, pruned_hash FROM statement_head WHERE id = 1`).Scan(&first, &previous); err != nil {
			return fmt.Errorf("read the beginning of the chain: %w", err)
		}
		n = 0
		err := readChain(ctx, tx, StatementQuery{}, func(s Statement, body string) error {
			n++
			if s.Number != first+n || s.Previous != previous || s.Hash != chainHash(previous, body) {
				return fmt.Errorf("statement number %d: %w", s.Number, ErrChain)
			}
			previous = s.Hash
			return nil
		})
		if err != nil {
			return err
		}
		head, err := readHead(ctx, tx)
		if err == nil && (head.number != first+n || head.hash != previous) {
			err = fmt.Errorf("%d statements, of which the last should be number %d: %w", n, head.number, ErrChain)
		}
		return err
	})
	return n, err
}

// extent is how far the ledger and the inventory have been read.
type extent struct {
	booking     Booking
	observation Observation
	version     int64 // of the inventory
}

// beyond says whether something has been read that another reading had not.
func (e extent) beyond(other extent) bool {
	return e.booking > other.booking || e.observation > other.observation || e.version > other.version
}

// statementHead is the one row that all closing goes through, with what was looked at for adjustments.
type statementHead struct {
	number int64
	hash   string
	extent
}

func readHead(ctx context.Context, tx *store.Tx) (h statementHead, err error) {
	err = tx.QueryRow(ctx, `SELECT number, hash, booking, observation, inventory_version FROM statement_head WHERE id = 1`).
		Scan(&h.number, &h.hash, &h.booking, &h.observation, &h.version)
	if err != nil {
		err = fmt.Errorf("read the head of the statements: %w", err)
	}
	return h, err
}

// appendStatements chains bodies behind the last statement and moves the head. h is the head as it was
// when the bodies were computed: somebody else's closing in between makes it a conflict. asks says which amounts wait for a person
// before they are handed over, and why.
func appendStatements(ctx context.Context, tx *store.Tx, h statementHead, read extent, bodies iter.Seq[StatementBody],
	asks func(StatementBody) (required bool, why string)) error {
	number, hash := h.number, h.hash
	insert, err := tx.Prepare(ctx, `INSERT INTO statement (number, statement, revision, kind, customer, service, period_from, period_to, closed_at,
		body, previous_hash, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`)
	if err != nil {
		return fmt.Errorf("write statements: %w", err)
	}
	defer insert.Close()
	for body := range bodies {
		text, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("write statement %s: %w", body.Row.Statement, err)
		}
		next := chainHash(hash, string(text))
		number++
		_, err = insert.ExecContext(ctx, number, body.Row.Statement, body.Row.Revision, string(body.Row.Kind), body.Row.Customer, body.Row.Service,
			body.Period.From.UnixNano(), body.Period.To.UnixNano(), tx.Now.UnixNano(), string(text), hash, next)
		if err != nil {
			return fmt.Errorf("write statement %s: %w", body.Row.Statement, err)
		}
		required, why := asks(body)
		if err := askApproval(ctx, tx, required, why, number, body); err != nil {
			return err
		}
		hash = next
	}
	n, err := tx.Exec(ctx, `UPDATE statement_head SET number = ?, hash = ?, booking = ?, observation = ?, inventory_version = ?
		WHERE id = 1 AND number = ? AND hash = ? AND booking = ? AND observation = ? AND inventory_version = ?`,
		number, hash, int64(max(read.booking, h.booking)), int64(max(read.observation, h.observation)), max(read.version, h.version),
		h.number, h.hash, int64(h.booking), int64(h.observation), h.version)
	if err == nil && n != 1 {
		err = errClosedMeanwhile
	}
	return err
}

var errClosedMeanwhile = errors.New("another process has closed periods, or changed the inventory, meanwhile")
