package export

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"hostmeter/aggregator/export/whmcs"
	"hostmeter/internal/store"
)

const doubtText = "the ledger was restored from a backup: this may have been charged by the one before it. Look for it at the receiver"

// Restored puts what the ledger that was lost may have sent in doubt: now all charges that are not settled, and later
// those of statements whose periods began before the restore, for that ledger may have closed them too. They are parked,
// and looked for at the receiver at once and once a day: what is found is done, and the rest is a person's to settle.
//
// It is called once for each restore, in the transaction that notes it, before the hand-over runs again. It returns how
// many charges wait for a person.
func Restored(ctx context.Context, tx *store.Tx) (parked int, err error) {
	list, err := unsettled(ctx, tx)
	if err != nil {
		return 0, fmt.Errorf("park the charges that may have been made: %w", err)
	}
	for _, c := range list {
		before := c.State
		c.park(tx.Now)
		if _, err := tx.Exec(ctx, `UPDATE handover_charge SET state = ?, doubted = 1, approved = 0, looks = 0, next_at = ?, last_error = ? WHERE receiver = ? AND number = ?`,
			string(c.State), nanoseconds(c.NextAt), c.LastError, c.Receiver, c.Number); err != nil {
			return 0, fmt.Errorf("park charge %s: %w", c.Key, err)
		}
		if err := addEvent(ctx, tx, Event{Receiver: c.Receiver, Subject: c.Key, Actor: self, Action: "parked", Text: fmt.Sprintf("it was %s; %s", before, doubtText)}); err != nil {
			return 0, err
		}
	}
	return len(list), nil
}

func unsettled(ctx context.Context, tx *store.Tx) ([]Charge, error) {
	return store.List(ctx, tx, func(row store.Row) (c Charge, err error) {
		err = row.Scan(&c.Receiver, &c.Number, &c.Key, &c.State, &c.LastError)
		return c, err
	}, `SELECT receiver, number, charge, state, last_error FROM handover_charge WHERE state IN ('pending', 'intended', 'parked') ORDER BY receiver, number`)
}

// doubt puts a new charge in doubt whose period had begun when the ledger was restored. One whose period was over then is
// parked. Another could have been closed early alone, when the service ended, by an order that was lost: it is looked for
// before it is sent.
func (c *Charge) doubt(restored, now time.Time) {
	if restored.IsZero() || c.State == Empty || !c.periodFrom.Before(restored) {
		return
	}
	c.Doubted = true
	if c.PeriodTo.Before(restored) {
		c.park(now)
	}
}

// park parks a charge that may have been sent, to be looked for at once, and keeps why it was parked before.
func (c *Charge) park(now time.Time) {
	switch {
	case strings.HasPrefix(c.LastError, doubtText): // restored before
	case c.LastError == "":
		c.LastError = doubtText
	default:
		c.LastError = doubtText + "; before that: " + c.LastError
	}
	c.State, c.Doubted, c.NextAt = Parked, true, now
}

// sighting is what a receiver shows of a charge.
type sighting struct {
	places []string // where it stands itself
	// others are other amounts of the same statement, which no line of this journal is: a ledger that was lost sent them.
	others []string
}

// text is how others are kept in the journal.
func (s sighting) text() string { return strings.Join(s.others, ", ") }

// knows says whether nothing else is seen than when the charge was parked, which who settled it has read.
func (c Charge) knows(seen sighting) bool { return seen.text() == "" || seen.text() == c.Remote }

// find looks for a charge, and for one in doubt also for what else was charged of its statement.
func (b *biller) find(ctx context.Context, c Charge) (seen sighting, err error) {
	if !c.Doubted {
		seen.places, err = b.client.Find(ctx, *c.Request, c.Key, c.IntendedAt)
		return seen, err
	}
	ours, err := b.journal.charges(ctx, `receiver = ? AND statement = ?`, c.Receiver, c.Statement)
	if err != nil {
		return seen, err
	}
	since := c.PeriodTo.AddDate(0, -1, 0) // it was sent after its period began, which is a month at most
	entries, err := b.client.Entries(ctx, c.Customer, c.Currency, since, b.ofStatement(c.Statement))
	for _, entry := range entries {
		switch {
		case whmcs.Names(entry.Description, c.Key):
			seen.places = append(seen.places, entry.Place)
		case !slices.ContainsFunc(ours, func(other Charge) bool { return whmcs.Names(entry.Description, other.Key) }):
			seen.others = append(seen.others, fmt.Sprintf("%s: %s", entry.Amount, entry.Place))
		}
	}
	return seen, err
}

// ofStatement knows the charges of a statement by the beginning of their names, and, where an earlier version named
// them or a person took the name out, by service and beginning of the period.
func (b *biller) ofStatement(id string) func(description string) bool {
	service, from := cutLast(id, "/")
	return func(description string) bool {
		first, _, _ := strings.Cut(description, "\n")
		return strings.Contains(description, "["+statementKey(b.source, id)) ||
			strings.HasPrefix(first, service+" ") && strings.Contains(first, " ("+from+" - ")
	}
}

func cutLast(text, at string) (before, after string) {
	if i := strings.LastIndex(text, at); i >= 0 {
		return text[:i], text[i+len(at):]
	}
	return text, ""
}

// compare parks a charge whose statement was charged in another way.
func (b *biller) compare(c Charge, seen sighting, to *change) {
	to.state, to.remote, to.next = Parked, seen.text(), b.clock.Now().Add(parkedAgain)
	to.fault = fmt.Sprintf("the ledger was restored from a backup, and the one before it charged this statement otherwise (%s): compare, and settle it as %s where that is enough, or as %s to send all of %s %s beside it",
		seen.text(), There, Again, c.Amount, c.Currency)
	to.action, to.text = "parked", to.fault
	b.logger.Error("a statement was charged otherwise before the ledger was restored: a person compares", "receiver", c.Receiver, "charge", c.Key, "found", seen.text())
}
