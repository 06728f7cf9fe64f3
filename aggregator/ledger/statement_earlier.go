package ledger

import (
	"context"
	"slices"
	"time"

	"hostmeter/aggregator/rating"
	"hostmeter/internal/store"
)

// findEarlier finds the periods before a service's first closed one of which the feed has told usage: it came so late
// that nothing was known of the time when the first period was closed, or the service is found to be older than it was
// said to be. They are closed like others, so that each octet of the feed is on a statement. One without usage is not:
// a service has no statements from before it was metered. Members of a pool are charged together, also those
// without usage; where one of them has a statement of that period, nothing is left to be charged together with, and
// the period stays as it is.
//
// It costs a query of the feed where some service could have such a period, which is rare.
func (o open) findEarlier(ctx context.Context, tx *store.Tx) error {
	if o.begin.IsZero() || len(o.first) == 0 {
		return nil
	}
	state, err := readState(ctx, tx)
	if err != nil {
		return err
	}
	span := rating.Period{}
	since := map[string]time.Time{}
	for _, service := range o.owners.Services() {
		first, closed := o.first[service.ID]
		contract, _, err := o.owners.PeriodAt(service.ID, o.begin)
		if !closed || err != nil {
			continue
		}
		at := later(o.begin, contract.Opened.In(contract.Schedule.Zone))
		if !at.Before(first) {
			continue
		}
		_, p, err := o.owners.PeriodAt(service.ID, at)
		if err != nil {
			continue
		}
		since[service.ID] = p.From
		if span.From.IsZero() || p.From.Before(span.From) {
			span.From = p.From
		}
		span.To = later(span.To, first)
	}
	if len(since) == 0 {
		return nil
	}
	told, err := toldIn(ctx, tx, span)
	if err != nil {
		return err
	}
	found := map[poolPeriod]bool{}
	for _, usage := range told {
		at, candidate := since[usage.service]
		if !candidate || usage.at.Before(at) || !usage.at.Before(o.first[usage.service]) {
			continue
		}
		t, ok := o.targetAt(usage.service, usage.at)
		if !ok || t.period.From.Unix() < keptFrom(state.slotsPruned) {
			continue
		}
		if t.contract.Pool == nil {
			o.addEarlier(t)
		} else if key := poolPeriodOf(t); !found[key] {
			found[key] = true
			o.addPool(t)
		}
	}
	return nil
}

// targetAt returns the period of a service that contains an instant before its first closed one, up to that.
func (o open) targetAt(service string, at time.Time) (*target, bool) {
	contract, p, err := o.owners.PeriodAt(service, at)
	if err != nil {
		return nil, false
	}
	if first, closed := o.first[service]; closed {
		p.To = earlier(p.To, first)
	}
	return &target{contract: contract, period: p, earlier: true}, true
}

func (o open) addEarlier(t *target) {
	service := t.contract.Service
	list := o.earlier[service]
	if slices.ContainsFunc(list, func(other *target) bool { return other.period.From.Equal(t.period.From) }) {
		return
	}
	list = append(list, t)
	slices.SortFunc(list, func(a, b *target) int { return a.period.From.Compare(b.period.From) })
	o.earlier[service] = list
}

// addPool adds the period of a pool for all services that were in it. Those of which nothing is closed have it already.
func (o open) addPool(of *target) {
	var members []*target
	for _, service := range o.owners.Services() {
		t, ok := o.targetAt(service.ID, of.period.From)
		if !ok || t.contract.Pool == nil || poolPeriodOf(t) != poolPeriodOf(of) {
			continue
		}
		first, closed := o.first[service.ID]
		if closed && (!t.period.From.Before(first) || !t.period.To.Equal(of.period.To)) {
			return
		}
		if closed {
			members = append(members, t)
		}
	}
	for _, t := range members {
		o.addEarlier(t)
	}
}

// toldUsage says that the feed has told usage of a service.
type toldUsage struct {
	service string
	at      time.Time
}

// toldIn returns of which services and days of a span the feed has told usage that was not taken back.
func toldIn(ctx context.Context, tx *store.Tx, span rating.Period) ([]toldUsage, error) {
	return store.List(ctx, tx, func(row store.Row) (usage toldUsage, err error) {
		var at int64
		err = row.Scan(&usage.service, &at)
		usage.at = time.Unix(0, at).UTC()
		return usage, err
	}, `SELECT service, from_at FROM usage_record WHERE day >= ? AND day <= ? AND from_at < ?
		GROUP BY service, from_at, meter, class, direction HAVING SUM(octets) <> 0 OR SUM(packets) <> 0 ORDER BY service, from_at`,
		dayOf(span.From).Unix()/86400, dayOf(span.To).Unix()/86400, span.To.UnixNano())
}
