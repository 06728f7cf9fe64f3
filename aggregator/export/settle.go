package export

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"hostmeter/internal/store"
)

// Decision is what a person decides about a charge that is parked, not sent yet, or looked for in vain.
type Decision string

// The decisions.
const (
	There Decision = "there"  // it is at the receiver: the person has looked
	Again Decision = "again"  // it is not, and is sent
	Waive Decision = "waived" // it is not charged
)

// Settlement is a decision with who made it and why.
type Settlement struct {
	Decision Decision
	Remote   string // what the receiver calls the charge, where it is there
	By       string
	Reason   string
}

// Settle settles a charge, or leaves out an event of a feed ("usage-records/17") that a receiver refuses.
//
// Errors: ErrUnknown, ErrNotOpen, and what is wrong with the settlement.
func (h *Handover) Settle(ctx context.Context, receiver, key string, s Settlement) error {
	switch {
	case s.By == "":
		return errors.New("a settlement needs a name")
	case strings.TrimSpace(s.Reason) == "":
		return errors.New("a settlement needs a reason")
	}
	if feed, number, ok := strings.Cut(key, "/"); ok {
		return h.leaveOut(ctx, receiver, Feed(feed), number, s)
	}
	c, _, err := h.Charge(ctx, receiver, key)
	if err != nil {
		return err
	}
	to := change{actor: s.By, action: "settled " + string(s.Decision), text: s.Reason, looks: c.Looks}
	switch s.Decision {
	case There:
		to.state, to.settled, to.remote = Done, true, s.Remote
	case Again:
		to.state, to.approved, to.looks, to.next, to.remote = Pending, true, 0, h.deps.Clock.Now(), c.Remote
	case Waive:
		to.state, to.settled = Waived, true
	default:
		return fmt.Errorf("decision %q: want %s, %s or %s", s.Decision, There, Again, Waive)
	}
	now := h.deps.Clock.Now()
	over := c.State == Intended && !now.Before(c.IntendedAt.Add(lookFirst(h.cfg.WHMCS)))
	switch {
	case c.State == Parked, s.Decision != Again && (c.State == Pending || over):
	case c.State == Intended && s.Decision != Again:
		return fmt.Errorf("charge %s is %s: %w: its request may be on its way: try again in %s", key, c.State, ErrNotOpen, lookFirst(h.cfg.WHMCS))
	default:
		return fmt.Errorf("charge %s is %s: %w: only what is parked, and what is pending or intended as %s or %s", key, c.State, ErrNotOpen, There, Waive)
	}
	_, err = h.journal.move(ctx, c, to)
	if errors.Is(err, errMoved) {
		return fmt.Errorf("%w: %w: look at it again", err, ErrNotOpen)
	}
	return err
}

// leaveOut takes the event that a receiver refuses for taken.
func (h *Handover) leaveOut(ctx context.Context, receiver string, feed Feed, number string, s Settlement) error {
	seq, err := strconv.ParseInt(number, 10, 64)
	i := slices.IndexFunc(h.pushers, func(p *pusher) bool { return p.cfg.Name == receiver && slices.Contains(p.cfg.feeds(), feed) })
	if err != nil || i < 0 {
		return fmt.Errorf("event %s/%s of %s: %w", feed, number, receiver, ErrUnknown)
	}
	if s.Decision != Waive {
		return fmt.Errorf("event %s/%d: %w: an event can only be left out (%s)", feed, seq, ErrNotOpen, Waive)
	}
	from, err := h.journal.cursor(ctx, receiver, feed)
	if err != nil {
		return err
	}
	messages, err := h.pushers[i].read(ctx, feed, from, eventsAtOnce)
	if err != nil {
		return err
	}
	next := slices.IndexFunc(messages, func(m message) bool { return m.action == tell })
	if next < 0 || messages[next].seq != seq {
		return fmt.Errorf("event %s/%d: %w: only the one that %s is told next can be left out", feed, seq, ErrNotOpen, receiver)
	}
	return h.journal.update(ctx, func(tx *store.Tx) error {
		if err := took(ctx, tx, receiver, feed, from, messages[:next+1]); err != nil {
			return err
		}
		return addEvent(ctx, tx, Event{Receiver: receiver, Subject: subjectOf(feed, seq), Actor: s.By, Action: "left out", Text: s.Reason})
	})
}
