package kafka

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	forwarded, retries, resends, malformed, jumps prometheus.Counter
	read, gaps                                    *prometheus.CounterVec
	missing                                       *prometheus.GaugeVec
}

func newMetrics(registry prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	vector := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label})
	}
	m := &metrics{
		forwarded: counter("hostmeter_log_kafka_forwarded_batches_total", "Batches that Kafka acknowledged to the forwarder."),
		retries:   counter("hostmeter_log_kafka_retries_total", "Requests to Kafka that failed and were repeated."),
		resends:   counter("hostmeter_log_kafka_resends_total", "Times that everything unconfirmed was sent again because Kafka lost something."),
		malformed: counter("hostmeter_log_kafka_malformed_total", "Messages that are no batch or no confirmation."),
		jumps:     counter("hostmeter_log_kafka_skipped_offsets_total", "Offsets that Kafka no longer had when they were to be read."),
		read:      vector("hostmeter_log_kafka_read_batches_total", "Batches read from Kafka by a consumer.", "consumer"),
		gaps:      vector("hostmeter_log_kafka_gap_batches_total", "Batches that a consumer of Kafka has taken for lost.", "consumer"),
		missing: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "hostmeter_log_kafka_missing_batches", Help: "Batches that are not on Kafka and that a consumer waits for, because their collector may hold them.",
		}, []string{"consumer"}),
	}
	if registry != nil {
		for _, c := range []prometheus.Collector{m.forwarded, m.retries, m.resends, m.malformed, m.jumps, m.read, m.gaps, m.missing} {
			_ = registry.Register(c) // a second one in one process is not counted
		}
	}
	return m
}
