package statement_test

import (
	"encoding/csv"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"hostmeter/aggregator/statement"
)

// needPrograms leaves a test out where LibreOffice, qpdf and poppler are not set up for it.
func needPrograms(t *testing.T) {
	t.Helper()
	if os.Getenv("HOSTMETER_TEST_FILES") == "" {
		t.Skip("HOSTMETER_TEST_FILES is not set: deploy/testbed/test.sh real has LibreOffice, qpdf and poppler")
	}
}

func run(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// inLibreOffice opens a workbook in LibreOffice, which computes its formulas anew, and returns each
// sheet's cells: values, not as shown; or with their formulas.
func inLibreOffice(t *testing.T, book []byte, formulas bool) map[string][][]string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "book.xlsx"), book, 0o600); err != nil {
		t.Fatal(err)
	}
	filter := `csv:Text - txt - csv (StarCalc):44,34,76,1,,0,false,false,false,false,false,-1`
	if formulas {
		filter = `csv:Text - txt - csv (StarCalc):44,34,76,1,,0,false,false,false,true,false,-1`
	}
	run(t, dir, "soffice", "-env:UserInstallation=file://"+dir+"/profile", "--headless", "--convert-to", filter, "book.xlsx")
	paths, err := filepath.Glob(filepath.Join(dir, "book-*.csv"))
	if err != nil || len(paths) < 2 {
		t.Fatalf("LibreOffice wrote %v, %v", paths, err)
	}
	sheets := map[string][][]string{}
	for _, path := range paths {
		file, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		reader := csv.NewReader(file)
		reader.FieldsPerRecord = -1
		records, err := reader.ReadAll()
		file.Close()
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		sheets[strings.TrimSuffix(strings.TrimPrefix(filepath.Base(path), "book-"), ".csv")] = records
	}
	return sheets
}

func TestLibreOfficeReadsEqualCells(t *testing.T) {
	needPrograms(t)
	for _, report := range []statement.Report{sample(t), month(500)} {
		sheets := inLibreOffice(t, workbookOf(t, report), false)
		compareWithCSV(t, csvOf(t, report), sheets["Report"])
		if len(report.Rows) <= 10 { // workbookOf has evidence of these
			compareWithCSV(t, reconciledCSV(t, report), sheets["Reconciliation"])
		}
		totals := map[string]string{}
		for _, row := range sheets["Summary"] {
			if len(row) > 1 {
				totals[row[0]] = row[1]
			}
		}
		for _, total := range statement.Totals(report.Rows) {
			if got := totals[total.Currency]; !sameCell(total.AmountExVAT.String(), got) {
				t.Errorf("LibreOffice computes %q %s, the report says %s", got, total.Currency, total.AmountExVAT)
			}
		}
	}
}

// TestLibreOfficeSeesNoFormula asks for formulas instead of values: a name that had become one would
// still begin with =, and its value would not be the name.
func TestLibreOfficeSeesNoFormula(t *testing.T) {
	needPrograms(t)
	names := hostileNames(1000)
	for i, name := range names { // CSV, the way back, has no place for these
		names[i] = strings.ToValidUTF8(strings.Map(func(r rune) rune {
			if r < ' ' || r == '\ufeff' {
				return '~'
			}
			return r
		}, name), "~")
	}
	report := hostile(t, names)
	values := inLibreOffice(t, workbookOf(t, report), false)["Report"]
	formulas := inLibreOffice(t, workbookOf(t, report), true)["Report"]
	if len(values) != len(names)+1 || len(formulas) != len(values) {
		t.Fatalf("%d rows", len(values))
	}
	for i, name := range names {
		for _, got := range []string{values[i+1][0], formulas[i+1][0]} {
			if want := []rune(name); got != name && len(want) < 32767 {
				t.Errorf("name %.60q became %.60q", name, got)
			}
		}
	}
}

func TestPDFsAreSound(t *testing.T) {
	needPrograms(t)
	files := oddCustomers(t)
	files["plain"] = pdfOf(t, "Łódź & Söhne GmbH, Αθήνα, Москва")
	for name, file := range files {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "a.pdf"), file, 0o600); err != nil {
			t.Fatal(err)
		}
		if out := run(t, dir, "qpdf", "--check", "a.pdf"); strings.Contains(strings.ToLower(out), "warning") {
			t.Errorf("%s: qpdf says %s", name, out)
		}
		run(t, dir, "pdftoppm", "-r", "30", "-png", "a.pdf", "page") // every page can be drawn
		run(t, dir, "pdftotext", "-layout", "a.pdf", "a.txt")
		text, err := os.ReadFile(filepath.Join(dir, "a.txt"))
		if err != nil {
			t.Fatal(err)
		}
		said := strings.Join(strings.Fields(string(text)), " ") // wherever a line was broken
		has := func(want ...string) {
			t.Helper()
			for _, w := range want {
				if !strings.Contains(said, w) {
					t.Errorf("%s: the text has no %q", name, w)
				}
			}
		}
		has("Usage statement", "October 2026", "Amounts exclude VAT")
		switch name {
		case "plain":
			has("Łódź & Söhne GmbH, Αθήνα, Москва", "12.345 TB", "GBP 180.00", "GBP −60.00", "GBP 120.00", "Page 4 of 4", "11.945 TB used of a quota of 10 TB: 1.945 TB over, billed as 2 TB at GBP 60.00 = GBP 120.00",
				"in force since 1 January 2026", "announced on 1 December 2025", "8,916 of 8,928 five-minute slots were observed", "standard error of 30.100 GB", "between 11.886 TB and 12.004 TB", "7 datagrams lost", "4,118,270,551,232",
				"on 29 of 31 days the figure was held against the service's other meters; it lay outside what they allow on 1 of them")
		case "many services":
			has("s119", "GBP")
		case "provisional":
			has("Provisional", "so far")
		case "scripts":
			has("Αθήνα Москва Łódź", "שלום")
		}
	}
}
