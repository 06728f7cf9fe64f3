package collector

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"hostmeter/schemas"
)

// metrics are the collector's own. Those that come out of accounts move at a flush.
type metrics struct {
	datagrams   map[schemas.Protocol]prometheus.Counter
	records     *prometheus.CounterVec
	octets      *prometheus.CounterVec
	dropped     *prometheus.CounterVec
	held        *prometheus.GaugeVec
	lost        *prometheus.CounterVec
	kernelDrops prometheus.Counter
	flushErrors prometheus.Counter
	twice       prometheus.Gauge
	doubted     prometheus.Gauge
	lostDebt    map[string]int64 // late arrivals that were lost before: counters cannot go back
}

func newMetrics(registerer prometheus.Registerer) (*metrics, error) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "hostmeter_collector_" + name, Help: help}, labels)
	}
	datagrams := counter("datagrams_total", "Datagrams received, and polls of hypervisors.", "protocol")
	m := &metrics{
		datagrams: map[schemas.Protocol]prometheus.Counter{},
		records:   counter("records_total", "Flow records and samples, and readings of guests, that count.", "protocol"),
		octets:    counter("octets_total", "Octets of flow records, multiplied by the sampling rate, and of vNICs.", "protocol"),
		dropped:   counter("dropped_total", "What was received and refused.", "unit", "reason"),
		held: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "hostmeter_collector_held", Help: "What was received and waits for a fact.",
		}, []string{"unit", "reason"}),
		lost: counter("lost_total", "What was sent and never received, by the sources' own numbering.", "unit"),
		kernelDrops: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "hostmeter_collector_kernel_drops_total", Help: "Datagrams that the kernel dropped because the receive buffer was full.",
		}),
		flushErrors: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "hostmeter_collector_flush_errors_total", Help: "Flushes that the log did not take; they are tried again.",
		}),
		twice: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "hostmeter_collector_counted_twice", Help: "Pairs of exporters that were seen to tell of the same traffic in the last 24 hours.",
		}),
		doubted: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "hostmeter_collector_sampling_doubted", Help: "Data sources of sFlow exporters whose samples do not fit the sampling rate that they state.",
		}),
		lostDebt: map[string]int64{},
	}
	for _, p := range []schemas.Protocol{schemas.NetFlow5, schemas.NetFlow9, schemas.IPFIX, schemas.SFlow5, schemas.Libvirt, ""} {
		m.datagrams[p] = datagrams.WithLabelValues(protocolLabel(p))
	}
	if registerer == nil {
		return m, nil
	}
	var errs []error
	for _, c := range []prometheus.Collector{datagrams, m.records, m.octets, m.dropped, m.held, m.lost, m.kernelDrops, m.flushErrors, m.twice, m.doubted} {
		errs = append(errs, registerer.Register(c))
	}
	return m, errors.Join(errs...)
}

func protocolLabel(p schemas.Protocol) string {
	if p == "" {
		return "unknown"
	}
	return string(p)
}

func (m *metrics) datagram(protocol schemas.Protocol) { m.datagrams[protocol].Inc() }

func (m *metrics) drop(unit, reason string, n int64) {
	m.dropped.WithLabelValues(unit, reason).Add(float64(n))
}

// account counts an account's differences.
func (m *metrics) account(a *schemas.ExporterAccount) {
	m.records.WithLabelValues(a.Protocol).Add(float64(a.Records))
	m.octets.WithLabelValues(a.Protocol).Add(float64(a.Octets))
	for _, d := range a.Dropped {
		m.drop(d.Unit, d.Reason, max(d.Count, 0))
	}
	for _, h := range a.Held {
		m.held.WithLabelValues(h.Unit, h.Reason).Add(float64(h.Count))
	}
	for _, l := range a.Lost {
		m.lostDebt[l.Unit] += l.Count
		if n := m.lostDebt[l.Unit]; n > 0 {
			m.lost.WithLabelValues(l.Unit).Add(float64(n))
			m.lostDebt[l.Unit] = 0
		}
	}
}
