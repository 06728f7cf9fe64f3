package netflow

import (
	"math"

	"hostmeter/schemas"
)

// rate is a sampling rate as a fraction; the zero value is unknown.
type rate struct{ numerator, denominator uint32 }

// scope says for which records of a domain option data told a rate.
type scope struct {
	kind scopeKind
	id   uint64
}

type scopeKind uint8

const (
	scopeSystem    scopeKind = iota // the domain or the exporter as a whole
	scopeSampler                    // records that name the sampler
	scopeInterface                  // records of an interface
	scopeOther                      // a line card, cache, template or process, which records do not name
)

// rates holds what option data told of one observation domain.
type rates struct {
	told map[scope]rate
	// only is the one rate that was told, whatever the scope; unknown if none or several.
	only       rate
	interfaces bool // some were told for an interface
	asked      asked
}

// asked is the last question to rates and its answer: the records of a datagram ask the same one.
type asked struct {
	known         bool
	sampler       uint64
	first, second schemas.IfIndex
	told          rate
}

// set remembers a rate and tells whether that is news.
func (r *rates) set(s scope, told rate, limit int) bool {
	if r.told == nil {
		r.told = make(map[scope]rate)
	}
	before, known := r.told[s]
	if known && before == told || !known && len(r.told) >= limit {
		return false
	}
	r.told[s], r.asked = told, asked{}
	r.interfaces = r.interfaces || s.kind == scopeInterface
	r.only = told
	for _, other := range r.told {
		if other != told {
			r.only = rate{}
		}
	}
	return true
}

// of returns the rate for records that name a sampler (0: none) and interfaces.
//
// A sampler that was told wins, then an interface, then the domain as a whole. Where nothing fits,
// a rate counts if it is the only one told, unless the record names another sampler than the one
// that told it.
func (r *rates) of(samplerID uint64, first, second schemas.IfIndex) rate {
	if len(r.told) == 0 {
		return rate{}
	}
	if !r.interfaces {
		first, second = 0, 0
	}
	if a := &r.asked; !a.known || a.sampler != samplerID || a.first != first || a.second != second {
		*a = asked{true, samplerID, first, second, r.find(samplerID, first, second)}
	}
	return r.asked.told
}

// find is of for a question that was not asked just before.
func (r *rates) find(samplerID uint64, first, second schemas.IfIndex) rate {
	if samplerID != 0 {
		if told, ok := r.told[scope{scopeSampler, samplerID}]; ok {
			return told
		}
	}
	if r.interfaces {
		for _, index := range [2]schemas.IfIndex{first, second} {
			if told, ok := r.told[scope{scopeInterface, uint64(index)}]; ok && index != 0 {
				return told
			}
		}
	}
	if told, ok := r.told[scope{kind: scopeSystem}]; ok {
		return told
	}
	if samplerID != 0 && r.namesSampler() {
		return rate{}
	}
	return r.only
}

func (r *rates) namesSampler() bool {
	for s := range r.told {
		if s.kind == scopeSampler && s.id != 0 {
			return true
		}
	}
	return false
}

// statedRate reads the rate out of a record or an option record; unknown where it states none.
//
// interval and space (305, 306): (interval+space)/interval, the interval itself where there is no
// space. size and population (309, 310): population/size. probability (311): its inverse. Else the
// sampling interval (34) or the sampler's (50). 0 states nothing.
// Source: RFC 5477 sections 8.2.2 to 8.2.7; RFC 3954 section 8.
func statedRate(has set, v *values) rate {
	if has.has(toPacketInterval) && v[toPacketInterval] > 0 {
		interval := v[toPacketInterval]
		if has.has(toPacketSpace) && v[toPacketSpace] > 0 {
			return reduced(interval+v[toPacketSpace], interval)
		}
		return reduced(interval, 1)
	}
	if has.has(toSamplingPopulation) && has.has(toSamplingSize) && v[toSamplingSize] > 0 {
		return reduced(v[toSamplingPopulation], v[toSamplingSize])
	}
	if has.has(toProbability) {
		if told := inverse(v[toProbability]); told != (rate{}) {
			return told
		}
	}
	if has.has(toSamplingInterval) && v[toSamplingInterval] > 0 {
		return reduced(v[toSamplingInterval], 1)
	}
	if has.has(toSamplerInterval) {
		return reduced(v[toSamplerInterval], 1)
	}
	return rate{}
}

