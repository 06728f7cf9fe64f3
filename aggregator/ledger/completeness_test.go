package ledger

import (
	"slices"
	"testing"
	"time"

	statements "hostmeter/aggregator/statement" // in this package a statement is also one of SQL
	"hostmeter/schemas"
)

// TestEveryExporterStandsInTheReport has one that was observed but for an hour, one that lost a quarter of its records, one
// without any prefix, and one that was never heard. The month is that of London: it begins at 23:00 UTC.
func TestEveryExporterStandsInTheReport(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		w.importText(`prefixes: [{prefix: 172.16.0.0/12, exporters: [192.0.2.99]}]`)
		w.now = start.Add(35 * 24 * time.Hour)
		w.observe(-1, 50, "192.0.2.250")
		w.observe(51, 24*31, "192.0.2.250") // and not in the 51st hour
		shard := schemas.ShardOf("192.0.2.251", testShards)
		w.index[shard]++
		batch := testBatch("c", 7, shard, w.index[shard])
		batch.ReceivedFrom, batch.ReceivedTo = w.now.Add(-time.Hour).UnixNano(), w.now.UnixNano()
		batch.Accounts = []*schemas.ExporterAccount{
			{Exporter: "192.0.2.251", Protocol: "netflow5", Hour: start.Unix() / 3600, MinutesObserved: 1<<60 - 1, Records: 300, Octets: 3000, OctetsOnce: 1000, OctetsTransit: 2000,
				Lost: []*schemas.Count{{Unit: "records", Reason: "sequence", Count: 100}}},
			{Exporter: "192.0.2.251", Protocol: "netflow9", Hour: start.Unix()/3600 - 2, MinutesObserved: 1<<60 - 1, Records: 1}, // September
		}
		mustBook(t, w.ledger, batch)
		report := w.report("2026-10")
		var names []string
		by := map[string]statements.Completeness{}
		for _, c := range report.Exporters {
			names, by[c.Exporter.Exporter] = append(names, c.Exporter.Exporter), c
		}
		if !slices.Equal(names, []string{"192.0.2.250", "192.0.2.251", "192.0.2.99"}) {
			t.Fatalf("exporters %s", names)
		}
		const minutes = 31*24*60 + 60 // the clocks went back
		whole := by["192.0.2.250"]
		if gap := whole.LongestGap(); whole.MinutesExpected != minutes || whole.MissingMinutes() != 60 || len(whole.Gaps) != 1 || gap.From != start.Add(50*time.Hour) || gap.To != start.Add(51*time.Hour) {
			t.Errorf("whole: %+v", whole)
		}
		if lossy := by["192.0.2.251"]; lossy.MinutesObserved != 60 || lossy.Coverage < 0.75*60/minutes-1e-9 || lossy.Coverage > 0.75*60/minutes+1e-9 || lossy.LostOctets != 1000 ||
			lossy.OctetsOnce != 1000 || lossy.OctetsTransit != 2000 || !slices.Equal(lossy.Protocols, []string{"netflow5"}) || len(lossy.Lost) != 1 {
			t.Errorf("lossy: %+v", lossy)
		}
		if silent := by["192.0.2.99"]; silent.Coverage != 0 || silent.MinutesExpected != minutes || silent.MinutesObserved != 0 {
			t.Errorf("silent: %+v", silent)
		}
		if only := report.Only(func(statements.Row) bool { return true }); only.Exporters != nil || only.Unowned != nil {
			t.Errorf("a customer's report has %d exporters", len(only.Exporters))
		}
		w.now = start.Add(24 * time.Hour) // nothing is expected of the future
		if c := w.report("2026-10").Exporters[0]; c.MinutesExpected != 25*60 || c.Coverage != 1 {
			t.Errorf("on the second day: %+v", c)
		}
		if c := w.report("2026-11").Exporters; len(c) != 0 {
			t.Errorf("before the month: %+v", c)
		}
	})
}
