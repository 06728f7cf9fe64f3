package statement_test

import (
	"archive/zip"
	"bytes"
	"errors"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/shopspring/decimal"

	"hostmeter/aggregator/rating"
	"hostmeter/aggregator/statement"
)

// customer is a month of one customer: over the quota with an adjustment, within the quota, unmetered.
func customer(t testing.TB) (statement.Report, statement.Evidences) {
	t.Helper()
	report := sample(t)
	report.Provider, report.Rows = "Example Hosting", report.Rows[1:]
	first, second := &report.Rows[0], &report.Rows[1]
	first.Pool, second.Pool = nil, nil // TestSentencesOfCharges has what is said of pools
	first.InOctets, first.OutOctets, first.BillableOctets = 4_118_270_551_232, 8_227_000_114_900, 12_345_270_666_132
	number := decimal.RequireFromString
	first.Used, first.Excess, first.BilledQuantity, first.AmountExVAT = number("12.345270666132"), number("2.345270666132"), number("3"), number("180")
	first.StandardErrorOctets, first.Coverage, first.Service, second.Service = 31_250_000_000, 0.9986, "lon-ded-0117", "lon-ded-0117"
	second.InOctets, second.OutOctets, second.BillableOctets = 0, -400_000_000_000, -400_000_000_000
	second.Used, second.Excess, second.BilledQuantity, second.AmountExVAT, second.Coverage, second.StandardErrorOctets = number("-0.4"), number("-0.4"), number("-1"), number("-60"), 0.9986, 30_100_000_000
	first.Statement, second.Statement = "lon-ded-0117/2026-09-30", "lon-ded-0117/2026-09-30"
	within := *first
	within.Service, within.Plan, within.Statement = "lon-vps-0042", "virtual-2", "lon-vps-0042/2026-10-01"
	within.PeriodFrom, within.PeriodTo = within.PeriodFrom.AddDate(0, 0, 1), within.PeriodTo.AddDate(0, 0, 1)
	within.InOctets, within.OutOctets, within.BillableOctets, within.Used, within.Quota = 120_000_000_000, 731_000_000_000, 851_000_000_000, number("0.851"), number("2")
	within.Excess, within.BilledQuantity, within.AmountExVAT, within.Kind, within.StandardErrorOctets, within.Coverage = decimal.Zero, decimal.Zero, decimal.Zero, rating.KindNone, 0, 1
	unmetered := within
	unmetered.Service, unmetered.Plan, unmetered.Unlimited, unmetered.Direction, unmetered.PriceUnit, unmetered.Statement = "colo-3", "colo-unmetered", true, rating.Out, "", "colo-3/2026-10-01"
	report.Rows = append(report.Rows, within, unmetered)
	report.Totals = statement.Totals(report.Rows)
	return report, func(yield func(statement.Evidence, error) bool) {
		for e := range evidenceOf(t, report) {
			wave(e.Days)
			if e.Rows[0].Service != "lon-ded-0117" {
				e.Slots.Missing, e.Slots.Present, e.Slots.Gaps, e.Exporters[0].Lost = 0, e.Slots.Expected, nil, nil
			}
			if !yield(e, nil) {
				return
			}
		}
	}
}

// wave moves usage between the days, as people do, and keeps its sum.
func wave(days []statement.Usage) {
	for i := range len(days) / 2 {
		other := len(days) - 1 - i
		shift := 0.55 * math.Sin(float64(i)*1.3) * float64(days[i].OutOctets)
		days[i].OutOctets += int64(shift)
		days[other].OutOctets -= int64(shift)
	}
}

func pdfOf(t testing.TB, name string) []byte {
	t.Helper()
	report, evidence := customer(t)
	var b bytes.Buffer
	if err := statement.WritePDF(&b, report, name, evidence); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestSameStatementSameFile(t *testing.T) {
	first := pdfOf(t, "Łódź & Söhne")
	for range 3 { // lists in the order of maps would differ sooner or later
		if !bytes.Equal(first, pdfOf(t, "Łódź & Söhne")) {
			t.Fatal("the same statement gave another file")
		}
	}
}

func TestNothingToSend(t *testing.T) {
	err := statement.WritePDF(io.Discard, statement.Report{Month: "2026-10"}, "Ada", evidenceOf(t, statement.Report{}))
	if !errors.Is(err, statement.ErrEmpty) {
		t.Fatalf("no rows: %v", err)
	}
	report, _ := customer(t)
	broken := func(yield func(statement.Evidence, error) bool) { yield(statement.Evidence{}, io.ErrUnexpectedEOF) }
	if err := statement.WritePDF(io.Discard, report, "Ada", broken); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatalf("evidence that breaks off: %v", err)
	}
	if err := statement.WritePDF(&full{room: 100}, report, "Ada", evidenceOf(t, report)); !errors.Is(err, errFull) {
		t.Fatalf("a full disk: %v", err)
	}
}

