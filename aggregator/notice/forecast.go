package notice

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/shopspring/decimal"

	"hostmeter/aggregator/forecast"
	"hostmeter/aggregator/ledger"
	"hostmeter/aggregator/rating"
	"hostmeter/internal/store"
)

// Forecast is what an open period will come to. Its figures are in the unit of the quota.
type Forecast struct {
	MadeAt   time.Time       `json:"made_at"`
	Expected decimal.Decimal `json:"expected"`
	// Low and High bound an interval of 90 %.
	Low  decimal.Decimal `json:"low"`
	High decimal.Decimal `json:"high"`
	// Probability is that of more than quota and grace, 0 to 1.
	Probability float64 `json:"probability"`
	// ExpectedAmount is the mean of what is charged, over all that may come; nil where it cannot be rated.
	ExpectedAmount *decimal.Decimal `json:"expected_amount_ex_vat"`
	Days           int              `json:"days"` // that it is made from
}

const (
	low, high = 0.05, 0.95
	// quantiles is how many equally probable results the mean charge is taken over.
	quantiles = 20
	// digits is how many the figures have behind the point: 10 TB to the megabyte.
	digits = 6
)

// forecastOf forecasts a period; nil where too little is known, or it is over.
func forecastOf(c ledger.Current, prices []rating.Price, now time.Time) *Forecast {
	if !c.Period.Contains(now) {
		return nil
	}
	f, usage, ok := distribution(c, now)
	if !ok {
		return nil
	}
	size := decimal.NewFromInt(c.Row.Unit.Size())
	in := func(octets float64) decimal.Decimal { return decimal.NewFromFloat(octets).DivRound(size, digits) }
	limit := limitOctets(c)
	return &Forecast{
		MadeAt: now, Expected: in(f.Expected), Low: in(f.Quantile(low)), High: in(f.Quantile(high)), Days: len(c.Days),
		Probability: f.Exceeds(limit.InexactFloat64()), ExpectedAmount: expectedAmount(c, f, usage, prices),
	}
}

// limitOctets is what a period may use before it is charged for.
func limitOctets(c ledger.Current) decimal.Decimal {
	return c.Row.Quota.Add(c.Row.Grace).Mul(decimal.NewFromInt(c.Row.Unit.Size()))
}

// distribution forecasts what counts. usage makes usage of a result. Of the greater direction it is the one
// that is expected to be.
func distribution(c ledger.Current, now time.Time) (f forecast.Forecast, usage func(octets uint64) rating.Usage, ok bool) {
	inOnly := func(octets uint64) rating.Usage { return rating.Usage{InOctets: octets} }
	outOnly := func(octets uint64) rating.Usage { return rating.Usage{OutOctets: octets} }
	of := func(used int64, side func(ledger.DayUsage) uint64) (forecast.Forecast, bool) {
		days := make([]float64, len(c.Days))
		for i, d := range c.Days {
			days[i] = float64(side(d))
		}
		return forecast.Of(days, c.Period, float64(used), now)
	}
	in, ok := of(c.Row.InOctets, func(d ledger.DayUsage) uint64 { return d.In })
	if !ok {
		return in, nil, false
	}
	out, _ := of(c.Row.OutOctets, func(d ledger.DayUsage) uint64 { return d.Out })
	switch c.Contract.Direction.Value {
	case rating.In:
		return in, inOnly, true
	case rating.Out:
		return out, outOnly, true
	case rating.Max:
		if out.Expected > in.Expected {
			return out, outOnly, true
		}
		return in, inOnly, true
	}
	sum, ok := of(c.Row.InOctets+c.Row.OutOctets, func(d ledger.DayUsage) uint64 { return d.In + d.Out })
	return sum, inOnly, ok
}

