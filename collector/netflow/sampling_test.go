package netflow_test

import (
	"math"
	"net/netip"
	"testing"

	"hostmeter/collector/netflow"
	. "hostmeter/collector/netflow/netflowtest"
	"hostmeter/schemas"
)

func nextPort(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr(), a.Port()+1) }

func nextPorts(n uint16) netip.AddrPort { return netip.AddrPortFrom(from.Addr(), from.Port()+n) }

func wantRate(t *testing.T, what string, r schemas.FlowRecord, numerator, denominator uint32, origin schemas.SamplingOrigin) {
	t.Helper()
	if r.SamplingNumerator != numerator || r.SamplingDenominator != denominator || r.SamplingOrigin != origin {
		t.Errorf("%s: %d/%d of origin %d, want %d/%d of %d", what, r.SamplingNumerator, r.SamplingDenominator, r.SamplingOrigin, numerator, denominator, origin)
	}
}

func TestRateInTheRecord(t *testing.T) {
	f := func(name string, numerator, denominator uint32, fields []Field, values ...[]byte) {
		t.Helper()
		r := decode(t, newDecoder(), from, IPFIX(0, 1, seconds, TemplateIPFIX(256, append(fields, basic...)...), Set(256, join(values...), flow(1, 1))))
		origin := schemas.SamplingRecord
		if numerator == 0 {
			origin = schemas.SamplingUnknown
		}
		wantRate(t, name, r[0], numerator, denominator, origin)
	}
	f("none", 0, 0, nil)
	f("34", 512, 1, []Field{{ID: 34, Length: 4}}, U32(512))
	f("34 in one octet", 100, 1, []Field{{ID: 34, Length: 1}}, U8(100))
	f("34 in two octets", 2048, 1, []Field{{ID: 34, Length: 2}}, U16(2048))
	f("34 of 0 states nothing", 0, 0, []Field{{ID: 34, Length: 4}}, U32(0))
	f("50", 4000, 1, []Field{{ID: 50, Length: 4}}, U32(4000))
	f("34 of 0 and 50", 20, 1, []Field{{ID: 34, Length: 4}, {ID: 50, Length: 4}}, U32(0), U32(20))
	f("305 alone", 4096, 1, []Field{{ID: 305, Length: 4}}, U32(4096))
	f("305 and no space", 4096, 1, []Field{{ID: 305, Length: 4}, {ID: 306, Length: 4}}, U32(4096), U32(0))
	f("1 and 999", 1000, 1, []Field{{ID: 305, Length: 4}, {ID: 306, Length: 4}}, U32(1), U32(999))
	f("10 and 25: not whole", 7, 2, []Field{{ID: 305, Length: 4}, {ID: 306, Length: 4}}, U32(10), U32(25))
	f("size and population", 256, 1, []Field{{ID: 309, Length: 4}, {ID: 310, Length: 4}}, U32(4), U32(1024))
	f("a population below the size", 0, 0, []Field{{ID: 309, Length: 4}, {ID: 310, Length: 4}}, U32(4), U32(2))
	probability := func(p float64) []byte { return U64(math.Float64bits(p)) }
	f("probability", 1000, 1, []Field{{ID: 311, Length: 8}}, probability(0.001))
	f("probability, reduced to a float32", 1000, 1, []Field{{ID: 311, Length: 4}}, U32(math.Float32bits(0.001)))
	f("probability of 1", 1, 1, []Field{{ID: 311, Length: 8}}, probability(1))
	f("a rate that is not whole", 5, 2, []Field{{ID: 311, Length: 8}}, probability(0.4))
	f("a probability that is none", 0, 0, []Field{{ID: 311, Length: 8}}, probability(1.5))
	f("a probability of nothing", 0, 0, []Field{{ID: 311, Length: 8}}, probability(math.NaN()))
	f("a probability below 2^-32", 0, 0, []Field{{ID: 311, Length: 8}}, probability(1e-12))
	f("a probability of 0 and a rate", 7, 1, []Field{{ID: 311, Length: 8}, {ID: 34, Length: 1}}, U64(0), U8(7))
	f("34 in eight octets", 512, 1, []Field{{ID: 34, Length: 8}}, U64(512))
	f("34 beyond 32 bits", 0, 0, []Field{{ID: 34, Length: 8}}, U64(1<<40))
	f("305 and 306 in one, three octets", 64, 1, []Field{{ID: 305, Length: 1}, {ID: 306, Length: 3}}, U8(1), []byte{0, 0, 63})
	f("34 and 35, unsampled", 1, 1, []Field{{ID: 34, Length: 4}, {ID: 35, Length: 1}}, U32(1), U8(0))
	f("a size of 0", 0, 0, []Field{{ID: 309, Length: 4}, {ID: 310, Length: 4}}, U32(0), U32(2))
}

