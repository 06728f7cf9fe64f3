package incident

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"hostmeter/internal/store"
)

// Store keeps incidents in SQL. It is safe for concurrent use.
type Store struct {
	db        *store.DB
	receivers []string
}

// New returns a store; receivers are the names that get a notification of each opened and resolved
// incident (notify.Config.Receivers).
func New(db *store.DB, receivers ...string) *Store {
	return &Store{db: db, receivers: receivers}
}

// Filter selects incidents; a zero field selects all.
type Filter struct {
	State    State
	Rule     string
	Severity string
	Meter    string
	Service  string
	Customer string
	// Acknowledged, where set, selects those that a person has seen, or has not.
	Acknowledged *bool
	// Since selects what was opened, or still open, at or after it.
	Since time.Time
	// From and To bound OpenedAt, half-open.
	From, To time.Time
	// Before pages: incidents that stand behind this id in the order of List.
	Before string
	// Limit of 0 is 100; at most 1000.
	Limit int
}

const columns = `id, rule, meter, began_at, severity, condition, late, service, customer, opened_at, updated_at,
	resolved_at, resolved_by, resolve_reason, acknowledged_at, acknowledged_by, note,
	silenced_until, silenced_by, silence_reason, assigned_to, evidence`

// List returns incidents, the last opened first.
func (s *Store) List(ctx context.Context, f Filter) ([]Incident, error) {
	var out []Incident
	err := s.db.View(ctx, func(tx *store.Tx) (err error) {
		where, args := f.where()
		out, err = store.List(ctx, tx, scan, `SELECT `+columns+` FROM incident`+where+
			` ORDER BY opened_at DESC, id DESC LIMIT ?`, append(args, f.limit())...)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list incidents: %w", err)
	}
	return out, nil
}

func (f Filter) limit() int {
	if f.Limit <= 0 {
		return 100
	}
	return min(f.Limit, 1000)
}

func (f Filter) where() (string, []any) {
	var terms []string
	var args []any
	add := func(term string, values ...any) {
		terms = append(terms, term)
		args = append(args, values...)
	}
	switch f.State {
	case Open:
		add("resolved_at IS NULL")
	case Resolved:
		add("resolved_at IS NOT NULL")
	}
	for _, c := range []struct{ column, value string }{
		{"rule", f.Rule}, {"severity", f.Severity}, {"meter", f.Meter}, {"service", f.Service}, {"customer", f.Customer},
	} {
		if c.value != "" {
			add(c.column+" = ?", c.value)
		}
	}
	if f.Acknowledged != nil {
		if *f.Acknowledged {
			add("acknowledged_at IS NOT NULL")
		} else {
			add("acknowledged_at IS NULL")
		}
	}
	if !f.Since.IsZero() {
		add("(opened_at >= ? OR resolved_at IS NULL OR resolved_at >= ?)", f.Since.UnixNano(), f.Since.UnixNano())
	}
	if !f.From.IsZero() {
		add("opened_at >= ?", f.From.UnixNano())
	}
	if !f.To.IsZero() {
		add("opened_at < ?", f.To.UnixNano())
	}
	if f.Before != "" {
		const at = "(SELECT opened_at FROM incident WHERE id = ?)"
		add("(opened_at < "+at+" OR (opened_at = "+at+" AND id < ?))", f.Before, f.Before, f.Before)
	}
	if len(terms) == 0 {
		return "", nil
	}
	return " WHERE " + strings.Join(terms, " AND "), args
}

// Get returns one incident.
//
// Errors: ErrNotFound.
func (s *Store) Get(ctx context.Context, id string) (Incident, error) {
	var i Incident
	err := s.db.View(ctx, func(tx *store.Tx) (err error) {
		i, err = get(ctx, tx, id)
		return err
	})
	return i, err
}

// Events returns an incident's history, the oldest first.
func (s *Store) Events(ctx context.Context, id string) ([]Event, error) {
	var out []Event
	err := s.db.View(ctx, func(tx *store.Tx) (err error) {
		out, err = store.List(ctx, tx, func(row store.Row) (e Event, err error) {
			var at int64
			err = row.Scan(&at, &e.Actor, &e.Action, &e.Text)
			e.At = unix(at)
			return e, err
		}, `SELECT at, actor, action, text FROM incident_event WHERE incident = ? ORDER BY seq`, id)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("history of incident %s: %w", id, err)
	}
	return out, nil
}

// Notification is one message to one receiver, and what became of it.
type Notification struct {
	ID       string    `json:"id"`
	Receiver string    `json:"receiver"`
	Event    string    `json:"event"`   // opened, resolved
	Outcome  string    `json:"outcome"` // pending, standing (sent, and repeated while it is open), sent, skipped, refused, dropped
	At       time.Time `json:"at"`      // when it was sent, or written where it was not
	Attempts int       `json:"attempts"`
	Detail   string    `json:"detail,omitempty"` // the last error
}

// Notifications returns what was sent, or is to be sent, of an incident, the oldest first.
func (s *Store) Notifications(ctx context.Context, id string) ([]Notification, error) {
	var out []Notification
	err := s.db.View(ctx, func(tx *store.Tx) (err error) {
		out, err = store.List(ctx, tx, func(row store.Row) (n Notification, err error) {
			var at int64
			err = row.Scan(&n.ID, &n.Receiver, &n.Event, &n.Outcome, &at, &n.Attempts, &n.Detail)
			n.At = unix(at)
			return n, err
		}, `SELECT id, receiver, event, state, COALESCE(sent_at, created_at), attempts, last_error
			FROM notification WHERE incident = ? ORDER BY created_at, event, receiver`, id)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("notifications of incident %s: %w", id, err)
	}
	return out, nil
}

// Counts returns the number of incidents by rule and state: what a gauge shows.
func (s *Store) Counts(ctx context.Context) (map[[2]string]int, error) {
	out := map[[2]string]int{}
	err := s.db.View(ctx, func(tx *store.Tx) error {
		rows, err := tx.Query(ctx, `SELECT rule, CASE WHEN resolved_at IS NULL THEN 'open' ELSE 'resolved' END, count(*)
			FROM incident GROUP BY 1, 2 ORDER BY 1, 2`)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var rule, state string
			var n int
			if err := rows.Scan(&rule, &state, &n); err != nil {
				return err
			}
			out[[2]string{rule, state}] = n
		}
		return rows.Err()
	})
	return out, err
}

func get(ctx context.Context, tx *store.Tx, id string) (Incident, error) {
	i, err := scan(tx.QueryRow(ctx, `SELECT `+columns+` FROM incident WHERE id = ?`, id))
	if errors.Is(err, sql.ErrNoRows) {
		return Incident{}, fmt.Errorf("%s: %w", id, ErrNotFound)
	}
	if err != nil {
		return Incident{}, fmt.Errorf("incident %s: %w", id, err)
	}
	return i, nil
}

func scan(row store.Row) (Incident, error) {
	var i Incident
	var began, opened, updated int64
	var resolved, acknowledged, silenced sql.NullInt64
	var evidence string
	err := row.Scan(&i.ID, &i.Rule, &i.Meter, &began, &i.Severity, &i.Condition, &i.Late, &i.Service, &i.Customer,
		&opened, &updated, &resolved, &i.ResolvedBy, &i.ResolveReason, &acknowledged, &i.AcknowledgedBy, &i.Note,
		&silenced, &i.SilencedBy, &i.SilenceReason, &i.AssignedTo, &evidence)
	if err != nil {
		return Incident{}, err
	}
	i.BeganAt, i.OpenedAt, i.UpdatedAt = unix(began), unix(opened), unix(updated)
	i.State = Open
	if resolved.Valid {
		i.State, i.ResolvedAt = Resolved, unix(resolved.Int64)
	}
	if acknowledged.Valid {
		i.AcknowledgedAt = unix(acknowledged.Int64)
	}
	if silenced.Valid {
		i.SilencedUntil = unix(silenced.Int64)
	}
	if err := json.Unmarshal([]byte(evidence), &i.Evidence); err != nil {
		return Incident{}, fmt.Errorf("evidence of incident %s: %w", i.ID, err)
	}
	return i, nil
}

func unix(ns int64) time.Time { return time.Unix(0, ns).UTC() }
