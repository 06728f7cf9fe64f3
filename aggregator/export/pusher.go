package export

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"hostmeter/aggregator/export/cloudevents"
	"hostmeter/aggregator/ledger"
	"hostmeter/internal/clock"
	"hostmeter/internal/restores"
	"hostmeter/internal/store"
	"hostmeter/internal/webhook"
)

// pusher tells one receiver of feeds, in order and one after the other.
//
// The feeds are their own outbox: what is in them never changes, so that all there is to keep is a number, and the
// numbers of statements that it was passed over because a person has to decide about them.
// An event that may have been taken is sent again, with the same id and the same body; the receiver
// knows it by that.
type pusher struct {
	cfg     WebhookConfig
	source  string
	keys    [][]byte
	http    *http.Client
	journal journal
	ledger  Ledger
	notices Teller // nil where there are none
	clock   clock.Clock
	logger  *slog.Logger
	metrics *metrics
	holder  string
	step    func(point string)

	heldAt time.Time
}

const (
	pushTimeout  = 30 * time.Second
	pushHold     = 3 * time.Minute
	eventsAtOnce = 100 // between two writes of the cursor: so many are repeated after a kill
)

// message is one event of a feed, and what is to be done with it.
type message struct {
	seq       int64
	event     cloudevents.Event
	action    action
	passed    bool   // it was passed over before: the cursor is behind it
	statement string // of one of statements
	revision  int
}

type action int

const (
	tell action = iota
	pass        // a person has to decide first: it is told then
	drop        // a person has decided that nobody is told
)

// round sends what there is, unless the receiver pauses.
func (p *pusher) round(ctx context.Context, byHand bool) error {
	receiver, held, err := p.journal.hold(ctx, p.cfg.Name, p.holder, pushHold)
	if err != nil {
		return err
	}
	if !held {
		return errHeld
	}
	p.heldAt = p.clock.Now()
	if !byHand && p.clock.Now().Before(receiver.NextAt) {
		return nil
	}
	var failures []error
	for _, feed := range p.cfg.feeds() {
		err := p.push(ctx, feed)
		if err != nil {
			failures = append(failures, err)
		}
		if err != nil && !errors.Is(err, webhook.ErrRefused) {
			break // it does not answer; where it refuses one event, the other feeds may go on
		}
	}
	failure := errors.Join(failures...)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if errors.Is(failure, errHeld) {
		return failure
	}
	return errors.Join(failure, p.journal.note(ctx, p.cfg.Name, failure))
}

// push sends a feed from its cursor to its end.
//
// Errors: ErrRefused, what the receiver answered; the store's.
func (p *pusher) push(ctx context.Context, feed Feed) error {
	for {
		from, err := p.journal.cursor(ctx, p.cfg.Name, feed)
		if err != nil {
			return err
		}
		messages, err := p.read(ctx, feed, from, eventsAtOnce)
		if err != nil || len(messages) == 0 {
			return err
		}
		taken, failure := p.pushAll(ctx, feed, messages)
		p.step("before cursor")
		if len(taken) > 0 {
			// What was taken is written even where we are being stopped.
			ctx := context.WithoutCancel(ctx)
			err := p.journal.update(ctx, func(tx *store.Tx) error { return took(ctx, tx, p.cfg.Name, feed, from, taken) })
			if err != nil {
				return errors.Join(failure, err)
			}
		}
		p.step("after cursor")
		if failure != nil {
			return failure
		}
	}
}

// pushAll sends messages until one is not taken, and returns those before it.
func (p *pusher) pushAll(ctx context.Context, feed Feed, messages []message) (taken []message, err error) {
	for i, m := range messages {
		if m.action != tell {
			continue
		}
		if err := p.keepHold(ctx); err != nil {
			return messages[:i], err
		}
		body, err := m.event.Encode()
		if err != nil {
			return messages[:i], err
		}
		headers := webhook.Headers(p.keys, messageID(m.event), p.clock.Now(), body)
		headers["Content-Type"] = cloudevents.ContentType
		p.step("before push")
		err = webhook.Post(ctx, p.http, p.cfg.URL, body, headers)
		p.step("after push")
		switch {
		case err == nil:
			p.metrics.count(p.cfg.Name, "sent")
			continue
		case ctx.Err() != nil:
			return messages[:i], ctx.Err()
		case errors.Is(err, webhook.ErrRefused):
			p.metrics.count(p.cfg.Name, "refused")
			p.logger.Error("a receiver refuses an event: what follows waits for it", "receiver", p.cfg.Name, "event", subjectOf(feed, m.seq), "err", err)
		default:
			p.metrics.count(p.cfg.Name, "retrying")
		}
		return messages[:i], fmt.Errorf("%s: %w", subjectOf(feed, m.seq), err)
	}
	return messages, nil
}

