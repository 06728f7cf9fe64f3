package httpapi

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hostmeter/internal/auth"
)

// slowSummary answers when it is told to.
type slowSummary struct {
	*fake
	asked, answer chan struct{}
}

func (s slowSummary) Summary(ctx context.Context, month Month, now time.Time) (Summary, error) {
	close(s.asked)
	<-s.answer
	return s.fake.Summary(ctx, month, now)
}

// TestShutdownLetsRequestsEnd stops the server while a request is under way.
func TestShutdownLetsRequestsEnd(t *testing.T) {
	slow := slowSummary{asked: make(chan struct{}), answer: make(chan struct{})}
	s := newSite(t, func(_ *Config, d *Deps) {
		slow.fake = newFake()
		d.Backend.Summary = slow
	})
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	if err := s.server.Open(ctx); err != nil {
		t.Fatal(err)
	}
	stopped := make(chan error, 1)
	go func() { stopped <- s.server.Run(ctx) }()
	answer := make(chan string, 1)
	go func() {
		r, _ := http.NewRequest("GET", s.server.URL()+"api/v1/summary", nil)
		r.Header.Set("Authorization", "Bearer "+s.tokens[auth.Finance])
		w, err := http.DefaultClient.Do(r)
		if err != nil {
			answer <- err.Error()
			return
		}
		defer w.Body.Close()
		text, err := io.ReadAll(w.Body)
		if err != nil {
			text = []byte(err.Error())
		}
		answer <- w.Status + " " + string(text)
	}()
	<-slow.asked
	stop()
	for { // the listener closes first …
		conn, err := net.Dial("tcp", s.server.Addr().String())
		if err != nil {
			break
		}
		_ = conn.Close()
	}
	select {
	case err := <-stopped:
		t.Fatalf("the server ended under a request: %v", err)
	default:
	}
	close(slow.answer) // … and the request is still answered
	if got := <-answer; !strings.HasPrefix(got, "200 OK {") {
		t.Errorf("the request under way got %.100s", got)
	}
	if err := <-stopped; err != nil {
		t.Errorf("Run: %v", err)
	}
	if err := s.server.Close(); err != nil {
		t.Errorf("Close after Run: %v", err)
	}
	if err := s.server.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

func TestCloseBeforeOpen(t *testing.T) {
	s := newSite(t)
	if s.server.Addr() != nil || s.server.URL() != "" {
		t.Error("it listens before Open")
	}
	if err := s.server.Close(); err != nil {
		t.Error(err)
	}
}

func TestPortInUseNamesTheKey(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	s := newSite(t, func(c *Config, _ *Deps) { c.Listen = taken.Addr().String() })
	if err := s.server.Run(context.Background()); err == nil || !strings.HasPrefix(err.Error(), "http.listen: ") {
		t.Errorf("error %v", err)
	}
}

// TestTLS serves with a certificate and wants what only TLS brings.
func TestTLS(t *testing.T) {
	certificate, key := selfSigned(t)
	s := newSite(t, func(c *Config, _ *Deps) { c.TLS = TLSConfig{Certificate: certificate, Key: key} })
	base := s.listen()
	if !strings.HasPrefix(base, "https://") {
		t.Fatal(base)
	}
	pool := x509.NewCertPool()
	text, err := os.ReadFile(certificate)
	if err != nil || !pool.AppendCertsFromPEM(text) {
		t.Fatal("no certificate")
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	defer client.CloseIdleConnections()
	w, err := client.Get(base + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	defer w.Body.Close()
	if w.StatusCode != 200 || w.Header.Get("Strict-Transport-Security") == "" {
		t.Errorf("status %d, headers %v", w.StatusCode, w.Header)
	}
}

func selfSigned(t *testing.T) (certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return write("cert.pem", "CERTIFICATE", der), write("key.pem", "EC PRIVATE KEY", keyDER)
}

func TestConfigNamesTheKey(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	f := func(change func(*Config), key string) {
		t.Helper()
		c := DefaultConfig()
		change(&c)
		if err := c.Validate(); err == nil || !strings.HasPrefix(err.Error(), key) {
			t.Errorf("got %v, want it to begin with %q", err, key)
		}
	}
	f(func(c *Config) { c.Listen = "8080" }, "listen: ")
	f(func(c *Config) { c.Listen = "127.0.0.1:http" }, "listen: ")
	f(func(c *Config) { c.PrivateListen = "127.0.0.1:99999" }, "private_listen: ")
	f(func(c *Config) { c.TLS.Key = "key.pem" }, "tls: ")
	f(func(c *Config) { c.TLS = TLSConfig{"no-such-file.pem", "no-such-file.pem"} }, "tls.")
	f(func(c *Config) { c.Session.Idle = time.Second }, "session.idle: ")
}

func TestMetricsOnlyWherePublic(t *testing.T) {
	if w := newSite(t).ask("", "GET", "/metrics", ""); w.Code != 200 || w.Body.String() != "up 1\n" {
		t.Errorf("status %d: %s", w.Code, w.Body)
	}
	private := newSite(t, func(c *Config, _ *Deps) { c.PublicMetrics = false })
	if w := private.ask("", "GET", "/metrics", ""); w.Code != 404 {
		t.Errorf("status %d, want 404", w.Code)
	}
}
