package app

import (
	"context"
	"errors"
	"fmt"

	"hostmeter/aggregator/notice"
	"hostmeter/aggregator/rating"
	"hostmeter/internal/httpapi"
)

// noticeDesk joins the API to the notices and to what customers choose.
type noticeDesk struct{ *Desk }

// Notices returns notices behind a number.
func (d noticeDesk) Notices(ctx context.Context, after int64, limit int) ([]httpapi.Notice, error) {
	list, err := d.notices.Notices(ctx, after, limit)
	if err != nil {
		return nil, err
	}
	return d.noticesToAPI(ctx, list)
}

// LastNotices returns the last notices, the newest first.
func (d noticeDesk) LastNotices(ctx context.Context, limit int) ([]httpapi.Notice, error) {
	list, err := d.notices.Last(ctx, limit)
	if err != nil {
		return nil, err
	}
	return d.noticesToAPI(ctx, list)
}

func (d noticeDesk) noticesToAPI(ctx context.Context, list []notice.Notice) ([]httpapi.Notice, error) {
	mails, err := d.notices.MailOf(ctx, list)
	if err != nil {
		return nil, err
	}
	out := make([]httpapi.Notice, len(list))
	for i, n := range list {
		out[i] = noticeToAPI(n, mails[n.Number])
	}
	return out, nil
}

// QuotaDecisions returns the requests for decisions, the newest first.
func (d noticeDesk) QuotaDecisions(ctx context.Context, openOnly bool) ([]httpapi.DecisionRequest, error) {
	list, err := d.notices.Requests(ctx, openOnly)
	if err != nil {
		return nil, err
	}
	out := make([]httpapi.DecisionRequest, len(list))
	for i, r := range list {
		out[i] = d.requestToAPI(r)
	}
	return out, nil
}

// QuotaDecision returns one request.
func (d noticeDesk) QuotaDecision(ctx context.Context, number int64) (httpapi.DecisionRequest, error) {
	r, err := d.notices.Request(ctx, number)
	return d.answer(r, err)
}

// Choose records what an operator or a billing system was told.
func (d noticeDesk) Choose(ctx context.Context, number int64, choice string, by httpapi.Actor, note string) (httpapi.DecisionRequest, error) {
	how := "by the API"
	if note != "" {
		how += ": " + note
	}
	r, err := d.notices.Choose(ctx, number, choice, string(by), how)
	return d.answer(r, err)
}

// Linked returns what a link is for.
func (d noticeDesk) Linked(ctx context.Context, token string) (httpapi.DecisionRequest, error) {
	r, err := d.notices.Linked(ctx, token)
	return d.answer(r, err)
}

// ChooseByLink records what the customer has chosen.
func (d noticeDesk) ChooseByLink(ctx context.Context, token, choice string) (httpapi.DecisionRequest, error) {
	r, err := d.notices.ChooseByLink(ctx, token, choice)
	return d.answer(r, err)
}

// answer turns errors into those that the API knows.
func (d noticeDesk) answer(r notice.Request, err error) (httpapi.DecisionRequest, error) {
	switch {
	case err == nil:
		return d.requestToAPI(r), nil
	case errors.Is(err, rating.ErrChoice):
		return httpapi.DecisionRequest{}, &httpapi.InvalidError{Message: err.Error(), Hint: "nothing was recorded; choose one of the four"}
	case errors.Is(err, notice.ErrUnknown), errors.Is(err, notice.ErrLink):
		err = fmt.Errorf("%w: %w", err, httpapi.ErrNotFound)
	case errors.Is(err, notice.ErrDecided), errors.Is(err, notice.ErrDeadline):
		err = fmt.Errorf("%w: %w", err, httpapi.ErrConflict)
	}
	return httpapi.DecisionRequest{}, err
}

func (d noticeDesk) requestToAPI(r notice.Request) httpapi.DecisionRequest {
	out := httpapi.DecisionRequest{Notice: noticeToAPI(r.Notice, r.Mail), Open: r.IsOpen(d.clock.Now())}
	if r.Outcome.Choice != "" {
		out.Outcome = &httpapi.Choice{Choice: string(r.Outcome.Choice), At: r.Outcome.At, By: r.Outcome.By, How: r.Outcome.How}
	}
	return out
}

func noticeToAPI(n notice.Notice, m notice.Mail) httpapi.Notice {
	out := httpapi.Notice{
		Number: n.Number, At: n.At, Kind: string(n.Kind), Customer: n.Customer, Subject: string(n.Subject), Service: n.Service, Members: n.Members, Plan: n.Plan,
		PeriodFrom: n.PeriodFrom.UTC(), PeriodTo: n.PeriodTo.UTC(), TimeZone: n.TimeZone, Direction: string(n.Direction), Unit: string(n.Unit),
		Used: n.Used, Quota: n.Quota, Grace: n.Grace, Currency: n.Currency, AmountExVAT: n.AmountExVAT,
		Passed: append([]int{}, n.Passed...), Deadline: optionalTime(n.Deadline), Hash: n.Hash,
		Mail: httpapi.NoticeMail{State: string(m.State), Repeated: m.Repeated, Attempts: m.Attempts, SettledAt: optionalTime(m.SettledAt), Error: m.Error},
	}
	if n.Kind == notice.KindThreshold {
		out.Threshold = &n.Threshold
	}
	if f := n.Forecast; f != nil {
		out.Forecast = &httpapi.Forecast{MadeAt: f.MadeAt, Expected: f.Expected, Low: f.Low, High: f.High, Probability: f.Probability, ExpectedAmount: f.ExpectedAmount, Days: f.Days}
	}
	if b := n.Burst; b != nil {
		out.Burst = &httpapi.Burst{Slots: b.Slots, Missing: b.Missing, Above: b.Above, Allowed: b.Allowed}
	}
	if s := n.Spike; s != nil {
		out.Spike = &httpapi.Spike{Day: s.Day, Minutes: s.Minutes, Percent: s.Percent, AverageBitsPerSecond: s.AverageBitsPerSecond, PeakBitsPerSecond: s.PeakBitsPerSecond}
	}
	if n.Kind == notice.KindDecision {
		out.Request = &n.Request
		out.Choice = &httpapi.Choice{Choice: string(n.Choice), At: n.DecidedAt, By: n.By, How: n.How}
	}
	return out
}
