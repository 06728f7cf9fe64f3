package export

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

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
		if len(told) != 0 {
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
		if strings.Join(told, " ") != "s1/2026-10-01 s3/2026-10-01" {
			t.Fatalf("told %v", told)
		}
		rounds()
		l.want(first, Done, 1, "")
		if len(told) != 2 {
			t.Fatalf("told again: %v", told)
		}
	})
}
