package webhook_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"hostmeter/internal/webhook"
)

// The message, key and signature of the specification's own example.
// Source: Standard Webhooks, specification 1.0.0, reference implementations' test vector.
func TestSignature(t *testing.T) {
	key := webhook.Key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	headers := webhook.Headers([][]byte{key}, "msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`))
	if got, want := headers["webhook-signature"], "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want {
		t.Fatalf("signature %s, want %s", got, want)
	}
	if headers["webhook-id"] != "msg_p5jXN8AQM9LWM0D4loKWxJek" || headers["webhook-timestamp"] != "1614265330" {
		t.Fatalf("headers %v", headers)
	}
}

func TestEachKeySigns(t *testing.T) {
	at, body := time.Unix(1, 0), []byte("{}")
	one := func(secret string) string {
		return webhook.Headers([][]byte{webhook.Key(secret)}, "id", at, body)["webhook-signature"]
	}
	both := webhook.Headers([][]byte{webhook.Key("new"), webhook.Key("old")}, "id", at, body)["webhook-signature"]
	if both != one("new")+" "+one("old") || one("new") == one("old") {
		t.Fatalf("got %q", both)
	}
}

func TestAnswers(t *testing.T) {
	f := func(status int, location string, refused, failed bool) {
		t.Helper()
		elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("it went to another host") }))
		defer elsewhere.Close()
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if body, _ := io.ReadAll(r.Body); string(body) != "{}" || r.Header.Get("Content-Type") != "application/cloudevents+json" {
				t.Errorf("body %q, headers %v", body, r.Header)
			}
			if location != "" {
				w.Header().Set("Location", elsewhere.URL)
			}
			w.WriteHeader(status)
			_, _ = io.WriteString(w, strings.Repeat("x", 2000))
		}))
		defer server.Close()
		err := webhook.Post(t.Context(), webhook.Client(5*time.Second), server.URL, []byte("{}"), map[string]string{"Content-Type": "application/cloudevents+json"})
		if errors.Is(err, webhook.ErrRefused) != refused || (err != nil) != failed {
			t.Fatalf("%d: got %v", status, err)
		}
		if err != nil && len(err.Error()) > 700 {
			t.Fatalf("%d: the whole answer is in the error", status)
		}
	}
	f(200, "", false, false)
	f(202, "", false, false)
	f(400, "", true, true)
	f(410, "", true, true)
	f(408, "", false, true)
	f(429, "", false, true)
	f(503, "", false, true)
	f(302, "x", false, true)
	f(307, "x", false, true)
	f(308, "x", false, true)
}
