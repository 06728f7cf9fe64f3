package notice

import (
	"context"
	"fmt"
	"slices"
	"time"

	"hostmeter/aggregator/ledger"
	"hostmeter/aggregator/rating"
	"hostmeter/aggregator/statement"
	"hostmeter/internal/inventory"
)

// decideMin is how much of a period must be left for a choice to be worth asking for.
const decideMin = time.Hour

// slottedEvery is how often percentiles are looked at. They take reading every hour of their periods, and 5 % of a month, by which
// they lag behind, are a day and a half.
const slottedEvery = time.Hour

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
	if now.Sub(n.slotted) >= slottedEvery {
		if err := n.lookAtSlots(ctx, snapshot, now); err != nil {
			return fmt.Errorf("tell of percentiles: %w", err)
		}
		n.slotted = now
	}
	n.log(append(problems, n.unrated...))
	return nil
}

// lookAtSlots tells what there is to tell of percentiles: of services, pools and resellers. There is no forecast of one.
func (n *Notices) lookAtSlots(ctx context.Context, snapshot *inventory.Snapshot, now time.Time) error {
	list, problems, err := n.deps.Ledger.CurrentPercentiles(ctx, n.deps.Inventory, now)
	if err != nil {
		return err
	}
	n.unrated = problems
	var due []Notice
	for _, c := range list {
		if c.Burst.IsKnown() {
			due = append(due, dueOf(c, nil, now)...)
		}
	}
	resellers, err := n.deps.Ledger.CurrentResellers(ctx, n.deps.Inventory, now)
	if err != nil {
		return err
	}
	resellers = slices.DeleteFunc(resellers, func(r ledger.CurrentReseller) bool { return !r.Burst.IsKnown() })
	for _, r := range resellers {
		due = append(due, dueOfReseller(r, snapshot, now)...)
	}
	if err := n.tell(ctx, due); err != nil || n.deps.Alarm == nil {
		return err
	}
	for _, r := range resellers {
		if err := n.deps.Alarm.Over(ctx, r, now); err != nil {
			return err
		}
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
		At: now, Customer: c.Row.Customer, Subject: SubjectService, Service: c.Row.Service, Members: c.Members, Plan: c.Row.Plan, PeriodFrom: c.Row.PeriodFrom, PeriodTo: c.Row.PeriodTo,
		TimeZone: c.Row.TimeZone, Direction: c.Row.Direction, Unit: c.Row.Unit, Used: c.Row.Used, Quota: c.Row.Quota, Grace: c.Row.Grace,
		Currency: c.Row.Currency, AmountExVAT: c.Row.AmountExVAT, Forecast: f,
	}
	if c.Members > 0 {
		base.Subject = SubjectPool
	}
	if c.Row.Direction.IsPercentile() {
		base.Burst = &c.Burst
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

// dueOfReseller returns what there is to tell of a reseller's sum: the highest threshold that is reached of the rate bought. Nothing is
// charged for it, so nobody is asked what to do.
func dueOfReseller(r ledger.CurrentReseller, snapshot *inventory.Snapshot, now time.Time) []Notice {
	reached := snapshot.NoticeAt().Reached(r.Used, r.Bought.Amount)
	if len(reached) == 0 {
		return nil
	}
	last := len(reached) - 1
	return []Notice{{
		At: now, Kind: KindThreshold, Customer: r.Reseller.Reseller, Subject: SubjectReseller, PeriodFrom: r.Month.From, PeriodTo: r.Month.To, TimeZone: r.TimeZone,
		Direction: rating.P95, Unit: r.Unit, Used: r.Used, Quota: r.Bought.Amount, Currency: snapshot.Provider.Currency, Burst: &r.Burst,
		Threshold: reached[last], Passed: reached[:last],
	}}
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

// key names what a notice is about, among all services, pools and resellers: no service has an id with a space in it.
func (n Notice) key() string {
	if n.Subject == SubjectReseller {
		return "reseller " + n.Customer
	}
	return n.Service
}

// mark tells notices of one kind and period apart: "75 of 10 TB". The first versions wrote no quota.
func (n Notice) mark() string {
	if n.Kind == KindThreshold {
		return fmt.Sprintf("%d of %s", n.Threshold, rating.Quantity{Amount: n.Quota, Unit: n.Unit})
	}
	return ""
}

func (n Notice) period() rating.Period { return rating.Period{From: n.PeriodFrom, To: n.PeriodTo} }
