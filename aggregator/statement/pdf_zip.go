package statement

import (
	"archive/zip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Customers returns the customers of a report's rows, in their order.
func (r Report) Customers() []string {
	var list []string
	for _, row := range r.Rows {
		if len(list) == 0 || list[len(list)-1] != row.Customer { // rows are in the order of customers
			list = append(list, row.Customer)
		}
	}
	return list
}

// EachPDF writes a PDF for each customer of a report, to the writer that create returns for its file
// name: "statement-2026-10-c1.pdf". One customer's is in memory at a time. evidence gives that of the
// rows that keep says yes to; names are the customers' by id.
func EachPDF(report Report, names func(customer string) string, evidence func(keep func(Row) bool) Evidences, create func(name string) (io.WriteCloser, error)) error {
	for _, customer := range report.Customers() {
		keep := func(row Row) bool { return row.Customer == customer }
		w, err := create(PDFName(report.Month, customer))
		if err != nil {
			return fmt.Errorf("statement of customer %s: %w", customer, err)
		}
		err = WritePDF(w, report.Only(keep), names(customer), evidence(keep))
		if err = errors.Join(err, w.Close()); err != nil {
			return fmt.Errorf("statement of customer %s: %w", customer, err)
		}
	}
	return nil
}

// WriteZIP is EachPDF into one archive, whose files bear the date of the month's end.
func WriteZIP(w io.Writer, report Report, names func(customer string) string, evidence func(keep func(Row) bool) Evidences) error {
	archive := zip.NewWriter(w)
	err := EachPDF(report, names, evidence, func(name string) (io.WriteCloser, error) {
		out, err := archive.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate, Modified: report.end()})
		return kept{out}, err
	})
	if err != nil {
		return err
	}
	return archive.Close()
}

// kept is a file of an archive, which the archive ends.
type kept struct{ io.Writer }

func (kept) Close() error { return nil }

// PDFName is the name of a customer's file. What no file system takes is written as %HH, so that two
// customers never share one; a very long name ends in its hash.
func PDFName(month, customer string) string {
	var name strings.Builder
	for _, b := range []byte(customer) {
		switch {
		case 'a' <= b && b <= 'z', 'A' <= b && b <= 'Z', '0' <= b && b <= '9', b == '-', b == '_', b == '.' && name.Len() > 0:
			name.WriteByte(b)
		default:
			fmt.Fprintf(&name, "%%%02X", b)
		}
	}
	if text := name.String(); len(text) > 150 {
		sum := sha256.Sum256([]byte(customer))
		return "statement-" + month + "-" + text[:100] + "-" + hex.EncodeToString(sum[:8]) + ".pdf"
	}
	return "statement-" + month + "-" + name.String() + ".pdf"
}
