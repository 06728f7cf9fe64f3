package incident

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"hostmeter/internal/store"
)

// Detector is the actor of what happened without a person.
const Detector = "detector"

// OpenTx opens an incident in the caller's transaction and writes its notifications; opened is false
// where the same condition (rule, meter, begin) has opened one before, which is then left as it is.
//
// i.ID, State, OpenedAt and UpdatedAt are set here. A late incident gets no notification.
func (s *Store) OpenTx(ctx context.Context, tx *store.Tx, i Incident) (opened bool, err error) {
	evidence, err := json.Marshal(i.Evidence)
	if err != nil {
		return false, err
	}
	i.ID = NewID(i.Rule, i.Meter, i.BeganAt)
	late := 0
	if i.Late {
		late = 1
	}
	n, err := tx.Exec(ctx, `INSERT INTO incident
		(id, rule, meter, began_at, severity, condition, late, service, customer, opened_at, updated_at, evidence)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
		i.ID, i.Rule, i.Meter, i.BeganAt.UnixNano(), i.Severity, i.Condition, late, i.Service, i.Customer,
		tx.Now.UnixNano(), tx.Now.UnixNano(), string(evidence))
	if err != nil || n == 0 {
		return false, err
	}
	if err := addEvent(ctx, tx, i.ID, Detector, EventOpened, ""); err != nil || i.Late {
		return true, err
	}
	return true, s.enqueue(ctx, tx, i.ID, EventOpened)
}

// ResolveTx closes the incident in the caller's transaction and writes its notifications; one that is
// resolved already is left as it is.
func (s *Store) ResolveTx(ctx context.Context, tx *store.Tx, id, by, reason string) (resolved bool, err error) {
	n, err := tx.Exec(ctx, `UPDATE incident SET resolved_at = ?, resolved_by = ?, resolve_reason = ?, condition = 'clear', updated_at = ?
		WHERE id = ? AND resolved_at IS NULL`, tx.Now.UnixNano(), by, reason, tx.Now.UnixNano(), id)
	if err != nil || n == 0 {
		return false, err
	}
	if err := addEvent(ctx, tx, id, by, EventResolved, reason); err != nil {
		return true, err
	}
	var late int
	if err := tx.QueryRow(ctx, `SELECT late FROM incident WHERE id = ?`, id).Scan(&late); err != nil || late != 0 {
		return true, err
	}
	return true, s.enqueue(ctx, tx, id, EventResolved)
}

// ConditionTx notes that the condition of an open incident changed its state (firing, unknown,
// recovering): it shows, and notifies nobody.
func (s *Store) ConditionTx(ctx context.Context, tx *store.Tx, id, condition string) error {
	n, err := tx.Exec(ctx, `UPDATE incident SET condition = ?, updated_at = ? WHERE id = ? AND resolved_at IS NULL AND condition <> ?`,
		condition, tx.Now.UnixNano(), id, condition)
	if err != nil || n == 0 {
		return err
	}
	return addEvent(ctx, tx, id, Detector, condition, "")
}

// Acknowledge says that a person has seen the incident. A second one replaces the first; the history
// keeps both.
//
// Errors: ErrNotFound, ErrResolved.
func (s *Store) Acknowledge(ctx context.Context, id, by, note string) (Incident, error) {
	return s.change(ctx, id, by, "acknowledged", note, func(tx *store.Tx) error {
		_, err := tx.Exec(ctx, `UPDATE incident SET acknowledged_at = ?, acknowledged_by = ?, note = ?, updated_at = ? WHERE id = ?`,
			tx.Now.UnixNano(), by, note, tx.Now.UnixNano(), id)
		return err
	})
}

// Assign says whose incident it is; an empty name takes it back.
//
// Errors: ErrNotFound, ErrResolved.
func (s *Store) Assign(ctx context.Context, id, by, to string) (Incident, error) {
	return s.change(ctx, id, by, "assigned", to, func(tx *store.Tx) error {
		_, err := tx.Exec(ctx, `UPDATE incident SET assigned_to = ?, updated_at = ? WHERE id = ?`, to, tx.Now.UnixNano(), id)
		return err
	})
}

// Silence holds back the incident's notifications until a time; a time in the past ends a silence.
//
// Errors: ErrNotFound, ErrResolved.
func (s *Store) Silence(ctx context.Context, id string, until time.Time, by, reason string) (Incident, error) {
	return s.change(ctx, id, by, "silenced", "until "+until.UTC().Format(time.RFC3339)+": "+reason, func(tx *store.Tx) error {
		_, err := tx.Exec(ctx, `UPDATE incident SET silenced_until = ?, silenced_by = ?, silence_reason = ?, updated_at = ? WHERE id = ?`,
			until.UnixNano(), by, reason, tx.Now.UnixNano(), id)
		return err
	})
}

// Resolve closes an incident by a person's word. The detector opens another one only when the
// condition has been clear and begins again.
//
// Errors: ErrNotFound, ErrResolved.
func (s *Store) Resolve(ctx context.Context, id, by, reason string) (Incident, error) {
	var out Incident
	err := s.db.Update(ctx, func(tx *store.Tx) error {
		if _, err := openIncident(ctx, tx, id); err != nil {
			return err
		}
		if _, err := s.ResolveTx(ctx, tx, id, by, reason); err != nil {
			return err
		}
		var err error
		out, err = get(ctx, tx, id)
		return err
	})
	return out, wrap("resolve", id, err)
}

func (s *Store) change(ctx context.Context, id, by, action, text string, do func(tx *store.Tx) error) (Incident, error) {
	var out Incident
	err := s.db.Update(ctx, func(tx *store.Tx) error {
		if _, err := openIncident(ctx, tx, id); err != nil {
			return err
		}
		if err := do(tx); err != nil {
			return err
		}
		if err := addEvent(ctx, tx, id, by, action, text); err != nil {
			return err
		}
		var err error
		out, err = get(ctx, tx, id)
		return err
	})
	return out, wrap(action, id, err)
}

func wrap(action, id string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("incident %s: %s: %w", id, action, err)
}

func openIncident(ctx context.Context, tx *store.Tx, id string) (Incident, error) {
	i, err := get(ctx, tx, id)
	if err == nil && i.State == Resolved {
		return i, ErrResolved
	}
	return i, err
}

func addEvent(ctx context.Context, tx *store.Tx, id, actor, action, text string) error {
	_, err := tx.Exec(ctx, `INSERT INTO incident_event (incident, at, actor, action, text) VALUES (?, ?, ?, ?, ?)`,
		id, tx.Now.UnixNano(), actor, action, text)
	return err
}

func (s *Store) enqueue(ctx context.Context, tx *store.Tx, id, event string) error {
	for _, receiver := range s.receivers {
		_, err := tx.Exec(ctx, `INSERT INTO notification (id, incident, receiver, event, state, created_at, next_at)
			VALUES (?, ?, ?, ?, 'pending', ?, ?) ON CONFLICT DO NOTHING`,
			NotificationID(id, receiver, event), id, receiver, event, tx.Now.UnixNano(), tx.Now.UnixNano())
		if err != nil {
			return err
		}
	}
	return nil
}
