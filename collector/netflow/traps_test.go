package netflow_test

import (
	"testing"

	. "hostmeter/collector/netflow/netflowtest"
	"hostmeter/schemas"
)

// TestOptionsWithEnterpriseFields: a vendor's own fields in an option template take their octets, in the
// scope and behind it, and state no rate whatever their numbers.
func TestOptionsWithEnterpriseFields(t *testing.T) {
	f := func(name string, want uint32, scopes int, fields []Field, values ...[]byte) {
		t.Helper()
		d := newDecoder()
		r := decode(t, d, from, IPFIX(0, 1, seconds, OptionsIPFIX(300, scopes, fields...), Set(300, values...), TemplateIPFIX(256, basic...), Set(256, flow(1, 1))))
		if len(r) != 1 || r[0].SamplingNumerator != want || d.Stats().OptionRecords != 1 || len(d.Stats().DroppedCounts()) != 0 {
			t.Errorf("%s: %+v, want a rate of %d; %d option records, dropped %v", name, r, want, d.Stats().OptionRecords, d.Stats().DroppedCounts())
		}
	}
	f("before the rate", 100, 1, []Field{{ID: 144, Length: 4}, {ID: 34, Length: 4, PEN: 9}, {ID: 305, Length: 4, PEN: 2636}, {ID: 34, Length: 4}},
		U32(1), U32(7), U32(8), U32(100))
	f("in the scope", 100, 2, []Field{{ID: 144, Length: 4, PEN: 9}, {ID: 302, Length: 2, PEN: 9}, {ID: 305, Length: 4}, {ID: 306, Length: 4}},
		U32(1), U16(77), U32(1), U32(99))
	f("alone", 0, 1, []Field{{ID: 144, Length: 4}, {ID: 34, Length: 4, PEN: 9}, {ID: 50, Length: 4, PEN: 9}}, U32(1), U32(7), U32(8))
	f("of variable length", 100, 1, []Field{{ID: 144, Length: 4}, {ID: 82, Length: Variable, PEN: 9}, {ID: 34, Length: 4}}, U32(1), U8(3), []byte("abc"), U32(100))
	f("the reverse number of a rate", 0, 1, []Field{{ID: 144, Length: 4}, {ID: 34, Length: 4, PEN: 29305}}, U32(1), U32(7))
}

