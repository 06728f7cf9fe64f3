package inventory

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"hostmeter/internal/store"
)

// File is one file of an import. Its name tells its kind: *.yaml or *.yml is the whole format, and
// KIND.csv is one section; a CSV file of another name is known by its header.
type File struct {
	Name string
	Text []byte
}

// Bounds of an import: a file that is larger is refused before it is read.
const (
	maxFileSize = 64 << 20
	maxFaults   = 200
)

// Import reads files and adds and changes what they say, all files or nothing. What they do not
// mention stays. Importing the same twice changes nothing.
//
// Errors: *InvalidError names every line that is wrong; store's.
func (inv *Inventory) Import(ctx context.Context, files []File, dryRun bool) (Difference, error) {
	return inv.ImportBy(ctx, "", files, dryRun)
}

// ImportBy is Import, with who does it in the audit log.
func (inv *Inventory) ImportBy(ctx context.Context, by string, files []File, dryRun bool) (Difference, error) {
	rows, faults := ReadFiles(files)
	difference, err := inv.put(ctx, by, rows, faults, dryRun)
	var invalid *InvalidError
	if errors.As(err, &invalid) && len(invalid.Faults) > maxFaults {
		more := len(invalid.Faults) - maxFaults
		invalid.Faults = append(invalid.Faults[:maxFaults:maxFaults], Fault{Where: "import", Text: fmt.Sprintf("and %d more", more)})
	}
	return difference, err
}

// PreviewImport returns the inventory as it is, and as files would make it. Nothing is written.
//
// Errors: *InvalidError; store's.
func (inv *Inventory) PreviewImport(ctx context.Context, files []File) (before, asked *Snapshot, err error) {
	if before, err = inv.Snapshot(ctx); err != nil {
		return nil, nil, err
	}
	rows, faults := ReadFiles(files)
	err = inv.db.View(ctx, func(tx *store.Tx) error {
		c, err := inv.changed(ctx, tx, rows, faults)
		if err != nil {
			return err
		}
		asked, err = newSnapshot(before.Version, c.state)
		return err
	})
	return before, asked, err
}

// Preview returns the inventory that files alone make, imported one after the other at now, without a
// store. Errors: *InvalidError.
func Preview(files []File, now time.Time) (*Snapshot, error) {
	s := newState()
	for _, file := range files {
		rows, faults := readFile(file)
		c, err := changeOf(s, rows, faults, now)
		if err == nil {
			err = c.account(nothingPast)
		}
		if err != nil {
			return nil, err
		}
	}
	return newSnapshot(1, s)
}

// ReadFiles returns the rows of the files and what cannot be read in them.
func ReadFiles(files []File) (rows []Row, faults []Fault) {
	for _, file := range files {
		more, wrong := readFile(file)
		rows = append(rows, more...)
		faults = append(faults, wrong...)
	}
	return rows, faults
}

func readFile(file File) ([]Row, []Fault) {
	if len(file.Text) > maxFileSize {
		return nil, []Fault{{Where: file.Name, Text: fmt.Sprintf("%d octets are more than the %d of an import file", len(file.Text), maxFileSize)}}
	}
	file.Text = bytes.TrimPrefix(file.Text, []byte("\ufeff"))
	switch strings.ToLower(filepath.Ext(file.Name)) {
	case ".csv":
		return readCSV(file)
	case ".yaml", ".yml":
		return readYAML(file)
	}
	return nil, []Fault{{Where: file.Name, Text: "want a file that ends in .yaml, .yml or .csv"}}
}

func readCSV(file File) (rows []Row, faults []Fault) {
	reader := csv.NewReader(bytes.NewReader(file.Text))
	reader.FieldsPerRecord = -1 // checked below, where the line can be named
	reader.TrimLeadingSpace = true
	header, err := reader.Read()
	if errors.Is(err, io.EOF) {
		return nil, []Fault{{Where: file.Name, Text: "is empty: want a header line"}}
	}
	if err != nil {
		return nil, []Fault{{Where: file.Name, Text: err.Error()}}
	}
	for i := range header {
		header[i] = strings.TrimSpace(header[i])
	}
	k, err := kindOfCSV(file.Name, header)
	if err != nil {
		return nil, []Fault{{Where: file.Name + ":1", Text: err.Error()}}
	}
	for {
		record, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return rows, faults
		}
		if err != nil {
			return rows, append(faults, Fault{Where: file.Name, Text: err.Error()}) // csv's errors name the line
		}
		line, _ := reader.FieldPos(0)
		where := fmt.Sprintf("%s:%d", file.Name, line)
		if len(record) != len(header) {
			faults = append(faults, Fault{Where: where, Text: fmt.Sprintf("has %d columns, the header has %d", len(record), len(header))})
			continue
		}
		row := Row{Section: k.section, Where: where, Cells: make(map[string]string, len(header))}
		for i, column := range header {
			row.Cells[column] = strings.TrimSpace(record[i])
		}
		rows = append(rows, row)
	}
}

// kindOfCSV goes by the file's name, or else takes the one kind that has all columns of the header,
// and of which no required column is absent.
func kindOfCSV(name string, header []string) (*kind, error) {
	seen := map[string]bool{}
	for _, column := range header {
		if seen[column] {
			return nil, fmt.Errorf("column %q is there twice", column)
		}
		seen[column] = true
	}
	stem := strings.ToLower(strings.TrimSuffix(filepath.Base(name), filepath.Ext(name)))
	if k := kindOf(stem); k != nil {
		return k, nil
	}
	var found []*kind
	for _, k := range kinds {
		fits := !slices.ContainsFunc(header, func(c string) bool { return !slices.Contains(k.columns, c) }) &&
			!slices.ContainsFunc(k.required, func(c string) bool { return !seen[c] })
		if fits {
			found = append(found, k)
		}
	}
	if len(found) != 1 {
		sections := make([]string, len(kinds))
		for i, k := range kinds {
			sections[i] = k.section + ".csv"
		}
		return nil, fmt.Errorf("columns %s are not those of one kind: name the file %s", strings.Join(slices.Sorted(maps.Keys(seen)), ","), strings.Join(sections, ", "))
	}
	return found[0], nil
}
