// Package results keeps the figures of several benchmarks in one file.
package results

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
)

// Replace puts a part into a file, in the place of the one with the same title, or at the end. A part begins with its
// title, a line "# …"; the file need not exist.
func Replace(name, part string) error {
	text, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	title, _, _ := strings.Cut(part, "\n")
	parts := split(string(text))
	if i := slices.IndexFunc(parts, func(p string) bool { return strings.HasPrefix(p, title+"\n") }); i >= 0 {
		parts[i] = part
	} else {
		parts = append(parts, part)
	}
	for i := range parts {
		parts[i] = strings.TrimRight(parts[i], "\n") + "\n"
	}
	return os.WriteFile(name, []byte(strings.Join(parts, "\n")), 0o644)
}

// split returns the parts of a text, each with its title.
func split(text string) (parts []string) {
	for line := range strings.Lines(text) {
		if len(parts) == 0 || strings.HasPrefix(line, "# ") {
			parts = append(parts, "")
		}
		parts[len(parts)-1] += line
	}
	return parts
}
