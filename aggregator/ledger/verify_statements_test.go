package ledger

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"hostmeter/internal/clock"
	"hostmeter/internal/store"
	"hostmeter/internal/store/storetest"
	"hostmeter/schemas"
)

// exec runs SQL as nobody should.
func exec(t *testing.T, db *store.DB, queries ...string) {
	t.Helper()
	err := db.Update(context.Background(), func(tx *store.Tx) error {
		for _, query := range queries {
			if _, err := tx.Exec(context.Background(), query); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// findings returns what verify says of statements, and of all else.
func findings(t *testing.T, l *Ledger) (list []string) {
	t.Helper()
	found, err := l.Verify(context.Background(), false)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		list = append(list, f.Law+": "+f.Text)
	}
	return list
}

// wantSaid wants each text in a finding.
func wantSaid(t *testing.T, what string, found, want []string) {
	t.Helper()
	for _, text := range want {
		if !slices.ContainsFunc(found, func(line string) bool { return strings.Contains(line, text) }) {
			t.Errorf("%s: nothing says %q:\n%s", what, text, strings.Join(found, "\n"))
		}
	}
}

// chained is the table of statements as it was, to be put back.
type chained struct {
	number              int64
	service, body, hash string
	previous            string
}

func readChained(t *testing.T, db *store.DB) (list []chained) {
	t.Helper()
	err := db.View(context.Background(), func(tx *store.Tx) error {
		rows, err := tx.Query(context.Background(), `SELECT number, service, body, hash, previous_hash FROM statement ORDER BY number`)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var c chained
			if err := rows.Scan(&c.number, &c.service, &c.body, &c.hash, &c.previous); err != nil {
				return err
			}
			list = append(list, c)
		}
		return rows.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func writeChained(t *testing.T, db *store.DB, list []chained) {
	t.Helper()
	err := db.Update(context.Background(), func(tx *store.Tx) error {
		for _, c := range list {
			if _, err := tx.Exec(context.Background(), `UPDATE statement SET service = ?, body = ?, hash = ?, previous_hash = ? WHERE number = ?`,
				c.service, c.body, c.hash, c.previous, c.number); err != nil {
				return err
			}
		}
		_, err := tx.Exec(context.Background(), `UPDATE statement_head SET hash = ?`, list[len(list)-1].hash)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestVerifyNamesEachChange breaks a chain with late usage, a late owner, a decision and a credit that was not given,
// one thing at a time.
func TestVerifyNamesEachChange(t *testing.T) {
	c := clock.NewManual(start)
	storetest.EachWithClock(t, c, func(t *testing.T, db *store.DB) {
		c.Set(start)
		w := newWorld(t, db)
		address := func(i string) string { return "address:10.1.0." + i }
		w.own(address("1"), ownedTime{"london", 0, farMinute})
		w.own(address("2"), ownedTime{"london", 0, farMinute})
		w.own(address("3"), ownedTime{"middle", 0, farMinute})
		w.seal(10 * 24 * time.Hour)
		w.send(sentTally{address("1"), schemas.ClassExternal, minutes(3, 0, 0), 1_500_000_000, 0},
			sentTally{address("2"), schemas.ClassExternal, minutes(3, 0, 0), 900_000_000, 0},
			sentTally{address("3"), schemas.ClassExternal, minutes(3, 0, 0), 1, 4_000_000_000})
		w.seal(25 * 24 * time.Hour)
		w.close()
		w.send(sentTally{address("1"), schemas.ClassExternal, minutes(3, 0, 0), 100_000_000, 0}) // late
		w.close()
		w.importText(`decisions: [{id: d1, service: london, decision: exclude, from: 2026-10-04T00:00:00Z, until: 2026-10-04T00:05:00Z, direction: out, by: Jane, reason: DDoS}]`)
		w.close()
		w.now = date(2027, 1, 5)
		c.Set(w.now)
		w.own(address("2"))
		w.close()
		statement := find(t, w.report("2026-10"), "london", 3) // the credit that was not given
		if !statement.AmountExVAT.IsZero() || statement.InOctets != -900_000_000 {
			t.Fatalf("%+v", statement)
		}
		if list := findings(t, w.ledger); len(list) != 0 {
			t.Fatalf("before: %v", list)
		}

		was := readChained(t, db)
		numberOf := func(service string) int {
			return slices.IndexFunc(was, func(c chained) bool { return c.service == service && strings.Contains(c.body, `"excess":"0.4"`) })
		}
		london := numberOf("london")
		if london < 0 {
			t.Fatal("no statement of london has an excess of 0.4 GB")
		}
		name := func(i int) string { return "statement number " + string(rune('0'+was[i].number)) + " (" }
		f := func(what string, do func(list []chained) []chained, undo func(), want ...string) {
			t.Helper()
			if do != nil {
				if list := do(slices.Clone(was)); list != nil {
					writeChained(t, db, list)
				}
			}
			found := findings(t, w.ledger)
			wantSaid(t, what, found, want)
			writeChained(t, db, was)
			if undo != nil {
				undo()
			}
			if list := findings(t, w.ledger); len(list) != 0 {
				t.Fatalf("after %s: %v", what, list)
			}
		}
		f("one octet of a body", func(list []chained) []chained {
			list[london].body = strings.Replace(list[london].body, `"excess":"0.4"`, `"excess":"0.5"`, 1)
			return list
		}, nil, "chain: "+name(london), "its hash is not that of what it says", "statements: "+name(london), "excess 0.5 GB", "makes 2400000000 octets in, 0 out, excess 0.4 GB")
		f("a body with a chain made anew", func(list []chained) []chained {
			list[london].body = strings.Replace(list[london].body, `"excess":"0.4"`, `"excess":"0.5"`, 1)
			previous := ""
			for i := range list {
				list[i].previous, list[i].hash = previous, chainHash(previous, list[i].body)
				previous = list[i].hash
			}
			return list
		}, nil, "statements: "+name(london))
		f("one hash", func(list []chained) []chained {
			list[london].hash = strings.Repeat("0", 64)
			return list
		}, nil, "chain: "+name(london), "its hash is not that of what it says", "names another hash before it than that of number")
		f("one column", func(list []chained) []chained {
			list[london].service = "nepal"
			return list
		}, nil, "chain: statement number", "its row says london/2026-10-01", "of nepal for c1")
		f("the last hash", func([]chained) []chained {
			exec(t, db, `UPDATE statement_head SET hash = 'x'`)
			return nil
		}, nil, "chain: the last statement is number")
		f("an hour", func([]chained) []chained {
			exec(t, db, `UPDATE usage_day SET in_octets = in_octets + 1 WHERE meter = 'address:10.1.0.1'`)
			return nil
		}, func() { exec(t, db, `UPDATE usage_day SET in_octets = in_octets - 1 WHERE meter = 'address:10.1.0.1'`) },
			"days: address:10.1.0.1", "statements: "+name(london), "makes 2400000001 octets in")
		f("a late entry", func([]chained) []chained {
			exec(t, db, `UPDATE late_entry SET in_octets = in_octets + 1`)
			return nil
		}, func() { exec(t, db, `UPDATE late_entry SET in_octets = in_octets - 1`) }, "statements: statement number")
		f("an owner", func([]chained) []chained {
			exec(t, db, `UPDATE ownership SET service = 'nepal' WHERE meter_key = 'address:10.1.0.1'`)
			return nil
		}, func() { exec(t, db, `UPDATE ownership SET service = 'london' WHERE meter_key = 'address:10.1.0.1'`) }, "statements: "+name(london), "makes 900000000 octets in")
		exec(t, db, `DELETE FROM statement WHERE number = 2`)
		if list := findings(t, w.ledger); !slices.ContainsFunc(list, func(line string) bool { return strings.Contains(line, "statement number 3 follows number 1") }) {
			t.Errorf("a row that is gone: %v", list)
		}
	})
}
