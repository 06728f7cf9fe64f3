package collector

import (
	"time"

	"hostmeter/collector/tally"
	"hostmeter/schemas"
)

// samplingHold is for how long records of unknown sampling can still be given a rate.
const samplingHold = 30 * time.Minute

// sampling is what a source with `sampling: auto` knows of its rate. See
// docs/decisions/0003-sampling-auto.md.
//
// Records that name a rate, or whose exporter has told one in option data, never come here. Of the
// others there are two kinds. Those of an exporter that surely samples are held, unscaled, in the
// table. Those of one that may as well be unsampled are counted at once at 1, so that a newcomer
// sees totals, and once more, unscaled, in a table of corrections: if a rate is told, it adds what
// is missing.
type sampling struct {
	auto     bool
	fallback uint32 // sampling_default
	// samples says that a rate above 1 was told before, for whichever records.
	samples    bool
	since      time.Time // the first record of unknown sampling that can still be given a rate
	over       bool      // samplingHold has passed: fallback counts for good
	generation uint64    // of the decoder's option data, when last asked
	// numerator/denominator is the rate of the last record that has one.
	numerator, denominator uint32

	corrections *tally.Table
	handle      *tally.Exporter // in corrections
}

// correctionCells bounds the table of corrections of one source. What does not fit stays counted at
// 1, as it is for an exporter that never tells.
const correctionCells = 100_000

func newSampling(cfg *ExporterConfig) sampling {
	return sampling{auto: cfg.Sampling == SamplingAuto, fallback: cfg.samplingDefault()}
}

// unknown says whether records are counted at a rate that nobody told.
func (m *sampling) unknown() bool { return m.auto && (m.over || !m.since.IsZero()) }

// book adds a record to the table, or to what waits there for a rate.
func (c *Collector) book(s *source, rec *schemas.FlowRecord, at time.Time) {
	m := &s.sampling
	switch {
	case !m.auto:
	case rec.SamplingOrigin != schemas.SamplingUnknown:
		m.samples = m.samples || rec.SamplingNumerator > rec.SamplingDenominator
	case m.over:
		rec.SamplingNumerator, rec.SamplingDenominator, rec.SamplingOrigin = m.fallback, 1, schemas.SamplingDefault
	default:
		c.bookUnknown(s, rec, at)
	}
	m.numerator, m.denominator = rec.SamplingNumerator, rec.SamplingDenominator
	c.table.Add(s.handle, rec, at)
}

// bookUnknown leaves a record as it is when it has to wait, and else gives it the default rate.
func (c *Collector) bookUnknown(s *source, rec *schemas.FlowRecord, at time.Time) {
	m := &s.sampling
	if m.since.IsZero() {
		m.since = at
	}
	if m.fallback > 1 || m.samples || rec.SamplerID != 0 {
		return
	}
	// In v5 and sFlow the rate stands in each datagram or nowhere: nothing comes later.
	if s.protocol == schemas.NetFlow9 || s.protocol == schemas.IPFIX {
		c.correctionsOf(s).Add(m.handle, rec, at)
	}
	rec.SamplingNumerator, rec.SamplingDenominator, rec.SamplingOrigin = 1, 1, schemas.SamplingDefault
}

func (c *Collector) correctionsOf(s *source) *tally.Table {
	m := &s.sampling
	if m.corrections == nil {
		config := c.tallyConfig()
		config.NoDetail, config.Cells = true, correctionCells
		m.corrections = tally.New(config)
		m.handle = m.corrections.Exporter(c.handleConfig(s))
	}
	return m.corrections
}

// learnSampling gives what waits the rates that option data has told meanwhile.
func (c *Collector) learnSampling(s *source) {
	m := &s.sampling
	if s.flows == nil || m.since.IsZero() || m.over {
		return
	}
	generation := s.flows.SamplingGeneration()
	if generation == m.generation {
		return
	}
	m.generation = generation
	waiting := false
	for _, key := range c.table.Held(s.handle) {
		numerator, denominator, ok := s.flows.SamplingFor(key.Domain, key.SamplerID, key.InInterface)
		if !ok {
			waiting = true
			continue
		}
		c.table.ScaleHeld(s.handle, key, numerator, denominator, schemas.SamplingOption)
		m.samples = m.samples || numerator > denominator
	}
	if m.corrections != nil {
		waiting = c.correct(s) || waiting
	}
	if !waiting {
		m.since, m.corrections = time.Time{}, nil
	}
}

