package results

import (
	"os"
	"path/filepath"
	"testing"
)

func TestAPartReplacesItsOwnAlone(t *testing.T) {
	name := filepath.Join(t.TempDir(), "RESULTS.md")
	f := func(part, want string) {
		t.Helper()
		if err := Replace(name, part); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(name); err != nil || string(got) != want {
			t.Fatalf("%q, %v, want %q", got, err, want)
		}
	}
	f("# Peers\n\n1\n\n## A\n", "# Peers\n\n1\n\n## A\n")
	f("# Ledger\n\n2\n\n", "# Peers\n\n1\n\n## A\n\n# Ledger\n\n2\n")
	f("# Peers\n\n3\n", "# Peers\n\n3\n\n# Ledger\n\n2\n") // and nothing of the other goes
	f("# Ledger\n\n4\n", "# Peers\n\n3\n\n# Ledger\n\n4\n")
}
