package collector

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"hostmeter/collector/sflow"
)

// rates are how the data sources of an sFlow exporter sampled of late: a witness of the rates that they
// state, which are what is billed by.
type rates struct {
	hour        int64
	now, before map[rateKey]*SourceRate // of this hour and the one before
	doubted     int                     // sources that do not fit, at the last look
}

type rateKey struct {
	agent  string
	sub    uint32
	source uint64
	stated uint32
}

// SourceRate is how one data source sampled in this hour and the one before.
type SourceRate struct {
	// Source names it: "interface 3", or "source 2:7" of a class that has no interfaces; with the agent's
	// address and sub-agent where they are not the exporter's own and 0.
	Source string `json:"source"`
	// Stated is the rate that its samples state, N of 1-in-N.
	Stated uint32 `json:"stated"`
	// Pool is how many packets it says it chose its samples from, Samples how many of these were received, and
	// Unsent how many it took and could not send.
	Pool    uint64 `json:"pool"`
	Samples uint64 `json:"samples"`
	Unsent  uint64 `json:"unsent,omitempty"`
}

// InEffect is the rate that it had in effect: packets a sample received. What is lost on the way raises it.
func (r SourceRate) InEffect() float64 { return float64(r.Pool) / float64(r.Samples) }

const (
	// rateNoise is by how many standard deviations the number of samples may be off, rateSlack by which part
	// of it besides: samplers round, and counters are read a moment apart.
	rateNoise = 5
	rateSlack = 0.01
	// rateLeast is from how many samples on, received or to be expected, a rate is judged.
	rateLeast = 100
	// doubtsMost bounds the doubted sources that are named.
	doubtsMost = 16
)

// doubtful says whether the samples do not fit the stated rate, by more than chance allows.
//
// Of P packets sampled 1 in N, P/N samples are to be expected, with a standard deviation below the root
// of that.
func (r SourceRate) doubtful() bool {
	if r.Stated == 0 || r.Pool == 0 { // some agents do not count their pool
		return false
	}
	want := float64(r.Pool) / float64(r.Stated)
	if max(want, float64(r.Samples)) < rateLeast {
		return false
	}
	return math.Abs(float64(r.Samples)-want) > rateNoise*math.Sqrt(want)+rateSlack*want
}

// note adds what decoders took since the last time.
func (r *rates) note(exporter string, taken []sflow.SourceRate, at time.Time) {
	if hour := hourOf(at); hour != r.hour || r.now == nil {
		r.before = nil
		if hour-r.hour == 1 {
			r.before = r.now
		}
		r.hour, r.now = hour, map[rateKey]*SourceRate{}
	}
	for _, t := range taken {
		key := rateKey{t.Agent.String(), t.SubAgent, t.Source, t.Stated}
		s := r.now[key]
		if s == nil {
			s = &SourceRate{Source: key.text(exporter), Stated: t.Stated}
			r.now[key] = s
		}
		s.Pool += t.Pool
		s.Samples += t.Samples
		s.Unsent += t.Unsent
	}
}

func (k rateKey) text(exporter string) string {
	class, index := k.source>>32, k.source&math.MaxUint32
	text := "interface " + strconv.FormatUint(index, 10)
	if class != 0 {
		text = fmt.Sprintf("source %d:%d", class, index)
	}
	if k.agent != exporter || k.sub != 0 {
		text = fmt.Sprintf("%s of agent %s/%d", text, k.agent, k.sub)
	}
	return text
}

// all are the sources of both hours, put together.
func (r *rates) all() []SourceRate {
	sum := map[rateKey]SourceRate{}
	for _, hour := range []map[rateKey]*SourceRate{r.before, r.now} {
		for key, s := range hour {
			both := sum[key]
			both.Source, both.Stated = s.Source, s.Stated
			both.Pool, both.Samples, both.Unsent = both.Pool+s.Pool, both.Samples+s.Samples, both.Unsent+s.Unsent
			sum[key] = both
		}
	}
	var out []SourceRate
	for _, s := range sum {
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b SourceRate) int {
		return cmp.Or(cmp.Compare(b.Samples, a.Samples), cmp.Compare(a.Source, b.Source), cmp.Compare(a.Stated, b.Stated))
	})
	return out
}

// noteRates takes over how an exporter sampled, and tells of it when what it states is in doubt.
func (l *lane) noteRates(s *source, at time.Time) {
	s.rates.note(s.exporter.text, s.samples.TakeRates(), at)
	doubted, first := 0, SourceRate{}
	for _, r := range s.rates.all() {
		if r.doubtful() {
			if doubted == 0 {
				first = r
			}
			doubted++
		}
	}
	if doubted > 0 && s.rates.doubted == 0 {
		l.deps.Logger.Warn("an sFlow exporter's samples do not fit the rate that they state", "exporter", s.exporter.text,
			"source", first.Source, "stated", first.Stated, "in_effect", math.Round(first.InEffect()), "samples", first.Samples,
			"hint", "look at its lost and unsent samples; without any, it samples at another rate than it says: set collector.exporters[].sampling")
	}
	l.metrics.doubted.Add(float64(doubted - s.rates.doubted))
	s.rates.doubted = doubted
}

// addSampled adds to a status how an sFlow source sampled: in the mean of all its samples, and whose do not
// fit.
func (s *ExporterStatus) addSampled(all []SourceRate) {
	var pool, samples uint64
	for _, r := range all {
		if r.Pool > 0 {
			pool += r.Pool
			samples += r.Samples
		}
		if r.doubtful() && len(s.Doubts) < doubtsMost {
			s.Doubts = append(s.Doubts, r)
		}
	}
	if samples >= rateLeast {
		s.InEffect = float64(pool) / float64(samples)
	}
}
