package app

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/xuri/excelize/v2"

	"hostmeter/internal/clock"
)

// checkFiles reads what the demo wrote beside the CSV: the workbook has its rows, and each customer has a
// PDF. The commands on the demo's ledger write the same files again.
func checkFiles(t *testing.T, out string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(out, "report-2026-10.csv"))
	if err != nil {
		t.Fatal(err)
	}
	rows := table(t, string(text))
	compareWorkbook(t, filepath.Join(out, "report-2026-10.xlsx"), rows)
	customers := map[string]bool{}
	for _, row := range rows {
		customers["statement-2026-10-"+row["customer"]+".pdf"] = true
	}
	archive, err := zip.OpenReader(filepath.Join(out, "statements-2026-10.zip"))
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	if len(archive.File) != len(customers) || len(customers) < 10 {
		t.Errorf("%d PDFs of %d customers", len(archive.File), len(customers))
	}
	for _, f := range archive.File {
		if !customers[f.Name] || f.UncompressedSize64 < 10_000 {
			t.Errorf("%s of %d octets is no customer's", f.Name, f.UncompressedSize64)
		}
	}
	checkExports(t, out, archive.File[0].Name, rows)
}

func compareWorkbook(t *testing.T, path string, rows []map[string]string) {
	t.Helper()
	book, err := excelize.OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	defer book.Close()
	got, err := book.GetRows("Report", excelize.Options{RawCellValue: true})
	if err != nil || len(got) != len(rows)+1 {
		t.Fatalf("the workbook has %d rows, the CSV %d (%v)", len(got), len(rows), err)
	}
	for i, row := range rows {
		for j, column := range got[0] {
			cell := ""
			if j < len(got[i+1]) {
				cell = got[i+1][j]
			}
			if column != "period_from" && column != "period_to" && !equal(cell, row[column]) {
				t.Errorf("%s: %s is %q in the workbook, %q in the CSV", row["service"], column, cell, row[column])
			}
		}
	}
	sheets := book.GetSheetList()
	for _, want := range []string{"Summary", "Days", "Evidence", "Ownership", "Exporters", "Hours"} {
		if !slices.Contains(sheets, want) {
			t.Errorf("no sheet %s among %v", want, sheets)
		}
	}
}

// checkExports runs the commands on the ledger that the demo left.
func checkExports(t *testing.T, out, pdf string, rows []map[string]string) {
	t.Helper()
	cfg := DefaultConfig()
	cfg.Data = filepath.Join(out, "data")
	cfg.complete()
	desk, err := openDesk(t.Context(), cfg, clock.Real{})
	if err != nil {
		t.Fatal(err)
	}
	defer desk.Close()
	for name, file := range map[string]string{"xlsx": "report-2026-10.xlsx", "pdf": "statements-2026-10.zip"} {
		var again bytes.Buffer
		if err := desk.ExportReport(t.Context(), ExportOptions{Month: "2026-10", Format: name}, &again); err != nil {
			t.Fatal(err)
		}
		if want, err := os.ReadFile(filepath.Join(out, file)); err != nil || !bytes.Equal(again.Bytes(), want) {
			t.Errorf("%s is another file when it is exported again (%v)", file, err)
		}
	}
	folder := ExportOptions{Month: "2026-10", Format: "pdf", Output: filepath.Join(t.TempDir(), "october")}
	if !folder.Folder() {
		t.Fatal("PDFs of all customers would not go to a folder")
	}
	if err := desk.ExportFolder(t.Context(), folder); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(folder.Output)
	if err != nil || len(files) < 10 || files[0].Name() != pdf {
		t.Errorf("the folder has %d files, %v", len(files), err)
	}
	one, err := os.ReadFile(filepath.Join(folder.Output, pdf))
	if err != nil {
		t.Fatal(err)
	}
	customer := strings.TrimSuffix(strings.TrimPrefix(pdf, "statement-2026-10-"), ".pdf")
	var alone bytes.Buffer
	if err := desk.ExportReport(t.Context(), ExportOptions{Month: "2026-10", Format: "pdf", Customer: customer}, &alone); err != nil || !bytes.Equal(one, alone.Bytes()) {
		t.Errorf("the PDF of %s is another in the folder, %v", customer, err)
	}
	checkEvidenceOfServices(t, desk, rows)
	for _, o := range []ExportOptions{{Month: "2026-10", Format: "xlsx", Customer: "nobody"}, {Month: "2026-10", Format: "docx"}, {Month: "2020-01", Format: "pdf"}, {Month: "x"}} {
		var hint *HintError
		if err := desk.ExportReport(t.Context(), o, &alone); !errors.As(err, &hint) || hint.Hint == "" {
			t.Errorf("export %+v: %v says not what to do next", o, err)
		}
	}
}

// checkEvidenceOfServices adds the hours of every service of the month up to the octets of its rows.
func checkEvidenceOfServices(t *testing.T, desk *Desk, rows []map[string]string) {
	t.Helper()
	for _, row := range rows {
		var text bytes.Buffer
		if err := desk.ExportEvidence(t.Context(), ExportOptions{Month: "2026-10", Format: "json", Service: row["service"]}, &text); err != nil {
			t.Fatal(err)
		}
		var list []struct {
			Rows []struct {
				InOctets  int64 `json:"in_octets"`
				OutOctets int64 `json:"out_octets"`
			}
			Hours []struct {
				Counted   bool
				InOctets  int64 `json:"in_octets"`
				OutOctets int64 `json:"out_octets"`
			}
			Slots struct{ Expected, Present, Missing int64 }
		}
		if err := json.Unmarshal(text.Bytes(), &list); err != nil || len(list) == 0 {
			t.Fatalf("%s: %d pieces of evidence, %v", row["service"], len(list), err)
		}
		for _, e := range list {
			var in, out int64
			for _, r := range e.Rows {
				in, out = in-r.InOctets, out-r.OutOctets
			}
			for _, h := range e.Hours {
				if h.Counted {
					in, out = in+h.InOctets, out+h.OutOctets
				}
			}
			if in != 0 || out != 0 || e.Slots.Present+e.Slots.Missing != e.Slots.Expected {
				t.Errorf("%s: the hours are off by %d in, %d out; slots %+v", row["service"], in, out, e.Slots)
			}
		}
	}
}
