package notify

import (
	"context"
	"fmt"
	"time"

	"hostmeter/detector/incident"
	"hostmeter/internal/restores"
	"hostmeter/internal/store"
)

// What is written beside a notification that the ledger before a restore may have sent.
const (
	heldText = "the ledger was restored from a backup, and the one before it may have told of this: it is told again if it is still open when the log has been read up to the restore"
	overText = "it was over when the log had been read again after the ledger was restored from a backup; the ledger before it may have told of it"

	heldFor = 10 * time.Second // between two looks whether the log has been read
)

// restoring returns the last restore, if the log has not been read again up to it; the zero time else.
func (s *Sender) restoring(ctx context.Context) (restored time.Time, err error) {
	if s.deps.ReadTo == nil {
		return restored, nil
	}
	err = s.deps.DB.View(ctx, func(tx *store.Tx) error {
		restored, err = restores.Last(ctx, tx)
		return err
	})
	if err != nil || !s.deps.ReadTo().Before(restored) || s.deps.Clock.Now().Sub(restored) > restores.Replay {
		return time.Time{}, err
	}
	return restored, nil
}

// mayRepeat says whether a notification is of a begin that may have been told before a restore.
func mayRepeat(d due, i incident.Incident, restored time.Time) bool {
	if d.event != incident.EventOpened || d.state == "standing" && i.State == incident.Resolved {
		return false
	}
	return i.BeganAt.Before(restored) || d.held && i.State == incident.Resolved
}

// holdBack keeps the begin of an incident that may have been told before a restore until the log has been read up to
// it, and tells it not at all where the incident is over by then. Its end is told in any case: who was told of the begin
// waits for it.
func (s *Sender) holdBack(ctx context.Context, d due, i incident.Incident) error {
	now := s.deps.Clock.Now()
	if i.State == incident.Resolved {
		s.outcomes.WithLabelValues(d.receiver, "skipped").Inc()
		return s.write(ctx, d, "skipped", now, 0, overText, false)
	}
	return s.write(ctx, d, d.state, now.Add(heldFor), 0, heldText, false)
}

// Waiting returns how many notifications of begins wait in a ledger, or are told again while they are open.
func Waiting(ctx context.Context, tx *store.Tx) (n int, err error) {
	err = tx.QueryRow(ctx, `SELECT count(*) FROM notification WHERE state IN ('pending', 'standing') AND event = ?`, incident.EventOpened).Scan(&n)
	if err != nil {
		err = fmt.Errorf("count the notifications that wait: %w", err)
	}
	return n, err
}
