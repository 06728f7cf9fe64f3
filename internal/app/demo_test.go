package app

import (
	"bytes"
	"encoding/csv"
	"flag"
	"fmt"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"hostmeter/internal/simulate"
)

// `make oracle` runs three.
var oracleSeeds = flag.Uint64("oracle.seeds", 1, "seeds of demos that the oracle bills too")

// TestDemoReportEqualsTheOracle runs `demo --once` and compares its report with the bill that the
// simulator's own books come to, computed without the decoders and without rating.
func TestDemoReportEqualsTheOracle(t *testing.T) {
	for i := range *oracleSeeds {
		seed := DefaultDemo().Seed + i
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) { compareDemo(t, seed) })
	}
}

func compareDemo(t *testing.T, seed uint64) {
	out := filepath.Join(t.TempDir(), "demo")
	options := DefaultDemo()
	options.Seed = seed
	options.Once, options.Out, options.Listen = true, out, "127.0.0.1:0"
	if err := RunDemo(t.Context(), options, io.Discard); err != nil {
		t.Fatal(err)
	}
	begin, end := simulate.Span()
	provider := simulate.New(options.Seed, begin, end)
	for range provider.Play {
	}
	want, err := provider.Books().Report("2026-10")
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if err := simulate.WriteCSV(&text, want); err != nil {
		t.Fatal(err)
	}
	report, err := os.ReadFile(filepath.Join(out, "report-2026-10.csv"))
	if err != nil {
		t.Fatal(err)
	}
	compareReports(t, table(t, string(report)), table(t, text.String()))
	compareWithTruth(t, table(t, string(report)), want)
	checkHandover(t, out, table(t, string(report)))
	checkFiles(t, out)
}

// table reads a report by column.
func table(t *testing.T, text string) []map[string]string {
	t.Helper()
	lines, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var rows []map[string]string
	for _, line := range lines[1:] {
		row := map[string]string{}
		for i, column := range lines[0] {
			row[column] = line[i]
		}
		rows = append(rows, row)
	}
	return rows
}

// notInTheBooks are the columns that the oracle does not compute.
var notInTheBooks = map[string]bool{"standard_error_octets": true, "coverage": true, "statement": true, "revision": true}

func compareReports(t *testing.T, got, want []map[string]string) {
	t.Helper()
	if len(got) != len(want) || len(want) < 50 {
		t.Fatalf("the report has %d lines, the oracle %d", len(got), len(want))
	}
	charged, directions := 0, map[string]int{}
	for i := range want {
		directions[want[i]["direction"]]++
		for column, w := range want[i] {
			if !notInTheBooks[column] && !equal(got[i][column], w) {
				t.Errorf("%s: %s is %q, the oracle says %q", want[i]["service"], column, got[i][column], w)
			}
		}
		if want[i]["kind"] == "overage" {
			charged++
		}
	}
	t.Logf("%d lines agree, %d of them charged; by direction %v", len(want), charged, directions)
	if charged < 5 || directions["max"] == 0 {
		t.Errorf("the oracle charges %d overages: the comparison shows little", charged)
	}
}

// equal compares texts, and numbers by value: 10 is 10.00.
func equal(a, b string) bool {
	if a == b {
		return true
	}
	x, ok1 := new(big.Rat).SetString(a)
	y, ok2 := new(big.Rat).SetString(b)
	return ok1 && ok2 && x.Cmp(y) == 0
}

// compareWithTruth checks the printed standard error against what truly passed: of the services behind
// sampling exporters nearly all lie within four standard errors.
func compareWithTruth(t *testing.T, got []map[string]string, want []simulate.Row) {
	t.Helper()
	sampled, compared, outside := 0, 0, 0
	for i, w := range want {
		if !w.Sampled {
			continue
		}
		sampled++
		octets, err1 := strconv.ParseInt(got[i]["in_octets"], 10, 64)
		more, err2 := strconv.ParseInt(got[i]["out_octets"], 10, 64)
		sigma, err3 := strconv.ParseInt(got[i]["standard_error_octets"], 10, 64)
		if err1 != nil || err2 != nil || err3 != nil {
			t.Fatalf("%s: %v %v %v", w.Service, err1, err2, err3)
		}
		if sigma == 0 {
			t.Errorf("%s is sampled and has no standard error", w.Service)
		}
		if w.Direction != "sum" || !equal(got[i]["coverage"], "1") {
			continue // the error is that of the direction that bills, and of what was observed
		}
		compared++
		if off := octets + more - int64(w.TrueOctets); off > 4*sigma || off < -4*sigma {
			outside++
			t.Logf("%s: %d octets off with a standard error of %d", w.Service, off, sigma)
		}
	}
	if compared < 5 || outside > compared/10 {
		t.Errorf("%d of %d sampled services lie outside four standard errors", outside, compared)
	}
}
