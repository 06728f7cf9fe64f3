package export

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"hostmeter/aggregator/export/whmcs"
	"hostmeter/aggregator/ledger"
	"hostmeter/aggregator/statement"
	"hostmeter/internal/clock"
)

// biller hands charges to WHMCS, by a journal.
//
// The line "intended" is durable before the request is made, and "done" is written after it. Who finds
// "intended" later, after a kill or an answer that says nothing, looks for the charge at the receiver and
// settles it, or parks it for a person. A charge is sent again only where it is known that the last
// request had no effect, or where a person said so.
type biller struct {
	cfg     whmcs.Config
	source  string // of this installation, in the names of charges
	client  *whmcs.Client
	journal journal
	ledger  Ledger
	clock   clock.Clock
	logger  *slog.Logger
	metrics *metrics
	holder  string
	// step is called between the steps, by tests that kill there; it is never nil.
	step func(point string)
	// open returns the lines of open periods, whose usage is shown since shownAt; it may be nil.
	open    func(ctx context.Context) ([]statement.Row, error)
	shownAt time.Time
}

// Times of a charge.
const (
	statementsAtOnce = 500
	chargesAtOnce    = 100
	unfitAgain       = time.Hour        // until it is tried again whether a charge can be sent
	lookAgain        = 10 * time.Minute // between the first look for a charge and the last before it is parked
	looksMost        = 2
	parkedAgain      = 24 * time.Hour // between the looks for one that is parked: an invoice may show it
)

// lookFirst is the time between a request and the first look for its effect: the request is over by then.
func (b *biller) lookFirst() time.Duration { return lookFirst(b.cfg) }

func lookFirst(cfg whmcs.Config) time.Duration { return cfg.Timeout + time.Minute }