// statesZero tells that every field that could state a rate is 0.
func statesZero(has set, v *values) bool {
	for _, t := range [...]target{toSamplingInterval, toSamplerInterval, toPacketInterval, toSamplingPopulation, toProbability} {
		if has.has(t) && v[t] != 0 {
			return false
		}
	}
	return true
}

// inverse turns the bits of a probability, as a float64 or a float32, into a rate: to the whole number
// that a float32 cannot tell from it, else to thousandths. The float comes from the wire and ends here.
func inverse(bits uint64) rate {
	p := math.Float64frombits(bits)
	if bits>>32 == 0 {
		p = float64(math.Float32frombits(uint32(bits)))
	}
	if !(p > 0 && p <= 1) || p < 1.0/math.MaxUint32 {
		return rate{}
	}
	whole := math.Round(1 / p)
	if math.Abs(whole*p-1) < 1e-6 {
		return rate{uint32(whole), 1}
	}
	return reduced(uint64(math.Round(1000/p)), 1000)
}

// reduced returns n/d in lowest terms; unknown where that is below 1 or does not fit 32 bits.
func reduced(n, d uint64) rate {
	if d == 0 || n < d {
		return rate{}
	}
	a, b := n, d
	for b != 0 {
		a, b = b, a%b
	}
	n, d = n/a, d/a
	if n>>32 != 0 || d>>32 != 0 {
		return rate{}
	}
	return rate{uint32(n), uint32(d)}
}

// samplerOf returns the sampler that a record names, 0 for none.
func samplerOf(has set, v *values) uint64 {
	if has.has(toSamplerID) && v[toSamplerID] != 0 {
		return v[toSamplerID]
	}
	if has.has(toSelectorID) {
		return v[toSelectorID]
	}
	return 0
}

// learn takes what one option record says of sampling and of the exporter's boot time.
func (d *Decoder) learn(dom *domain, has set, v *values) {
	if has.has(toSystemInit) && dom.systemInit != v[toSystemInit] {
		dom.systemInit = v[toSystemInit]
		d.revision++
	}
	if has&statesRate == 0 {
		return
	}
	told := statedRate(has, v)
	off := told == (rate{}) && statesZero(has, v)
	if told == (rate{}) && !off {
		return
	}
	s := scope{kind: scopeSystem}
	switch id := samplerOf(has, v); {
	case id != 0:
		s = scope{scopeSampler, id}
	case has.has(toScopeInterface):
		s = scope{scopeInterface, v[toScopeInterface]}
	case has.has(toScopeOther):
		s = scope{scopeOther, v[toScopeOther]}
	}
	if has.has(toScopeDomain) && uint32(v[toScopeDomain]) != dom.key.id {
		other, ok := d.domainOf(domainKey{dom.key.version, uint32(v[toScopeDomain])}, dom.seen)
		if !ok {
			return
		}
		dom = other
	}
	if off {
		// 0 tells nothing by itself; where a rate was told before, sampling was switched off.
		if _, known := dom.rates.told[s]; !known {
			return
		}
		told = rate{1, 1}
	}
	if dom.rates.set(s, told, d.limits.Samplers) {
		d.generation++
		d.revision++
	}
}

// sampling returns the rate of a record that states none itself.
func (d *Decoder) sampling(dom *domain, samplerID uint64, first, second schemas.IfIndex) rate {
	if told := dom.rates.of(samplerID, first, second); told != (rate{}) {
		return told
	}
	if dom.key.id != 0 && len(dom.rates.told) == 0 {
		// Domain 0 speaks of the exporting process as a whole (RFC 7011 section 3.1).
		if whole := d.whole[dom.key.version&1]; whole != nil {
			return whole.rates.of(samplerID, first, second)
		}
	}
	return rate{}
}

// SamplingFor returns the rate that option data has told for records that left Decode with
// SamplingOrigin SamplingUnknown: those of an observation domain with a sampler id (0: the records
// name none) and an ingress interface. ok is false while nothing unambiguous was told.
func (d *Decoder) SamplingFor(domainID uint32, samplerID uint64, in schemas.IfIndex) (numerator, denominator uint32, ok bool) {
	for _, version := range [2]uint16{9, 10} {
		dom := d.domains[domainKey{version, domainID}]
		if dom == nil {
			continue
		}
		if told := d.sampling(dom, samplerID, in, 0); told != (rate{}) {
			return told.numerator, told.denominator, true
		}
	}
	return 0, 0, false
}

// SamplingGeneration grows whenever option data tells a rate that was not known before: a caller
// that keeps sums of unknown sampling asks SamplingFor again when it has changed.
func (d *Decoder) SamplingGeneration() uint64 { return d.generation }
