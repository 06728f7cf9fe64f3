package app

import (
	"context"
	"fmt"
	"time"

	"hostmeter/aggregator/ledger"
	"hostmeter/detector/incident"
	"hostmeter/detector/rule"
	"hostmeter/internal/store"
)

// resellerAlarm makes an incident of a reseller whose customers use more together than the rate that it has bought: one a month, which
// ends with the month. What the 95th percentile comes to until then may fall again; the person who deals with it sees the roll-up.
type resellerAlarm struct {
	db        *store.DB
	incidents *incident.Store
}

// Over opens the incident of a month, or ends it where the month is over.
func (a resellerAlarm) Over(ctx context.Context, r ledger.CurrentReseller, now time.Time) error {
	one := resellerIncident(r, now)
	err := a.db.Update(ctx, func(tx *store.Tx) (err error) {
		switch {
		case !now.Before(r.Month.To):
			_, err = a.incidents.ResolveTx(ctx, tx, incident.NewID(one.Rule, one.Meter, one.BeganAt), incident.Detector, "the month is over: the roll-up of resellers has what it came to")
		case r.Over:
			_, err = a.incidents.OpenTx(ctx, tx, one)
		}
		return err
	})
	if store.IsConflict(err) {
		return nil // another process has just done the same; it is looked at again
	}
	if err != nil {
		err = fmt.Errorf("incident about reseller %s: %w", r.Reseller.Reseller, err)
	}
	return err
}

// resellerIncident writes down how a reseller's month stands. The share of its time above the rate is that of the slots.
func resellerIncident(r ledger.CurrentReseller, now time.Time) incident.Incident {
	p := r.Percentile
	share, coverage := 0.0, 0.0
	if r.Burst.Slots > 0 {
		share, coverage = float64(r.Burst.Above)/float64(r.Burst.Slots), float64(r.Burst.Slots)/float64(r.Burst.Slots+r.Burst.Missing)
	}
	id, until := r.Reseller.Reseller, now.UTC().Truncate(time.Minute)
	return incident.Incident{
		Rule: rule.ResellerRate, Meter: string(rule.EachReseller) + ":" + id, Severity: "warning", Condition: rule.Firing.String(), BeganAt: r.Month.From.UTC(), Customer: id,
		Evidence: incident.Evidence{
			RuleText: fmt.Sprintf("# not of the rules file: the rate that customer %s has bought (rate_bought)\n%s: the 95th percentile of the month's five-minute rates, %s,\n  of all services of its customers together, is above %s %s; until now it is %s %s\n",
				id, rule.ResellerRate, p.Side, r.Bought.Amount, r.Bought.Unit, r.Used, r.Unit),
			Metric: string(p.Side) + "_bits_per_second", Threshold: r.Bought.Size().InexactFloat64(), WindowFrom: r.Month.From.UTC(), WindowTo: until,
			Share: share, Coverage: coverage, Customer: id,
			Series: incident.Series{From: r.Month.From.UTC(), CellSeconds: ledger.SlotLength.Seconds(), Values: []incident.Value{{At: until, Value: float64(p.BitsPerSecond)}}},
		},
	}
}