// round enters what is new and, unless the receiver pauses, looks for what is open and sends what is due.
// by hand: it does not pause, and what could not be sent is tried at once.
func (b *biller) round(ctx context.Context, byHand bool) error {
	if err := b.enter(ctx); err != nil {
		return err
	}
	if err := b.drop(ctx); err != nil {
		return err
	}
	receiver, held, err := b.journal.hold(ctx, receiverWHMCS, b.holder, b.holdFor())
	if err != nil {
		return err
	}
	if !held {
		return errHeld
	}
	if !byHand && b.clock.Now().Before(receiver.NextAt) {
		return nil
	}
	b.client.Forget()
	failure := b.look(ctx)
	if failure == nil {
		failure = b.send(ctx, byHand)
	}
	if failure == nil {
		failure = b.show(ctx)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if errors.Is(failure, errHeld) {
		return failure
	}
	return errors.Join(failure, b.journal.note(ctx, receiverWHMCS, failure))
}

// holdFor is longer than one charge can take: checked, sent and noted.
func (b *biller) holdFor() time.Duration { return 3*b.cfg.Timeout + 2*time.Minute }

func (b *biller) hold(ctx context.Context) error {
	_, held, err := b.journal.hold(ctx, receiverWHMCS, b.holder, b.holdFor())
	if err == nil && !held {
		err = errHeld
	}
	return err
}

// enter puts the statements that were closed since the last look into the journal.
func (b *biller) enter(ctx context.Context) error {
	for {
		from, err := b.journal.cursor(ctx, receiverWHMCS, Statements)
		if err != nil {
			return err
		}
		charges, to, err := b.fresh(ctx, from, statementsAtOnce)
		if err != nil || to == from {
			return err
		}
		b.step("before enter")
		err = b.journal.enter(ctx, receiverWHMCS, from, to, charges)
		if err != nil && !errors.Is(err, errMoved) {
			return err
		}
		b.step("after enter")
	}
}

// drop settles the charges that a person has waived before they were sent. What is parked in doubt may be there all
// the same, and stays.
func (b *biller) drop(ctx context.Context) error {
	list, err := b.journal.charges(ctx, `receiver = ? AND (state = 'pending' OR state = 'parked' AND doubted = 0) AND attempts = 0
		AND EXISTS (SELECT 1 FROM statement_approval AS a WHERE a.number = c.number AND a.state = 'waived') ORDER BY number`, receiverWHMCS)
	if err != nil {
		return err
	}
	for _, c := range list {
		_, err := b.journal.move(ctx, c, change{state: Waived, settled: true, actor: self, action: "waived", text: "its approval was refused"})
		if err := passMoved(err); err != nil {
			return err
		}
		b.metrics.count(c.Receiver, "waived")
	}
	return nil
}

// errEnough ends a reading early.
var errEnough = errors.New("enough")

// fresh returns the charges of at most so many statements behind a number, and the last number read.
func (b *biller) fresh(ctx context.Context, from int64, most int) (charges []Charge, to int64, err error) {
	to = from
	n := 0
	err = b.ledger.Statements(ctx, ledger.StatementQuery{After: from}, func(s ledger.Statement) error {
		if n == most {
			return errEnough
		}
		n++
		to = s.Number
		if c, ok := chargeOf(s, b.cfg, b.source); ok {
			c.Receiver, c.Approval = receiverWHMCS, s.Approval
			charges = append(charges, c)
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return charges, to, err
}

// look settles the charges of which a request may have been made, as far as WHMCS can tell.
//
// Errors: WHMCS did not answer; the store's.
func (b *biller) look(ctx context.Context) error {
	for {
		list, err := b.journal.charges(ctx, `receiver = ? AND state IN ('intended', 'parked') AND next_at > 0 AND next_at <= ? ORDER BY next_at, number LIMIT ?`,
			receiverWHMCS, b.clock.Now().UnixNano(), chargesAtOnce)
		if err != nil || len(list) == 0 {
			return err
		}
		for _, c := range list {
			if err := b.hold(ctx); err != nil {
				return err
			}
			found, err := b.find(ctx, c)
			if failsForAll(ctx, err) {
				return errors.Join(fmt.Errorf("look for charge %s: %w", c.Key, err), b.postpone(ctx, c, err))
			}
			b.step("after look")
			if err := b.settle(ctx, c, found, err); err != nil {
				return err
			}
		}
	}
}

// failsForAll says whether a look failed for a reason that is not its charge's own.
func failsForAll(ctx context.Context, err error) bool {
	return err != nil && (ctx.Err() != nil || errors.Is(err, whmcs.ErrUntouched) || errors.Is(err, whmcs.ErrUnanswered))
}

// postpone lets others be looked for first next time, where WHMCS may have been silent about this charge alone.
func (b *biller) postpone(ctx context.Context, c Charge, failure error) error {
	if ctx.Err() != nil || !errors.Is(failure, whmcs.ErrUnanswered) {
		return nil
	}
	_, err := b.journal.move(ctx, c, change{state: c.State, looks: c.Looks, next: b.clock.Now().Add(lookAgain), remote: c.Remote, fault: c.LastError})
	return passMoved(err)
}

// settle writes what a look has shown; one that failed has shown nothing.
func (b *biller) settle(ctx context.Context, c Charge, seen sighting, failed error) error {
	found := seen.places
	now := b.clock.Now()
	if failed != nil {
		b.logger.Warn("a charge cannot be looked for", "receiver", c.Receiver, "charge", c.Key, "err", failed)
	}
	to := change{state: c.State, looks: c.Looks + 1, next: now.Add(lookAgain), remote: c.Remote, fault: c.LastError, actor: self}
	switch {
	case len(found) > 0:
		to.state, to.settled, to.next, to.remote, to.fault = Done, true, time.Time{}, strings.Join(found, ", "), ""
		to.action, to.text = "found", to.remote
		if len(found) > 1 {
			to.fault = fmt.Sprintf("it is there %d times", len(found))
			b.logger.Error("a charge stands at the receiver more than once: take back what is too much there", "receiver", c.Receiver, "charge", c.Key, "found", to.remote)
		}
	case !c.knows(seen):
		b.compare(c, seen, &to)
	case c.State == Parked:
		to.next = now.Add(parkedAgain)
		if c.Doubted && c.Looks == 0 && failed == nil {
			to.fault += "; no invoice or credit shows it so far"
		}
	case to.looks >= looksMost:
		to.state, to.next = Parked, now.Add(parkedAgain)
		to.fault = "may be there or not: " + orNothing(c.LastError, "the answer never came") + "; no invoice or credit shows it"
		if failed != nil {
			to.fault = "may be there or not: " + orNothing(c.LastError, "the answer never came") + "; the look for it failed: " + failed.Error()
		}
		to.action, to.text = "parked", to.fault
		b.logger.Error("a charge is parked: it may be at the receiver or not, and a person decides", "receiver", c.Receiver, "charge", c.Key, "err", to.fault)
	}
	_, err := b.journal.move(ctx, c, to)
	if errors.Is(err, errMoved) { // a person was faster
		return nil
	}
	if err == nil && to.action != "" {
		b.metrics.count(c.Receiver, to.action)
	}
	return err
}

// send sends the charges that are due, in the order of their statements.
//
// Errors: WHMCS did not answer as it should, and is left alone for a while; the store's.
func (b *biller) send(ctx context.Context, byHand bool) error {
	tried := map[int64]bool{}
	for {
		list, err := b.journal.charges(ctx, dueCondition, receiverWHMCS, b.clock.Now().UnixNano(), flag(byHand), chargesAtOnce)
		if err != nil {
			return err
		}
		progress := false
		for _, c := range list {
			if tried[c.Number] {
				continue
			}
			tried[c.Number], progress = true, true
			if err := b.hold(ctx); err != nil {
				return err
			}
			if err := b.sendOne(ctx, c); err != nil {
				return err
			}
		}
		if !progress {
			return nil
		}
	}
}

// dueCondition chooses what may be sent now: a correction waits until what it corrects is settled, and what a person
// has to approve until that is done.
const dueCondition = `receiver = ? AND state = 'pending' AND (next_at <= ? OR ? = 1 AND last_error <> '')
	AND NOT EXISTS (SELECT 1 FROM statement_approval AS a WHERE a.number = c.number AND a.state <> 'approved')
	AND NOT EXISTS (SELECT 1 FROM handover_charge AS e WHERE e.receiver = c.receiver AND e.statement = c.statement
		AND e.revision < c.revision AND e.state NOT IN ('done', 'waived', 'empty'))
	ORDER BY number LIMIT ?`

// waived says why a correction is a person's to decide: something of its statement before it was waived, so
// that a credit would give back what was never paid, and more would charge what was let go. It is empty where
// nothing was, or where a person has decided.
func (b *biller) waived(ctx context.Context, c Charge) (why string, err error) {
	if c.Approved {
		return "", nil
	}
	list, err := b.journal.charges(ctx, `receiver = ? AND statement = ? AND revision < ? AND state = 'waived' ORDER BY number`, receiverWHMCS, c.Statement, c.Revision)
	if err != nil || len(list) == 0 {
		return "", err
	}
	return fmt.Sprintf("revision %d of statement %s was waived: a person decides what its correction is", list[0].Revision, c.Statement), nil
}

func (b *biller) sendOne(ctx context.Context, c Charge) error {
	why, err := b.waived(ctx, c)
	if err != nil {
		return err
	}
	if why != "" {
		b.logger.Warn("a charge is parked, and a person decides", "receiver", c.Receiver, "charge", c.Key, "err", why)
		b.metrics.count(c.Receiver, "parked")
		_, err := b.journal.move(ctx, c, change{state: Parked, looks: c.Looks, fault: why, actor: self, action: "parked", text: why})
		return passMoved(err)
	}
	request, err := b.prepare(ctx, c)
	if errors.Is(err, whmcs.ErrUnfit) {
		b.metrics.count(c.Receiver, "unfit")
		_, err := b.journal.move(ctx, c, change{state: Pending, looks: c.Looks, next: b.clock.Now().Add(unfitAgain), remote: c.Remote, fault: err.Error()})
		return passMoved(err)
	}
	if err != nil {
		return fmt.Errorf("charge %s is not sent: %w", c.Key, err)
	}
	if c.Attempts > 0 || c.Doubted { // a person may have said that it is not there; a look costs little
		seen, err := b.find(ctx, c)
		if failsForAll(ctx, err) {
			return fmt.Errorf("look for charge %s before it is sent: %w", c.Key, err)
		}
		if err != nil {
			_, err := b.journal.move(ctx, c, change{state: Pending, looks: c.Looks, next: b.clock.Now().Add(unfitAgain), remote: c.Remote,
				fault: "the look for it, before it is sent, failed: " + err.Error()})
			return passMoved(err)
		}
		if len(seen.places) > 0 || !c.knows(seen) {
			return b.settle(ctx, c, seen, nil)
		}
	}
	b.step("before intent")
	c, err = b.journal.move(ctx, c, change{state: Intended, attempts: 1, request: &request, intended: true, remote: c.Remote,
		next: b.clock.Now().Add(b.lookFirst()), actor: self, action: "intended", text: request.Action})
	if err != nil {
		return passMoved(err)
	}
	b.step("after intent")
	id, failure := b.request(ctx, c)
	b.step("after request")
	// What was learnt is written even where we are being stopped.
	err = b.conclude(context.WithoutCancel(ctx), c, id, failure)
	b.step("after done")
	return err
}

func (b *biller) prepare(ctx context.Context, c Charge) (whmcs.Request, error) {
	charge, err := c.forWHMCS()
	if err != nil {
		return whmcs.Request{}, err
	}
	request, err := b.client.Build(charge)
	if err != nil {
		return request, err
	}
	return request, b.client.Check(ctx, request, c.Currency)
}

// request makes the request, unless this process was held up so long that others may already be looking
// for its effect.
func (b *biller) request(ctx context.Context, c Charge) (string, error) {
	late := b.clock.Now().Sub(c.IntendedAt)
	if late > b.cfg.Timeout/2 {
		return "", fmt.Errorf("%w: held up for %s", whmcs.ErrUntouched, late)
	}
	ctx, cancel := context.WithTimeout(ctx, b.cfg.Timeout)
	defer cancel()
	return b.client.Send(ctx, *c.Request)
}

// conclude writes what became of a request.
//
// Errors: the failure, where the receiver is to be left alone for a while.
func (b *biller) conclude(ctx context.Context, c Charge, id string, failure error) error {
	now := b.clock.Now()
	to := change{from: []State{Intended, Parked}, remote: c.Remote, actor: self}
	var after error
	switch {
	case failure == nil:
		to.state, to.settled, to.remote, to.action, to.text = Done, true, id, "done", id
	case errors.Is(failure, whmcs.ErrRefused):
		to.state, to.fault, to.action, to.text = Parked, failure.Error(), "refused", failure.Error()
		b.logger.Error("a charge was refused: a person decides", "receiver", c.Receiver, "charge", c.Key, "err", failure)
	case errors.Is(failure, whmcs.ErrUntouched):
		to.state, to.next, to.fault, to.action, to.text = Pending, now, failure.Error(), "untouched", failure.Error()
		after = failure
	default:
		to.from, to.state, to.next, to.fault, to.action, to.text = nil, Intended, c.NextAt, failure.Error(), "unknown", failure.Error()
		after = failure
		b.logger.Warn("it is not known whether a charge was taken: it is looked for", "receiver", c.Receiver, "charge", c.Key, "err", failure)
	}
	b.metrics.count(c.Receiver, to.action)
	_, err := b.journal.move(ctx, c, to)
	if errors.Is(err, errMoved) && failure == nil {
		b.logger.Error("a charge was taken after a person had settled it otherwise: compare with the receiver", "receiver", c.Receiver, "charge", c.Key, "remote", id)
		return nil
	}
	return errors.Join(after, passMoved(err))
}

func passMoved(err error) error {
	if errors.Is(err, errMoved) {
		return nil
	}
	return err
}

func orNothing(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}
