package notify_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"hostmeter/detector/incident"
	"hostmeter/detector/notify"
	"hostmeter/internal/clock"
	"hostmeter/internal/config"
	"hostmeter/internal/store"
	"hostmeter/internal/store/storetest"
)

// sink is a receiver that answers as told, and keeps what it took.
type sink struct {
	mu      sync.Mutex
	answers []int // the next ones; then 200
	got     []taken
}

type taken struct {
	header http.Header
	body   []byte
}

func (s *sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	s.got = append(s.got, taken{r.Header.Clone(), body})
	if len(s.answers) > 0 {
		w.WriteHeader(s.answers[0])
		s.answers = s.answers[1:]
	}
}

const secret = "a secret of some length"

var start = time.Date(2026, 10, 5, 12, 0, 0, 0, time.UTC)

func lab(t *testing.T, kind string) (*sink, *clock.Manual, *store.DB, *incident.Store, *notify.Sender) {
	t.Helper()
	received := &sink{}
	server := httptest.NewServer(received)
	t.Cleanup(server.Close)
	var cfg notify.Config
	if kind == "webhook" {
		cfg.Webhooks = []notify.WebhookConfig{{URL: server.URL + "/hook", Secret: config.NewSecret(secret)}}
	} else {
		cfg.Alertmanager = []notify.AlertmanagerConfig{{URL: server.URL}}
	}
	c := clock.NewManual(start)
	db := storetest.SQLite(t, c)
	sender, err := notify.New(cfg, notify.Deps{DB: db, Clock: c})
	if err != nil {
		t.Fatal(err)
	}
	return received, c, db, incident.New(db, cfg.Receivers()...), sender
}

func open(t *testing.T, db *store.DB, incidents *incident.Store) string {
	t.Helper()
	return openOn(t, db, incidents, "guest:7b0c")
}

