package ledger

import (
	"context"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"hostmeter/internal/config"
	"hostmeter/internal/store"
	"hostmeter/schemas"
)

// sendAccounted is send with the exporter's account of it.
func (w *world) sendAccounted(list ...sentTally) {
	w.t.Helper()
	for _, s := range list {
		shard := schemas.ShardOf(s.meter, testShards)
		w.index[shard]++
		batch := testBatch("c", 7, shard, w.index[shard], testTally(s.meter, s.minute, s.in, s.out))
		batch.ReceivedFrom, batch.ReceivedTo = w.now.Add(-time.Hour).UnixNano(), w.now.UnixNano()
		batch.Accounts = []*schemas.ExporterAccount{{Exporter: "192.0.2.250", Protocol: "ipfix", Hour: start.Unix()/3600 + s.minute/60, MinutesObserved: 1,
			Datagrams: 1, OctetsOnce: s.in + s.out, Octets: s.in + s.out}}
		if booked := mustBook(w.t, w.ledger, batch); booked.Batches != 1 || booked.Refused != 0 {
			w.t.Errorf("booked %+v", booked)
		}
	}
	w.sent = append(w.sent, list...)
}

// month lets a month pass with usage on its third and its twentieth day, and closes what is due.
func (w *world) month() {
	w.t.Helper()
	minute := int64(w.now.Sub(start) / time.Minute)
	w.seal(3 * 24 * time.Hour)
	w.sendAccounted(sentTally{"address:10.1.0.1", "", minute + 3*1440 - 30, 1_000_000_007, 11}, sentTally{"address:10.1.0.2", "", minute + 3*1440 - 17, 0, 5_000_000_000})
	w.seal(17 * 24 * time.Hour)
	w.sendAccounted(sentTally{"address:10.1.0.1", "", minute + 20*1440 - 7, 2_000_000_003, 13})
	w.seal(11 * 24 * time.Hour)
	w.emit()
	if closed := w.close(); len(closed.Problems) != 0 {
		w.t.Fatal(closed)
	}
}

func (w *world) prune(r Retention, dryRun bool) PrunedBooks {
	w.t.Helper()
	done, err := w.ledger.Prune(context.Background(), w.inv, r, w.now, dryRun)
	if err != nil {
		w.t.Fatal(err)
	}
	return done
}

