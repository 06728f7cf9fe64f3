package ledger

import (
	"cmp"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"hostmeter/aggregator/rating"
	"hostmeter/internal/clock"
	"hostmeter/internal/store"
	"hostmeter/internal/store/storetest"
	"hostmeter/schemas"
)

// TestCurrentHasThePeriodAndTheDaysBefore: the row is the report's, the days are whole and end with yesterday,
// the slots are today's; free traffic and what was excluded is in none of them.
func TestCurrentHasThePeriodAndTheDaysBefore(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		w.own("address:10.1.0.1", ownedTime{"london", 0, farMinute})
		w.own("address:10.1.0.2", ownedTime{"middle", minutes(2, 12, 0), farMinute})
		for day := int64(0); day < 8; day++ { // 1 to 8 October
			w.now = start.Add(time.Duration(day)*24*time.Hour + 23*time.Hour)
			w.send(sentTally{"address:10.1.0.1", schemas.ClassExternal, minutes(day, 10, 2), uint64(day+1) * 1000, 7},
				sentTally{"address:10.1.0.1", schemas.ClassInternal, minutes(day, 10, 7), 5, 5},
				sentTally{"address:10.1.0.2", schemas.ClassExternal, minutes(day, 13, 0), 1, 10})
		}
		w.importText(`decisions: [{id: d1, service: london, decision: exclude, from: 2026-10-03T10:00:00Z, until: 2026-10-03T10:05:00Z, direction: in, by: Jane, reason: DDoS}]`)
		list, problems, err := w.ledger.Current(t.Context(), w.inv, w.now)
		if err != nil || len(problems) != 0 {
			t.Fatal(problems, err)
		}
		var london, middle *Current
		for i, c := range list {
			switch c.Contract.Service {
			case "london":
				london = &list[i]
			case "middle":
				middle = &list[i]
			}
		}
		if london == nil || middle == nil || len(list) != 3 {
			t.Fatalf("%d periods", len(list))
		}
		if want := find(t, w.report("2026-10"), "london", 0); london.Row.InOctets != want.InOctets || !london.Row.Used.Equal(want.Used) || !london.Row.Provisional {
			t.Fatalf("%+v is not the report's %+v", london.Row, want)
		}
		// The ledger begins with 1 October, 10:02, so that the first full day is the second.
		if len(london.Days) != 6 || london.Days[0] != (DayUsage{2000, 7}) || london.Days[1] != (DayUsage{0, 7}) || london.Days[5] != (DayUsage{7000, 7}) {
			t.Fatalf("days %+v", london.Days)
		}
		if len(middle.Days) != 4 || middle.Days[3] != (DayUsage{1, 10}) { // owned from 3 October at noon: 4 to 7
			t.Fatalf("days of what was owned from an afternoon on %+v", middle.Days)
		}
		if len(london.Recent) != 1 || !london.Recent[0].Day.Equal(start.AddDate(0, 0, 7)) || london.Recent[0].In[10*SlotsPerHour] != 8000 || london.Recent[0].Out[10*SlotsPerHour] != 7 {
			t.Fatalf("slots of %v", london.Recent[0].Day)
		}
		sum := uint64(0)
		for _, octets := range london.Recent[0].In {
			sum += octets
		}
		if sum != 8000 {
			t.Fatalf("%d octets in today's slots, want 8000", sum)
		}
		// A quarter past midnight yesterday's slots are there as well; in the next month the last period is told for a day.
		if list, _, _ = w.ledger.Current(t.Context(), w.inv, start.AddDate(0, 0, 8).Add(15*time.Minute)); len(list[0].Recent) != 2 {
			t.Fatalf("%d days of slots", len(list[0].Recent))
		}
		ends := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC) // in London as well
		for at, want := range map[time.Duration]int{23 * time.Hour: 2, 24 * time.Hour: 1} {
			list, _, err = w.ledger.Current(t.Context(), w.inv, ends.Add(at))
			n := 0
			for _, c := range list {
				if c.Contract.Service == "london" {
					n++
				}
			}
			if n != want || err != nil {
				t.Fatalf("%s behind the end: %d periods, %v, want %d", at, n, err, want)
			}
		}
	})
}

