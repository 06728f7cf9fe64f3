package netflow_test

import (
	"encoding/binary"
	"testing"
	"time"

	"hostmeter/collector/netflow"
	. "hostmeter/collector/netflow/netflowtest"
	"hostmeter/schemas"
)

// FuzzDecode feeds a sequence of datagrams (each behind two octets of length) to one decoder. It must
// end, keep the laws of counting, and make no more records than the octets can hold.
func FuzzDecode(f *testing.F) {
	add := func(datagrams ...[]byte) {
		var seed []byte
		for _, d := range datagrams {
			seed = append(append(seed, U16(uint16(len(d)))...), d...)
		}
		f.Add(seed)
	}
	record := Record5{Source: "192.0.2.9", Destination: "192.0.2.8", Octets: 100, Packets: 1}
	add(V5(0, 1, seconds, 0, 1<<14|10, record, record))
	add(V9(0, 1, 1, seconds, Set(256, flow(1, 1))), V9(1, 1, 1, seconds, Template9(256, basic...), Set(256, flow(1, 1))))
	add(V9(0, 1, 1, seconds, Template9(256), Set(256, make([]byte, 64))))
	add(V9(0, 1, 1, seconds, Options9(300, []Field{{ID: 2, Length: 4}}, []Field{{ID: 34, Length: 4}}), Set(300, U32(3), U32(100))))
	add(IPFIX(0, 1, seconds, TemplateIPFIX(256, Field{ID: 8, Length: 4}, Field{ID: 85, Length: 8}, Field{ID: 1, Length: 3, PEN: 29305}), Set(2, U16(256), U16(0))))
	add(IPFIX(0, 1, seconds, TemplateIPFIX(256, Field{ID: 315, Length: Variable}), Set(256, U8(20), make([]byte, 20), U8(255), U16(3), make([]byte, 3))))
	add(IPFIX(0, 1, seconds, TemplateIPFIX(256, Field{ID: 371, Length: Variable}, Field{ID: 1, Length: Variable}), Set(256, make([]byte, 40))))
	limits := netflow.DefaultLimits()
	limits.HeldOctets, limits.RunningFlows = 1<<16, 64
	f.Fuzz(func(t *testing.T, input []byte) {
		d := netflow.NewDecoder(limits)
		var records []schemas.FlowRecord
		begun := time.Now()
		octets := 0
		for len(input) >= 2 {
			length := min(int(binary.BigEndian.Uint16(input)), len(input)-2)
			records, _ = d.Decode(records, from, received, input[2:2+length])
			input = input[2+length:]
			octets += length
		}
		if len(records) > octets {
			t.Fatalf("%d records out of %d octets", len(records), octets)
		}
		s := d.Stats()
		if s.Records != uint64(len(records)) || s.HeldSets < 0 || s.HeldOctets < 0 || s.HeldOctets > 1<<16 {
			t.Fatalf("%+v", s)
		}
		for i := range records {
			r := &records[i]
			if r.FlowEnd < r.FlowStart || (r.SamplingOrigin == schemas.SamplingUnknown) != (r.SamplingDenominator == 0) {
				t.Fatalf("%+v", r)
			}
		}
		if took := time.Since(begun); took > 5*time.Second {
			t.Fatalf("%d octets took %s", octets, took)
		}
	})
}
