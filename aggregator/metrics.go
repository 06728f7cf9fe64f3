package aggregator

import (
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"hostmeter/aggregator/ledger"
)

// metrics are what an operator watches of the booking.
type metrics struct {
	batches, duplicates, refused, octets, late prometheus.Counter
	lag                                        prometheus.Gauge
	commit                                     prometheus.Histogram
}

func (m *metrics) register(registry prometheus.Registerer) error {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	m.batches = counter("hostmeter_ledger_batches_total", "Batches that were booked.")
	m.duplicates = counter("hostmeter_ledger_duplicate_batches_total", "Batches that had been booked before, and were passed over.")
	m.refused = counter("hostmeter_ledger_refused_batches_total", "Batches that break an invariant, and were set aside.")
	m.octets = counter("hostmeter_ledger_octets_total", "Octets of both directions that were booked, multiplied by sampling.")
	m.late = counter("hostmeter_ledger_late_entries_total", "Usage that came after its hour was sealed.")
	m.lag = prometheus.NewGauge(prometheus.GaugeOpts{Name: "hostmeter_ledger_lag_seconds", Help: "Age of the newest batch when it was booked."})
	m.commit = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "hostmeter_ledger_commit_seconds", Help: "Time of a booking transaction.", Buckets: prometheus.ExponentialBuckets(0.001, 2, 14),
	})
	if registry == nil {
		return nil
	}
	var errs []error
	for _, c := range []prometheus.Collector{m.batches, m.duplicates, m.refused, m.octets, m.late, m.lag, m.commit} {
		errs = append(errs, registry.Register(c))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("register the ledger's metrics: %w", err)
	}
	return nil
}

func (m *metrics) observe(b ledger.Booked, took time.Duration, now time.Time) {
	m.batches.Add(float64(b.Batches))
	m.duplicates.Add(float64(b.Duplicates))
	m.refused.Add(float64(b.Refused))
	m.octets.Add(float64(b.Octets))
	m.late.Add(float64(b.LateEntries))
	m.commit.Observe(took.Seconds())
	if !b.ReceivedTo.IsZero() {
		m.lag.Set(now.Sub(b.ReceivedTo).Seconds())
	}
}
