package notify_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync"
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

// TestAPausedSenderRepeatsNothing: a sender that is held up in the middle of its list, as by SIGSTOP, while another goes
// on, tells nothing of what the other has told, and the other leaves alone what the first is at, for a while.
func TestAPausedSenderRepeatsNothing(t *testing.T) {
	c := clock.NewManual(start)
	storetest.EachWithClock(t, c, func(t *testing.T, db *store.DB) {
		received := &sink{}
		reached, wake := make(chan struct{}), make(chan struct{})
		var held atomic.Bool
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			received.ServeHTTP(w, r)
			if held.CompareAndSwap(false, true) {
				close(reached)
				<-wake
			}
		}))
		defer server.Close()
		cfg := notify.Config{Webhooks: []notify.WebhookConfig{{URL: server.URL, Secret: config.NewSecret(secret)}}}
		sender := func() *notify.Sender {
			// The paused one's request does not end while it is paused.
			s, err := notify.New(cfg, notify.Deps{DB: db, Clock: c, Client: server.Client()})
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		incidents := incident.New(db, cfg.Receivers()...)
		ids := []string{openOn(t, db, incidents, "guest:1"), openOn(t, db, incidents, "guest:2")}
		ended := make(chan error, 1)
		paused, other := sender(), sender()
		go func() { ended <- paused.SendDue(context.Background()) }()
		<-reached
		send(t, other)
		for _, id := range ids {
			if _, err := incidents.Resolve(context.Background(), id, "user:ada", ""); err != nil {
				t.Fatal(err)
			}
		}
		c.Advance(time.Second)
		send(t, other)
		close(wake)
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		c.Advance(time.Second)
		send(t, other)
		seen := map[string]int{}
		received.mu.Lock()
		defer received.mu.Unlock()
		for _, one := range received.got {
			seen[one.header.Get("webhook-id")]++
		}
		for _, id := range ids {
			for _, event := range []string{incident.EventOpened, incident.EventResolved} {
				if n := seen[incident.NotificationID(id, "webhook-1", event)]; n != 1 {
					t.Errorf("%s of %s is told %d times", event, id, n)
				}
			}
		}
	})
}

// TestWhatAKilledSenderWasAtIsSentAgain: by another, once the attempt must be over; at once where the first was stopped.
func TestWhatAKilledSenderWasAtIsSentAgain(t *testing.T) {
	f := func(stopped bool) {
		t.Helper()
		received, c, db, incidents, _ := lab(t, "webhook")
		reached, hangs := make(chan struct{}, 9), make(chan struct{})
		hung := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached <- struct{}{}; <-hangs }))
		defer hung.Close()
		release := sync.OnceFunc(func() { close(hangs) })
		defer release()
		good := httptest.NewServer(received)
		defer good.Close()
		open(t, db, incidents)
		at := func(url string) *notify.Sender {
			s, err := notify.New(notify.Config{Webhooks: []notify.WebhookConfig{{URL: url, Secret: config.NewSecret(secret)}}}, notify.Deps{DB: db, Clock: c, Client: http.DefaultClient})
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		killed := at(hung.URL)
		go func() { ended <- killed.SendDue(ctx) }()
		<-reached
		next := at(good.URL)
		if stopped {
			cancel()
			<-ended
		} else {
			c.Advance(29 * time.Second)
			send(t, next)
			if n := len(received.got); n != 0 {
				t.Fatalf("%d messages while the first may be at it", n)
			}
			c.Advance(time.Second)
		}
		send(t, next)
		if n := len(received.got); n != 1 {
			t.Fatalf("%d messages, want 1", n)
		}
		cancel()
		release()
		if !stopped {
			<-ended
		}
	}
	f(false)
	f(true)
}
