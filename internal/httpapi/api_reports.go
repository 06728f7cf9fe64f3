package httpapi

import (
	"cmp"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"hostmeter/internal/auth"
)

// fileTypes are the formats of reports and evidence. A ZIP holds PDFs.
var fileTypes = map[string]string{
	"csv":  "text/csv; charset=utf-8; header=present",
	"json": "application/json; charset=utf-8",
	"xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
	"pdf":  "application/pdf",
	"zip":  "application/zip",
}

// getReport sends the month's report as a file, or what one customer is sent.
func (s *Server) getReport(w http.ResponseWriter, r *http.Request, who auth.Identity) error {
	if s.deps.Backend.Reports == nil {
		return unavailable("the report")
	}
	p := readParams(r, s.zone, "format", "customer", "reseller", "part")
	query := ReportQuery{Format: p.choice("format", "csv", "csv", "xlsx", "json", "pdf"), Customer: p.text("customer"), Reseller: p.text("reseller"),
		Part: p.choice("part", "charges", "charges", "unowned", "completeness", "reconciliation")}
	if query.Part != "charges" && (query.Customer != "" || query.Reseller != "" || query.Format != "csv" && query.Format != "json") {
		p.fail("part", "goes with format csv or json, and with no customer or reseller", "for example ?part=unowned&format=csv")
	}
	if err := p.error(); err != nil {
		return err
	}
	var err error
	if query.Month, err = ParseMonth(r.PathValue("month")); err != nil {
		return badRequest("the month in the path is not YYYY-MM", "for example /api/v1/reports/2026-10?format=csv")
	}
	name, extension := "hostmeter-report-"+string(query.Month), query.Format
	switch {
	case query.Part != "charges":
		name = "hostmeter-" + query.Part + "-" + string(query.Month)
	case query.Format == "pdf" && query.Customer == "":
		name, extension = "hostmeter-statements-"+string(query.Month), "zip"
	case query.Format == "pdf": // it goes on to the customer
		name = "statement-" + string(query.Month) + "-" + query.Customer
	case query.Customer != "":
		name += "-" + query.Customer
	}
	if query.Reseller != "" {
		name += "-of-" + query.Reseller
	}
	name += "." + extension
	deed := Deed{Action: "download report", Subject: cmp.Or(query.Customer, query.Reseller, string(query.Month)), Text: name}
	return s.sendFile(w, r, who, name, deed, func(file io.Writer) error {
		return s.deps.Backend.Reports.WriteReport(r.Context(), query, file)
	})
}

// getEvidence sends the evidence behind a service's charges as a file.
func (s *Server) getEvidence(w http.ResponseWriter, r *http.Request, who auth.Identity) error {
	if s.deps.Backend.Reports == nil {
		return unavailable("evidence")
	}
	p := readParams(r, s.zone, "month", "service", "format")
	query := EvidenceQuery{Month: p.month("month", MonthOf(s.deps.Clock.Now(), s.zone)), Service: p.text("service"), Format: p.choice("format", "json", "json", "xlsx", "pdf")}
	if query.Service == "" {
		p.fail("service", "is missing", "for example ?service=s1&month=2026-10")
	}
	if err := p.error(); err != nil {
		return err
	}
	name := "hostmeter-evidence-" + string(query.Month) + "-" + query.Service + "." + query.Format
	return s.sendFile(w, r, who, name, Deed{Action: "download evidence", Subject: query.Service, Text: name}, func(file io.Writer) error {
		return s.deps.Backend.Reports.WriteEvidence(r.Context(), query, file)
	})
}

// sendFile makes a file whole, on disk, before any of it is sent: one that broke off in the middle would
// still be a file that somebody bills by. What cannot be noted is not sent.
func (s *Server) sendFile(w http.ResponseWriter, r *http.Request, who auth.Identity, name string, deed Deed, write func(io.Writer) error) error {
	file, err := os.CreateTemp("", "hostmeter-*")
	if err != nil {
		return err
	}
	defer func() { _ = errors.Join(file.Close(), os.Remove(file.Name())) }()
	if err := write(file); err != nil {
		return err
	}
	size, err := file.Seek(0, io.SeekCurrent)
	if err == nil {
		_, err = file.Seek(0, io.SeekStart)
	}
	if err != nil {
		return err
	}
	if err := s.note(r, who, deed); err != nil {
		return err
	}
	w.Header().Set("Content-Type", fileTypes[strings.TrimPrefix(filepath.Ext(name), ".")])
	w.Header().Set("Content-Disposition", `attachment; filename*=UTF-8''`+url.PathEscape(name))
	_, _ = io.CopyN(w, file, size) // the reader may have gone
	return nil
}
