// Package httpapi serves the JSON API and the pages.
//
// It owns what goes over HTTP: routes, roles, errors, limits, the looks of the pages. It asks the
// rest of the program through Backend and knows no other component. It promises that a request
// reaches a handler only if the one table in routes.go lets its role in, and that no password,
// session or token is ever logged.
package httpapi

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"hostmeter/internal/auth"
	"hostmeter/internal/clock"
)

// Deps is what a Server needs.
type Deps struct {
	Backend  Backend
	Auth     *auth.Keeper
	Clock    clock.Clock
	Logger   *slog.Logger          // nil: the default
	Registry prometheus.Registerer // nil: the requests are not counted
	Metrics  http.Handler          // what /metrics serves; nil: nothing
	Zone     *time.Location        // the provider's; nil: UTC
	Provider string                // the provider's name, for the pages
	Version  string
	// Notice stands above every page, where this is no real installation ("simulated data").
	Notice string
}

// Limits of a request. A browser that needs more is not one of ours.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = time.Minute
	answerTimeout     = 5 * time.Minute // a year's usage by hour, to a slow reader
	idleTimeout       = 2 * time.Minute
	shutdownTimeout   = 10 * time.Second
	headerBytesMax    = 32 << 10
	formBytesMax      = 64 << 10
	bodyBytesMax      = 1 << 20
	importBytesMax    = 64 << 20
)

// Server is the API and the pages. Create it by New.
type Server struct {
	config    Config
	deps      Deps
	log       *slog.Logger
	zone      *time.Location
	pages     map[string]*template.Template
	mux       *http.ServeMux
	handler   http.Handler
	requests  *prometheus.CounterVec
	seconds   *prometheus.HistogramVec
	mu        sync.Mutex
	listener  net.Listener
	transport *http.Server
}

// New returns a Server that listens to nobody yet.
func New(config Config, deps Deps) (*Server, error) {
	if err := config.Validate(); err != nil {
		return nil, fmt.Errorf("http.%w", err)
	}
	if deps.Auth == nil || deps.Clock == nil {
		return nil, errors.New("http: want Deps.Auth and Deps.Clock")
	}
	s := &Server{config: config, deps: deps, log: deps.Logger, zone: deps.Zone}
	if s.log == nil {
		s.log = slog.Default()
	}
	if s.zone == nil {
		s.zone = time.UTC
	}
	var err error
	if s.pages, err = parsePages(s.zone); err != nil {
		return nil, fmt.Errorf("pages: %w", err)
	}
	s.count(deps.Registry)
	s.mux = s.newMux()
	s.handler = s.wrap(s.mux)
	return s, nil
}

// Handler returns the whole server as a handler, for tests and for embedding.
func (s *Server) Handler() http.Handler { return s.handler }

// Open begins to listen; Addr tells where. Run does it where it was not done.
func (s *Server) Open(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener != nil {
		return nil
	}
	if s.config.TLS.Certificate != "" { // as Run reads it again: one that cannot work is told now
		if _, err := tls.LoadX509KeyPair(s.config.TLS.Certificate, s.config.TLS.Key); err != nil {
			return fmt.Errorf("http.tls: %w", err)
		}
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", s.config.Listen)
	if err != nil {
		return fmt.Errorf("http.listen: %w", err)
	}
	s.listener = listener
	s.transport = &http.Server{
		Handler:           s.handler,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      answerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    headerBytesMax,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug), // broken connections of others
	}
	return nil
}

// Addr returns where the server listens, nil before Open.
func (s *Server) Addr() net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener == nil {
		return nil
	}
	return s.listener.Addr()
}

// URL returns where to click, "" before Open.
func (s *Server) URL() string {
	addr := s.Addr()
	if addr == nil {
		return ""
	}
	scheme := "http://"
	if s.config.TLS.Certificate != "" {
		scheme = "https://"
	}
	return scheme + addr.String() + "/"
}

// Run serves until ctx is done; requests under way then have 10 seconds to end. After an error it may be called again.
func (s *Server) Run(ctx context.Context) error {
	if err := s.Open(ctx); err != nil {
		return err
	}
	s.log.Info("http server listens", "address", s.Addr().String(), "tls", s.config.TLS.Certificate != "")
	done := make(chan error, 1)
	go func() {
		if s.config.TLS.Certificate != "" {
			done <- s.transport.ServeTLS(s.listener, s.config.TLS.Certificate, s.config.TLS.Key)
			return
		}
		done <- s.transport.Serve(s.listener)
	}()
	select {
	case err := <-done:
		_ = s.Close() // the next Run listens anew
		s.mu.Lock()
		s.listener = nil
		s.mu.Unlock()
		return fmt.Errorf("serve http: %w", err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	err := s.transport.Shutdown(grace)
	if errors.Is(err, context.DeadlineExceeded) {
		s.log.Warn("http requests were cut off at shutdown", "after", shutdownTimeout)
		err = s.transport.Close()
	}
	<-done
	return err
}

// Close stops listening at once. It may be called twice, and before Open.
func (s *Server) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.transport == nil {
		return nil
	}
	err := s.transport.Close()
	_ = s.listener.Close() // closed already where Serve ran
	return err
}
