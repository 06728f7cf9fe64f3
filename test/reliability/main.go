// Command reliability writes docs/reliability.md from the tables that the fault suites leave in test/faults:
// one row for each fault, with how often it struck and from which seeds.
package main

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Row is one line of a table. Result is "exact" where every ledger was the undisturbed one, but for what was
// declared as lost.
type Row struct {
	Layer     string `json:"layer"`     // "simulation", "processes"
	Fault     string `json:"fault"`     // what went wrong
	Windows   any    `json:"windows"`   // where in the work: a text, or in how many places
	Runs      int    `json:"runs"`      // how often it struck
	Histories int    `json:"histories"` // in how many histories
	SeedFirst uint64 `json:"seed_first"`
	SeedLast  uint64 `json:"seed_last"`
	Result    string `json:"result"`
}

// layers in the order of the document.
var layers = []struct{ file, title, empty string }{
	{"simulation.json", "Simulation in one process", "Not run yet: `make sim`."},
	{"processes.json", "Real processes", "Not run yet: `make soak`."},
}

//go:embed preface.md
var preface string

func main() {
	from := flag.String("from", "test/faults", "the folder of the tables")
	to := flag.String("to", "docs/reliability.md", "the file to write")
	flag.Parse()
	text, err := document(*from)
	if err == nil {
		err = os.WriteFile(*to, text, 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "reliability: error:", err)
		os.Exit(1)
	}
}

// document makes the file of the tables in a folder. A table that is missing is said to be.
func document(folder string) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString(preface)
	for _, layer := range layers {
		fmt.Fprintf(&b, "\n## %s\n\n", layer.title)
		text, err := os.ReadFile(filepath.Join(folder, layer.file))
		if errors.Is(err, fs.ErrNotExist) {
			fmt.Fprintln(&b, layer.empty)
			continue
		}
		if err != nil {
			return nil, err
		}
		var rows []Row
		if err := json.Unmarshal(text, &rows); err != nil {
			return nil, fmt.Errorf("%s: %w", layer.file, err)
		}
		writeTable(&b, rows)
	}
	return b.Bytes(), nil
}

func writeTable(b *bytes.Buffer, rows []Row) {
	b.WriteString("| fault | where, or in how many windows | struck | histories | seeds | result |\n|---|---|---|---|---|---|\n")
	for _, r := range rows {
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %s |\n", cell(r.Fault), windows(r.Windows), count(r.Runs), count(r.Histories), seeds(r), cell(r.Result))
	}
}

func windows(w any) string {
	switch w := w.(type) {
	case string:
		return cell(w)
	case float64: // as JSON has numbers
		return count(int(w))
	}
	return ""
}

func seeds(r Row) string {
	if r.SeedFirst == r.SeedLast {
		return fmt.Sprint(r.SeedFirst)
	}
	return fmt.Sprintf("%d to %d", r.SeedFirst, r.SeedLast)
}

// cell keeps text inside a cell.
func cell(text string) string {
	return strings.NewReplacer("|", "\\|", "\n", " ").Replace(text)
}

// count writes a number in groups of three; 0 is nothing to tell.
func count(n int) string {
	if n == 0 {
		return ""
	}
	digits := fmt.Sprint(n)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
