package netflow_test

import (
	"runtime"
	"testing"

	. "hostmeter/collector/netflow/netflowtest"
	"hostmeter/schemas"
)

// allocated is how many octets f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// allocationMost is the stated multiple: what a decoder allocates is at most so many times the octets of
// the datagrams, beside the caller's slice of records, of which an octet makes one at most.
const allocationMost = 128

// TestAllocationIsBounded sends what makes a decoder remember the most for the fewest octets.
func TestAllocationIsBounded(t *testing.T) {
	f := func(name string, datagrams func(n uint32) []byte) {
		t.Helper()
		d := newDecoder()
		records := make([]schemas.FlowRecord, 0, 1500)
		octets := 0
		var all [][]byte
		for n := range uint32(200) {
			all = append(all, datagrams(n))
			octets += len(all[n])
		}
		got := allocated(func() {
			for _, b := range all {
				if records, _ = d.Decode(records[:0], from, received, b); len(records) > len(b) {
					t.Errorf("%s: %d records of %d octets", name, len(records), len(b))
				}
			}
		})
		t.Logf("%s: %d octets for %d, %.1f times", name, got, octets, float64(got)/float64(octets))
		if got > uint64(allocationMost*octets) {
			t.Errorf("%s: allocates %d octets for %d, more than %d times", name, got, octets, allocationMost)
		}
	}
	many := func(count int, set func(i int) []byte) (sets [][]byte) {
		for i := range count {
			sets = append(sets, set(i))
		}
		return sets
	}
	f("templates of one field", func(n uint32) []byte {
		return V9(n, n%250, 1, seconds, many(100, func(i int) []byte { return Template9(uint16(256+(int(n)*100+i)%60_000), Field{ID: 1, Length: 4}) })...)
	})
	f("templates that change", func(n uint32) []byte {
		return V9(n, 1, 1, seconds, many(100, func(i int) []byte { return Template9(256, Field{ID: 1, Length: uint16(1 + i%8)}) })...)
	})
	f("a template of many fields", func(n uint32) []byte {
		fields := make([]Field, 350)
		for i := range fields {
			fields[i] = Field{ID: uint16(n + uint32(i)), Length: 1}
		}
		return V9(n, 1, 1, seconds, Template9(256, fields...))
	})
	f("a count of fields that are not there", func(n uint32) []byte { return V9(n, 1, 1, seconds, Set(0, U16(256), U16(65535), U32(0x00010004))) })
	f("new domains", func(n uint32) []byte { return V9(n, n, 1, seconds) })
	f("data without a template", func(n uint32) []byte {
		return V9(n, 1, 1, seconds, many(100, func(i int) []byte { return Set(uint16(256+i), U32(n)) })...)
	})
	f("records of one octet", func(n uint32) []byte {
		return IPFIX(n, 1, seconds, TemplateIPFIX(256, Field{ID: 4, Length: 1}), Set(256, make([]byte, 1300)))
	})
	f("running totals of new flows", func(n uint32) []byte {
		var body []byte
		for i := range uint32(200) {
			body = append(append(body, U32(n*200+i)...), 1)
		}
		return IPFIX(n, 1, seconds, TemplateIPFIX(256, Field{ID: 8, Length: 4}, Field{ID: 85, Length: 1}), Set(256, body))
	})
	f("samplers", func(n uint32) []byte {
		var body []byte
		for i := range uint32(200) {
			body = append(append(body, U32(n*200+i)...), 7)
		}
		return IPFIX(n, 1, seconds, OptionsIPFIX(300, 1, Field{ID: 302, Length: 4}, Field{ID: 34, Length: 1}), Set(300, body))
	})
}
