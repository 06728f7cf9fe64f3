package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"hostmeter/aggregator/ledger"
	"hostmeter/aggregator/statement"
	"hostmeter/internal/httpapi"
)

// evidenceOf gives the evidence of the rows that keep says yes to.
type evidenceOf = func(keep func(statement.Row) bool) statement.Evidences

// WriteReport writes a month's report as csv, xlsx, json or pdf: of one customer, or of all, which as
// pdf is a ZIP with a file for each.
func (d reporter) WriteReport(ctx context.Context, q httpapi.ReportQuery, w io.Writer) error {
	chosen, err := d.chosen(ctx, q)
	if err != nil {
		return err
	}
	ofCustomer := func(report statement.Report) (statement.Report, error) {
		if q.Customer == "" && q.Reseller == "" {
			return report, nil
		}
		report = report.Only(chosen)
		if len(report.Rows) == 0 {
			return report, fmt.Errorf("no period of customer %s ends in %s: %w", cmp.Or(q.Customer, q.Reseller), q.Month, httpapi.ErrNotFound)
		}
		return report, nil
	}
	if q.Part != "" && q.Part != "charges" {
		return d.writePart(ctx, q, w)
	}
	switch q.Format {
	case "csv", "json":
		report, err := d.report(ctx, string(q.Month))
		if err == nil {
			report, err = ofCustomer(report)
		}
		if err != nil {
			return err
		}
		if q.Format == "csv" {
			return statement.WriteCSV(w, report)
		}
		return statement.WriteJSON(w, report)
	case "xlsx":
		return d.withEvidence(ctx, q.Month, func(report statement.Report, evidence evidenceOf) error {
			report, err := ofCustomer(report)
			if err != nil {
				return err
			}
			return statement.WriteXLSX(w, report, evidence(func(row statement.Row) bool {
				return row.Charged() && chosen(row)
			}))
		})
	case "pdf":
		names, err := d.customerNames(ctx)
		if err != nil {
			return err
		}
		return d.withEvidence(ctx, q.Month, func(report statement.Report, evidence evidenceOf) error {
			if q.Customer == "" {
				if report, err = ofCustomer(report); err != nil {
					return err
				}
				return statement.WriteZIP(w, report, func(id string) string { return names[id] }, evidence)
			}
			report, err := ofCustomer(report)
			if err != nil {
				return err
			}
			return statement.WritePDF(w, report, names[q.Customer], evidence(func(row statement.Row) bool { return row.Customer == q.Customer }))
		})
	}
	return &httpapi.InvalidError{Message: fmt.Sprintf("format %q", q.Format), Hint: "want csv, xlsx, pdf or json"}
}

// WriteEvidence writes what stands behind the charges of a service in a month as json, xlsx or pdf.
func (d reporter) WriteEvidence(ctx context.Context, q httpapi.EvidenceQuery, w io.Writer) error {
	if !slices.Contains([]string{"json", "xlsx", "pdf"}, q.Format) {
		return &httpapi.InvalidError{Message: fmt.Sprintf("format %q", q.Format), Hint: "want json, xlsx or pdf"}
	}
	names, err := d.customerNames(ctx)
	if err != nil {
		return err
	}
	ofService := func(row statement.Row) bool { return row.Service == q.Service }
	return d.withEvidence(ctx, q.Month, func(report statement.Report, evidence evidenceOf) error {
		report = report.Only(ofService)
		if len(report.Rows) == 0 {
			return fmt.Errorf("no period of service %s ends in %s: %w", q.Service, q.Month, httpapi.ErrNotFound)
		}
		switch q.Format {
		case "xlsx":
			return statement.WriteXLSX(w, report, evidence(ofService))
		case "pdf":
			return statement.WritePDF(w, report, names[report.Rows[0].Customer], evidence(ofService))
		}
		return statement.WriteEvidenceJSON(w, evidence(ofService))
	})
}

// withEvidence gives f a month's report with its evidence. Errors: httpapi.ErrNotFound for a month in
// which no period ends.
func (d *Desk) withEvidence(ctx context.Context, month httpapi.Month, f func(statement.Report, evidenceOf) error) error {
	err := d.ledger.Evidence(ctx, d.inventory, string(month), d.clock.Now(), func(report statement.Report, evidence func(func(statement.Row) bool) statement.Evidences) error {
		if len(report.Rows) == 0 {
			return fmt.Errorf("no period ends in %s: %w", month, httpapi.ErrNotFound)
		}
		return f(report, evidence)
	})
	if errors.Is(err, ledger.ErrMonth) {
		return &httpapi.InvalidError{Message: err.Error(), Hint: "for example 2026-10"}
	}
	return err
}

// exportFolder writes a PDF for each customer of a month into a folder, which is made where there is none.
func (d *Desk) exportFolder(ctx context.Context, q httpapi.ReportQuery, folder string) error {
	names, err := d.customerNames(ctx)
	if err != nil {
		return err
	}
	chosen, err := d.chosen(ctx, q)
	if err != nil {
		return err
	}
	return d.withEvidence(ctx, q.Month, func(report statement.Report, evidence evidenceOf) error {
		if q.Reseller != "" {
			report = report.Only(chosen)
		}
		if len(report.Rows) == 0 {
			return fmt.Errorf("no period of customer %s ends in %s: %w", q.Reseller, q.Month, httpapi.ErrNotFound)
		}
		if err := os.MkdirAll(folder, 0o750); err != nil {
			return err
		}
		return statement.EachPDF(report, func(id string) string { return names[id] }, evidence, func(name string) (io.WriteCloser, error) { return createWhole(filepath.Join(folder, name)) })
	})
}

// wholeFile is a file that appears with its name when it is closed and everything was written.
type wholeFile struct {
	*os.File
	path   string
	failed bool
	wrote  bool
}

func createWhole(path string) (*wholeFile, error) {
	file, err := os.Create(path + ".new")
	return &wholeFile{File: file, path: path}, err
}

func (f *wholeFile) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	f.failed, f.wrote = f.failed || err != nil, true
	return n, err
}

// Close ends the file. One in which nothing was written, or not everything, is taken away.
func (f *wholeFile) Close() error {
	err := f.File.Close()
	if err != nil || f.failed || !f.wrote {
		return errors.Join(err, os.Remove(f.path+".new"))
	}
	return os.Rename(f.path+".new", f.path)
}