// expectedAmount rates equally probable results and returns the mean.
func expectedAmount(c ledger.Current, f forecast.Forecast, usage func(uint64) rating.Usage, prices []rating.Price) *decimal.Decimal {
	mean := decimal.Zero
	if f.Quantile(1-0.5/quantiles) > limitOctets(c).InexactFloat64() {
		for i := range quantiles {
			octets := f.Quantile((float64(i) + 0.5) / quantiles)
			charge, err := rating.Rate(c.Contract, c.Period, usage(uint64(octets)), prices)
			if err != nil {
				return nil
			}
			mean = mean.Add(charge.AmountExVAT)
		}
		mean = mean.DivRound(decimal.NewFromInt(quantiles), rating.CurrencyDigits(c.Row.Currency))
	}
	return &mean
}

// spikeOf returns the spike of one of the last days; nil where there is none, or no average is known.
func spikeOf(c ledger.Current) *Spike {
	terms := c.Contract.Notices.Spike.Value
	if !terms.Told() || len(c.Days) < forecast.DaysMin {
		return nil
	}
	total := 0.0
	for _, d := range c.Days {
		total += float64(sideOf(c.Contract.Direction.Value, d.In, d.Out))
	}
	average := total / float64(len(c.Days)*ledger.SlotsPerDay)
	seconds := ledger.SlotLength.Seconds()
	for _, d := range c.Recent {
		slots, peak := make([]uint64, ledger.SlotsPerDay), uint64(0)
		for i := range slots {
			if !d.Day.Add(time.Duration(i) * ledger.SlotLength).Before(c.Period.From) {
				slots[i] = sideOf(c.Contract.Direction.Value, d.In[i], d.Out[i])
				peak = max(peak, slots[i])
			}
		}
		above := time.Duration(forecast.Above(slots, average, terms.Percent.InexactFloat64())) * ledger.SlotLength
		if average > 0 && above > terms.Over {
			return &Spike{Day: d.Day.Format(time.DateOnly), Minutes: int(above.Minutes()), Percent: terms.Percent,
				AverageBitsPerSecond: int64(average * 8 / seconds), PeakBitsPerSecond: int64(float64(peak) * 8 / seconds)}
		}
	}
	return nil
}

// sideOf is what counts of a slot or a day; of the greater direction both do, as it is not known which it will be.
func sideOf(d rating.Direction, in, out uint64) uint64 {
	switch d {
	case rating.In:
		return in
	case rating.Out:
		return out
	}
	return in + out
}

// keep writes the forecasts of a look, in place of those of the one before.
func (n *Notices) keep(ctx context.Context, now time.Time, forecasts map[string]keptForecast) error {
	return n.deps.DB.Update(ctx, func(tx *store.Tx) error {
		for service, f := range forecasts {
			body, err := json.Marshal(f.Forecast)
			if err != nil {
				return err
			}
			_, err = tx.Exec(ctx, `INSERT INTO forecast (service, period_from, made_at, body) VALUES (?, ?, ?, ?)
				ON CONFLICT (service) DO UPDATE SET period_from = excluded.period_from, made_at = excluded.made_at, body = excluded.body`,
				service, f.from.UnixNano(), now.UnixNano(), string(body))
			if err != nil {
				return fmt.Errorf("keep the forecast of %s: %w", service, err)
			}
		}
		_, err := tx.Exec(ctx, `DELETE FROM forecast WHERE made_at < ?`, now.UnixNano())
		return err
	})
}

type keptForecast struct {
	*Forecast
	from time.Time
}

// PeriodKey names a period of a service.
type PeriodKey struct {
	Service string
	From    int64 // Unix nanoseconds
}

// Forecasts returns the last forecast of each open period.
func (n *Notices) Forecasts(ctx context.Context) (map[PeriodKey]Forecast, error) {
	list := map[PeriodKey]Forecast{}
	err := n.deps.DB.View(ctx, func(tx *store.Tx) error {
		clear(list)
		rows, err := tx.Query(ctx, `SELECT service, period_from, body FROM forecast`)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var key PeriodKey
			var body string
			var f Forecast
			if err := rows.Scan(&key.Service, &key.From, &body); err != nil {
				return err
			}
			if err := json.Unmarshal([]byte(body), &f); err != nil {
				return err
			}
			list[key] = f
		}
		return rows.Err()
	})
	if err != nil {
		err = fmt.Errorf("read the forecasts: %w", err)
	}
	return list, err
}
