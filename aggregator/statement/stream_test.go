package statement_test

import (
	"io"
	"runtime"
	"testing"

	"hostmeter/aggregator/statement"
)

// counting is a place for a file that is only weighed, with the live heap every few megabytes.
type counting struct {
	octets, next int64
	highest      uint64
}

func (c *counting) Write(p []byte) (int, error) {
	if c.octets += int64(len(p)); c.octets >= c.next {
		c.next = c.octets + 8<<20
		c.highest = max(c.highest, liveHeap())
	}
	return len(p), nil
}

func liveHeap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestAMonthOfTenThousandServicesStreams writes every format of a month of 10,000 services with the
// evidence of each: 310,000 days, and of one service in fifty 744 hours. With the hours of all, which
// takes minutes, the live heap grows no more. What is held beside the report's rows must not depend on them.
func TestAMonthOfTenThousandServicesStreams(t *testing.T) {
	const services = 10_000
	report := month(services)
	evidence := func(yield func(statement.Evidence, error) bool) {
		for i, row := range report.Rows {
			e := madeUp(report.Rows[i:i+1:i+1], i%50 == 0)
			if e.Rows[0].Service != row.Service || !yield(e, nil) {
				return
			}
		}
	}
	before := liveHeap()
	f := func(name string, most uint64, write func(io.Writer) error) {
		t.Helper()
		var out counting
		if err := write(&out); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		grown := max(out.highest, before) - before
		t.Logf("%s: %d octets, live heap grew by at most %d", name, out.octets, grown)
		if out.octets < 1<<20 || grown > most {
			t.Errorf("%s: the live heap grew by %d octets, want at most %d, of a file of %d", name, grown, most, out.octets)
		}
	}
	const perService = 3 << 10 // what is small of each service is kept between the sheets
	f("csv", 1<<20, func(w io.Writer) error { return statement.WriteCSV(w, report) })
	f("xlsx", 4<<20+services*perService, func(w io.Writer) error { return statement.WriteXLSX(w, report, evidence) })
	f("evidence json", 4<<20, func(w io.Writer) error { return statement.WriteEvidenceJSON(w, evidence) })
}
