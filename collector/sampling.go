package collector

import (
	"time"

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
// sees totals, and the table remembers what was flushed of them: if a rate is told, what is missing
// is added.
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
	assuming               bool // the table remembers
}

func newSampling(cfg *ExporterConfig) sampling {
	return sampling{auto: cfg.Sampling == SamplingAuto, fallback: cfg.samplingDefault()}
}

// unknown says whether records are counted at a rate that nobody told.
func (m *sampling) unknown() bool { return m.auto && (m.over || !m.since.IsZero()) }

// rate gives a record the rate that it is booked at, or leaves it one that has to wait for its rate.
func (l *lane) rate(s *source, rec *schemas.FlowRecord, at time.Time) {
	m := &s.sampling
	switch {
	case !m.auto:
	case rec.SamplingOrigin != schemas.SamplingUnknown:
		m.samples = m.samples || rec.SamplingNumerator > rec.SamplingDenominator
	case m.over:
		rec.SamplingNumerator, rec.SamplingDenominator, rec.SamplingOrigin = m.fallback, 1, schemas.SamplingDefault
	default:
		l.rateUnknown(s, rec, at)
	}
	m.numerator, m.denominator = rec.SamplingNumerator, rec.SamplingDenominator
}

// rateUnknown leaves a record as it is when it has to wait, and else gives it the default rate.
func (l *lane) rateUnknown(s *source, rec *schemas.FlowRecord, at time.Time) {
	m := &s.sampling
	if m.since.IsZero() {
		m.since = at
	}
	if m.fallback > 1 || m.samples || rec.SamplerID != 0 {
		return
	}
	// In v5 and sFlow the rate stands in each datagram or nowhere: nothing comes later.
	if !m.assuming && (s.protocol == schemas.NetFlow9 || s.protocol == schemas.IPFIX) {
		m.assuming = true
		l.table.Assume(s.handle, true)
	}
	rec.SamplingNumerator, rec.SamplingDenominator, rec.SamplingOrigin = 1, 1, schemas.SamplingDefault
}

// learnSampling gives what waits the rates that option data has told meanwhile.
func (l *lane) learnSampling(s *source) {
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
	for _, key := range l.table.Held(s.handle) {
		numerator, denominator, ok := s.flows.SamplingFor(key.Domain, key.SamplerID, key.InInterface)
		if !ok {
			waiting = true
			continue
		}
		l.table.ScaleHeld(s.handle, key, numerator, denominator, schemas.SamplingOption)
		m.samples = m.samples || numerator > denominator
	}
	waiting = l.correct(s) || waiting
	if !waiting {
		m.since = time.Time{}
		l.stopAssuming(s)
	}
}

func (l *lane) stopAssuming(s *source) {
	if s.sampling.assuming {
		s.sampling.assuming = false
		l.table.Assume(s.handle, false)
	}
}

// correct adds what is missing of records that were counted at 1 and turn out to be of another rate. It
// says whether some still have none.
func (l *lane) correct(s *source) (waiting bool) {
	for _, key := range l.table.Assumed(s.handle) {
		numerator, denominator, ok := s.flows.SamplingFor(key.Domain, key.SamplerID, key.InInterface)
		if !ok {
			waiting = true
			continue
		}
		l.addAccounts(l.table.Correct(s.handle, key, numerator, denominator, l.corrections.add))
		if numerator <= denominator { // it told that it does not sample
			continue
		}
		s.sampling.samples = true
		l.deps.Logger.Info("an exporter told its sampling rate after its first records: they are corrected",
			"exporter", s.exporter.text, "observation_domain", key.Domain,
			"sampling_numerator", numerator, "sampling_denominator", denominator)
	}
	return waiting
}

// expireSampling lets the default count for good once nothing was told for samplingHold.
func (l *lane) expireSampling(s *source, at time.Time) {
	m := &s.sampling
	if m.since.IsZero() || m.over || at.Sub(m.since) < samplingHold {
		return
	}
	l.endSampling(s)
	m.over = true
	l.deps.Logger.Warn("an exporter does not tell its sampling rate: the default counts",
		"exporter", s.exporter.text, "protocol", string(s.protocol), "sampling_default", m.fallback,
		"hint", "set collector.exporters[].sampling to none or N, or let the exporter send its sampling options")
}

// endSampling books what waits at the default rate.
func (l *lane) endSampling(s *source) {
	m := &s.sampling
	for _, key := range l.table.Held(s.handle) {
		l.table.ScaleHeld(s.handle, key, m.fallback, 1, schemas.SamplingDefault)
	}
	m.since = time.Time{}
	l.stopAssuming(s)
}
