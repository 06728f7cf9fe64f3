package httpapi

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"hostmeter/internal/auth"
	"hostmeter/internal/clock"
	"hostmeter/internal/store/storetest"
)

// password is long enough, and not to be found in any log.
const password = "canary-correct-horse-battery"

// site is a server over the fake, with a user and a token of each role.
type site struct {
	t      testing.TB
	fake   *fake
	clock  *clock.Manual
	keeper *auth.Keeper
	server *Server
	log    *lockedBuffer
	tokens map[auth.Role]string
}

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func newSite(t testing.TB, change ...func(*Config, *Deps)) *site {
	t.Helper()
	s := &site{t: t, fake: newFake(), clock: clock.NewManual(fakeNow), log: &lockedBuffer{}, tokens: map[auth.Role]string{}}
	s.keeper = auth.New(storetest.SQLite(t, s.clock), s.clock, auth.DefaultConfig())
	ctx := context.Background()
	for _, role := range auth.Roles {
		token, err := s.keeper.CreateToken(ctx, "local:root", "token-"+string(role), role)
		if err != nil {
			t.Fatal(err)
		}
		s.tokens[role] = token
	}
	config := DefaultConfig()
	config.Listen = "127.0.0.1:0"
	registry := prometheus.NewRegistry()
	deps := Deps{Backend: s.fake.backend(), Auth: s.keeper, Clock: s.clock, Logger: slog.New(slog.NewJSONHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Registry: registry, Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "up 1\n") }),
		Zone: london(), Provider: "Example Hosting", Version: "v0.1.0"}
	for _, f := range change {
		f(&config, &deps)
	}
	var err error
	if s.server, err = New(config, deps); err != nil {
		t.Fatal(err)
	}
	return s
}

// addUser makes a user of the name of its role; a password is slow to hash, so only who needs it asks.
func (s *site) addUser(role auth.Role) {
	s.t.Helper()
	if err := s.keeper.AddUser(context.Background(), "local:root", string(role), role, password); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) do(r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	s.server.Handler().ServeHTTP(w, r)
	return w
}

// ask sends a request with the token of role, "" for none.
func (s *site) ask(role auth.Role, method, path, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	if role != "" {
		r.Header.Set("Authorization", "Bearer "+s.tokens[role])
	}
	return s.do(r)
}

// login logs in and returns the session's cookie.
func (s *site) login(role auth.Role, headers ...string) *http.Cookie {
	s.t.Helper()
	w := s.tryLogin(string(role), password, headers...)
	if w.Code != http.StatusSeeOther {
		s.t.Fatalf("login as %s: status %d, %s", role, w.Code, w.Body)
	}
	cookies := w.Result().Cookies()
	if len(cookies) != 1 {
		s.t.Fatalf("login set %d cookies, want 1", len(cookies))
	}
	return cookies[0]
}

func (s *site) tryLogin(name, secret string, headers ...string) *httptest.ResponseRecorder {
	form := url.Values{"name": {name}, "password": {secret}, "next": {"/noc"}}
	r := httptest.NewRequest("POST", "/login", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return s.do(r)
}
