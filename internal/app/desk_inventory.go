package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"hostmeter/internal/inventory"
)

// Import reads inventory files, all or nothing, and prints the difference.
func (d *Desk) Import(ctx context.Context, paths []string, dryRun, asJSON bool, w io.Writer) error {
	var files []inventory.File
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			return wrong(err, "name files that exist")
		}
		files = append(files, inventory.File{Name: path, Text: text})
	}
	difference, err := d.inventory.ImportBy(ctx, LocalActor(), files, dryRun)
	var invalid *inventory.InvalidError
	if errors.As(err, &invalid) {
		return &HintError{Err: fmt.Errorf("nothing was imported:\n%w", err), Hint: "correct these lines; --dry-run shows what an import would change"}
	}
	if err != nil {
		return err
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
