package notice

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"hostmeter/aggregator/ledger"
	"hostmeter/aggregator/rating"
	"hostmeter/aggregator/statement"
)

// decideMin is how much of a period must be left for a choice to be worth asking for.
const decideMin = time.Hour

// Look looks at the open periods, keeps their forecasts and tells what is due.
func (n *Notices) Look(ctx context.Context) error {
	now := n.deps.Clock.Now()
	snapshot, err := n.deps.Inventory.Snapshot(ctx)
	if err != nil {
		return err
	}
	list, problems, err := n.deps.Ledger.Current(ctx, n.deps.Inventory, now)
	if err != nil {
		return err
	}
	n.log(problems)
	forecasts, due := map[string]keptForecast{}, []Notice{}
	for _, c := range list {
		f := forecastOf(c, snapshot.Prices(), now)
		if f != nil {
			forecasts[c.Contract.Service] = keptForecast{f, c.Period.From}
		}
		due = append(due, dueOf(c, f, now)...)
	}
	if err := n.keep(ctx, now, forecasts); err != nil {
		return err
	}
	if err := n.tell(ctx, due); err != nil {
		return fmt.Errorf("tell of open periods: %w", err)
	}
	return nil
}

// log names a problem when it is first met.
func (n *Notices) log(problems []statement.Problem) {
	met := make(map[statement.Problem]bool, len(problems))
	for _, p := range problems {
		met[p] = true
		if !n.met[p] {
			n.deps.Logger.Warn("an open period cannot be rated, and nobody is told of it", "service", p.Service, "err", p.Text)
		}
	}
	n.met = met
}

// dueOf returns what there is to tell of a period, whether it was told before or not: the highest threshold that
// is reached; that it is exceeded or will be, as a request for a decision where the contract has one; and a spike.
func dueOf(c ledger.Current, f *Forecast, now time.Time) (due []Notice) {
	terms := c.Contract.Notices
	base := Notice{
		At: now, Customer: c.Row.Customer, Service: c.Row.Service, Plan: c.Row.Plan, PeriodFrom: c.Row.PeriodFrom, PeriodTo: c.Row.PeriodTo,
		TimeZone: c.Row.TimeZone, Direction: c.Row.Direction, Unit: c.Row.Unit, Used: c.Row.Used, Quota: c.Row.Quota, Grace: c.Row.Grace,
		Currency: c.Row.Currency, AmountExVAT: c.Row.AmountExVAT, Forecast: f,
	}
	add := func(kind Kind, change func(*Notice)) {
		notice := base
		notice.Kind = kind
		change(&notice)
		due = append(due, notice)
	}
	if reached := terms.At.Value.Reached(c.Row.Used, c.Row.Quota); len(reached) > 0 {
		last := len(reached) - 1
		add(KindThreshold, func(n *Notice) { n.Threshold, n.Passed = reached[last], reached[:last] })
	}
	if !c.Period.Contains(now) {
		return due // nothing is left to be forecast or chosen
	}
	level, told := terms.Forecast.Value.Share()
	likely := told && f != nil && f.Probability >= level
	ask := !terms.Decide.Value.None && !chosen(c) && c.Period.To.Sub(now) >= decideMin
	switch {
	case ask && (likely || base.Exceeded()):
		add(KindRequest, func(n *Notice) { n.Deadline = deadline(c, now) })
	case terms.Decide.Value.None && likely && !base.Exceeded():
		add(KindForecast, func(*Notice) {})
	}
	if spike := spikeOf(c); spike != nil {
		add(KindSpike, func(n *Notice) { n.Spike = spike })
	}
	return due
}

// deadline is what the contract grants, and at the latest the period's end; in whole seconds, as links have it.
func deadline(c ledger.Current, now time.Time) time.Time {
	at := now.Add(c.Contract.Notices.Decide.Value.For).UTC().Truncate(time.Second)
	if at.After(c.Period.To) {
		return c.Period.To
	}
	return at
}

// chosen says that somebody has recorded a choice of the period without being asked.
func chosen(c ledger.Current) bool {
	for _, d := range c.Contract.Decisions {
		if d.Kind.IsChoice() && c.Period.Contains(d.From) {
			return true
		}
	}
	return false
}

// mark tells notices of one kind and period apart.
func (n Notice) mark() string {
	if n.Kind == KindThreshold {
		return strconv.Itoa(n.Threshold)
	}
	return ""
}

func (n Notice) period() rating.Period { return rating.Period{From: n.PeriodFrom, To: n.PeriodTo} }