// TestFieldsOfNoOctets: a field of no octets among others tells nothing and takes nothing.
func TestFieldsOfNoOctets(t *testing.T) {
	fields := []Field{{ID: 10, Length: 0}, basic[0], {ID: 1, Length: 0}, basic[1], {ID: 34, Length: 0}, basic[2], basic[3], {ID: 61, Length: 0}}
	for name, datagram := range map[string][]byte{
		"v9":    V9(0, 1, 1, seconds, Template9(256, fields...), Set(256, flow(70, 7), flow(80, 8))),
		"IPFIX": IPFIX(0, 1, seconds, TemplateIPFIX(256, fields...), Set(256, flow(70, 7), flow(80, 8))),
	} {
		r := decode(t, newDecoder(), from, datagram)
		if len(r) != 2 || r[0].Octets != 70 || r[1].Octets != 80 || r[1].Packets != 8 || r[0].InInterface != 0 || r[0].SamplingNumerator != 0 || r[0].Direction != schemas.DirectionUnknown {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

func TestHeaderSection(t *testing.T) {
	four := join([]byte{0x45, 0}, U16(1400), make([]byte, 5), []byte{6, 0, 0}, Address("192.0.2.9"), Address("198.51.100.7"), U16(443), U16(50000), make([]byte, 9), []byte{0x18})
	six := join([]byte{0x60, 0, 0, 0}, U16(1000), []byte{17, 64}, Address("2001:db8::9"), Address("2001:db8::7"), U16(53), U16(9), make([]byte, 4))
	f := func(name string, length uint16, section []byte, octets uint64, port uint16) {
		t.Helper()
		value := section
		if length == Variable {
			value = join(U8(uint8(len(section))), section)
		}
		r := decode(t, newDecoder(), from, IPFIX(0, 1, seconds, TemplateIPFIX(256, Field{ID: 10, Length: 4}, Field{ID: 313, Length: length}), Set(256, U32(5), value)))
		if len(r) != 1 || r[0].Octets != octets || r[0].Packets != 1 || r[0].SourcePort != port || r[0].InInterface != 5 {
			t.Errorf("%s: %+v", name, r)
		}
	}
	f("IPv4 of variable length", Variable, four, 1400, 443)
	f("IPv4 of fixed length", uint16(len(four)), four, 1400, 443)
	f("IPv6", Variable, six, 1040, 53)
}

func TestRateByOtherScopes(t *testing.T) {
	card := Options9(300, []Field{{ID: 3, Length: 2}}, []Field{{ID: 34, Length: 4}})
	record := Set(256, flow(1, 1))
	f := func(name string, want uint32, datagram []byte) {
		t.Helper()
		if r := decode(t, newDecoder(), from, datagram); len(r) != 1 || r[0].SamplingNumerator != want {
			t.Errorf("%s: %+v, want %d", name, r, want)
		}
	}
	v9 := func(sets ...[]byte) []byte {
		return V9(0, 1, 1, seconds, append(sets, Template9(256, basic...), record)...)
	}
	f("the only line card", 100, v9(card, Set(300, U16(1), U32(100))))
	f("two line cards that agree", 100, v9(card, Set(300, U16(1), U32(100)), Set(300, U16(2), U32(100))))
	f("two that do not: records name none", 0, v9(card, Set(300, U16(1), U32(100)), Set(300, U16(2), U32(200))))
	perInterface := OptionsIPFIX(300, 1, Field{ID: 10, Length: 4}, Field{ID: 305, Length: 4}, Field{ID: 306, Length: 4})
	f("interfaces in IPFIX", 20, IPFIX(0, 1, seconds, perInterface, Set(300, U32(3), U32(1), U32(9)), Set(300, U32(4), U32(1), U32(19)),
		TemplateIPFIX(256, append([]Field{{ID: 10, Length: 4}}, basic...)...), Set(256, U32(4), flow(1, 1))))
	f("an egress record is of its egress interface", 20, IPFIX(0, 1, seconds, perInterface, Set(300, U32(3), U32(1), U32(9)), Set(300, U32(4), U32(1), U32(19)),
		TemplateIPFIX(256, append([]Field{{ID: 10, Length: 4}, {ID: 14, Length: 4}, {ID: 61, Length: 1}}, basic...)...), Set(256, U32(3), U32(4), U8(1), flow(1, 1))))
}

// TestProtocolsShareNoTemplates: domain 1 of v9 and domain 1 of IPFIX are two.
func TestProtocolsShareNoTemplates(t *testing.T) {
	d := newDecoder()
	decode(t, d, from, V9(0, 1, 1, seconds, Template9(256, basic...)))
	if r := decode(t, d, from, IPFIX(0, 1, seconds, Set(256, flow(1, 1)))); len(r) != 0 || d.Stats().HeldSets != 1 {
		t.Errorf("%+v, %d held", r, d.Stats().HeldSets)
	}
}

// TestCountOfV5: records that the count leaves out do not count; they are what pads a datagram.
func TestCountOfV5(t *testing.T) {
	record := Record5{Source: "192.0.2.9", Destination: "192.0.2.8", Octets: 10}
	b := V5(0, 1, seconds, 0, 0, record, record, record)
	b[3] = 2
	if r := decode(t, newDecoder(), from, b); octetsOf(r) != 20 {
		t.Errorf("%d octets, want 20", octetsOf(r))
	}
}

// TestSequencesOfEachProtocol holds what is lost when datagrams, of two records each, are lost, overtake each
// other, come twice, wrap and begin anew.
func TestSequencesOfEachProtocol(t *testing.T) {
	type step struct{ number, uptime uint32 } // of the datagram, in datagrams
	record := Record5{Source: "192.0.2.9", Destination: "192.0.2.8", Octets: 10}
	protocols := map[string]struct {
		datagram func(step) []byte
		units    int64 // of a datagram
		uptime   bool
	}{
		"v5": {func(s step) []byte { return V5(2*s.number, s.uptime, seconds, 0, 0, record, record) }, 2, true},
		"v9": {func(s step) []byte {
			return V9(s.number, 1, s.uptime, seconds, Template9(256, basic...), Set(256, flow(1, 1), flow(1, 1)))
		}, 1, true},
		"IPFIX": {func(s step) []byte {
			return IPFIX(2*s.number, 1, seconds, TemplateIPFIX(256, basic...), Set(256, flow(1, 1), flow(1, 1)))
		}, 2, false},
	}
	f := func(name string, wantLost int64, needsUptime bool, steps ...step) {
		t.Helper()
		for protocol, p := range protocols {
			if needsUptime && !p.uptime {
				continue
			}
			d := newDecoder()
			for _, s := range steps {
				decode(t, d, from, p.datagram(s))
			}
			if s := d.Stats(); s.LostFlows+s.LostDatagrams+s.LostRecords != wantLost*p.units || s.Records != 2*uint64(len(steps)) {
				t.Errorf("%s, %s: lost %d, %d, %d, want %d datagrams; %d records", name, protocol, s.LostFlows, s.LostDatagrams, s.LostRecords, wantLost, s.Records)
			}
		}
	}
	f("in order", 0, false, step{1, 1000}, step{2, 2000}, step{3, 3000})
	f("two are lost", 2, false, step{1, 1000}, step{2, 2000}, step{5, 3000})
	f("two overtake each other", 0, false, step{1, 1000}, step{3, 3000}, step{2, 2000}, step{4, 4000})
	f("one comes twice", 0, false, step{1, 1000}, step{2, 2000}, step{2, 2000}, step{3, 3000})
	f("numbers wrap", 1, false, step{1<<31 - 2, 1000}, step{1<<31 - 1, 2000}, step{1 << 31, 2500}, step{1<<31 + 2, 3000})
	f("all 32 bits wrap", 1, false, step{1<<32 - 1, 1000}, step{0, 2000}, step{2, 3000})
	f("the exporter begins anew", 0, true, step{5000, 9_000_000}, step{0, 1000}, step{1, 2000})
	f("it begins anew, and loses one", 1, true, step{5000, 9_000_000}, step{0, 1000}, step{2, 2000})
	f("it begins anew without an uptime", 0, false, step{5000, 0}, step{0, 0}, step{1, 0}, step{2, 0})
	f("the uptime wraps", 1, true, step{10, 1<<32 - 1000}, step{11, 500}, step{13, 1500})
}
