package notice

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"hostmeter/internal/mail"
	"hostmeter/internal/restores"
	"hostmeter/internal/store"
)

// MailState is how far the mail of a notice is.
type MailState string

// The states. In the first three something happens by itself.
const (
	MailPending MailState = "pending"
	MailSending MailState = "sending" // an attempt is made, or was by a process that was killed
	MailUnknown MailState = "unknown" // it may be there: it is sent once more, marked as a possible repeat
	MailSent    MailState = "sent"
	MailRefused MailState = "refused" // by the mail server
	MailFailed  MailState = "failed"  // no mail server took it in time
	MailUnsure  MailState = "unsure"  // it was repeated, and still nobody knows
	MailSkipped MailState = "skipped" // there is no address, or no mail server
	MailExpired MailState = "expired" // it would have asked for what is decided by now
)

// Mail is what became of a mail.
type Mail struct {
	State     MailState
	Repeated  bool // as a possible repeat
	Attempts  int64
	SettledAt time.Time // zero while something may happen
	Error     string
}

// words say what is known of the mail, on a statement.
func (m Mail) words() string {
	switch m.State {
	case MailSent:
		return "by mail that the mail server took at " + m.SettledAt.UTC().Format(time.RFC3339)
	case MailUnknown, MailUnsure, MailSending:
		return "by mail of which it is not known whether it was taken"
	}
	return "and no mail was sent"
}

// Times of the outbox.
const (
	mailAtOnce   = 100
	mailLease    = 10 * time.Minute // an attempt takes less: behind it, its process is gone
	backoffFirst = time.Minute
	backoffLast  = time.Hour
	mailPatience = 3 * 24 * time.Hour
)

// enqueue puts the mail of a notice into the outbox. Where the ledger has just been restored from a backup, the one
// before it may have sent the same.
func (n *Notices) enqueue(ctx context.Context, tx *store.Tx, notice Notice) error {
	state, settled, why := MailPending, int64(0), ""
	restored, err := restores.Last(ctx, tx)
	if err != nil {
		return err
	}
	switch {
	case !n.deps.Mail.Enabled():
		state, settled, why = MailSkipped, tx.Now.UnixNano(), "no mail server is configured (mail.server)"
	case !restored.IsZero() && notice.PeriodFrom.Before(restored) && tx.Now.Sub(restored) < restores.Replay:
		state, why = MailUnknown, restoredText
	}
	_, err = tx.Exec(ctx, `INSERT INTO notice_mail (number, state, repeats, attempts, next_at, claimed_at, settled_at, last_error)
		VALUES (?, ?, 0, 0, ?, 0, ?, ?)`, notice.Number, string(state), tx.Now.UnixNano(), settled, why)
	return err
}

const restoredText = "the ledger was restored from a backup: the one before it may have sent this"

// Restored says of the mail that waits in a restored ledger that the one before it may have sent it: what was to be sent
// is sent once, marked as a possible repeat, and of what was to be repeated the repeat is taken for sent. It returns how
// many will be sent.
//
// It is called once for each restore, in the transaction that notes it, before any process of the ledger runs.
func Restored(ctx context.Context, tx *store.Tx) (n int, err error) {
	_, err = tx.Exec(ctx, `UPDATE notice_mail SET state = 'unsure', settled_at = ?, last_error = ? WHERE state = 'unknown' OR state = 'sending' AND repeats = 1`,
		tx.Now.UnixNano(), restoredText)
	var sent int64
	if err == nil {
		sent, err = tx.Exec(ctx, `UPDATE notice_mail SET state = 'unknown', next_at = ?, last_error = ? WHERE state IN ('pending', 'sending')`, tx.Now.UnixNano(), restoredText)
	}
	if err != nil {
		return 0, fmt.Errorf("mark the mail that may have been sent: %w", err)
	}
	return int(sent), nil
}

// queued is a mail that is due.
type queued struct {
	number, attempts int64
	state            MailState
	repeats          bool
}

