package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"hostmeter/internal/inventory"
)

// PreviewImport prints what files would change in closed periods, and does nothing.
func (d *Desk) PreviewImport(ctx context.Context, paths []string, asJSON bool, w io.Writer) error {
	files, err := readFiles(paths)
	if err != nil {
		return err
	}
	before, asked, err := d.inventory.PreviewImport(ctx, files)
	if err != nil {
		return importError(err, "nothing can be previewed")
	}
	preview, err := d.ledger.PreviewChange(ctx, before, asked, d.clock.Now())
	if err != nil {
		return err
	}
	return printPreview(w, preview, asJSON)
}

func readFiles(paths []string) ([]inventory.File, error) {
	var files []inventory.File
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, wrong(err, "name files that exist")
		}
		files = append(files, inventory.File{Name: path, Text: text})
	}
	return files, nil
}

func importError(err error, what string) error {
	var invalid *inventory.InvalidError
	if errors.As(err, &invalid) {
		return &HintError{Err: fmt.Errorf("%s:\n%w", what, err), Hint: "correct these lines; --dry-run shows what an import would change"}
	}
	return err
}

// Import reads inventory files, all or nothing, and prints the difference.
func (d *Desk) Import(ctx context.Context, paths []string, dryRun, asJSON bool, w io.Writer) error {
	files, err := readFiles(paths)
	if err != nil {
		return err
	}
	difference, err := d.inventory.ImportBy(ctx, LocalActor(), files, dryRun)
	if err != nil {
		return importError(err, "nothing was imported")
	}
	if asJSON {
		return printJSON(w, difference)
	}
	for _, line := range difference.Lines() {
		fmt.Fprintln(w, line)
	}
	verb := "imported"
	if dryRun {
		verb = "would import"
	}
	_, err = fmt.Fprintf(w, "%s: %d added, %d changed, %d as they were\n", verb, difference.Added, difference.Changed, difference.Unchanged)
	return err
}