// TestRateInOptions sends option data of two samplers, as pmacctd and Cisco do.
func TestRateInOptions(t *testing.T) {
	options := Options9(300, []Field{{ID: 1, Length: 4}}, []Field{{ID: 48, Length: 1}, {ID: 49, Length: 1}, {ID: 50, Length: 4}})
	told := func(id uint8, rate uint32) []byte { return Set(300, U32(0), U8(id), U8(2), U32(rate)) }
	template := Template9(256, append([]Field{{ID: 48, Length: 2}}, basic...)...)
	record := func(id uint16) []byte { return Set(256, U16(id), flow(1, 1)) }
	d := newDecoder()
	r := decode(t, d, from, V9(0, 1, 1, seconds, template, record(1), record(2)))
	wantRate(t, "before it is told", r[0], 0, 0, schemas.SamplingUnknown)
	if r[0].SamplerID != 1 || r[1].SamplerID != 2 {
		t.Errorf("samplers %d, %d", r[0].SamplerID, r[1].SamplerID)
	}
	generation := d.SamplingGeneration()
	r = decode(t, d, from, V9(1, 1, 1, seconds, options, told(1, 2000), told(2, 4000), record(1), record(2), record(3), record(0)))
	wantRate(t, "sampler 1", r[0], 2000, 1, schemas.SamplingOption)
	wantRate(t, "sampler 2", r[1], 4000, 1, schemas.SamplingOption)
	wantRate(t, "an unknown sampler", r[2], 0, 0, schemas.SamplingUnknown)
	wantRate(t, "no sampler, two rates", r[3], 0, 0, schemas.SamplingUnknown)
	if d.SamplingGeneration() == generation {
		t.Error("the generation did not grow")
	}
	generation = d.SamplingGeneration()
	decode(t, d, from, V9(2, 1, 1, seconds, told(1, 2000)))
	if d.SamplingGeneration() != generation {
		t.Error("the generation grew without news")
	}
	if n, m, ok := d.SamplingFor(1, 2, 0); n != 4000 || m != 1 || !ok {
		t.Errorf("SamplingFor: %d/%d %v", n, m, ok)
	}
	if _, _, ok := d.SamplingFor(1, 3, 0); ok {
		t.Error("a rate for a sampler that nobody told of")
	}
	if _, _, ok := d.SamplingFor(2, 2, 0); ok {
		t.Error("a rate for another domain")
	}
	if s := d.Stats(); s.OptionRecords != 3 {
		t.Errorf("%d option records", s.OptionRecords)
	}
}

func TestRateByScope(t *testing.T) {
	record := func(in uint32) []byte { return Set(256, U32(in), flow(1, 1)) }
	template := Template9(256, append([]Field{{ID: 10, Length: 4}}, basic...)...)
	f := func(name string, wants map[uint32]uint32, sets ...[]byte) {
		t.Helper()
		d := newDecoder()
		decode(t, d, from, V9(0, 1, 1, seconds, append(sets, template)...))
		for in, want := range wants {
			r := decode(t, d, from, V9(1, 1, 1, seconds, record(in)))
			if r[0].SamplingNumerator != want {
				t.Errorf("%s, interface %d: %d, want %d", name, in, r[0].SamplingNumerator, want)
			}
			if n, _, _ := d.SamplingFor(1, 0, schemas.IfIndex(in)); n != want {
				t.Errorf("%s, interface %d: SamplingFor tells %d, want %d", name, in, n, want)
			}
		}
	}
	system := Options9(300, []Field{{ID: 1, Length: 4}}, []Field{{ID: 34, Length: 4}, {ID: 35, Length: 1}})
	perInterface := Options9(301, []Field{{ID: 2, Length: 4}}, []Field{{ID: 34, Length: 4}})
	noScope := Options9(302, []Field{{ID: 1, Length: 0}}, []Field{{ID: 34, Length: 2}})
	f("system", map[uint32]uint32{3: 100, 0: 100}, system, Set(300, U32(0), U32(100), U8(1)))
	f("a scope of no octets", map[uint32]uint32{3: 100}, noScope, Set(302, U16(100)))
	f("one interface speaks for all", map[uint32]uint32{3: 100, 0: 100}, perInterface, Set(301, U32(0), U32(100)))
	f("two interfaces", map[uint32]uint32{3: 100, 4: 200, 5: 0}, perInterface, Set(301, U32(3), U32(100)), Set(301, U32(4), U32(200)))
	f("interface before system", map[uint32]uint32{3: 100, 5: 50}, system, perInterface, Set(300, U32(0), U32(50), U8(1)), Set(301, U32(3), U32(100)))
	f("the latest counts", map[uint32]uint32{3: 70}, system, Set(300, U32(0), U32(50), U8(1)), Set(300, U32(0), U32(70), U8(1)))
	f("1 is unsampled", map[uint32]uint32{3: 1}, system, Set(300, U32(0), U32(1), U8(1)))
	f("0 tells nothing", map[uint32]uint32{3: 0}, system, Set(300, U32(0), U32(0), U8(1)))
	f("0 behind a rate switches sampling off", map[uint32]uint32{3: 1}, system, Set(300, U32(0), U32(50), U8(1)), Set(300, U32(0), U32(0), U8(1)))
	f("0 of one interface leaves the other", map[uint32]uint32{3: 1, 4: 200}, perInterface,
		Set(301, U32(3), U32(100), U32(4), U32(200)), Set(301, U32(3), U32(0)))
}

