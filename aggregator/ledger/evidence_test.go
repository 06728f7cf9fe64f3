package ledger

import (
	"context"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	statements "hostmeter/aggregator/statement" // in this package a statement is also one of SQL
	"hostmeter/internal/clock"
	"hostmeter/internal/store"
	"hostmeter/internal/store/storetest"
	"hostmeter/schemas"
)

// evidence returns the report of a month and all of its evidence.
func (w *world) evidence(month string) (statements.Report, []statements.Evidence) {
	w.t.Helper()
	var report statements.Report
	var list []statements.Evidence
	err := w.ledger.Evidence(context.Background(), w.inv, month, w.now, func(r statements.Report, all func(func(statements.Row) bool) statements.Evidences) error {
		report = r
		for e, err := range all(func(statements.Row) bool { return true }) {
			if err != nil {
				return err
			}
			list = append(list, e)
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return report, list
}

// checkEvidence adds the evidence up: days, hours and ownership each come to what the rows say, and
// with the difference to the truth.
func (w *world) checkEvidence(month string, e statements.Evidence) {
	w.t.Helper()
	in, out := e.Sum()
	name := month + " " + e.Rows[0].Service
	sum := func(what string, list []statements.Usage) {
		var gotIn, gotOut int64
		for i, u := range list {
			if !u.From.Before(u.To) || i > 0 && u.From.Equal(list[i-1].From) && u.Class == list[i-1].Class {
				w.t.Errorf("%s: %s %+v", name, what, u)
			}
			if u.Counted {
				gotIn, gotOut = gotIn+u.InOctets, gotOut+u.OutOctets
			}
		}
		if gotIn != in+e.Difference.InOctets || gotOut != out+e.Difference.OutOctets {
			w.t.Errorf("%s: %s add up to %d in, %d out; rows to %d, %d; difference %+v", name, what, gotIn, gotOut, in, out, e.Difference)
		}
	}
	sum("days", e.Days)
	sum("hours", e.Hours)
	var owned []statements.Usage
	for i, o := range e.Owned {
		owned = append(owned, statements.Usage{From: o.From, To: o.To, Class: fmt.Sprint(i), Counted: true, InOctets: o.InOctets, OutOctets: o.OutOctets})
	}
	sum("spans of ownership", owned)
	if e.Slots.Expected != e.Slots.Present+e.Slots.Missing || e.Slots.Missing < 0 {
		w.t.Errorf("%s: slots %+v", name, e.Slots)
	}
	// The truth, day by day, from what was sent.
	for _, d := range e.Days {
		var wantIn, wantOut int64
		for _, s := range w.sent {
			at := start.Add(time.Duration(s.minute) * time.Minute)
			if s.class == d.Class && !at.Before(d.From) && at.Before(d.To) && w.ownerAt(s.meter, s.minute) == e.Rows[0].Service {
				wantIn, wantOut = wantIn+int64(s.in), wantOut+int64(s.out)
			}
		}
		if !e.Difference.IsZero() {
			continue // it is of late entries that the statement has not read
		}
		if d.InOctets != wantIn || d.OutOctets != wantOut {
			w.t.Errorf("%s: day %s %s has %d in, %d out; want %d, %d", name, d.From, d.Class, d.InOctets, d.OutOctets, wantIn, wantOut)
		}
	}
}

// TestEvidenceAddsUp closes, corrects and hands over in any order, in zones of whole hours and of
// quarters, and adds the evidence of every row up.
func TestEvidenceAddsUp(t *testing.T) {
	storetest.EachWithClock(t, clock.NewManual(start), func(t *testing.T, db *store.DB) {
		runs := 0
		rapid.Check(t, func(t *rapid.T) {
			if runs++; runs > worldsAtMost()/2 {
				return
			}
			emptyWorld(t, db)
			w := newWorld(t, db)
			w.drawOwnership(t)
			for range rapid.IntRange(4, 10).Draw(t, "steps") {
				switch rapid.SampledFrom([]string{"send", "seal", "own", "close"}).Draw(t, "step") {
				case "send":
					for range rapid.IntRange(1, 6).Draw(t, "tallies") {
						w.send(w.drawTally(t))
					}
				case "seal":
					w.seal(time.Duration(rapid.IntRange(1, 14*24).Draw(t, "hours")) * time.Hour)
				case "own":
					w.drawOwnership(t)
				case "close":
					w.close()
				}
			}
			w.seal(40 * 24 * time.Hour)
			w.close()
			months, err := w.ledger.Months(context.Background(), w.inv, w.now)
			if err != nil {
				t.Fatal(err)
			}
			for _, month := range months {
				report, list := w.evidence(month)
				rows := 0
				for _, e := range list {
					w.checkEvidence(month, e)
					if !e.Difference.IsZero() { // everything was looked at by the last close
						t.Errorf("%s %s: difference %+v", month, e.Rows[0].Service, e.Difference)
					}
					rows += len(e.Rows)
					if !e.Rows[0].Provisional && len(e.Closings) != len(e.Rows) {
						t.Errorf("%d closings of %d rows", len(e.Closings), len(e.Rows))
					}
				}
				if rows != len(report.Rows) {
					t.Errorf("%s: evidence of %d of %d rows", month, rows, len(report.Rows))
				}
			}
		})
	})
}

// TestEvidenceOfAHandover is a month that a person can check: an address goes from one service to
// another in the middle of an hour, an exporter is silent and declares losses, and something comes late.
func TestEvidenceOfAHandover(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		meter := "address:10.1.0.1"
		w.own(meter, ownedTime{"london", 0, 24*60 + 35}, ownedTime{"middle", 24*60 + 35, farMinute})
		w.send(
			sentTally{meter, schemas.ClassExternal, 10, 1_000, 1},         // Oct 1, london's
			sentTally{meter, schemas.ClassExternal, 24*60 + 34, 200, 2},   // Oct 2 00:34, london's last slot
			sentTally{meter, schemas.ClassExternal, 24*60 + 35, 5_000, 5}, // middle's first
			sentTally{meter, schemas.ClassInternal, 20, 70, 7},            // not counted of london
		)
		w.seal(35 * 24 * time.Hour)
		w.close()
		w.send(sentTally{meter, schemas.ClassExternal, 11, 30, 3})
		_, list := w.evidence("2026-10")
		e := evidenceOf(t, list, "london")
		if !e.Difference.IsZero() { // the statement did not read the late entry
			t.Fatalf("difference before the adjustment: %+v", e.Difference)
		}
		w.close()
		_, list = w.evidence("2026-10")
		e = evidenceOf(t, list, "london")
		if in, out := e.Sum(); in != 1_230 || out != 6 || !e.Difference.IsZero() || len(e.Rows) != 2 || len(e.Closings) != 2 || e.Closings[1].Booking != 1 {
			t.Fatalf("evidence %+v", e)
		}
		if len(e.Owned) != 1 || e.Owned[0].InOctets != 1_230 || !e.Owned[0].To.Equal(start.Add(24*time.Hour+35*time.Minute)) || e.Owned[0].Key != meter {
			t.Fatalf("owned %+v", e.Owned)
		}
		// London is an hour ahead of UTC in October: 00:34 UTC is 01:34 there, the same day.
		first, second := e.Days[0], e.Days[2]
		if first.InOctets != 1_030 || !first.Counted || e.Days[1].InOctets != 70 || e.Days[1].Counted || second.InOctets != 200 || second.From.Day() != 2 {
			t.Fatalf("days %+v", e.Days[:4])
		}
		if e.CustomerName != "Ada Ltd" || e.Price == nil || e.Price.Amount.String() != "0.5" || e.Price.Noticed.String() != "2025-12-01" {
			t.Fatalf("price %+v of %q", e.Price, e.CustomerName)
		}
		if other := evidenceOf(t, list, "middle"); other.Owned[0].InOctets != 5_000 {
			t.Fatalf("middle owned %+v", other.Owned)
		}
	})
}

func evidenceOf(t *testing.T, list []statements.Evidence, service string) statements.Evidence {
	t.Helper()
	for _, e := range list {
		if e.Rows[0].Service == service {
			return e
		}
	}
	t.Fatalf("no evidence of %s", service)
	return statements.Evidence{}
}

func TestSlotsThatTouchAGap(t *testing.T) {
	at := func(minutes int) time.Time { return start.Add(time.Duration(minutes) * time.Minute) }
	f := func(from, to int, gaps []statements.Gap, wantExpected, wantMissing int64) {
		t.Helper()
		if expected, missing := slotsOf(at(from), at(to), gaps); expected != wantExpected || missing != wantMissing {
			t.Fatalf("slots of [%d, %d) with %v: %d, %d missing; want %d, %d", from, to, gaps, expected, missing, wantExpected, wantMissing)
		}
	}
	gap := func(from, to int) statements.Gap { return statements.Gap{From: at(from), To: at(to)} }
	f(0, 60, nil, 12, 0)
	f(0, 60, []statements.Gap{gap(0, 60)}, 12, 12)
	f(0, 60, []statements.Gap{gap(4, 6)}, 12, 2)
	f(0, 60, []statements.Gap{gap(5, 10)}, 12, 1)
	f(0, 60, []statements.Gap{gap(5, 10), gap(6, 11)}, 12, 2) // two exporters: a slot is missing once
	f(0, 60, []statements.Gap{gap(20, 40), gap(0, 30)}, 12, 8)
	f(3, 58, []statements.Gap{gap(0, 4)}, 11, 0) // only slots that begin in the period
	f(10, 10, nil, 0, 0)
}