func (w *world) chain() (n int64) {
	w.t.Helper()
	n, err := w.ledger.VerifyStatements(context.Background())
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

// TestRetention keeps more than a year of the books, prunes slots, and later hours and statements: what is left adds
// up, and nothing that has gone is told, charged or adjusted again.
func TestRetention(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		w.own("address:10.1.0.1", ownedTime{"london", 0, 10 * farMinute})
		w.own("address:10.1.0.2", ownedTime{"nepal", 0, 10 * farMinute})
		months := func(n int) {
			for range n {
				w.month()
			}
		}
		r := DefaultRetention()
		months(8)
		before := canonical(t, w.ledger.db)
		if done := w.prune(r, false); done.Slots.Rows != 0 || done.Hours.Rows != 0 || done.Statements.Rows != 0 || !slices.Equal(canonical(t, w.ledger.db), before) {
			t.Fatalf("pruned of what is not old: %+v", done)
		}
		months(8)
		before = canonical(t, w.ledger.db)
		days, feed, rows := allDays(t, w.ledger, Query{}), w.feed(0), w.report("2026-10")
		plan := w.prune(r, true)
		if !slices.Equal(canonical(t, w.ledger.db), before) || plan.Slots.Rows == 0 || plan.Hours.Rows != 0 {
			t.Fatalf("a dry run: %+v", plan)
		}
		if done := w.prune(r, false); done != plan {
			t.Fatalf("did %+v, said %+v", done, plan)
		}
		if again := w.prune(r, false); again.Slots.Rows != 0 || !again.Slots.Before.Equal(plan.Slots.Before) {
			t.Fatalf("again: %+v", again)
		}
		verifyClean(t, w.ledger, true)
		if !slices.Equal(allDays(t, w.ledger, Query{}), days) || !slices.Equal(w.feed(0), feed) || !reflect.DeepEqual(w.report("2026-10"), rows) {
			t.Fatal("without slots, sums, feed or report are others")
		}
		checkSlots(t, w, plan.Slots.Before)
		statements := w.chain()

		// What comes now for a time whose evidence is over stays in the books, and changes nothing that was told.
		w.sendAccountedLate(minutes(20, 0, 0))
		w.own("address:10.1.0.2", ownedTime{"middle", 0, minutes(60, 0, 0)}, ownedTime{"nepal", minutes(60, 0, 0), 10 * farMinute})
		w.emit()
		if closed := w.close(); closed.Adjustments != 0 {
			t.Fatalf("adjusted what is pruned: %+v", closed)
		}
		if again := w.feed(0); !slices.Equal(again, feed) {
			t.Fatalf("told of what is pruned: %v", again[len(feed):])
		}
		verifyClean(t, w.ledger, true)

		months(2)
		r.Hours, r.Statements = config.Age{Months: 14}, config.Age{Months: 14} // as if years had passed
		plan = w.prune(r, true)
		done := w.prune(r, false)
		if done != plan || done.Hours.Rows == 0 || done.Statements.Rows == 0 {
			t.Fatalf("did %+v, said %+v", done, plan)
		}
		verifyClean(t, w.ledger, true)
		if left := w.chain(); left >= statements || left < 14*2 {
			t.Fatalf("%d statements are left of %d", left, statements)
		}
		if first := allRows(t, w.ledger, Query{})[0]; first.Hour.Before(done.Hours.Before) {
			t.Fatalf("%s is left, before %s", first.Hour, done.Hours.Before)
		}
		seen := map[string]bool{}
		months(1)
		if err := w.ledger.Statements(context.Background(), StatementQuery{}, func(s Statement) error {
			if key := s.Body.Row.Statement; s.Body.Row.Revision == 1 && seen[key] {
				t.Errorf("%s twice", key)
			} else {
				seen[key] = true
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		w.prune(r, false)
		verifyClean(t, w.ledger, true)
		w.chain()
	})
}

// sendAccountedLate is for a minute that may be years ago: received then, and booked now.
func (w *world) sendAccountedLate(minute int64) {
	w.t.Helper()
	now := w.now
	w.now = start.Add(time.Duration(minute)*time.Minute + time.Hour)
	w.sendAccounted(sentTally{"address:10.1.0.1", "", minute, 77, 0})
	w.now = now
}

// checkSlots looks whether slots have gone before a time, and only there.
func checkSlots(t *testing.T, w *world, before time.Time) {
	t.Helper()
	err := w.ledger.db.View(context.Background(), func(tx *store.Tx) error {
		var wrong int
		err := tx.QueryRow(context.Background(), `SELECT COUNT(*) FROM usage_hour WHERE (hour < ?) <> (length(slots) = 0)`, before.Unix()/3600).Scan(&wrong)
		if wrong > 0 {
			t.Errorf("%d rows have slots before %s, or none after it", wrong, before)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range allRows(t, w.ledger, Query{To: before}) {
		var sum uint64
		for i, octets := range row.In.Slots {
			sum += octets
			if got := row.In.Slice(i, i+1); uint64(got.Octets) != octets {
				t.Fatalf("slot %d of %+v is sliced to %d", i, row.In, got.Octets)
			}
		}
		if sum != uint64(row.In.Octets) {
			t.Fatalf("even parts of %+v add up to %d", row.In, sum)
		}
	}
}

// TestRetentionHoldsWhatIsNeeded asks for everything that is old, and is told why it stays.
func TestRetentionHoldsWhatIsNeeded(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		r := Retention{Slots: config.Age{Days: 62}, Hours: config.Age{Days: 62}, Statements: config.Age{Days: 62}, Evidence: config.Age{Days: 62}}
		held := func(want string, rows bool) {
			t.Helper()
			before := canonical(t, w.ledger.db)
			done := w.prune(r, true)
			if !strings.Contains(done.Hours.Held, want) || (done.Hours.Rows > 0) != rows || !slices.Equal(before, canonical(t, w.ledger.db)) {
				t.Fatalf("%+v; want %q", done, want)
			}
		}
		held("no day is sealed yet", false)
		w.own("address:10.1.0.1", ownedTime{"london", 0, 10 * farMinute})
		w.sendAccounted(sentTally{"address:10.1.0.1", "", 60, 5, 5})
		w.seal(180 * 24 * time.Hour)
		held("is not in the feed yet", false)
		w.emit()
		held("is not closed", false)
		w.close()
		w.age(24 * time.Hour)
		held("evidence of a statement that was closed less than 62 days ago", false)
		w.age(100 * 24 * time.Hour)
		held("", true)
		if err := w.ledger.db.Update(context.Background(), func(tx *store.Tx) error {
			_, err := tx.Exec(context.Background(), `INSERT INTO statement_waiting (service, period_from) VALUES ('london', ?)`, start.UnixNano())
			return err
		}); err != nil {
			t.Fatal(err)
		}
		held("an adjustment of the period of service london", false)
	})
}

// age lets the statements have been closed earlier: the store has its own clock.
func (w *world) age(d time.Duration) {
	w.t.Helper()
	if err := w.ledger.db.Update(context.Background(), func(tx *store.Tx) error {
		_, err := tx.Exec(context.Background(), `UPDATE statement SET closed_at = ?`, w.now.Add(-d).UnixNano())
		return err
	}); err != nil {
		w.t.Fatal(err)
	}
}

// TestPruningInStepsIsPruningAtOnce prunes one ledger each month and its twin at the end: a call that was killed
// and gone on with is the same as that.
func TestPruningInStepsIsPruningAtOnce(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		r := Retention{Slots: config.Age{Days: 62}, Hours: config.Age{Days: 90}, Statements: config.Age{Days: 120}, Evidence: config.Age{Days: 62}}
		play := func(each bool) []string {
			emptyWorld(t, w.ledger.db)
			*w = *newWorld(t, w.ledger.db)
			w.own("address:10.1.0.1", ownedTime{"london", 0, 10 * farMinute})
			for range 7 {
				w.month()
				w.age(100 * 24 * time.Hour)
				if each {
					w.prune(r, false)
				}
			}
			w.prune(r, false)
			verifyClean(t, w.ledger, true)
			w.chain()
			return canonical(t, w.ledger.db)
		}
		if steps, once := play(true), play(false); !slices.Equal(steps, once) || len(once) == 0 {
			t.Fatalf("in steps\n%s\nat once\n%s", strings.Join(steps, "\n"), strings.Join(once, "\n"))
		}
	})
}

func TestRetentionThatCannotBe(t *testing.T) {
	f := func(want string, change func(r *Retention)) {
		t.Helper()
		r := DefaultRetention()
		change(&r)
		if err := r.Validate(); want == "" && err != nil || want != "" && (err == nil || !strings.HasPrefix(err.Error(), want)) {
			t.Fatalf("got %v, want %q", err, want)
		}
	}
	f("", func(*Retention) {})
	f("evidence: 61 days", func(r *Retention) { r.Evidence = config.Age{Days: 61} })
	f("slots: 1 month", func(r *Retention) { r.Slots = config.Age{Months: 1} })
	f("hours: 12 months", func(r *Retention) { r.Hours = config.Age{Months: 12} })
	f("statements: 6 years", func(r *Retention) { r.Statements = config.Age{Years: 6} })
	f("", func(r *Retention) { r.Statements = config.Age{} })
}