func openOn(t *testing.T, db *store.DB, incidents *incident.Store, meter string) string {
	t.Helper()
	i := incident.Incident{
		Rule: "sustained-cpu", Meter: meter, Severity: "warning", Condition: "firing", BeganAt: start.Add(-72 * time.Hour),
		Evidence: incident.Evidence{Metric: "cpu_ratio", Threshold: 0.9, Share: 0.97, Coverage: 1},
	}
	if err := db.Update(context.Background(), func(tx *store.Tx) error {
		_, err := incidents.OpenTx(context.Background(), tx, i)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return incident.NewID(i.Rule, i.Meter, i.BeganAt)
}

func send(t *testing.T, s *notify.Sender) {
	t.Helper()
	if err := s.SendDue(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func TestWebhookIsSignedAndARepeatHasTheSameID(t *testing.T) {
	received, c, db, incidents, sender := lab(t, "webhook")
	received.answers = []int{500, 429}
	open(t, db, incidents)
	send(t, sender)
	send(t, sender) // not due yet
	if len(received.got) != 1 {
		t.Fatalf("%d attempts at once, want 1", len(received.got))
	}
	for range 2 {
		c.Advance(time.Minute)
		send(t, sender)
	}
	c.Advance(24 * time.Hour)
	send(t, sender) // it was taken: never again
	if len(received.got) != 3 {
		t.Fatalf("%d attempts, want 3: two that failed and one that was taken", len(received.got))
	}
	for _, one := range received.got {
		id, timestamp := one.header.Get("webhook-id"), one.header.Get("webhook-timestamp")
		if id == "" || id != received.got[0].header.Get("webhook-id") {
			t.Errorf("id %q of a repeat of %q", id, received.got[0].header.Get("webhook-id"))
		}
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write([]byte(id + "." + timestamp + "."))
		mac.Write(one.body)
		if want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)); one.header.Get("webhook-signature") != want {
			t.Errorf("signature %q, want %q", one.header.Get("webhook-signature"), want)
		}
	}
}

func TestAlertmanagerIsToldAgainUntilTheEnd(t *testing.T) {
	received, c, db, incidents, sender := lab(t, "alertmanager")
	id := open(t, db, incidents)
	send(t, sender)
	c.Advance(6 * time.Minute)
	send(t, sender)
	if _, err := incidents.Resolve(context.Background(), id, "user:ada", "over"); err != nil {
		t.Fatal(err)
	}
	c.Advance(time.Second)
	send(t, sender)
	c.Advance(time.Hour)
	send(t, sender)
	if len(received.got) != 3 {
		t.Fatalf("told %d times, want 3: at first, again while it stands, at the end", len(received.got))
	}
	for n, one := range received.got {
		var alerts []struct {
			Labels map[string]string
			EndsAt time.Time
		}
		if err := json.Unmarshal(one.body, &alerts); err != nil || len(alerts) != 1 {
			t.Fatalf("body %s: %v", one.body, err)
		}
		if alerts[0].Labels["incident"] != id || alerts[0].Labels["alertname"] != "sustained-cpu" {
			t.Errorf("labels %v", alerts[0].Labels)
		}
		if ended := !alerts[0].EndsAt.After(c.Now()); n == 2 && !ended || n == 0 && alerts[0].EndsAt.Before(start.Add(10*time.Minute)) {
			t.Errorf("message %d ends at %s", n, alerts[0].EndsAt)
		}
	}
}

func TestSilencedIncidentsAreNotSent(t *testing.T) {
	received, c, db, incidents, sender := lab(t, "webhook")
	id := open(t, db, incidents)
	if _, err := incidents.Silence(context.Background(), id, start.Add(time.Hour), "user:ada", "known"); err != nil {
		t.Fatal(err)
	}
	send(t, sender)
	c.Advance(30 * time.Minute)
	send(t, sender)
	if len(received.got) != 0 {
		t.Fatalf("a silenced incident was sent %d times", len(received.got))
	}
	c.Advance(time.Hour)
	send(t, sender)
	if len(received.got) != 1 {
		t.Fatalf("after the silence it was sent %d times, want 1", len(received.got))
	}
}

func TestRefusalIsNotRepeated(t *testing.T) {
	received, c, db, incidents, sender := lab(t, "webhook")
	received.answers = []int{410}
	open(t, db, incidents)
	for range 5 {
		send(t, sender)
		c.Advance(time.Hour)
	}
	if len(received.got) != 1 {
		t.Fatalf("a refused message was sent %d times, want 1", len(received.got))
	}
}

func TestConfigurationNamesTheKey(t *testing.T) {
	f := func(c notify.Config, want string) {
		t.Helper()
		if err := c.Validate(); err == nil || err.Error()[:len(want)] != want {
			t.Fatalf("got %v, want %s…", err, want)
		}
	}
	f(notify.Config{Alertmanager: []notify.AlertmanagerConfig{{URL: "localhost:9093"}}}, "alertmanager[0].url")
	f(notify.Config{Webhooks: []notify.WebhookConfig{{URL: "https://x"}}}, "webhooks[0].secret")
}

// TestAnEndIsNotToldBeforeItsBegin: a receiver that was away while an incident began and ended is told of both in their order.
func TestAnEndIsNotToldBeforeItsBegin(t *testing.T) {
	received, c, db, incidents, sender := lab(t, "webhook")
	received.answers = []int{500, 500, 500, 500, 500, 500}
	id := open(t, db, incidents)
	send(t, sender)
	for range 5 { // each wait is longer: the last one is not over
		c.Advance(15 * time.Minute)
		send(t, sender)
	}
	if len(received.got) != 6 {
		t.Fatalf("%d attempts", len(received.got))
	}
	if _, err := incidents.Resolve(context.Background(), id, "user:ada", "over"); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		send(t, sender)
		c.Advance(time.Minute)
	}
	var events []string
	for _, one := range received.got[6:] {
		var body struct {
			Type string `json:"type"`
		}
		if err := json.Unmarshal(one.body, &body); err != nil {
			t.Fatal(err)
		}
		events = append(events, body.Type)
	}
	if len(events) != 2 || !strings.Contains(events[0], "opened") || !strings.Contains(events[1], "resolved") {
		t.Errorf("told %q", events)
	}
}
