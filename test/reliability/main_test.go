package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The document in the tree is what the tables in the tree say.
func TestDocumentIsUpToDate(t *testing.T) {
	want, err := document("../../test/faults")
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../../docs/reliability.md")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Fatal("docs/reliability.md is not what test/faults says: run make reliability")
	}
}

func TestTable(t *testing.T) {
	dir := t.TempDir()
	rows := `[{"layer":"simulation","fault":"a|b","windows":"w","runs":12345,"histories":7,"seed_first":1,"seed_last":9,"result":"exact"},
		{"layer":"simulation","fault":"all","windows":12,"runs":0,"histories":1000,"seed_first":4,"seed_last":4,"result":"exact"}]`
	if err := os.WriteFile(filepath.Join(dir, "simulation.json"), []byte(rows), 0o600); err != nil {
		t.Fatal(err)
	}
	text, err := document(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`| a\|b | w | 12,345 | 7 | 1 to 9 | exact |`, "| all | 12 |  | 1,000 | 4 | exact |", "Not run yet: `make soak`"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "processes.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := document(dir); err == nil || !strings.Contains(err.Error(), "processes.json") {
		t.Errorf("a table that cannot be read: %v", err)
	}
}
