package detector

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	batches    prometheus.Counter
	gapBatches prometheus.Counter
	refused    prometheus.Counter
	late       *prometheus.CounterVec
	subjects   prometheus.Gauge
	active     prometheus.Gauge
	incidents  *prometheus.GaugeVec
	checkpoint prometheus.Histogram
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		batches: prometheus.NewCounter(prometheus.CounterOpts{Name: "hostmeter_detector_batches_total",
			Help: "Batches that the detector has processed."}),
		gapBatches: prometheus.NewCounter(prometheus.CounterOpts{Name: "hostmeter_detector_gap_batches_total",
			Help: "Batches that the log lost before the detector read them; their time is unknown."}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{Name: "hostmeter_detector_refused_total",
			Help: "Tallies and guests' readings whose time cannot be."}),
		late: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "hostmeter_detector_late_total",
			Help: "Tallies and readings for cells that were closed, by what became of them."}, []string{"outcome"}),
		subjects: prometheus.NewGauge(prometheus.GaugeOpts{Name: "hostmeter_detector_subjects",
			Help: "Meters and owners that conditions are kept for."}),
		active: prometheus.NewGauge(prometheus.GaugeOpts{Name: "hostmeter_detector_active",
			Help: "1 where this detector is the active one, 0 where it stands by."}),
		incidents: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "hostmeter_detector_incidents",
			Help: "Incidents by rule and state."}, []string{"rule", "state"}),
		checkpoint: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "hostmeter_detector_checkpoint_seconds",
			Help: "How long it takes to write state and position.", Buckets: prometheus.ExponentialBuckets(0.001, 4, 8)}),
	}
	if r == nil {
		return m
	}
	for _, c := range []prometheus.Collector{m.batches, m.gapBatches, m.refused, m.late, m.subjects, m.active, m.incidents, m.checkpoint} {
		var already prometheus.AlreadyRegisteredError
		if err := r.Register(c); err != nil && !errors.As(err, &already) {
			panic(err) // two metrics of one name in the program
		}
	}
	return m
}
