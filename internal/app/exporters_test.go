package app

import (
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hostmeter/collector"
	"hostmeter/internal/clock"
	"hostmeter/schemas"
)

// TestCommandsSeeWhoKnocksAndWhoseRateIsInDoubt: they read what the running collector wrote beside its state.
func TestCommandsSeeWhoKnocksAndWhoseRateIsInDoubt(t *testing.T) {
	now := time.Date(2026, 10, 1, 12, 0, 0, 0, time.UTC)
	dir := t.TempDir()
	cfg, err := LoadConfig(write(t, "data: "+dir+`
collector:
  udp: [{listen: "127.0.0.1:0"}]
  local: [192.0.2.0/24]
  exporters: [{address: 192.0.2.250}]
`))
	if err != nil {
		t.Fatal(err)
	}
	status := collector.Status{
		Version: 1, At: now.Add(-10 * time.Second),
		Exporters: []collector.ExporterStatus{{
			Exporter: "192.0.2.250", Rates: []float64{1024}, InEffect: 1300.25, ClockAhead: 30 * time.Second,
			Doubts: []collector.SourceRate{
				{Source: "interface 3", Stated: 1024, Pool: 1_300_250, Samples: 1000},
				{Source: "interface 4", Stated: 1024, Pool: 2_048_000, Samples: 1000, Unsent: 900},
			},
		}},
		Knocks: []collector.Knock{{Address: netip.MustParseAddr("203.0.113.77"), Protocol: schemas.IPFIX, Datagrams: 4711, First: now.Add(-time.Hour), Last: now}},
	}
	text, err := json.Marshal(status)
	if err == nil {
		err = os.MkdirAll(filepath.Join(dir, "collector"), 0o750)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "collector", "status.json"), text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	manual := clock.NewManual(now)
	desk, err := openDesk(t.Context(), cfg, manual)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = desk.Close() }()
	list := func() string {
		t.Helper()
		var b strings.Builder
		if err := desk.ListExporters(t.Context(), false, &b); err != nil {
			t.Fatal(err)
		}
		for _, f := range desk.checkExporters(t.Context()) {
			b.WriteString(string(f.Level) + " " + f.Text + " -> " + f.Hint + "\n")
		}
		return b.String()
	}
	told := list()
	for _, want := range []string{
		"1 in 1024 (1 in 1300 in effect)",
		"Refused: add those that are yours to collector.exporters",
		"203.0.113.77  ipfix     4711",
		"warning 203.0.113.77 sends ipfix and may not: 4711 datagrams refused -> add it to collector.exporters",
		"warning 192.0.2.250: interface 3 samples 1 in 1300 in effect, and says 1 in 1024 (1000 samples in two hours) -> if it has lost nothing",
		"warning 192.0.2.250: interface 4 samples 1 in 2048 in effect, and says 1 in 1024 (1000 samples in two hours) -> it could not send 900 samples",
	} {
		if !strings.Contains(told, want) {
			t.Errorf("%q is missing in\n%s", want, told)
		}
	}
	manual.Set(now.Add(time.Hour)) // no collector has written for long
	if told := list(); strings.Contains(told, "203.0.113.77") || strings.Contains(told, "in effect") {
		t.Errorf("an old status is believed:\n%s", told)
	}
}
