package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestExitCodes: scripts tell wrong usage from work that failed.
func TestExitCodes(t *testing.T) {
	dir := t.TempDir()
	cfg := filepath.Join(dir, "h.yaml")
	wrong := filepath.Join(dir, "wrong.csv")
	for path, text := range map[string]string{cfg: "data: " + dir + "\n", wrong: "id,nonsense\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f := func(want int, part string, args ...string) {
		t.Helper()
		var told bytes.Buffer
		if got := run(context.Background(), args, &told); got != want || !strings.Contains(told.String(), part) || want != 0 && !strings.Contains(told.String(), "hostmeter: hint: ") {
			t.Errorf("%q: exit code %d, want %d and %q:\n%s", args, got, want, part, &told)
		}
	}
	f(0, "", "version")
	f(0, "", "statement")
	f(0, "", "statement", "--help")
	f(0, "", "help", "statement")
	f(2, `required flag(s) "rules", "series" not set`, "backtest")
	f(2, `run "hostmeter erase --help"`, "erase", "c1", "-c", cfg)
	f(2, "unknown flag", "run", "--bogus")
	f(2, "invalid argument", "run", "-c", cfg, "--help=maybe")
	f(2, "unknown command", "bogus")
	f(2, `unknown command "bogus" for "hostmeter statement"`, "statement", "bogus")
	f(2, "arg(s)", "erase")
	f(2, "", "run", "-c", filepath.Join(dir, "missing.yaml"))
	f(1, "nothing was imported", "import", wrong, "-c", cfg)
	f(1, "", "erase", "c1", "-c", cfg, "--reason", "letter", "--confirm", "c1")
}
