package inventory

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"hostmeter/aggregator/rating"
)

// terms are a service's contract from an instant on.
type terms struct {
	from     time.Time // zero for those that it was opened with
	ordered  time.Time
	plan     string  // that was ordered; empty: none
	service  Service // as the changes so far have made it
	contract rating.Contract
}

// changesByService returns the changes of each service in the order of time.
func (s *state) changesByService() map[string][]ContractChange {
	by := map[string][]ContractChange{}
	for _, change := range s.changes.rows {
		by[change.Service] = append(by[change.Service], change)
	}
	for _, list := range by {
		slices.SortFunc(list, func(a, b ContractChange) int { return a.At.Compare(b.At) })
	}
	return by
}

// changeFault is what is wrong with a change, or with the service itself where change is the zero value.
type changeFault struct {
	change ContractChange
	columnError
}

// history returns the terms of a service, in the order of time: an upgrade takes effect when it is
// ordered; a downgrade on the first anniversary of the opening that is not before it was ordered, nor before
// the commitment is over. What was ordered before and has not begun by then is replaced.
func (s *state) history(service Service, changes []ContractChange, zones map[string]*time.Location) ([]terms, *changeFault) {
	base, err := resolve(s.provider, s.plans.rows[service.Plan], service, zones)
	if err != nil {
		return nil, &changeFault{columnError: columnError{"time_zone", err}}
	}
	list := []terms{{service: service, contract: base}}
	for _, change := range changes {
		for len(list) > 1 && list[len(list)-1].from.After(change.At) {
			list = list[:len(list)-1]
		}
		next, column, err := s.changed(list[len(list)-1], change, zones)
		if err != nil {
			return nil, &changeFault{change, columnError{column, err}}
		}
		list = append(list, next)
	}
	for i := range list {
		for _, later := range list[i+1:] {
			list[i].contract.Steps = append(list[i].contract.Steps, rating.Step{From: later.from, Ordered: later.ordered, Plan: later.plan, Quota: later.contract.Quota})
		}
	}
	return list, nil
}

// changed returns the terms that a change makes of those in force when it was ordered.
func (s *state) changed(now terms, change ContractChange, zones map[string]*time.Location) (next terms, column string, err error) {
	zone := now.contract.Schedule.Zone
	if opened := now.service.Opened.In(zone); change.At.Before(opened) {
		return next, "at", fmt.Errorf("%s is before the service was opened, %s", formatTime(change.At), now.service.Opened)
	}
	next = terms{from: change.At, ordered: change.At, plan: change.Plan, service: now.service}
	if change.Quota.Unit != "" {
		next.service.Quota = change.Quota
	} else if now.service.Quota.Unit != "" {
		return next, "quota", fmt.Errorf("the service has a quota of its own, %s, which wins over the plan's: say the new one", now.service.Quota)
	}
	if change.Plan != "" {
		if _, ok := s.plans.rows[change.Plan]; !ok {
			return next, "plan", fmt.Errorf("plan %q is not known", change.Plan)
		}
		next.service.Plan = change.Plan
	}
	if next.contract, err = resolve(s.provider, s.plans.rows[next.service.Plan], next.service, zones); err != nil {
		return next, "plan", err
	}
	if err := sameFrame(now.contract, next.contract); err != nil {
		return next, "plan", err
	}
	if next.contract.Quota.Value.Compare(now.contract.Quota.Value) < 0 {
		next.from = downgradeFrom(now.service, zone, change.At)
	}
	return next, "", nil
}

// sameFrame refuses what cannot change inside a period or between two.
func sameFrame(a, b rating.Contract) error {
	switch {
	case a.Period.Value != b.Period.Value || a.Zone.Value != b.Zone.Value:
		return errors.New("the plan has another period or time_zone, so that periods would overlap: open a new service")
	case a.Direction.Value.IsPercentile() != b.Direction.Value.IsPercentile():
		return errors.New("the plan counts a rate in place of octets, or the other way round: open a new service")
	case b.Quota.Value.Unit == "":
		return errors.New("the plan has no quota (write unlimited where there is none)")
	}
	return nil
}

// downgradeFrom returns the first anniversary that is not before a downgrade was ordered and the commitment
// is over.
func downgradeFrom(service Service, zone *time.Location, ordered time.Time) time.Time {
	if !service.CommittedUntil.IsZero() {
		if until := service.CommittedUntil.In(zone); until.After(ordered) {
			ordered = until
		}
	}
	anniversaries := rating.Schedule{Kind: rating.Anniversary, Anchor: service.Opened, Zone: zone}
	p := anniversaries.PeriodAt(ordered)
	if p.From.Equal(ordered) {
		return p.From
	}
	return p.To
}