func (p *pusher) keepHold(ctx context.Context) error {
	if p.clock.Now().Sub(p.heldAt) < pushHold/3 {
		return nil
	}
	_, held, err := p.journal.hold(ctx, p.cfg.Name, p.holder, pushHold)
	if err == nil && !held {
		err = errHeld
	}
	p.heldAt = p.clock.Now()
	return err
}

// read returns at most so many events of a feed behind a number, and before them at most as many that it was passed over
// and that wait for nobody any more. What is behind the end of the last backup that the
// ledger was restored from before it says so.
func (p *pusher) read(ctx context.Context, feed Feed, after int64, most int) ([]message, error) {
	list, err := p.readFeed(ctx, feed, after, most)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	restored, err := p.journal.restores(ctx)
	for i := range list {
		list[i].event.Restored = restoredBefore(restored, feed, list[i].seq)
	}
	return list, err
}

// restoredBefore returns the last restore after which a number of a feed was given; zero where none was.
func restoredBefore(list []restores.Restore, feed Feed, seq int64) (at time.Time) {
	for _, r := range list {
		if seq > map[Feed]int64{UsageRecords: r.UsageRecords, Statements: r.Statements, Notices: r.Notices}[feed] {
			at = r.At
		}
	}
	return at
}

func (p *pusher) readFeed(ctx context.Context, feed Feed, after int64, most int) (list []message, err error) {
	switch feed {
	case Notices:
		if p.notices == nil {
			return nil, nil
		}
		notices, err := p.notices.Notices(ctx, after, most)
		for _, n := range notices {
			list = append(list, message{seq: n.Number, event: cloudevents.OfNotice(p.source, n)})
		}
		return list, err
	case UsageRecords:
		records, err := p.ledger.UsageRecords(ctx, after, most)
		for _, r := range records {
			list = append(list, message{seq: r.Seq, event: cloudevents.OfUsageRecord(p.source, r)})
		}
		return list, err
	}
	return p.readStatements(ctx, after, most)
}

// readStatements passes over what waits for a person, and over corrections of it: one charge that nobody decides holds
// no others up.
func (p *pusher) readStatements(ctx context.Context, after int64, most int) (list []message, err error) {
	numbers, err := p.journal.passed(ctx, p.cfg.Name, most)
	if err != nil {
		return nil, err
	}
	for _, number := range numbers {
		m := message{seq: number, action: drop} // where retention has taken it
		if err := p.eachStatement(ctx, number-1, 1, func(found message) {
			if found.seq == number {
				m = found
			}
		}); err != nil {
			return nil, err
		}
		m.passed = true
		list = append(list, m)
	}
	behind := len(list)
	if err := p.eachStatement(ctx, after, most, func(m message) { list = append(list, m) }); err != nil {
		return nil, err
	}
	passes := map[string]bool{}
	for i := behind; i < len(list); i++ {
		m := &list[i]
		if m.revision > 1 && !passes[m.statement] {
			if passes[m.statement], err = p.journal.isPassed(ctx, p.cfg.Name, m.statement); err != nil {
				return nil, err
			}
		}
		if passes[m.statement] {
			m.action = pass
		}
		passes[m.statement] = m.action == pass
	}
	return list, nil
}

// eachStatement calls f with at most so many statements behind a number.
func (p *pusher) eachStatement(ctx context.Context, after int64, most int, f func(message)) error {
	n := 0
	err := p.ledger.Statements(ctx, ledger.StatementQuery{After: after}, func(s ledger.Statement) error {
		if n == most {
			return errEnough
		}
		n++
		m := message{seq: s.Number, event: cloudevents.OfStatement(p.source, s), statement: s.Body.Row.Statement, revision: s.Body.Row.Revision}
		switch s.Approval {
		case ledger.ApprovalWaiting:
			m.action = pass
		case ledger.ApprovalRefused:
			m.action = drop
		}
		f(m)
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return err
}

// messageID names a message in the webhook's headers: from what names the event, without full stops.
func messageID(e cloudevents.Event) string {
	sum := sha256.Sum256([]byte(e.Source + "\n" + e.Type + "\n" + e.ID))
	return "msg_" + hex.EncodeToString(sum[:16])
}

// subjectOf names an event of a feed: "usage-records/17".
func subjectOf(feed Feed, seq int64) string { return fmt.Sprintf("%s/%d", feed, seq) }
