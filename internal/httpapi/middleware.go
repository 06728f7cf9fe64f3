package httpapi

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"hostmeter/internal/auth"
)

// contentPolicy allows nothing but our own script, style sheet and pictures: no inline script, no
// inline style, no frame around us, forms to ourselves only.
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// requestInfo is what the access log says of a request; handlers fill it in.
type requestInfo struct {
	id, route, who string
}

type infoKey struct{}

func infoOf(ctx context.Context) *requestInfo {
	if info, ok := ctx.Value(infoKey{}).(*requestInfo); ok {
		return info
	}
	return &requestInfo{}
}

// wrap puts around next what every request needs, outermost first: access log, panics, headers, a
// deadline, refusal of cross-origin writes.
func (s *Server) wrap(next http.Handler) http.Handler {
	protection := http.NewCrossOriginProtection()
	protection.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, r, !isAPI(r), auth.Identity{}, &problem{Status: http.StatusForbidden, Message: "cross-origin request refused",
			Hint: "send it from this site's own pages; a proxy in front must pass the Host header on unchanged"})
	}))
	protected := protection.Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		info := &requestInfo{id: requestID()}
		ctx, cancel := context.WithTimeout(context.WithValue(r.Context(), infoKey{}, info), answerTimeout)
		defer cancel()
		r = r.WithContext(ctx)
		recorder := &recorder{ResponseWriter: w}
		defer s.finish(recorder, r, began)
		s.setHeaders(recorder, r, info)
		protected.ServeHTTP(recorder, r)
	})
}

func requestID() string {
	var random [8]byte
	_, _ = rand.Read(random[:]) // never fails
	return hex.EncodeToString(random[:])
}

func isAPI(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, "/api/") }

func (s *Server) setHeaders(w http.ResponseWriter, r *http.Request, info *requestInfo) {
	h := w.Header()
	h.Set("Content-Security-Policy", contentPolicy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Request-Id", info.id)
	if s.secure(r) {
		h.Set("Strict-Transport-Security", "max-age=31536000")
	}
}

// secure says whether the browser speaks TLS, to us or to the proxy that we were told to trust.
func (s *Server) secure(r *http.Request) bool {
	return r.TLS != nil || s.config.TrustForwarded && r.Header.Get("X-Forwarded-Proto") == "https"
}

// client returns the address that the request came from; invalid where it cannot be told.
func (s *Server) client(r *http.Request) netip.Addr {
	if s.config.TrustForwarded {
		all := strings.Split(r.Header.Get("X-Forwarded-For"), ",")
		if addr, err := netip.ParseAddr(strings.TrimSpace(all[len(all)-1])); err == nil {
			return addr.Unmap()
		}
	}
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return from.Addr().Unmap()
}

// finish catches a panic and writes the access log. The path is logged, the query never: the path
// holds identifiers only.
func (s *Server) finish(w *recorder, r *http.Request, began time.Time) {
	info := infoOf(r.Context())
	fault := recover()
	if fault != nil && !isAbort(fault) {
		s.log.Error("request panicked", "request", info.id, "route", info.route, "err", fmt.Sprint(fault), "stack", string(debug.Stack()))
		if w.status == 0 {
			writeJSON(w, http.StatusInternalServerError, problemOf(errors.New("panic")))
		}
	}
	took := time.Since(began)
	route := info.route
	if route == "" {
		route = "none"
	}
	if s.requests != nil {
		s.requests.WithLabelValues(route, strconv.Itoa(w.code())).Inc()
		s.seconds.WithLabelValues(route).Observe(took.Seconds())
	}
	s.log.Info("http request", "request", info.id, "method", r.Method, "path", r.URL.Path, "route", route, "status", w.code(),
		"bytes", w.bytes, "took", took, "client", s.client(r).String(), "who", info.who)
	if fault != nil {
		panic(http.ErrAbortHandler) // a half-written answer must not look whole
	}
}

func isAbort(fault any) bool {
	err, ok := fault.(error)
	return ok && errors.Is(err, http.ErrAbortHandler)
}

func (s *Server) count(registry prometheus.Registerer) {
	if registry == nil {
		return
	}
	s.requests = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "hostmeter_http_requests_total", Help: "Requests answered, by route and status."}, []string{"route", "code"})
	s.seconds = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "hostmeter_http_request_seconds", Help: "Time to answer a request, by route.",
		Buckets: []float64{.005, .02, .1, .5, 2, 10, 60}}, []string{"route"})
	registry.MustRegister(s.requests, s.seconds)
}

// recorder remembers what was answered.
type recorder struct {
	http.ResponseWriter
	status int
	bytes  int64
}

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(p)
	w.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach the connection.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *recorder) code() int {
	if w.status == 0 {
		return http.StatusOK
	}
	return w.status
}
