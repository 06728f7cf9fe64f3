package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"hostmeter/aggregator/notice"
	"hostmeter/internal/httpapi"
)

// ListNotices prints the last notices, the newest first.
func (d *Desk) ListNotices(ctx context.Context, limit int, asJSON bool, w io.Writer) error {
	list, err := noticeDesk{d}.LastNotices(ctx, limit)
	if err != nil {
		return err
	}
	if asJSON {
		return printJSON(w, list)
	}
	rows := [][]string{{"NO.", "AT", "CUSTOMER", "SERVICE", "KIND", "WHAT", "USED THEN", "MAIL"}}
	for _, n := range list {
		mail := n.Mail.State
		if n.Mail.Repeated {
			mail += " (repeated)"
		}
		rows = append(rows, []string{strconv.FormatInt(n.Number, 10), n.At.Format(time.RFC3339), n.Customer, n.About(), n.Kind, n.What(), n.UsedOfQuota(), mail})
	}
	return printTable(w, rows)
}

// ListDecisions prints the requests for decisions: those that are open, or all.
func (d *Desk) ListDecisions(ctx context.Context, all, asJSON bool, w io.Writer) error {
	list, err := noticeDesk{d}.QuotaDecisions(ctx, !all)
	if err != nil {
		return err
	}
	if asJSON {
		return printJSON(w, list)
	}
	rows := [][]string{{"NO.", "CUSTOMER", "SERVICE", "USED THEN", "DEADLINE", "MAIL", "CHOICE", "BY"}}
	for _, r := range list {
		choice, by := "(open)", ""
		if r.Outcome != nil {
			choice, by = r.Outcome.Choice, r.Outcome.By
		}
		rows = append(rows, []string{strconv.FormatInt(r.Number, 10), r.Customer, r.About(), r.UsedOfQuota(), r.Deadline.Format(time.RFC3339), r.Mail.State, choice, by})
	}
	return printTable(w, rows)
}

// Chosen is what a customer has told a person.
type Chosen struct {
	Request          string // its number
	Choice, By, Note string
}

// Choose records what a customer has told a person.
func (d *Desk) Choose(ctx context.Context, c Chosen, w io.Writer) error {
	number, err := strconv.ParseInt(c.Request, 10, 64)
	if err != nil {
		return wrong(fmt.Errorf("%q is no number of a request", c.Request), `"hostmeter notices decisions" lists them`)
	}
	how := "by the command"
	if c.Note != "" {
		how += ": " + c.Note
	}
	r, err := d.notices.Choose(ctx, number, c.Choice, c.By, how)
	var invalid *httpapi.InvalidError
	if _, known := (noticeDesk{d}).answer(r, err); errors.As(known, &invalid) {
		return wrong(err, invalid.Hint)
	}
	switch {
	case errors.Is(err, notice.ErrUnknown):
		return &HintError{Err: err, Hint: `"hostmeter notices decisions" lists the requests that are open`}
	case errors.Is(err, notice.ErrDecided), errors.Is(err, notice.ErrDeadline):
		return &HintError{Err: err, Hint: "what stands on the statement is what was chosen in time; import a contract change, or a decision to waive, where you agree otherwise"}
	case err != nil:
		return err
	}
	_, err = fmt.Fprintf(w, "%s %s: %s is recorded, and stands on the statement of the period from %s\n", r.Subject, r.Service, r.Outcome.Choice, r.PeriodFrom.Format(time.DateOnly))
	return err
}
