package export

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"hostmeter/aggregator/ledger"
	"hostmeter/internal/clock"
	"hostmeter/internal/config"
	"hostmeter/internal/store"
	"hostmeter/internal/store/storetest"
)

// ask makes a statement wait for a person, as its closing does, or says what a person has said.
func (l *lab) ask(s ledger.Statement, state ledger.Approval) {
	l.t.Helper()
	l.books.statements[s.Number-1].Approval = state
	err := l.db.Update(context.Background(), func(tx *store.Tx) error {
		_, err := tx.Exec(context.Background(), `INSERT INTO statement_approval (number, statement, amount, state, decided_at, decided_by, reason)
			VALUES (?, ?, '60', ?, 0, '', '') ON CONFLICT (number) DO UPDATE SET state = excluded.state`, s.Number, s.Body.Row.Statement, string(state))
		return err
	})
	if err != nil {
		l.t.Fatal(err)
	}
}

// TestChargesGoAfterTheirApproval holds back, approves and waives at WHMCS and at a webhook.
func TestChargesGoAfterTheirApproval(t *testing.T) {
	c := clock.NewManual(start)
	storetest.EachWithClock(t, c, func(t *testing.T, db *store.DB) {
		c.Set(start)
		l := newLab(t, db, c)
		var told []string
		hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			for _, name := range []string{"s1/2026-10-01", "s2/2026-10-01", "s3/2026-10-01"} {
				if strings.Contains(string(body), `"`+name+`"`) {
					told = append(told, name)
				}
			}
		}))
		defer hook.Close()
		l.cfg.Webhooks = []WebhookConfig{{Name: "billing", URL: hook.URL, Secrets: []config.Secret{config.NewSecret("whsec_c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0")}, Feeds: []Feed{Statements}}}
		first := l.books.close("s1", "c1", "60", 1, start)
		second := l.books.close("s2", "c2", "60", 1, start)
		third := l.books.close("s3", "c2", "60", 1, start)
		l.ask(first, ledger.ApprovalWaiting)
		l.ask(second, ledger.ApprovalWaiting)
		rounds := func() {
			t.Helper()
			for range 3 {
				if err := l.process().Now(context.Background()); err != nil {
					t.Fatal(err)
				}
				c.Advance(time.Hour)
			}
		}
		rounds()
		l.want(first, Pending, 0, "")
		l.want(second, Pending, 0, "")
		l.want(third, Done, 1, "")
		if strings.Join(told, " ") != "s3/2026-10-01" { // what waits holds up nothing else
			t.Fatalf("told %v", told)
		}
		plan, err := l.process().Plan(context.Background(), 20)
		if err != nil || len(plan) != 2 || plan[0].Request != nil || plan[0].Note != waitsForApproval {
			t.Fatalf("plan: %+v, %v", plan, err)
		}
		err = l.process().Settle(context.Background(), receiverWHMCS, keyOf(first), Settlement{Decision: Again, By: "ada", Reason: "send it"})
		if err == nil {
			t.Fatal("a charge that waits was settled to be sent")
		}

		l.ask(first, ledger.ApprovalGiven)
		l.ask(second, ledger.ApprovalRefused)
		rounds()
		l.want(first, Done, 1, "")
		l.want(second, Waived, 0, "")
		l.want(third, Done, 1, "")
		if strings.Join(told, " ") != "s3/2026-10-01 s1/2026-10-01" {
			t.Fatalf("told %v", told)
		}
		rounds()
		l.want(first, Done, 1, "")
		if len(told) != 2 {
			t.Fatalf("told again: %v", told)
		}
	})
}

// TestWhatWaitsHoldsNothingUp: whoever is killed where and whatever fails, a webhook is told of each statement once that nobody has
// to decide about, of one that was approved after that, of one that was waived never, and of a correction after what
// it corrects.
func TestWhatWaitsHoldsNothingUp(t *testing.T) {
	c := clock.NewManual(start)
	storetest.EachWithClock(t, c, func(t *testing.T, db *store.DB) {
		rapid.Check(t, func(r *rapid.T) {
			emptyHandover(r, db)
			must := func(err error) {
				if err != nil {
					r.Fatal(err)
				}
			}
			must(db.Update(context.Background(), func(tx *store.Tx) error {
				_, err := tx.Exec(context.Background(), `DELETE FROM statement_approval`)
				return err
			}))
			l := newPushLab(t, db, c)
			defer l.sink.Close()
			l.cfg.Webhooks[0].Feeds = []Feed{Statements}
			state := func(s ledger.Statement) ledger.Approval { return l.books.statements[s.Number-1].Approval }
			ask := func(s ledger.Statement, state ledger.Approval) { (&lab{t: t, db: db, books: l.books}).ask(s, state) }
			round := func(point string) { l.roundKilledAt(point, rapid.IntRange(0, 3).Draw(r, "skip"), true) }
			told := func() map[int64]bool {
				l.sink.mu.Lock()
				defer l.sink.mu.Unlock()
				got := map[int64]bool{}
				last := map[string]int{}
				for _, seq := range l.sink.order["hostmeter.statement.v1"] {
					row := l.books.statements[seq-1].Body.Row
					if row.Revision <= last[row.Service] {
						r.Fatalf("revision %d of %s was told after %d", row.Revision, row.Statement, last[row.Service])
					}
					got[seq], last[row.Service] = true, row.Revision
				}
				if len(l.sink.faults) > 0 {
					r.Fatalf("%q", l.sink.faults)
				}
				return got
			}
			check := func() {
				got := told()
				before := map[string]bool{} // of a statement something waits
				for _, s := range l.books.statements {
					before[s.Body.Row.Statement] = before[s.Body.Row.Statement] || state(s) == ledger.ApprovalWaiting
					if want := !before[s.Body.Row.Statement] && state(s) != ledger.ApprovalRefused; got[s.Number] != want {
						r.Fatalf("statement %d, %s of %s: told %v, want %v", s.Number, state(s), s.Body.Row.Statement, got[s.Number], want)
					}
				}
			}
			revisions := map[string]int{}
			r.Repeat(map[string]func(*rapid.T){
				"close": func(r *rapid.T) {
					service := rapid.SampledFrom([]string{"s1", "s2", "s3", "s4", "s5"}).Draw(r, "service")
					revisions[service]++
					s := l.books.close(service, "c1", rapid.SampledFrom([]string{"60", "0"}).Draw(r, "amount"), revisions[service], c.Now())
					if rapid.IntRange(0, 2).Draw(r, "waits") == 0 {
						ask(s, ledger.ApprovalWaiting)
					}
				},
				"decide": func(r *rapid.T) {
					var waits []ledger.Statement
					for _, s := range l.books.statements {
						if state(s) == ledger.ApprovalWaiting {
							waits = append(waits, s)
						}
					}
					if len(waits) > 0 {
						ask(rapid.SampledFrom(waits).Draw(r, "which"), rapid.SampledFrom([]ledger.Approval{ledger.ApprovalGiven, ledger.ApprovalRefused}).Draw(r, "decision"))
					}
				},
				"round": func(r *rapid.T) {
					l.sink.answers = rapid.SliceOfN(rapid.SampledFrom([]int{204, 0, 1, 400, 500}), 0, 4).Draw(r, "answers")
					round(rapid.SampledFrom([]string{"never", "before push", "after push", "before cursor", "after cursor"}).Draw(r, "point"))
				},
				"all": func(*rapid.T) {
					l.sink.answers = nil
					c.Advance(pushHold + time.Second) // whoever was killed holds the receiver until then
					round("never")
					check()
				},
			})
		})
	})
}
