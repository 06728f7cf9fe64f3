package notify_test

import (
	"context"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"hostmeter/detector/incident"
	"hostmeter/detector/notify"
	"hostmeter/internal/clock"
	"hostmeter/internal/config"
	"hostmeter/internal/restores"
	"hostmeter/internal/store"
	"hostmeter/internal/store/storetest"
)

// TestAlarmsOfALostLedgerWaitForTheLog restores a ledger in which one alarm was to be sent. While the log is read again
// nobody is called; then who was told before is told only of what is open, under the same id, and of each end.
func TestAlarmsOfALostLedgerWaitForTheLog(t *testing.T) {
	c := clock.NewManual(start)
	storetest.EachWithClock(t, c, func(t *testing.T, db *store.DB) {
		start := c.Now() // a store's time does not go back to the former one's
		received := &sink{}
		server := httptest.NewServer(received)
		defer server.Close()
		cfg := notify.Config{Webhooks: []notify.WebhookConfig{{URL: server.URL, Secret: config.NewSecret(secret)}}}
		readTo := start.Add(-12 * time.Hour)
		sender, err := notify.New(cfg, notify.Deps{DB: db, Clock: c, ReadTo: func() time.Time { return readTo }})
		if err != nil {
			t.Fatal(err)
		}
		incidents := incident.New(db, cfg.Receivers()...)
		raise := func(meter string, began time.Time) (id string) {
			t.Helper()
			i := incident.Incident{Rule: "rate", Meter: meter, Severity: "warning", Condition: "firing", BeganAt: began}
			if err := db.Update(t.Context(), func(tx *store.Tx) error {
				_, err := incidents.OpenTx(t.Context(), tx, i)
				return err
			}); err != nil {
				t.Fatal(err)
			}
			return incident.NewID(i.Rule, i.Meter, i.BeganAt)
		}
		told := func(want ...string) {
			t.Helper()
			send(t, sender)
			received.mu.Lock()
			defer received.mu.Unlock()
			var got []string
			for _, one := range received.got {
				text := string(one.body)
				for _, word := range []string{"over", "open", "new"} {
					if strings.Contains(text, `"meter":"`+word+`"`) {
						event, _, _ := strings.Cut(strings.TrimPrefix(text, `{"type":"incident.`), `"`)
						got = append(got, word+" "+event)
					}
				}
			}
			if strings.Join(got, ", ") != strings.Join(want, ", ") {
				t.Fatalf("told %q, want %q", got, want)
			}
			c.Advance(time.Minute)
		}
		over := raise("over", start.Add(-10*time.Hour))
		if err := db.Update(t.Context(), func(tx *store.Tx) error {
			n, err := notify.Waiting(t.Context(), tx)
			if n != 1 {
				t.Errorf("%d wait, want 1", n)
			}
			return errors.Join(err, restores.Add(t.Context(), tx))
		}); err != nil {
			t.Fatal(err)
		}
		told()
		raise("open", start.Add(-9*time.Hour))
		told()
		if _, err := incidents.Resolve(context.Background(), over, "detector", "clear"); err != nil {
			t.Fatal(err)
		}
		raise("new", start.Add(time.Minute))
		told("new opened", "over resolved")
		readTo = start.Add(2 * time.Minute)
		told("new opened", "over resolved", "open opened")
		told("new opened", "over resolved", "open opened")
		list, err := incidents.Notifications(t.Context(), over)
		if err != nil || len(list) != 2 {
			t.Fatalf("%+v, %v", list, err)
		}
		for _, one := range list {
			if one.Event == incident.EventOpened && (one.Outcome != "skipped" || !strings.Contains(one.Detail, "restored from a backup")) {
				t.Fatalf("%+v", one)
			}
		}
	})
}
