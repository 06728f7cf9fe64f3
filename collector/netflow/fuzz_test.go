package netflow_test

import (
	"testing"
	"time"

	"hostmeter/collector/fuzztest"
	"hostmeter/collector/netflow"
	"hostmeter/schemas"
)

// FuzzDecode feeds a sequence of datagrams (each behind two octets of length) to one decoder. It must
// end, keep the laws of counting, and make no more records than the octets can hold.
func FuzzDecode(f *testing.F) {
	for _, datagrams := range seeds() {
		f.Add(joined(datagrams))
	}
	fuzztest.AddCorpus(f)
	limits := netflow.DefaultLimits()
	limits.HeldOctets, limits.RunningFlows = 1<<16, 64
	f.Fuzz(func(t *testing.T, input []byte) {
		d := netflow.NewDecoder(limits)
		var records []schemas.FlowRecord
		begun := time.Now()
		octets := 0
		for _, b := range apart(input) {
			records, _ = d.Decode(records, from, received, b)
			octets += len(b)
		}
		skipping := netflow.NewDecoder(limits)
		for _, b := range apart(input) {
			skipping.Skip(from, received, b)
		}
		if s := skipping.Stats(); s.Datagrams() != s.Dropped[netflow.DroppedBudget] || len(s.DroppedCounts()) > 2 { // and of too many domains
			t.Fatalf("%+v", s)
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
