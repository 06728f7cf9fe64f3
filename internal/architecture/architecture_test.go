// Package architecture holds the rules of the tree: who may import whom, and which packages are pure.
// It has no code of its own; a rule that is broken is a failing test.
package architecture

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// pure packages take values and a time and return values.
var pure = []string{
	"collector/netflow", "collector/sflow", "collector/tally",
	"aggregator/rating", "aggregator/reconcile", "aggregator/statement", "aggregator/utilisation",
	"detector/rule", "detector/baseline",
}

// impure is what a pure package may not import: sockets, files, databases, processes, goroutines'
// tools, and the project's own packages that have any of them.
var impure = []string{
	"net", "net/http", "os", "os/exec", "io/ioutil", "database/sql", "syscall", "sync", "sync/atomic", "log/slog", "math/rand",
	"math/rand/v2", "crypto/rand", "path/filepath",
	"hostmeter/internal/store", "hostmeter/internal/stream", "hostmeter/internal/clock", "hostmeter/internal/config",
	"hostmeter/internal/app", "hostmeter/internal/httpapi",
}

// forbidden imports, as prefixes: from -> to. Everything below a path is meant.
var forbidden = []struct {
	from, to, why string
}{
	{"schemas", "hostmeter/", "schemas imports nothing of the project"},
	{"collector", "hostmeter/aggregator", "the components meet in schemas and internal/app"},
	{"collector", "hostmeter/detector", "the components meet in schemas and internal/app"},
	{"aggregator", "hostmeter/collector", "the components meet in schemas and internal/app"},
	{"aggregator", "hostmeter/detector", "the components meet in schemas and internal/app"},
	{"detector", "hostmeter/collector", "the components meet in schemas and internal/app"},
	{"detector", "hostmeter/aggregator", "the components meet in schemas and internal/app"},
	{"collector", "hostmeter/internal/inventory", "the collector knows which addresses are local, never who owns them"},
	{"internal/simulate", "hostmeter/collector", "an oracle must not share the code that it judges"},
	{"internal/simulate", "hostmeter/aggregator", "an oracle must not share the code that it judges"},
	{"internal/httpapi", "hostmeter/aggregator", "the API speaks of its own types; internal/app joins it to the components"},
	{"internal/httpapi", "hostmeter/detector", "the API speaks of its own types; internal/app joins it to the components"},
	{"internal/httpapi", "hostmeter/collector", "the API speaks of its own types; internal/app joins it to the components"},
}

// only these may import internal/app, which knows everybody.
var mayImportApp = []string{"cmd/", "internal/app", "test/"}

type file struct {
	dir     string // relative to the root, slashes
	path    string
	imports []string
	syntax  *ast.File
}

func TestImportRules(t *testing.T) {
	files := sources(t)
	if len(files) < 20 {
		t.Fatalf("read only %d files: the rules are not being checked", len(files))
	}
	for _, f := range files {
		for _, imported := range f.imports {
			for _, rule := range forbidden {
				if below(f.dir, rule.from) && strings.HasPrefix(imported+"/", strings.TrimSuffix(rule.to, "/")+"/") {
					t.Errorf("%s imports %s: %s", f.path, imported, rule.why)
				}
			}
			if below(imported, "hostmeter/internal/app") && !slices.ContainsFunc(mayImportApp, func(p string) bool { return strings.HasPrefix(f.dir+"/", p) || strings.HasPrefix(f.dir, p) }) {
				t.Errorf("%s imports %s: only the command may", f.path, imported)
			}
			if strings.Contains(f.dir, "/") && strings.HasPrefix(imported, "hostmeter/cmd") {
				t.Errorf("%s imports %s: nothing imports a command", f.path, imported)
			}
		}
	}
}

func TestPurePackages(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range sources(t) {
		if !slices.Contains(pure, f.dir) {
			continue
		}
		seen[f.dir] = true
		for _, imported := range f.imports {
			if slices.Contains(impure, imported) {
				t.Errorf("%s imports %s: the package is pure", f.path, imported)
			}
		}
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				t.Errorf("%s starts a goroutine: the package is pure", f.path)
			case *ast.SelectorExpr:
				if x, ok := n.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains([]string{"Now", "Since", "Until", "Sleep", "After", "NewTimer", "NewTicker"}, n.Sel.Name) {
					t.Errorf("%s calls time.%s: the package is pure", f.path, n.Sel.Name)
				}
			}
			return true
		})
	}
	for _, p := range pure {
		if !seen[p] {
			t.Errorf("no source file in %s: the rule for it is not being checked", p)
		}
	}
}

// TestPackagesAreDocumented asks a package comment of every package: what it owns and promises.
func TestPackagesAreDocumented(t *testing.T) {
	documented := map[string]bool{}
	for _, f := range sources(t) {
		documented[f.dir] = documented[f.dir] || f.syntax.Doc.Text() != ""
	}
	for dir, ok := range documented {
		if !ok {
			t.Errorf("package %s has no package comment", dir)
		}
	}
}

// sources parses every Go file of the project that is neither a test nor generated.
func sources(t *testing.T) []file {
	t.Helper()
	root := filepath.Join("..", "..")
	var files []file
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name := d.Name(); path != root && (strings.HasPrefix(name, ".") || name == "testdata" || name == "node_modules") && name != ".." {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.HasSuffix(path, ".pb.go") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		syntax, err := parser.ParseFile(token.NewFileSet(), path, text, parser.ParseComments)
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		f := file{path: filepath.ToSlash(relative), dir: filepath.ToSlash(filepath.Dir(relative)), syntax: syntax}
		for _, spec := range syntax.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			f.imports = append(f.imports, imported)
		}
		files = append(files, f)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func below(dir, parent string) bool { return dir == parent || strings.HasPrefix(dir, parent+"/") }
