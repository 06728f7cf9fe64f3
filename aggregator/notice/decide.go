package notice

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"hostmeter/aggregator/rating"
	"hostmeter/internal/inventory"
)

// Request is a request for a decision, and what became of it.
type Request struct {
	Notice
	// Choice is empty, and the rest of Outcome with it, until somebody has chosen or the deadline is over.
	Outcome Outcome
	// Mail is what became of the mail.
	Mail Mail
}

// Outcome is what was chosen.
type Outcome struct {
	Choice  rating.DecisionKind
	At      time.Time
	By, How string
}

// IsOpen says that it can be chosen at an instant.
func (r Request) IsOpen(at time.Time) bool { return r.Outcome.Choice == "" && at.Before(r.Deadline) }

// decisionID names the decision that answers a request, in the inventory: there is one at most.
func decisionID(request int64) string { return fmt.Sprintf("choice-%d", request) }

// outcomeOf returns what was chosen: the answer to the request, else what an operator has imported about the period.
func outcomeOf(s *inventory.Snapshot, r Notice) Outcome {
	of := func(d rating.Decision) Outcome {
		return Outcome{Choice: d.Kind, At: d.From, By: d.By, How: d.Reason}
	}
	if d, ok := s.DecisionByID(decisionID(r.Number)); ok {
		return of(d.Decision)
	}
	for _, d := range s.DecisionsOn(r.Service) {
		if d.Kind.IsChoice() && r.period().Contains(d.From) {
			return of(d)
		}
	}
	return Outcome{}
}

// Requests returns the requests for decisions, the newest first; those that are open, or all.
func (n *Notices) Requests(ctx context.Context, openOnly bool) ([]Request, error) {
	where := `kind = ?`
	if openOnly {
		where += undecided
	}
	notices, err := n.read(ctx, where+` ORDER BY number DESC`, string(KindRequest))
	if err != nil {
		return nil, err
	}
	list, err := n.requests(ctx, notices)
	if openOnly {
		now := n.deps.Clock.Now()
		list = slices.DeleteFunc(list, func(r Request) bool { return !r.IsOpen(now) })
	}
	return list, err
}

// undecided restricts requests to those that no decision was told of.
const undecided = ` AND NOT EXISTS (SELECT 1 FROM notice AS made WHERE made.kind = 'decision_made'
	AND made.service = notice.service AND made.period_from = notice.period_from)`

func (n *Notices) requests(ctx context.Context, notices []Notice) ([]Request, error) {
	if len(notices) == 0 {
		return nil, nil
	}
	snapshot, err := n.deps.Inventory.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	mails, err := n.MailOf(ctx, notices)
	if err != nil {
		return nil, err
	}
	list := make([]Request, len(notices))
	for i, notice := range notices {
		list[i] = Request{Notice: notice, Outcome: outcomeOf(snapshot, notice), Mail: mails[notice.Number]}
	}
	return list, nil
}

// Request returns one by its number. Errors: ErrUnknown.
func (n *Notices) Request(ctx context.Context, number int64) (Request, error) {
	notices, err := n.read(ctx, `kind = ? AND number = ?`, string(KindRequest), number)
	if err == nil && len(notices) == 0 {
		err = fmt.Errorf("number %d: %w", number, ErrUnknown)
	}
	if err != nil {
		return Request{}, err
	}
	list, err := n.requests(ctx, notices)
	if err != nil {
		return Request{}, err
	}
	return list[0], nil
}

// Linked returns the request that a link is for, open or not. It changes nothing. Errors: ErrLink.
func (n *Notices) Linked(ctx context.Context, token string) (Request, error) {
	number, deadline, err := n.cfg.open(token)
	if err != nil {
		return Request{}, err
	}
	r, err := n.Request(ctx, number)
	if errors.Is(err, ErrUnknown) || err == nil && !r.Deadline.Equal(deadline) { // of another ledger with the same key
		err = fmt.Errorf("decision: %w", ErrLink)
	}
	return r, err
}

// ChooseByLink chooses for whoever has the link. Errors: ErrLink, and those of Choose.
func (n *Notices) ChooseByLink(ctx context.Context, token, choice string) (Request, error) {
	r, err := n.Linked(ctx, token)
	if err != nil {
		return r, err
	}
	return n.Choose(ctx, r.Number, choice, "customer "+r.Customer, "by the link in the mail of notice "+fmt.Sprint(r.Number))
}

