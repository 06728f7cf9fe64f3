package notify_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"hostmeter/detector/incident"
	"hostmeter/detector/notify"
	"hostmeter/internal/clock"
	"hostmeter/internal/config"
	"hostmeter/internal/store"
	"hostmeter/internal/store/storetest"
)

// TestKilledBetweenSendingAndNoting: the receiver took the message, and we never learnt. What is sent
// again, by another process, has the same id and the same body.
func TestKilledBetweenSendingAndNoting(t *testing.T) {
	received := &sink{}
	var cut atomic.Bool
	cut.Store(true)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		received.ServeHTTP(httptest.NewRecorder(), r)
		if cut.Load() {
			panic(http.ErrAbortHandler) // after the effect the connection is gone
		}
	}))
	defer server.Close()
	cfg := notify.Config{Webhooks: []notify.WebhookConfig{{URL: server.URL, Secret: config.NewSecret(secret)}}}
	c := clock.NewManual(start)
	db := storetest.SQLite(t, c)
	open(t, db, incident.New(db, cfg.Receivers()...))
	for range 3 { // each time a new process
		sender, err := notify.New(cfg, notify.Deps{DB: db, Clock: c})
		if err != nil {
			t.Fatal(err)
		}
		send(t, sender)
		c.Advance(time.Minute)
		received.mu.Lock()
		cut.Store(len(received.got) < 2)
		received.mu.Unlock()
	}
	received.mu.Lock()
	defer received.mu.Unlock()
	if len(received.got) != 3 {
		t.Fatalf("%d attempts, want 3", len(received.got))
	}
	for _, one := range received.got {
		if one.header.Get("webhook-id") != received.got[0].header.Get("webhook-id") || string(one.body) != string(received.got[0].body) {
			t.Fatal("a repeat is not the same message")
		}
	}
	i, err := incident.New(db).List(context.Background(), incident.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	sent, err := incident.New(db).Notifications(context.Background(), i[0].ID)
	if err != nil || len(sent) != 1 || sent[0].Outcome != "sent" || sent[0].Attempts != 2 {
		t.Fatalf("%+v, %v, want one that was sent after two failures", sent, err)
	}
}

// TestAReceiverThatIsDownHoldsUpNoOther also waits for no timeout: the first one never answers.
func TestAReceiverThatIsDownHoldsUpNoOther(t *testing.T) {
	got := make(chan struct{}, 1)
	good := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { got <- struct{}{} }))
	defer good.Close()
	release := make(chan struct{})
	hung := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer hung.Close()
	defer close(release)
	cfg := notify.Config{Webhooks: []notify.WebhookConfig{
		{URL: hung.URL, Secret: config.NewSecret(secret)}, {URL: good.URL, Secret: config.NewSecret(secret)}}}
	c := clock.NewManual(start)
	db := storetest.SQLite(t, c)
	open(t, db, incident.New(db, cfg.Receivers()...))
	sender, err := notify.New(cfg, notify.Deps{DB: db, Clock: c})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- sender.SendDue(ctx) }()
	select {
	case <-got:
	case <-time.After(5 * time.Second):
		t.Error("the second receiver waits for the first")
	}
	cancel()
	<-ended
}

func TestWhatEndsInItsSilenceIsNotTold(t *testing.T) {
	received, c, db, incidents, sender := lab(t, "webhook")
	ctx := context.Background()
	id := open(t, db, incidents)
	if _, err := incidents.Silence(ctx, id, start.Add(time.Hour), "user:ada", "known"); err != nil {
		t.Fatal(err)
	}
	send(t, sender)
	if _, err := incidents.Resolve(ctx, id, "user:ada", ""); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		c.Advance(20 * time.Minute)
		send(t, sender)
	}
	if len(received.got) != 0 {
		t.Fatalf("it was told of %d times", len(received.got))
	}
}

func TestTheEndOfWhatWasToldIsToldInASilence(t *testing.T) {
	received, c, db, incidents, sender := lab(t, "webhook")
	ctx := context.Background()
	id := open(t, db, incidents)
	send(t, sender)
	if _, err := incidents.Silence(ctx, id, start.Add(24*time.Hour), "user:ada", "known"); err != nil {
		t.Fatal(err)
	}
	if _, err := incidents.Resolve(ctx, id, "user:ada", ""); err != nil {
		t.Fatal(err)
	}
	c.Advance(time.Second)
	send(t, sender)
	c.Advance(time.Hour)
	send(t, sender)
	if len(received.got) != 2 {
		t.Fatalf("told %d times, want the begin and the end", len(received.got))
	}
	var last struct {
		Type string
		Data struct{ State string }
	}
	if err := json.Unmarshal(received.got[1].body, &last); err != nil || last.Type != "incident.resolved" || last.Data.State != "resolved" {
		t.Fatalf("%s: %v", received.got[1].body, err)
	}
}

// TestOnEveryStore: two receivers, one of which refuses, on SQLite and on PostgreSQL.
func TestOnEveryStore(t *testing.T) {
	c := clock.NewManual(start)
	storetest.EachWithClock(t, c, func(t *testing.T, db *store.DB) {
		received, refuses := &sink{}, &sink{answers: []int{410}}
		var cfg notify.Config
		for _, s := range []*sink{received, refuses} {
			server := httptest.NewServer(s)
			t.Cleanup(server.Close)
			cfg.Webhooks = append(cfg.Webhooks, notify.WebhookConfig{URL: server.URL, Secret: config.NewSecret(secret)})
		}
		sender, err := notify.New(cfg, notify.Deps{DB: db, Clock: c})
		if err != nil {
			t.Fatal(err)
		}
		id := open(t, db, incident.New(db, cfg.Receivers()...))
		send(t, sender)
		sent, err := incident.New(db).Notifications(context.Background(), id)
		if err != nil || len(sent) != 2 || sent[0].Outcome != "sent" || sent[1].Outcome != "refused" || len(received.got) != 1 {
			t.Fatalf("%+v, %v", sent, err)
		}
	})
}
