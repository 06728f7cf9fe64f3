package ledger

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"hostmeter/internal/clock"
	"hostmeter/internal/inventory"
	"hostmeter/internal/store"
	"hostmeter/internal/store/storetest"
	"hostmeter/schemas"
)

// BenchmarkMonth closes, tells and reports a month of services with one address and a row each hour.
func BenchmarkMonth(b *testing.B) {
	const services = 500
	ctx := context.Background()
	db := storetest.SQLite(b, clock.NewManual(start))
	w := newWorld(b, db)
	var text strings.Builder
	text.WriteString("services:\n")
	for i := range services {
		fmt.Fprintf(&text, "  - {id: b%d, customer: c1, plan: anniversary, place: london, opened: 2026-01-%02d}\n", i, i%28+1)
	}
	text.WriteString("ownership:\n")
	for i := range services {
		fmt.Fprintf(&text, "  - {service: b%d, key: \"address:10.8.%d.%d\", from: 2026-01-01T00:00:00Z}\n", i, i/256, i%256)
	}
	w.importText(text.String())
	w.send(sentTally{"address:10.9.0.1", schemas.ClassExternal, 0, 1, 0}) // so that there are parts
	s := slots{{1000, 2000, 3000}, {10, 20, 30}}
	packed := s.pack(nil)
	err := db.Update(ctx, func(tx *store.Tx) error {
		insert, err := tx.Prepare(ctx, `INSERT INTO usage_hour (hour, part, meter, class, in_octets, out_octets, in_packets, out_packets, in_flows, out_flows,
			in_variance_kib2, out_variance_kib2, slots) VALUES (?, ?, ?, 'external', 6000, 60, 6, 1, 1, 1, 0, 0, ?)`)
		if err != nil {
			return err
		}
		defer insert.Close()
		for hour := range int64(32 * 24) {
			for i := range services {
				meter := fmt.Sprintf("address:10.8.%d.%d", i/256, i%256)
				if _, err := insert.ExecContext(ctx, start.Unix()/3600+hour, int64(schemas.ShardOf(meter, testShards)), meter, packed); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	begin := time.Now()
	w.seal(34 * 24 * time.Hour)
	b.Logf("seal: %s", time.Since(begin))
	b.ResetTimer()
	for range b.N {
		if err := db.Update(ctx, func(tx *store.Tx) error {
			for _, text := range []string{"DELETE FROM usage_record", "DELETE FROM statement", "UPDATE statement_head SET number = 0, hash = ''", "UPDATE usage_record_head SET last_seq = 0, through = 0"} {
				if _, err := tx.Exec(ctx, text); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			b.Fatal(err)
		}
		begin := time.Now()
		if closed := w.close(); closed.Statements < services {
			b.Fatalf("closed %+v", closed)
		}
		b.ReportMetric(time.Since(begin).Seconds(), "close-s")
		begin = time.Now()
		n, err := w.ledger.EmitUsageRecords(ctx, w.inv)
		if err != nil || n < services*30 {
			b.Fatalf("told %d, %v", n, err)
		}
		b.ReportMetric(time.Since(begin).Seconds(), "tell-s")
		begin = time.Now()
		if report, err := w.ledger.Report(ctx, inventory.New(db), "2026-11", w.now); err != nil || len(report.Rows) < services {
			b.Fatalf("%d rows, %v", len(report.Rows), err)
		}
		b.ReportMetric(time.Since(begin).Seconds(), "report-s")
		begin = time.Now()
		if _, list := w.evidence("2026-11"); len(list) < services || len(list[services/2].Hours) < 24 {
			b.Fatalf("%d pieces of evidence", len(list))
		}
		b.ReportMetric(time.Since(begin).Seconds(), "evidence-s")
		begin = time.Now()
		w.emit()
		w.close()
		b.ReportMetric(time.Since(begin).Seconds(), "nothing-due-s")
	}
}