// TestRateOfSelector is softflowd's IPFIX: 305 = 1, 306 = 9 by selector id.
func TestRateOfSelector(t *testing.T) {
	options := OptionsIPFIX(300, 1, Field{ID: 302, Length: 2}, Field{ID: 304, Length: 2}, Field{ID: 305, Length: 4}, Field{ID: 306, Length: 4})
	d := newDecoder()
	r := decode(t, d, from,
		IPFIX(0, 1, seconds, options, Set(300, U16(1), U16(1), U32(1), U32(9))),
		IPFIX(1, 1, seconds, TemplateIPFIX(256, basic...), Set(256, flow(1, 1))))
	wantRate(t, "selector", r[0], 10, 1, schemas.SamplingOption)
}

func TestRateForAnotherDomain(t *testing.T) {
	options := OptionsIPFIX(300, 1, Field{ID: 149, Length: 4}, Field{ID: 34, Length: 4})
	whole := OptionsIPFIX(301, 1, Field{ID: 144, Length: 4}, Field{ID: 34, Length: 4})
	d := newDecoder()
	r := decode(t, d, from,
		IPFIX(0, 9, seconds, options, Set(300, U32(5), U32(64))),
		IPFIX(0, 5, seconds, TemplateIPFIX(256, basic...), Set(256, flow(1, 1))),
		IPFIX(0, 6, seconds, TemplateIPFIX(256, basic...), Set(256, flow(1, 1))),
		IPFIX(0, 0, seconds, whole, Set(301, U32(1), U32(32))),
		IPFIX(0, 6, seconds, Set(256, flow(1, 1))))
	wantRate(t, "the domain that the scope names", r[0], 64, 1, schemas.SamplingOption)
	wantRate(t, "another domain", r[1], 0, 0, schemas.SamplingUnknown)
	wantRate(t, "domain 0 speaks for the exporter", r[2], 32, 1, schemas.SamplingOption)
}

func TestOptionsBeforeTheirTemplate(t *testing.T) {
	options := OptionsIPFIX(300, 1, Field{ID: 144, Length: 4}, Field{ID: 34, Length: 4})
	d := newDecoder()
	decode(t, d, from, IPFIX(0, 1, seconds, Set(300, U32(1), U32(32))), IPFIX(1, 1, seconds, options))
	if n, _, ok := d.SamplingFor(1, 0, 0); !ok || n != 32 || d.Stats().OptionRecords != 1 {
		t.Errorf("%d, %v", n, ok)
	}
}

func TestSamplersAreBounded(t *testing.T) {
	limits := netflow.DefaultLimits()
	limits.Samplers = 10
	d := netflow.NewDecoder(limits)
	decode(t, d, from, IPFIX(0, 1, seconds, OptionsIPFIX(300, 1, Field{ID: 302, Length: 4}, Field{ID: 34, Length: 4})))
	for id := range uint32(1000) {
		decode(t, d, from, IPFIX(0, 1, seconds, Set(300, U32(id+1), U32(7))))
	}
	known := 0
	for id := range uint64(1000) {
		if _, _, ok := d.SamplingFor(1, id+1, 0); ok {
			known++
		}
	}
	if known != 10 {
		t.Errorf("%d samplers known, want 10", known)
	}
}