// oddCustomers are statements that no provider hopes to send and that must come out all the same.
func oddCustomers(t testing.TB) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	write := func(name, customerName string, report statement.Report, evidence statement.Evidences) {
		t.Helper()
		var b bytes.Buffer
		if err := statement.WritePDF(&b, report, customerName, evidence); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		files[name] = b.Bytes()
	}
	many := month(120)
	write("many services", "Reseller with a very long name "+strings.Repeat("and more ", 60), many, evidenceOf(t, many))
	names := hostileNames(60)
	report := hostile(t, names)
	write("hostile names", names[3], report, hostileEvidence(t, report))
	open, evidence := customer(t)
	open.Provisional = true
	for i := range open.Rows {
		open.Rows[i].Provisional, open.Rows[i].Statement, open.Rows[i].Revision = true, "", 0
	}
	write("provisional", "Ada", open, evidence)
	other, _ := customer(t)
	for i := range other.Rows { // what contracts may say one day
		other.Rows[i].Direction, other.Rows[i].Unit, other.Rows[i].Kind = "percentile95", "Mbit/s", "pool"
	}
	write("other rules", "Ada", other, evidenceOf(t, other))
	write("no evidence", "Ada", other, func(func(statement.Evidence, error) bool) {})
	bare, _ := customer(t)
	write("bare evidence", "Ada", bare, func(yield func(statement.Evidence, error) bool) { yield(statement.Evidence{Rows: bare.Rows[:1]}, nil) })
	scripts, evidence := customer(t)
	write("scripts", "שלום مرحبا 日本語 한국어 ไทย हिन्दी Αθήνα Москва Łódź 😀👩‍👩‍👧 \u202e\u0301", scripts, evidence)
	return files
}

func TestOddStatementsComeOut(t *testing.T) {
	for name, file := range oddCustomers(t) {
		if !bytes.HasPrefix(file, []byte("%PDF-")) || !bytes.HasSuffix(file, []byte("%%EOF\n")) {
			t.Errorf("%s: not a PDF of %d octets", name, len(file))
		}
	}
}

func TestAFileForEachCustomer(t *testing.T) {
	report := month(6) // customers c0, c1 and c2, two services each
	evidence := func(keep func(statement.Row) bool) statement.Evidences { return evidenceOf(t, report.Only(keep)) }
	write := func() []byte {
		var b bytes.Buffer
		if err := statement.WriteZIP(&b, report, func(id string) string { return "Customer " + id }, evidence); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	file := write()
	if !bytes.Equal(file, write()) {
		t.Fatal("the same report gave another archive")
	}
	archive, err := zip.NewReader(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range archive.File {
		names = append(names, f.Name)
		in, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		if head, err := io.ReadAll(in); err != nil || !bytes.HasPrefix(head, []byte("%PDF-")) || f.Modified.UTC().Format("2006-01-02") != "2026-11-01" {
			t.Errorf("%s of %s: %d octets, %v", f.Name, f.Modified, len(head), err)
		}
	}
	if got := strings.Join(names, " "); got != "statement-2026-10-c0.pdf statement-2026-10-c1.pdf statement-2026-10-c2.pdf" {
		t.Errorf("files: %s", got)
	}
	broken := func(string) (io.WriteCloser, error) { return nil, errFull }
	if err := statement.EachPDF(report, func(string) string { return "" }, evidence, broken); !errors.Is(err, errFull) {
		t.Errorf("no room for a file: %v", err)
	}
}

func TestFileNamesAreHarmless(t *testing.T) {
	f := func(customer, want string) {
		t.Helper()
		if got := statement.PDFName("2026-10", customer); got != "statement-2026-10-"+want+".pdf" {
			t.Errorf("customer %q has the file %q, want %q", customer, got, want)
		}
	}
	f("c-1_a.b", "c-1_a.b")
	f("../../etc/passwd", "%2E.%2F..%2Fetc%2Fpasswd")
	f(`C:\con`, "C%3A%5Ccon")
	f("ü", "%C3%BC")
	f("a%2F", "a%252F")
	seen := map[string]string{}
	for _, name := range append(hostileNames(300), strings.Repeat("é", 5000), strings.Repeat("é", 5001)) {
		file := statement.PDFName("2026-10", name)
		if other, ok := seen[file]; ok && other != name || len(file) > 200 || strings.ContainsAny(file, "/\\\x00:") {
			t.Errorf("%.40q has the file %.80q (%d), as %.40q has", name, file, len(file), other)
		}
		seen[file] = name
	}
}

func BenchmarkPDF(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if len(pdfOf(b, "Łódź & Söhne")) < 10_000 {
			b.Fatal("a file without pages")
		}
	}
}
