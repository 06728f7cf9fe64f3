// Package fuzztest keeps the corpora of the decoders' fuzz targets.
package fuzztest

import (
	"encoding/base64"
	"os"
	"strings"
	"testing"
)

// AddCorpus adds what fuzzing found worth keeping: the inputs of testdata/corpus.txt, one a line in base64.
func AddCorpus(f *testing.F) {
	f.Helper()
	text, err := os.ReadFile("testdata/corpus.txt")
	if err != nil {
		f.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		input, err := base64.StdEncoding.DecodeString(strings.TrimSpace(line))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(input)
	}
}
