package faults_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// result is a row of the table of docs/reliability.md.
type result struct {
	Layer     string `json:"layer"`
	Fault     string `json:"fault"`
	Windows   string `json:"windows"` // the failure points; none where the moment is left to chance
	Runs      int    `json:"runs"`    // faults that happened
	Histories int    `json:"histories"`
	SeedFirst uint64 `json:"seed_first"`
	SeedLast  uint64 `json:"seed_last"`
	Result    string `json:"result"`
}

type table struct {
	mu   sync.Mutex
	rows []result
}

var results table

// add adds a row and writes the table where HOSTMETER_FAULTS_RESULTS says: a run that is cut short has told
// what it did.
func (t *table) add(r result) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rows = append(t.rows, r)
	slices.SortFunc(t.rows, func(a, b result) int { return strings.Compare(a.Fault, b.Fault) })
	path := os.Getenv("HOSTMETER_FAULTS_RESULTS")
	if path == "" {
		return nil
	}
	text, err := json.MarshalIndent(t.rows, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}

func TestMain(m *testing.M) {
	code := m.Run()
	if path, err := program(); err == nil {
		_ = os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}