// SendDue sends the mail that is due, one after the other.
//
// Each attempt is written down before it is made. A mail that may have been taken (no answer came, or the process
// was killed) is sent once more, marked as a possible repeat, and never again after that.
func (n *Notices) SendDue(ctx context.Context) error {
	if !n.deps.Mail.Enabled() {
		return nil
	}
	list, err := n.dueMail(ctx)
	if err != nil {
		return fmt.Errorf("read the outbox: %w", err)
	}
	for _, q := range list {
		if err := n.sendOne(ctx, q); err != nil {
			return fmt.Errorf("mail of notice %d: %w", q.number, err)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

// dueMail takes over what killed processes were at, and returns what is due.
func (n *Notices) dueMail(ctx context.Context) (list []queued, err error) {
	now := n.deps.Clock.Now()
	err = n.deps.DB.View(ctx, func(tx *store.Tx) error {
		list = nil
		rows, err := tx.Query(ctx, `SELECT number, state, repeats, attempts FROM notice_mail
			WHERE state IN ('pending', 'unknown') AND next_at <= ? OR state = 'sending' AND claimed_at <= ? ORDER BY number LIMIT ?`,
			now.UnixNano(), now.Add(-mailLease).UnixNano(), mailAtOnce)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var q queued
			var repeats int64
			if err := rows.Scan(&q.number, &q.state, &repeats, &q.attempts); err != nil {
				return err
			}
			q.repeats = repeats != 0
			list = append(list, q)
		}
		return rows.Err()
	})
	return list, err
}

func (n *Notices) sendOne(ctx context.Context, q queued) error {
	if q.state == MailSending { // a killed process was at it
		killed := errors.New("the process was stopped in the attempt")
		return n.settleMail(ctx, q, unknownState(q), backoffFirst, killed)
	}
	notices, err := n.read(ctx, `number = ?`, q.number)
	if err != nil || len(notices) == 0 {
		return err
	}
	message, state, err := n.message(ctx, notices[0], q.state == MailUnknown)
	if err != nil {
		return err
	}
	if state != "" {
		return n.settleMail(ctx, q, state, 0, errors.New(message.Text))
	}
	claimed, err := n.claim(ctx, q)
	if err != nil || !claimed {
		return err
	}
	began := n.deps.Clock.Now()
	q.repeats, q.attempts = q.state == MailUnknown, q.attempts+1
	before := q.state
	q.state = MailSending
	n.step("before send")
	failure := n.mail(ctx, message, began)
	n.step("after send")
	failure = withoutAddress(failure, message.To)
	ctx = context.WithoutCancel(ctx) // what was learnt is written even where we are being stopped
	switch {
	case failure == nil:
		return n.settleMail(ctx, q, MailSent, 0, nil)
	case errors.Is(failure, mail.ErrRefused):
		n.deps.Logger.Error("the mail server refuses the mail of a notice", "notice", q.number, "service", notices[0].Service, "err", failure)
		return n.settleMail(ctx, q, MailRefused, 0, failure)
	case !errors.Is(failure, mail.ErrUntouched):
		return n.settleMail(ctx, q, unknownState(q), backoffFirst, failure)
	case n.deps.Clock.Now().Sub(notices[0].At) > mailPatience:
		return n.settleMail(ctx, q, MailFailed, 0, failure)
	}
	return n.settleMail(ctx, q, before, backoff(q.attempts), failure)
}

// mail sends a message, unless this process was held up so long after the attempt began that another may have taken
// it over.
func (n *Notices) mail(ctx context.Context, message mail.Message, began time.Time) error {
	if late := n.deps.Clock.Now().Sub(began); late > mailLease/2 {
		return fmt.Errorf("%w: held up for %s", mail.ErrUntouched, late)
	}
	return n.deps.Mail.Send(ctx, message)
}

// withoutAddress keeps a customer's address out of the log and of the outbox: it stands in the inventory alone.
func withoutAddress(err error, address string) error {
	if err == nil || !strings.Contains(err.Error(), address) {
		return err
	}
	return addressless{err, strings.ReplaceAll(err.Error(), address, "the customer's address")}
}

type addressless struct {
	error
	text string
}

func (e addressless) Error() string { return e.text }
func (e addressless) Unwrap() error { return e.error }

// unknownState is that of a mail of which it is not known whether it is there.
func unknownState(q queued) MailState {
	if q.repeats {
		return MailUnsure
	}
	return MailUnknown
}

func backoff(attempts int64) time.Duration {
	if attempts > 6 {
		return backoffLast
	}
	return min(backoffFirst<<max(attempts-1, 0), backoffLast)
}

// claim writes down that an attempt is made. It is false where another process makes it.
func (n *Notices) claim(ctx context.Context, q queued) (claimed bool, err error) {
	repeats := int64(0)
	if q.state == MailUnknown {
		repeats = 1
	}
	err = n.update(ctx, func(tx *store.Tx) error {
		rows, err := tx.Exec(ctx, `UPDATE notice_mail SET state = 'sending', repeats = ?, attempts = attempts + 1, claimed_at = ?
			WHERE number = ? AND state = ? AND attempts = ?`, repeats, tx.Now.UnixNano(), q.number, string(q.state), q.attempts)
		claimed = rows == 1
		return err
	})
	return claimed, err
}

// settleMail writes what is known after an attempt. In a state of which something follows it is due after wait.
func (n *Notices) settleMail(ctx context.Context, q queued, state MailState, wait time.Duration, failure error) error {
	n.mails.WithLabelValues(string(state)).Inc()
	text := ""
	if failure != nil {
		text = failure.Error()
	}
	return n.update(ctx, func(tx *store.Tx) error {
		settled := tx.Now.UnixNano()
		if state == MailPending || state == MailUnknown {
			settled = 0
		}
		_, err := tx.Exec(ctx, `UPDATE notice_mail SET state = ?, next_at = ?, settled_at = ?, last_error = ? WHERE number = ? AND state = ? AND attempts = ?`,
			string(state), tx.Now.Add(wait).UnixNano(), settled, text, q.number, string(q.state), q.attempts)
		return err
	})
}

// MailOf returns what became of the mail of notices, by their numbers.
func (n *Notices) MailOf(ctx context.Context, notices []Notice) (map[int64]Mail, error) {
	list := map[int64]Mail{}
	if len(notices) == 0 {
		return list, nil
	}
	first, last := notices[0].Number, notices[0].Number
	for _, notice := range notices {
		first, last = min(first, notice.Number), max(last, notice.Number)
	}
	err := n.deps.DB.View(ctx, func(tx *store.Tx) error {
		clear(list)
		rows, err := tx.Query(ctx, `SELECT number, state, repeats, attempts, settled_at, last_error FROM notice_mail WHERE number BETWEEN ? AND ?`, first, last)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var m Mail
			var number, repeats, settled int64
			if err := rows.Scan(&number, &m.State, &repeats, &m.Attempts, &settled, &m.Error); err != nil {
				return err
			}
			m.Repeated = repeats != 0
			if settled != 0 {
				m.SettledAt = time.Unix(0, settled).UTC()
			}
			list[number] = m
		}
		return rows.Err()
	})
	if err != nil {
		err = fmt.Errorf("read the outbox: %w", err)
	}
	return list, err
}
