package aggregator

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"hostmeter/aggregator/ledger"
)

// metrics are the aggregator's, named hostmeter_ledger_….
type metrics struct {
	batches, duplicates, refused, tallies, late, octets prometheus.Counter
	gapBatches, reopened, confirmErrors, maintainErrors prometheus.Counter
	lag, sealedThrough, waiting                         prometheus.Gauge
	commit                                              prometheus.Histogram
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	var all []prometheus.Collector
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Namespace: "hostmeter", Subsystem: "ledger", Name: name, Help: help})
		all = append(all, c)
		return c
	}
	gauge := func(name, help string) prometheus.Gauge {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "hostmeter", Subsystem: "ledger", Name: name, Help: help})
		all = append(all, g)
		return g
	}
	m := &metrics{
		batches:        counter("batches_total", "Batches booked."),
		duplicates:     counter("duplicate_batches_total", "Batches passed over because they had been booked."),
		refused:        counter("refused_batches_total", "Batches that broke an invariant and are parked."),
		tallies:        counter("tallies_total", "Tallies booked."),
		late:           counter("late_entries_total", "Entries booked after their hour was sealed."),
		octets:         counter("octets_total", "Octets booked, both directions, multiplied by sampling."),
		gapBatches:     counter("gap_batches_total", "Batches that the log lost before they were booked."),
		reopened:       counter("reopened_total", "Times that the log was read again behind what is booked."),
		confirmErrors:  counter("confirm_errors_total", "Times that what is booked could not be confirmed to the log."),
		maintainErrors: counter("maintain_errors_total", "Times that sealing, telling or closing stopped with an error."),
		lag:            gauge("lag_seconds", "Age of what was booked last, from its receipt."),
		sealedThrough:  gauge("sealed_through_seconds", "Beginning of the first hour that is not sealed, in seconds since 1970."),
		waiting:        gauge("waiting_exporters", "Exporters that hold an hour open which is old enough to be sealed."),
		commit: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "hostmeter", Subsystem: "ledger", Name: "commit_seconds", Help: "Length of a booking, commit included.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 15),
		}),
	}
	for _, c := range append(all, m.commit) {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) booked(b ledger.Booked, now time.Time, took time.Duration) {
	m.batches.Add(float64(b.Batches))
	m.duplicates.Add(float64(b.Duplicates))
	m.refused.Add(float64(b.Refused))
	m.tallies.Add(float64(b.Tallies))
	m.late.Add(float64(b.LateEntries))
	m.octets.Add(float64(b.Octets))
	m.commit.Observe(took.Seconds())
	if !b.ReceivedTo.IsZero() {
		m.lag.Set(now.Sub(b.ReceivedTo).Seconds())
	}
}

func (m *metrics) sealed(s ledger.Sealed) {
	m.waiting.Set(float64(len(s.Waiting)))
	if !s.Through.IsZero() {
		m.sealedThrough.Set(float64(s.Through.Unix()))
	}
}
