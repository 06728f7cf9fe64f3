package disk

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"
)

type metrics struct {
	batches, abandoned, damaged, unreadable, deleted, alarms prometheus.Counter
	size, pinned, limit, age                                 prometheus.Gauge
	refused, read, gaps                                      *prometheus.CounterVec
	waiting                                                  *prometheus.GaugeVec
	commits                                                  prometheus.Histogram
}

func newMetrics(registry prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	}
	vector := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label})
	}
	m := &metrics{
		batches:    counter("hostmeter_log_batches_total", "Batches made durable in the log on disk."),
		abandoned:  counter("hostmeter_log_abandoned_segments_total", "Segments given up after a failed write or fsync."),
		damaged:    counter("hostmeter_log_damaged_total", "Damaged headers and records found in the log on disk."),
		unreadable: counter("hostmeter_log_unreadable_total", "Places of the log that the disk did not give, and that a consumer gave up."),
		deleted:    counter("hostmeter_log_deleted_files_total", "Files deleted after their batches were confirmed."),
		alarms:     counter("hostmeter_log_alarms_total", "Times that unconfirmed batches came near max_size."),
		size:       gauge("hostmeter_log_size_bytes", "Size of the log on disk."),
		pinned:     gauge("hostmeter_log_unconfirmed_bytes", "Part of the log that may not be deleted yet."),
		age:        gauge("hostmeter_log_unconfirmed_age_seconds", "Age of the oldest file with batches that the ledger has not confirmed."),
		limit:      gauge("hostmeter_log_max_size_bytes", "Bound of the log on disk; 0 is none."),
		refused:    vector("hostmeter_log_refused_batches_total", "Batches that the log on disk refused.", "reason"),
		read:       vector("hostmeter_log_read_batches_total", "Batches read by a consumer.", "consumer"),
		gaps:       vector("hostmeter_log_gap_batches_total", "Batches gone before a consumer read them.", "consumer"),
		waiting: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "hostmeter_log_read_waiting", Help: "1 while a consumer waits for a part of the log that the disk does not give.",
		}, []string{"consumer"}),
		commits: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "hostmeter_log_commit_seconds", Help: "Time to write and sync a group of batches.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14),
		}),
	}
	if registry != nil {
		for _, c := range []prometheus.Collector{m.batches, m.abandoned, m.damaged, m.unreadable, m.deleted, m.alarms,
			m.waiting, m.size, m.pinned, m.limit, m.age, m.refused, m.read, m.gaps, m.commits} {
			_ = registry.Register(c) // a second log in one process is not counted
		}
	}
	return m
}

func isNoSpace(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }
