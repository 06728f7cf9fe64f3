package simulate

import (
	"bytes"
	"strings"
	"testing"
)

// TestCompare: the oracle's own report has no differences, and each kind of difference is found.
func TestCompare(t *testing.T) {
	p := days(1, 35)
	rows, err := p.Books().Report(p.Month())
	if err != nil || len(rows) < 50 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	var b bytes.Buffer
	if err := WriteCSV(&b, rows); err != nil {
		t.Fatal(err)
	}
	f := func(old, changed string, want int) {
		t.Helper()
		text := strings.Replace(b.String(), old, changed, 1)
		if old != "" && text == b.String() {
			t.Fatalf("%q is not in the report", old)
		}
		got, err := Compare(strings.NewReader(text), rows)
		if err != nil || len(got) != want {
			t.Errorf("%q for %q: %d differences %v, %v; want %d", changed, old, len(got), got, err, want)
		}
	}
	first := strings.SplitAfter(b.String(), "\n")[1]
	f("", "", 0)
	f(",60,GBP", ",60.00,GBP", 0)
	f("2026-10-30T00:00:00Z", "2026-10-30T00:00:00+00:00", 0)
	f(",60,GBP", ",60.01,GBP", 1)
	f(first, "", 1)
	f(first, first+first, 1)
	f("c01,s01,", "c01,s99,", 2)
	f("none,plan", "none,contract", 1)
	f(",GBP,", ",USD,", 1)
}
