package statement_test

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/shopspring/decimal"
	"github.com/xuri/excelize/v2"

	"hostmeter/aggregator/statement"
)

// workbookOf writes a report, with evidence where it has few rows: reading days and hours back takes more
// memory than writing them.
func workbookOf(t testing.TB, report statement.Report) []byte {
	t.Helper()
	var b bytes.Buffer
	evidence := evidenceOf(t, report)
	if len(report.Rows) > 10 {
		evidence = nil
	}
	if err := statement.WriteXLSX(&b, report, evidence); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// open reads a workbook by a reader that is not our writer.
func open(t testing.TB, file []byte) *excelize.File {
	t.Helper()
	f, err := excelize.OpenReader(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func csvOf(t testing.TB, report statement.Report) [][]string {
	t.Helper()
	var b bytes.Buffer
	if err := statement.WriteCSV(&b, report); err != nil {
		t.Fatal(err)
	}
	records, err := csv.NewReader(&b).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	return records
}

// sameCell says whether a cell of a workbook, as the text of its value, is that of the CSV: numbers to
// the 15 digits that a spreadsheet keeps, times without their zone, texts without their apostrophe.
func sameCell(inCSV, inSheet string) bool {
	if at, err := time.Parse(time.RFC3339, inCSV); err == nil {
		if shown, err := time.Parse(time.DateTime, inSheet); err == nil { // LibreOffice writes its times so
			return shown.Format(time.DateTime) == at.Format(time.DateTime)
		}
		serial, err := strconv.ParseFloat(inSheet, 64)
		local := time.Date(at.Year(), at.Month(), at.Day(), at.Hour(), at.Minute(), at.Second(), 0, time.UTC)
		return err == nil && math.Abs(serial*86400-float64(local.Unix()+25569*86400)) < 1
	}
	if day, err := time.Parse(time.DateOnly, inCSV); err == nil && inSheet != inCSV {
		return inSheet == strconv.FormatInt(day.Unix()/86400+25569, 10)
	}
	if want, ok := new(big.Float).SetString(inCSV); ok {
		got, ok := new(big.Float).SetString(inSheet)
		return ok && want.Text('g', 15) == got.Text('g', 15)
	}
	return inSheet == inCSV || "'"+inSheet == inCSV
}

func compareWithCSV(t testing.TB, want, got [][]string) {
	t.Helper()
	if len(got) != len(want) || len(want) < 2 {
		t.Fatalf("the sheet has %d rows, the CSV %d", len(got), len(want))
	}
	for i := range want {
		for j, w := range want[i] {
			g := ""
			if j < len(got[i]) { // readers leave out empty cells at the end
				g = got[i][j]
			}
			if !sameCell(w, g) {
				t.Errorf("row %d, %s is %q in the sheet, %q in the CSV", i+1, want[0][j], g, w)
			}
		}
	}
}

func TestWorkbookHasTheCellsOfTheCSV(t *testing.T) {
	for _, report := range []statement.Report{sample(t), month(4000)} {
		f := open(t, workbookOf(t, report))
		got, err := f.GetRows("Report", excelize.Options{RawCellValue: true})
		if err != nil {
			t.Fatal(err)
		}
		compareWithCSV(t, csvOf(t, report), got)
	}
}

func TestCellsHaveTypes(t *testing.T) {
	f := open(t, workbookOf(t, sample(t)))
	check := func(cell string, want excelize.CellType) {
		t.Helper()
		if got, err := f.GetCellType("Report", cell); err != nil || got != want {
			text, _ := f.GetCellValue("Report", cell)
			t.Errorf("%s (%q) has type %v, want %v (%v)", cell, text, got, want, err)
		}
	}
	const number = excelize.CellTypeUnset // a cell without a type is a number
	check("A2", excelize.CellTypeInlineString)
	check("D2", number) // a time
	check("H3", number)
	check("T3", number)
	check("X3", number)
	check("G3", excelize.CellTypeInlineString)
	if shown, err := f.GetCellValue("Report", "D3"); err != nil || shown != "2026-09-30 00:00" {
		t.Errorf("period_from is shown as %q, %v", shown, err)
	}
	if shown, err := f.GetCellValue("Evidence", "H3"); err != nil || shown != "2025-12-01" {
		t.Errorf("the price's notice is shown as %q, %v", shown, err)
	}
	if shown, err := f.GetCellValue("Report", "T4"); err != nil || shown != "-60.00" {
		t.Errorf("an amount is shown as %q, %v", shown, err)
	}
}

// TestTotalsAreFormulasThatAgree computes the formulas anew, by another program's arithmetic.
func TestTotalsAreFormulasThatAgree(t *testing.T) {
	mixed := month(4000)
	for i := range mixed.Rows {
		if i%3 == 0 {
			mixed.Rows[i].Currency = "JPY"
		}
		if i%7 == 1 && mixed.Rows[i].Currency == "GBP" {
			mixed.Rows[i].AmountExVAT = mixed.Rows[i].AmountExVAT.Add(decimal.RequireFromString("0.10"))
		}
	}
	for _, report := range []statement.Report{sample(t), month(4000), mixed, {Month: "2026-10"}} {
		f := open(t, workbookOf(t, report))
		formulas := 0
		rows, err := f.GetRows("Summary", excelize.Options{RawCellValue: true})
		if err != nil {
			t.Fatal(err)
		}
		for i, row := range rows {
			for j, stored := range row {
				name, _ := excelize.CoordinatesToCellName(j+1, i+1)
				if formula, _ := f.GetCellFormula("Summary", name); formula == "" {
					continue
				}
				formulas++
				computed, err := f.CalcCellValue("Summary", name, excelize.Options{RawCellValue: true})
				if err != nil || !sameCell(stored, computed) {
					t.Errorf("%s holds %q, its formula comes to %q, %v", name, stored, computed, err)
				}
			}
		}
		if formulas != 2+4*len(report.Totals) && len(report.Totals) > 1 || formulas < 2 {
			t.Errorf("%d formulas", formulas)
		}
	}
	f := open(t, workbookOf(t, mixed))
	if got, _ := f.GetCellValue("Summary", "A7"); got != "JPY" {
		t.Errorf("second currency is %q", got)
	}
}

func TestEvidenceSheetsAddUp(t *testing.T) {
	report := sample(t)
	f := open(t, workbookOf(t, report))
	sum := func(sheet string, service string, columns ...string) *big.Int {
		t.Helper()
		rows, err := f.GetRows(sheet, excelize.Options{RawCellValue: true})
		if err != nil || len(rows) < 2 {
			t.Fatalf("%s: %d rows, %v", sheet, len(rows), err)
		}
		at := map[string]int{}
		for i, name := range rows[0] {
			at[name] = i
		}
		total := new(big.Int)
		for _, row := range rows[1:] {
			if row[at["service"]] != service {
				continue
			}
			for _, c := range columns {
				n, ok := new(big.Int).SetString(row[at[c]], 10)
				if !ok {
					t.Fatalf("%s: %s is %q", sheet, c, row[at[c]])
				}
				total.Add(total, n)
			}
		}
		return total
	}
	want := sum("Report", "s1", "in_octets", "out_octets")
	for _, sheet := range []string{"Days", "Hours", "Ownership"} {
		if got := sum(sheet, "s1", "in_octets", "out_octets"); got.Cmp(want) != 0 || got.Sign() == 0 {
			t.Errorf("%s adds up to %s, the report to %s", sheet, got, want)
		}
	}
}

// reconciledCSV writes the days of all evidence as the reconciliation's own CSV does.
func reconciledCSV(t testing.TB, report statement.Report) [][]string {
	t.Helper()
	var days []statement.Reconciled
	for e, err := range evidenceOf(t, report) {
		if err != nil {
			t.Fatal(err)
		}
		days = append(days, e.Reconciliation...)
	}
	var b bytes.Buffer
	if err := statement.WriteReconciledCSV(&b, days); err != nil {
		t.Fatal(err)
	}
	records, err := csv.NewReader(&b).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	return records
}

func TestTheReconciliationIsASheet(t *testing.T) {
	report := sample(t)
	f := open(t, workbookOf(t, report))
	got, err := f.GetRows("Reconciliation", excelize.Options{RawCellValue: true})
	if err != nil {
		t.Fatal(err)
	}
	compareWithCSV(t, reconciledCSV(t, report), got)
	const number = excelize.CellTypeUnset
	for cell, want := range map[string]excelize.CellType{"C2": number, "D2": number, "F2": number, "H5": number, "I5": number, "P2": excelize.CellTypeInlineString, "Q5": excelize.CellTypeInlineString} {
		if got, err := f.GetCellType("Reconciliation", cell); err != nil || got != want {
			text, _ := f.GetCellValue("Reconciliation", cell)
			t.Errorf("%s (%q) has type %v, want %v (%v)", cell, text, got, want, err)
		}
	}
	if shown, err := f.GetCellValue("Reconciliation", "D2"); err != nil || shown != "2026-10-01" {
		t.Errorf("the day is shown as %q, %v", shown, err)
	}
}

func TestSameReportSameFile(t *testing.T) {
	if !bytes.Equal(workbookOf(t, sample(t)), workbookOf(t, sample(t))) {
		t.Fatal("the same report gave another workbook")
	}
}

func TestErrorsOfAWorkbook(t *testing.T) {
	broken := func(yield func(statement.Evidence, error) bool) { yield(statement.Evidence{}, io.ErrUnexpectedEOF) }
	if err := statement.WriteXLSX(io.Discard, sample(t), broken); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("evidence that breaks off: %v", err)
	}
	for _, room := range []int{0, 100, 5000} {
		if err := statement.WriteXLSX(&full{room: room}, month(3000), evidenceOf(t, month(3))); !errors.Is(err, errFull) {
			t.Errorf("a disk with room for %d octets: %v", room, err)
		}
	}
}

var errFull = errors.New("no space left")

// full is a disk with little room.
type full struct{ room int }

func (f *full) Write(p []byte) (int, error) {
	if f.room -= len(p); f.room < 0 {
		return 0, errFull
	}
	return len(p), nil
}

func TestNamesComeBackAsTheyWere(t *testing.T) {
	f := func(name, want string) {
		t.Helper()
		report := sample(t)
		report.Rows[0].Customer = name
		var b bytes.Buffer
		if err := statement.WriteXLSX(&b, report, nil); err != nil {
			t.Fatal(err)
		}
		got, err := open(t, b.Bytes()).GetCellValue("Report", "A2")
		if err != nil || got != want {
			t.Errorf("%.40q became %.40q, want %.40q (%v)", name, got, want, err)
		}
	}
	same := func(name string) { t.Helper(); f(name, name) }
	same("=1+1")
	same("_x0041_")
	same("a_x005F_x")
	same("tab\tand\nline")
	same("carriage\rreturn")
	same("\x01\x1f\x7f")
	same(" spaces around ")
	same(`<&>"'`)
	same("日本語 مرحبا 😀 \u202eRTL")
	same(strings.Repeat("ü", 32767))
	f(strings.Repeat("ü", 40000), strings.Repeat("ü", 32766)+"…")
	f(strings.Repeat("😀", 20000), strings.Repeat("😀", 16383)+"…")
	f("broken \xff\xfe utf-8", "broken \uFFFD utf-8")
	for i := range 32 {
		same(fmt.Sprintf("%c control %d", rune(i), i))
	}
}
