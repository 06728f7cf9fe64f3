package netflow_test

import (
	"testing"

	. "hostmeter/collector/netflow/netflowtest"
	"hostmeter/schemas"
)

// usual are the fields that routers send, 53 octets a record.
var usual = []Field{
	{ID: 8, Length: 4}, {ID: 12, Length: 4}, {ID: 15, Length: 4}, {ID: 10, Length: 4}, {ID: 14, Length: 4}, {ID: 2, Length: 4}, {ID: 1, Length: 4},
	{ID: 22, Length: 4}, {ID: 21, Length: 4}, {ID: 7, Length: 2}, {ID: 11, Length: 2}, {ID: 6, Length: 1}, {ID: 4, Length: 1}, {ID: 5, Length: 1},
	{ID: 16, Length: 4}, {ID: 17, Length: 4}, {ID: 9, Length: 1}, {ID: 13, Length: 1},
}

func usualRecord(i uint32) []byte {
	return join(U32(0xc0000200+i), Address("198.51.100.7"), U32(0), U32(3), U32(4), U32(10), U32(14_000+i),
		U32(70_000), U32(90_000), U16(443), U16(50_000), U8(0x18), U8(6), U8(0), U32(64500), U32(64501), U8(24), U8(24))
}

func bench(b *testing.B, datagram []byte, records int, first ...[]byte) {
	b.Helper()
	d := newDecoder()
	var dst []schemas.FlowRecord
	for _, f := range first {
		if _, err := d.Decode(nil, from, received, f); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		dst, _ = d.Decode(dst[:0], from, received, datagram)
		if len(dst) != records || dst[records-1].Octets != 14_000+uint64(records)-1 {
			b.Fatalf("%d records, %+v", len(dst), dst[len(dst)-1])
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*records), "ns/record")
}

func BenchmarkDecodeV5(b *testing.B) {
	var records []Record5
	for i := range uint32(30) {
		records = append(records, Record5{Source: "192.0.2.9", Destination: "198.51.100.7", Octets: 14_000 + i, Packets: 10, FirstMS: 70_000, LastMS: 90_000})
	}
	bench(b, V5(0, 100_000, seconds, 0, 0, records...), 30)
}

func BenchmarkDecodeV9(b *testing.B) {
	var data []byte
	for i := range uint32(24) {
		data = append(data, usualRecord(i)...)
	}
	bench(b, V9(0, 1, 100_000, seconds, Set(256, data)), 24, V9(0, 1, 100_000, seconds, Template9(256, usual...)))
}

func BenchmarkDecodeIPFIX(b *testing.B) {
	var data []byte
	for i := range uint32(20) {
		data = append(data, join(usualRecord(i), U64(1_789_999_000_000), U64(1_789_999_030_000))...)
	}
	fields := append(append([]Field(nil), usual...), Field{ID: 152, Length: 8}, Field{ID: 153, Length: 8})
	bench(b, IPFIX(0, 1, seconds, Set(256, data)), 20, IPFIX(0, 1, seconds, TemplateIPFIX(256, fields...)))
}

func BenchmarkDecodeIPFIXVariable(b *testing.B) {
	var data []byte
	for i := range uint32(20) {
		data = append(data, join(usualRecord(i), U8(4), []byte("http"))...)
	}
	fields := append(append([]Field(nil), usual...), Field{ID: 96, Length: Variable})
	bench(b, IPFIX(0, 1, seconds, Set(256, data)), 20, IPFIX(0, 1, seconds, TemplateIPFIX(256, fields...)))
}
