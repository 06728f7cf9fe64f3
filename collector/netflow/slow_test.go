package netflow_test

import (
	"encoding/binary"
	"testing"

	"pgregory.net/rapid"

	"hostmeter/collector/fuzztest"
	"hostmeter/collector/netflow"
	. "hostmeter/collector/netflow/netflowtest"
	"hostmeter/schemas"
)

// sameAsSlow sends datagrams through the decoder, which holds nothing, and through its slow twin, and returns
// how many records it compared.
func sameAsSlow(t interface {
	Helper()
	Fatalf(string, ...any)
}, datagrams [][]byte,
) (records int) {
	t.Helper()
	limits := netflow.DefaultLimits()
	limits.HeldOctets, limits.FieldsPerTemplate, limits.FieldsPerDomain, limits.FieldsTotal, limits.TemplatesPerDomain = 0, 1<<20, 1<<20, 1<<20, 1<<16
	fast, slow := netflow.NewDecoder(limits), new(Slow)
	for i, b := range datagrams {
		if len(b) >= 2 && binary.BigEndian.Uint16(b) == 5 {
			continue
		}
		got, _ := fast.Decode(nil, from, received, b)
		want := slow.Decode(b)
		if len(got) != len(want) {
			t.Fatalf("datagram %d: %d records, the slow twin has %d", i, len(got), len(want))
		}
		for j := range got {
			g, w := comparable(got[j], &want[j]), want[j].FlowRecord
			if g != w {
				t.Fatalf("datagram %d, record %d:\ngot  %+v\nslow %+v", i, j, g, w)
			}
		}
		records += len(got)
	}
	return records
}

// comparable leaves of a record what the slow twin knows too, and takes out of the twin what is of state.
func comparable(r schemas.FlowRecord, twin *SlowRecord) schemas.FlowRecord {
	r.FlowStart, r.FlowEnd = 0, 0
	if r.SamplingOrigin == schemas.SamplingOption || twin.Probability {
		r.SamplingNumerator, r.SamplingDenominator, r.SamplingOrigin = 0, 0, 0
	}
	w := &twin.FlowRecord
	if twin.Probability {
		w.SamplingNumerator, w.SamplingDenominator, w.SamplingOrigin = 0, 0, 0
	}
	if twin.Stateful {
		r.Octets, r.Packets, r.ReverseOctets, r.ReversePackets = w.Octets, w.Packets, w.ReverseOctets, w.ReversePackets
	}
	if twin.Section { // the section names the packet
		*w = r
	}
	return r
}

// someIDs are the fields that a decoder looks at, and some that it does not.
var someIDs = []uint16{
	1, 2, 4, 6, 7, 8, 10, 11, 12, 14, 23, 24, 27, 28, 34, 48, 50, 61, 85, 86, 88, 148, 150, 151, 152, 153, 154, 156, 158, 160, 161, 180, 182, 183, 197,
	231, 232, 233, 252, 253, 298, 299, 302, 305, 306, 309, 310, 311, 312, 313, 315, 323, 352, 5, 95, 371, 511, 512, 40005,
}

// usualLength is the length that most exporters give a field.
func usualLength(id uint16) uint16 {
	switch id {
	case 4, 6, 61:
		return 1
	case 7, 11, 48, 180, 182:
		return 2
	case 27, 28:
		return 16
	case 1, 2, 85, 152, 153, 231:
		return 8
	}
	return 4
}

func drawFields(t *rapid.T, ten bool) (fields []Field) {
	for range rapid.SampledFrom([]int{0, 3, 5, 8, 12, 16}).Draw(t, "fields") {
		f := Field{ID: rapid.SampledFrom(someIDs).Draw(t, "id")}
		f.Length = usualLength(f.ID)
		switch rapid.IntRange(0, 9).Draw(t, "kind") {
		case 0, 1:
			f.Length = rapid.Uint16Range(0, 17).Draw(t, "length")
		case 2:
			if ten {
				f.Length = Variable
			}
		case 3:
			if ten {
				f.PEN = rapid.SampledFrom([]uint32{29305, 9, 6876}).Draw(t, "enterprise")
			}
		}
		fields = append(fields, f)
	}
	return fields
}

// drawBody draws records of a template, and now and then a tail that is none.
func drawBody(t *rapid.T, fields []Field) (body []byte) {
	octets := func(n int) { body = append(body, rapid.SliceOfN(rapid.Byte(), n, n).Draw(t, "value")...) }
	for range rapid.IntRange(1, 4).Draw(t, "records") {
		for _, f := range fields {
			n := int(f.Length)
			if f.Length == Variable {
				n = rapid.SampledFrom([]int{0, 1, 2, 4, 8, 9, 16, 254, 255, 300}).Draw(t, "told length")
				if n < 255 {
					body = append(body, byte(n))
				} else {
					body = append(body, 255, byte(n>>8), byte(n))
				}
			}
			octets(n)
		}
	}
	if rapid.IntRange(0, 3).Draw(t, "tail") == 0 {
		octets(rapid.IntRange(1, 9).Draw(t, "octets"))
	}
	return body
}