// correct adds what is missing of records that were counted at 1 and turn out to be of 1 in
// numerator/denominator: (numerator-denominator)/denominator times what they told. It says whether
// some still have no rate.
func (c *Collector) correct(s *source) (waiting bool) {
	m := &s.sampling
	for _, key := range m.corrections.Held(m.handle) {
		numerator, denominator, ok := s.flows.SamplingFor(key.Domain, key.SamplerID, key.InInterface)
		if !ok {
			waiting = true
			continue
		}
		if numerator <= denominator { // it told that it does not sample
			m.corrections.ScaleHeld(m.handle, key, 1, 1, schemas.SamplingOption)
			m.corrections.Flush(true)
			continue
		}
		m.samples = true
		m.corrections.ScaleHeld(m.handle, key, numerator-denominator, denominator, schemas.SamplingOption)
		added := m.corrections.Flush(true)
		onlyDifference(&added, numerator, denominator)
		c.extra = append(c.extra, added)
		c.deps.Logger.Info("an exporter told its sampling rate after its first records: they are corrected",
			"exporter", s.exporter.text, "observation_domain", key.Domain,
			"sampling_numerator", numerator, "sampling_denominator", denominator)
	}
	return waiting
}

// onlyDifference leaves of flushed corrections what was not counted before: multiplied octets,
// packets and flows. The variance is brought from rate N-1 to N.
func onlyDifference(f *tally.Flushed, numerator, denominator uint32) {
	for _, t := range f.Tallies {
		for _, traffic := range []*schemas.Traffic{t.In, t.Out} {
			if traffic == nil {
				continue
			}
			traffic.VarianceKib2 = varianceOfWhole(traffic, numerator, denominator)
			traffic.ReportedOctets, traffic.ReportedPackets = 0, 0
		}
	}
	for i, a := range f.Accounts {
		f.Accounts[i] = &schemas.ExporterAccount{
			Exporter: a.Exporter, Protocol: a.Protocol, Hour: a.Hour,
			Octets: a.Octets, Packets: a.Packets, OctetsOnce: a.OctetsOnce, OctetsBoth: a.OctetsBoth,
			OctetsTransit: a.OctetsTransit, OctetsUncounted: a.OctetsUncounted,
		}
	}
}

// varianceOfWhole turns (N-1)(N-2)q, which the corrections have, into N(N-1)q, rounding up. Up to a
// rate of 2 nothing is left to turn: then q is bounded by packets of 1500 octets.
func varianceOfWhole(traffic *schemas.Traffic, numerator, denominator uint32) uint64 {
	n, d := float64(numerator), float64(denominator)
	if n > 2*d {
		return uint64(float64(traffic.VarianceKib2)*n/(n-2*d)) + 1
	}
	return uint64(n/d*(n/d-1)*float64(traffic.ReportedOctets)*1500/(1<<20)) + 1
}

// expireSampling lets the default count for good once nothing was told for samplingHold.
func (c *Collector) expireSampling(s *source, at time.Time) {
	m := &s.sampling
	if m.since.IsZero() || m.over || at.Sub(m.since) < samplingHold {
		return
	}
	c.endSampling(s)
	m.over = true
	c.deps.Logger.Warn("an exporter does not tell its sampling rate: the default counts",
		"exporter", s.exporter.text, "protocol", string(s.protocol), "sampling_default", m.fallback,
		"hint", "set collector.exporters[].sampling to none or N, or let the exporter send its sampling options")
}

// endSampling books what waits at the default rate.
func (c *Collector) endSampling(s *source) {
	m := &s.sampling
	for _, key := range c.table.Held(s.handle) {
		c.table.ScaleHeld(s.handle, key, m.fallback, 1, schemas.SamplingDefault)
	}
	m.corrections, m.since = nil, time.Time{}
}
