package export

import (
	"context"
	"fmt"
	"time"

	"hostmeter/internal/store"
)

// Receiver is the row of a receiver.
type Receiver struct {
	Name string
	// Failures counts the rounds since the last one that went well; NextAt is when it is asked again.
	Failures  int64
	NextAt    time.Time
	LastError string
}

// hold takes a receiver for a process, or keeps it. held is false where another process has it.
func (j journal) hold(ctx context.Context, receiver, holder string, length time.Duration) (r Receiver, held bool, err error) {
	err = j.update(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO handover_receiver (receiver, holder, held_until, failures, next_at, last_error)
			VALUES (?, '', 0, 0, 0, '') ON CONFLICT (receiver) DO NOTHING`, receiver)
		if err != nil {
			return err
		}
		n, err := tx.Exec(ctx, `UPDATE handover_receiver SET holder = ?, held_until = ? WHERE receiver = ? AND (holder = ? OR held_until <= ?)`,
			holder, tx.Now.Add(length).UnixNano(), receiver, holder, tx.Now.UnixNano())
		if err != nil {
			return err
		}
		held = n == 1
		r, err = readReceiver(ctx, tx, receiver)
		return err
	})
	if err != nil {
		err = fmt.Errorf("hold receiver %s: %w", receiver, err)
	}
	return r, held, err
}

// release lets another process take a receiver at once.
func (j journal) release(ctx context.Context, receiver, holder string) error {
	return j.update(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(ctx, `UPDATE handover_receiver SET held_until = 0 WHERE receiver = ? AND holder = ?`, receiver, holder)
		return err
	})
}

// note writes how a round of a receiver went; a failure makes it pause for longer each time.
func (j journal) note(ctx context.Context, receiver string, failure error) error {
	return j.update(ctx, func(tx *store.Tx) error {
		r, err := readReceiver(ctx, tx, receiver)
		if err != nil {
			return err
		}
		if failure == nil {
			_, err = tx.Exec(ctx, `UPDATE handover_receiver SET failures = 0, next_at = 0, last_error = '' WHERE receiver = ? AND failures > 0`, receiver)
			return err
		}
		_, err = tx.Exec(ctx, `UPDATE handover_receiver SET failures = failures + 1, next_at = ?, last_error = ? WHERE receiver = ?`,
			tx.Now.Add(pause(r.Failures)).UnixNano(), failure.Error(), receiver)
		return err
	})
}

func readReceiver(ctx context.Context, tx *store.Tx, receiver string) (Receiver, error) {
	r := Receiver{Name: receiver}
	var next int64
	err := tx.QueryRow(ctx, `SELECT failures, next_at, last_error FROM handover_receiver WHERE receiver = ?`, receiver).Scan(&r.Failures, &next, &r.LastError)
	r.NextAt = at(next)
	return r, err
}

// Pauses after a receiver did not answer as it should.
const (
	pauseFirst = 15 * time.Second
	pauseLast  = time.Hour
)

func pause(failures int64) time.Duration {
	if failures >= 8 {
		return pauseLast
	}
	return min(pauseFirst<<failures, pauseLast)
}