// TestSlowTwin draws streams of templates, redefinitions, withdrawals, data, and data that is none.
func TestSlowTwin(t *testing.T) {
	records := 0
	rapid.Check(t, func(t *rapid.T) {
		ten := rapid.Bool().Draw(t, "ipfix")
		layouts := map[uint16][]Field{}
		var datagrams [][]byte
		for range rapid.IntRange(1, 4).Draw(t, "datagrams") {
			var sets [][]byte
			for range rapid.IntRange(2, 6).Draw(t, "sets") {
				id := rapid.Uint16Range(256, 257).Draw(t, "id")
				kind := rapid.IntRange(0, 19).Draw(t, "kind")
				fields := layouts[id]
				if kind < 15 && (fields == nil || kind < 5) {
					fields = drawFields(t, ten)
					layouts[id] = fields
					if kind == 0 {
						sets = append(sets, optionsOf(ten, id, fields))
					} else {
						sets = append(sets, templateOf(ten, id, fields)) // without fields it is a withdrawal
					}
				}
				if kind < 17 {
					sets = append(sets, Set(id, drawBody(t, fields)))
				} else {
					sets = append(sets, Set(rapid.Uint16Range(0, 257).Draw(t, "set"), rapid.SliceOfN(rapid.Byte(), 0, 60).Draw(t, "octets")))
				}
			}
			if ten {
				datagrams = append(datagrams, IPFIX(0, 1, seconds, sets...))
			} else {
				datagrams = append(datagrams, V9(0, 1, 1, seconds, sets...))
			}
		}
		records += sameAsSlow(t, datagrams)
	})
	if records < 200 {
		t.Errorf("only %d records were compared", records)
	}
}

func templateOf(ten bool, id uint16, fields []Field) []byte {
	if ten {
		return TemplateIPFIX(id, fields...)
	}
	return Template9(id, fields...)
}

func optionsOf(ten bool, id uint16, fields []Field) []byte {
	if ten {
		return OptionsIPFIX(id, min(1, len(fields)), fields...)
	}
	return Options9(id, fields[:min(1, len(fields))], fields[min(1, len(fields)):])
}

// FuzzSlowTwin does the same with what the fuzzer makes of whole datagrams.
func FuzzSlowTwin(f *testing.F) {
	for _, datagrams := range seeds() {
		f.Add(joined(datagrams))
	}
	fuzztest.AddCorpus(f)
	f.Fuzz(func(t *testing.T, input []byte) { sameAsSlow(t, apart(input)) })
}

// joined puts datagrams together, each behind two octets of length, for a fuzzer.
func joined(datagrams [][]byte) (b []byte) {
	for _, d := range datagrams {
		b = append(append(b, U16(uint16(len(d)))...), d...)
	}
	return b
}

// apart is the opposite of joined.
func apart(b []byte) (datagrams [][]byte) {
	for len(b) >= 2 {
		length := min(int(binary.BigEndian.Uint16(b)), len(b)-2)
		datagrams = append(datagrams, b[2:2+length])
		b = b[2+length:]
	}
	return datagrams
}

// seeds are streams of datagrams of every kind that the decoder knows.
func seeds() [][][]byte {
	record := Record5{Source: "192.0.2.9", Destination: "192.0.2.8", Octets: 100, Packets: 1}
	frame := join(make([]byte, 12), U16(0x0800), []byte{0x45, 0}, U16(1400), make([]byte, 5), []byte{6, 0, 0}, Address("192.0.2.9"), Address("198.51.100.7"))
	var all []Field
	var octets []byte
	for i, id := range someIDs {
		f := Field{ID: id, Length: usualLength(id)}
		all = append(all, f)
		octets = append(octets, append(make([]byte, f.Length-1), byte(i))...)
	}
	return [][][]byte{
		{V5(0, 1, seconds, 0, 1<<14|10, record, record)},
		{V9(0, 1, 1, seconds, Set(256, flow(1, 1))), V9(1, 1, 1, seconds, Template9(256, basic...), Set(256, flow(1, 1)))},
		{V9(0, 1, 1, seconds, Template9(256), Set(256, make([]byte, 64)))},
		{V9(0, 1, 1, seconds, Options9(300, []Field{{ID: 2, Length: 4}}, []Field{{ID: 34, Length: 4}}), Set(300, U32(3), U32(100)))},
		{V9(0, 1, 1, seconds, Template9(256, all...), Set(256, octets))},
		{IPFIX(0, 1, seconds, TemplateIPFIX(256, all...), Set(256, octets, octets))},
		{IPFIX(0, 1, seconds, TemplateIPFIX(256, Field{ID: 8, Length: 4}, Field{ID: 85, Length: 8}, Field{ID: 1, Length: 3, PEN: 29305}), Set(2, U16(256), U16(0)))},
		{IPFIX(0, 1, seconds, TemplateIPFIX(256, Field{ID: 315, Length: Variable}), Set(256, U8(uint8(len(frame))), frame, U8(255), U16(3), make([]byte, 3)))},
		{IPFIX(0, 1, seconds, TemplateIPFIX(256, Field{ID: 371, Length: Variable}, Field{ID: 1, Length: Variable}), Set(256, make([]byte, 40)))},
		{
			IPFIX(0, 1, seconds, OptionsIPFIX(300, 1, Field{ID: 302, Length: 2}, Field{ID: 305, Length: 4}, Field{ID: 306, Length: 4}, Field{ID: 9, Length: 2, PEN: 9}), Set(300, U16(1), U32(1), U32(9), U16(0))),
			IPFIX(1, 1, seconds, TemplateIPFIX(256, append([]Field{{ID: 302, Length: 2}}, basic...)...), Set(256, U16(1), flow(1, 1))),
		},
	}
}
