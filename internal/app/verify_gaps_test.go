package app

import (
	"strings"
	"testing"
	"time"

	"hostmeter/aggregator/ledger"
	"hostmeter/internal/stream"
)

// A bad block takes batches of all shards: the doctor says it once for each log.
func TestGapsAreFoundByLog(t *testing.T) {
	at := time.Date(2026, 10, 1, 12, 0, 0, 0, time.UTC)
	var gaps []ledger.Gap
	for shard := range uint32(16) {
		for log := range uint64(2) {
			gaps = append(gaps, ledger.Gap{GapError: stream.GapError{Key: stream.Key{Collector: "c", LogID: log, Shard: shard}, From: 2, To: 4}, DeclaredAt: at.Add(time.Duration(shard) * time.Second)})
		}
	}
	found := gapFindings(gaps)
	if len(found) != 2 || !strings.Contains(found[1].Text, "48 batches of log 0000000000000001 of c are lost") || !strings.Contains(found[1].Text, "2026-10-01T12:00:00Z to 2026-10-01T12:00:15Z") {
		t.Fatalf("found %+v", found)
	}
}