// TestCurrentOfAPoolIsThatOfItsSum: the row is what its members' statements say of the pool, the days are the members' together, and
// no member has a period of its own.
func TestCurrentOfAPoolIsThatOfItsSum(t *testing.T) {
	c := clock.NewManual(start)
	storetest.EachWithClock(t, c, func(t *testing.T, db *store.DB) {
		w := newPoolWorld(t, db, c)
		for day := int64(0); day < 8; day++ {
			w.now = start.Add(time.Duration(day)*24*time.Hour + 23*time.Hour)
			w.send(sentTally{poolMeters["a"], schemas.ClassExternal, minutes(day, 10, 2), uint64(day+1) * 100_000_000, 7},
				sentTally{poolMeters["b"], schemas.ClassExternal, minutes(day, 13, 0), 1, 20_000_000})
		}
		list, problems, err := w.ledger.Current(t.Context(), w.inv, w.now)
		if err != nil || len(problems) != 0 {
			t.Fatal(problems, err)
		}
		var pool *Current
		for i, c := range list {
			switch c.Contract.Service {
			case "a", "b":
				t.Errorf("member %s has a period of its own", c.Contract.Service)
			case "sum":
				pool = &list[i]
			}
		}
		if pool == nil {
			t.Fatalf("%d periods, and none of the pool", len(list))
		}
		share := find(t, w.report("2026-10"), "a", 0).Pool
		if pool.Members != 2 || pool.Row.Customer != share.Customer || !pool.Row.Used.Equal(share.Used) || !pool.Row.Quota.Equal(share.Quota) || !pool.Row.AmountExVAT.Equal(share.AmountExVAT) || !pool.Row.Provisional {
			t.Fatalf("%+v is not the report's %+v", pool.Row, share)
		}
		if limit := pool.Contract.Limit(pool.Period); !limit.Equal(share.Quota.Mul(decimal.NewFromInt(share.Unit.Size()))) {
			t.Fatalf("the contract has the limit %s, the pool %s", limit, share.Quota)
		}
		if len(pool.Days) != 6 || pool.Days[0] != (DayUsage{200_000_001, 20_000_007}) || pool.Days[5] != (DayUsage{700_000_001, 20_000_007}) {
			t.Fatalf("days %+v", pool.Days)
		}
		if len(pool.Recent) != 1 || pool.Recent[0].In[10*SlotsPerHour] != 800_000_000 || pool.Recent[0].Out[13*SlotsPerHour] != 20_000_000 {
			t.Fatalf("%d days of slots", len(pool.Recent))
		}
		if slots, _, err := w.ledger.CurrentPercentiles(t.Context(), w.inv, w.now); err != nil || len(slots) != 1 || slots[0].Row.Service != "rate" {
			t.Fatalf("percentiles %+v, %v", slots, err)
		}
	})
}

// TestCurrentPercentilesAreOfTheSlotsThatWereObserved: of a service, of a pool slot by slot, and of a reseller; an exporter that was
// silent for a day takes its slots out, although the contract would hold the period for them.
func TestCurrentPercentilesAreOfTheSlotsThatWereObserved(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		w.importText(`
prices: [{sku: rate, place: london, currency: GBP, from: 2026-01-01, noticed: 2025-12-01, per: Mbit/s, begun: true, amount: "10"}]
plans: [{name: rate, quota: 10 Mbit/s, direction: p95_out, sku: rate, missing: hold, time_zone: UTC, period: calendar}]
customers: [{id: r1, name: Resell Ltd, rate_bought: 15 Mbit/s}, {id: c3, name: Eve Ltd, reseller: r1}]
services:
  - {id: one, customer: c3, plan: rate, place: london, opened: 2026-01-01}
  - {id: x, customer: c3, plan: rate, place: london, opened: 2026-01-01}
  - {id: y, customer: r1, plan: rate, place: london, opened: 2026-01-01}
pools: [{pool: both, customer: r1, plan: rate, place: london, opened: 2026-01-01}]
pool_members: [{service: x, pool: both, from: 2026-01-01}, {service: y, pool: both, from: 2026-01-01}]
`)
		meters := []string{"address:10.7.0.1", "address:10.7.0.2", "address:10.7.0.3"}
		for i, service := range []string{"one", "x", "y"} {
			w.own(meters[i], ownedTime{service, 0, farMinute})
		}
		w.now = start.Add(48 * time.Hour)
		w.observe(0, 24, "192.0.2.250") // and not on the second day
		const tenMbit = 375_000_000     // octets of five minutes
		for slot := range int64(40) {   // above by an octet a second of each
			w.send(sentTally{meters[0], schemas.ClassExternal, slot * 5, 0, tenMbit + 300},
				sentTally{meters[1], schemas.ClassExternal, slot * 5, 0, tenMbit / 2},
				sentTally{meters[2], schemas.ClassExternal, slot * 5, 0, tenMbit/2 + 300})
		}
		list, problems, err := w.ledger.CurrentPercentiles(t.Context(), w.inv, w.now)
		if err != nil || len(problems) != 0 || len(list) != 2 {
			t.Fatal(list, problems, err)
		}
		slices.SortFunc(list, func(a, b Current) int { return cmp.Compare(a.Row.Service, b.Row.Service) })
		burst := rating.Burst{Slots: 288, Missing: 288, Above: 40, Allowed: 446} // of 31 days of 288
		for i, want := range []string{"both r1 2", "one c3 0"} {
			c := list[i]
			if got := fmt.Sprint(c.Row.Service, " ", c.Row.Customer, " ", c.Members); got != want || c.Burst != burst {
				t.Errorf("%s has %+v, want %s with %+v", got, c.Burst, want, burst)
			}
			if c.Row.Used.String() != "10.000008" || c.Row.Kind != rating.KindOverage || len(c.Days) != 0 || len(c.Recent) != 0 {
				t.Errorf("%s used %s, %s", want, c.Row.Used, c.Row.Kind)
			}
		}
		resellers, err := w.ledger.CurrentResellers(t.Context(), w.inv, w.now)
		if err != nil || len(resellers) != 1 {
			t.Fatal(resellers, err)
		}
		if r := resellers[0]; r.Reseller.Reseller != "r1" || !r.Over || r.Used.String() != "20.000016" || r.Burst.Above != 40 || r.Burst.Slots != 300 || len(r.Services) != 3 || r.TimeZone != "Europe/London" {
			t.Fatalf("%+v", r)
		}
		// In the first day of the next month both are told of.
		if resellers, err = w.ledger.CurrentResellers(t.Context(), w.inv, time.Date(2026, 11, 1, 5, 0, 0, 0, time.UTC)); err != nil || len(resellers) != 2 || !resellers[0].Month.To.Equal(resellers[1].Month.From) {
			t.Fatalf("%+v, %v", resellers, err)
		}
	})
}