// Choose records what was chosen: once, and before the deadline. by and how stand on the statement.
//
// Errors: ErrUnknown, rating.ErrChoice, ErrDecided, ErrDeadline. With ErrDecided the request says what is.
func (n *Notices) Choose(ctx context.Context, number int64, choice, by, how string) (Request, error) {
	kind, err := rating.ParseChoice(choice)
	if err != nil {
		return Request{}, err
	}
	r, err := n.Request(ctx, number)
	if err != nil {
		return r, err
	}
	now := n.deps.Clock.Now()
	switch {
	case r.Outcome.Choice != "":
		return r, fmt.Errorf("number %d: %w: %s, %s", number, ErrDecided, r.Outcome.Choice, r.Outcome.By)
	case !r.IsOpen(now):
		return r, fmt.Errorf("number %d: %w since %s", number, ErrDeadline, r.Deadline.Format(time.RFC3339))
	}
	snapshot, err := n.deps.Inventory.Snapshot(ctx)
	if err != nil {
		return r, err
	}
	row := decisionRow(r.Notice, kind, now, by, how)
	unname(snapshot, r.Customer, row)
	_, err = n.deps.Inventory.Put(ctx, []inventory.Row{row}, false)
	var invalid *inventory.InvalidError
	if errors.As(err, &invalid) {
		again, readErr := n.Request(ctx, number)
		if readErr == nil && again.Outcome.Choice != "" {
			return again, fmt.Errorf("number %d: %w: %s, %s", number, ErrDecided, again.Outcome.Choice, again.Outcome.By)
		}
	}
	if err != nil {
		return r, fmt.Errorf("record the choice about %s: %w", r.Service, err)
	}
	n.step("chosen")
	if err := n.Settle(ctx); err != nil { // what is not told now is told by the loop
		n.deps.Logger.Error("a choice is recorded, and could not be told yet", "request", number, "err", err)
	}
	return n.Request(ctx, number)
}

// textMax bounds what others say of themselves.
const textMax = 200

func decisionRow(r Notice, kind rating.DecisionKind, at time.Time, by, how string) inventory.Row {
	line := func(text string) string {
		text = strings.Join(strings.Fields(text), " ")
		if runes := []rune(text); len(runes) > textMax {
			text = string(runes[:textMax])
		}
		return text
	}
	return inventory.Row{Section: "decisions", Where: fmt.Sprintf("the answer to notice %d", r.Number), Cells: map[string]string{
		"id": decisionID(r.Number), "service": r.Service, "decision": string(kind), "from": at.UTC().Format(time.RFC3339Nano), "by": line(by), "reason": line(how),
	}}
}

// unname takes the customer's name out of what is written on a statement for good.
func unname(s *inventory.Snapshot, customer string, row inventory.Row) {
	known, _ := s.CustomerByID(customer)
	for _, column := range []string{"by", "reason"} {
		row.Cells[column] = known.Unname(row.Cells[column])
	}
}

// Settle records silence where a deadline is over, which means that what is used is charged, and tells of each decision
// that was not told of. It may be called at any time and by several processes.
func (n *Notices) Settle(ctx context.Context) error {
	notices, err := n.read(ctx, `kind = ?`+undecided+` ORDER BY number`, string(KindRequest))
	if err != nil || len(notices) == 0 {
		return err
	}
	list, err := n.requests(ctx, notices)
	if err != nil {
		return err
	}
	snapshot, err := n.deps.Inventory.Snapshot(ctx)
	if err != nil {
		return err
	}
	now := n.deps.Clock.Now()
	var silent []inventory.Row
	for _, r := range list {
		if r.Outcome.Choice == "" && !r.IsOpen(now) {
			row := silence(r)
			unname(snapshot, r.Customer, row)
			silent = append(silent, row)
		}
	}
	if err := n.putSilence(ctx, silent); err != nil {
		return err
	}
	if len(silent) > 0 {
		if list, err = n.requests(ctx, notices); err != nil {
			return err
		}
	}
	var made []Notice
	for _, r := range list {
		if o := r.Outcome; o.Choice != "" {
			notice := r.Notice
			notice.Kind, notice.Request, notice.Choice, notice.DecidedAt, notice.By, notice.How = KindDecision, r.Number, o.Choice, o.At, o.By, o.How
			made = append(made, notice)
		}
	}
	return n.tell(ctx, made)
}

// silence is no answer. It lies in the period, which ends when the deadline does at the latest.
func silence(r Request) inventory.Row {
	at := r.Deadline
	if !at.Before(r.PeriodTo) {
		at = r.PeriodTo.Add(-time.Second)
	}
	return decisionRow(r.Notice, rating.DecideNothing, at, "nobody", "no answer by "+r.Deadline.UTC().Format(time.RFC3339)+"; asked at "+r.At.UTC().Format(time.RFC3339)+", "+r.Mail.words())
}

// putSilence records all at once; where one of them cannot be, as somebody has just chosen, the others each for itself.
func (n *Notices) putSilence(ctx context.Context, rows []inventory.Row) error {
	if len(rows) == 0 {
		return nil
	}
	_, err := n.deps.Inventory.Put(ctx, rows, false)
	var invalid *inventory.InvalidError
	if !errors.As(err, &invalid) || len(rows) == 1 {
		if invalid != nil {
			n.deps.Logger.Warn("no answer was not recorded", "err", err)
			return nil
		}
		return err
	}
	for _, row := range rows {
		if err := n.putSilence(ctx, []inventory.Row{row}); err != nil {
			return err
		}
	}
	return nil
}
