package export

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"hostmeter/aggregator/ledger"
	"hostmeter/aggregator/notice"
	"hostmeter/internal/clock"
	"hostmeter/internal/config"
	"hostmeter/internal/store"
	"hostmeter/internal/store/storetest"
	"hostmeter/schemas"
)

// sink is a receiver of events: it checks each message as Standard Webhooks asks, and knows repeats by
// their ids.
type sink struct {
	*httptest.Server
	now func() time.Time

	mu      sync.Mutex
	key     string
	answers []int // for the next messages; 0 breaks the connection after the message was taken, 1 before
	seen    map[string]string
	order   map[string][]int64 // first receipts by type
	got     int
	faults  []string
}

func newSink(t testing.TB, now func() time.Time) *sink {
	s := &sink{now: now, key: "first", seen: map[string]string{}, order: map[string][]int64{}}
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.Close)
	return s
}

func (s *sink) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	answer := http.StatusNoContent
	if len(s.answers) > 0 {
		answer, s.answers = s.answers[0], s.answers[1:]
	}
	if answer == 1 || answer >= 300 {
		s.end(w, answer)
		return
	}
	s.take(r, body)
	s.end(w, answer)
}

func (s *sink) end(w http.ResponseWriter, answer int) {
	if answer < 100 {
		panic(http.ErrAbortHandler)
	}
	w.WriteHeader(answer)
}

func (s *sink) take(r *http.Request, body []byte) {
	s.got++
	id, timestamp := r.Header.Get("webhook-id"), r.Header.Get("webhook-timestamp")
	mac := hmac.New(sha256.New, []byte(s.key))
	fmt.Fprintf(mac, "%s.%s.%s", id, timestamp, body)
	want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	signed := false
	for _, signature := range strings.Fields(r.Header.Get("webhook-signature")) {
		signed = signed || hmac.Equal([]byte(signature), []byte(want))
	}
	var event struct {
		SpecVersion, ID, Source, Type, Sequence string
	}
	err := json.Unmarshal(body, &event)
	seconds, timeErr := strconv.ParseInt(timestamp, 10, 64)
	switch {
	case !signed:
		s.faults = append(s.faults, "no signature of our key on "+id)
	case strings.Contains(id, ".") || id == "":
		s.faults = append(s.faults, "id "+id)
	case timeErr != nil || seconds != s.now().Unix():
		s.faults = append(s.faults, "timestamp "+timestamp)
	case r.Header.Get("Content-Type") != "application/cloudevents+json; charset=utf-8":
		s.faults = append(s.faults, "content type "+r.Header.Get("Content-Type"))
	case err != nil || event.SpecVersion != "1.0" || event.Source == "" || event.ID == "":
		s.faults = append(s.faults, "body "+string(body))
	}
	first, repeat := s.seen[id]
	if repeat && first != string(body) {
		s.faults = append(s.faults, "a repeat with another body: "+id)
	}
	if !repeat {
		s.seen[id] = string(body)
		seq, _ := strconv.ParseInt(event.Sequence, 10, 64)
		s.order[event.Type] = append(s.order[event.Type], seq)
	}
}

// failer is a test, or a run of a property.
type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}

// want says which sequences have come, in that order.
func (s *sink) want(t failer, records, statements int64) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.faults) > 0 {
		t.Fatalf("faults: %q", s.faults)
	}
	for kind, n := range map[string]int64{"hostmeter.usage-record.v1": records, "hostmeter.statement.v1": statements} {
		got := s.order[kind]
		if int64(len(got)) != n {
			t.Fatalf("%s: %d have come, want %d", kind, len(got), n)
		}
		for i, seq := range got {
			if seq != int64(i+1) {
				t.Fatalf("%s: the order is %v", kind, got)
			}
		}
	}
}

func (b *books) record() {
	seq := int64(len(b.records) + 1)
	b.records = append(b.records, schemas.UsageRecord{Seq: seq, ID: fmt.Sprintf("s1|address:192.0.2.9|%d", seq), Kind: ledger.RecordUsage,
		Customer: "c1", Service: "s1", Meter: "address:192.0.2.9", Direction: "in", Octets: seq, RecordedAt: start})
}

type pushLab struct {
	t     testing.TB
	db    *store.DB
	clock *clock.Manual
	books *books
	sink  *sink
	cfg   Config
}

func newPushLab(t testing.TB, db *store.DB, c *clock.Manual) *pushLab {
	l := &pushLab{t: t, db: db, clock: c, books: &books{}, sink: newSink(t, c.Now), cfg: DefaultConfig()}
	l.cfg.Webhooks = []WebhookConfig{{Name: "billing", URL: l.sink.URL, Secrets: []config.Secret{config.NewSecret("first")}}}
	return l
}

func (l *pushLab) process() *Handover {
	l.t.Helper()
	h, err := New(l.cfg, Deps{DB: l.db, Ledger: l.books, Clock: l.clock, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		l.t.Fatal(err)
	}
	return h
}

func (l *pushLab) round() error { return l.process().pushers[0].round(context.Background(), false) }

// roundKilledAt does a round of a new process that is killed at a point, after so many times that it has passed it.
func (l *pushLab) roundKilledAt(point string, after int, byHand bool) {
	l.t.Helper()
	h := l.process()
	defer func() {
		if e := recover(); e != nil && e != (killed{}) {
			panic(e)
		}
	}()
	h.pushers[0].step = func(at string) {
		if at != point {
			return
		}
		if after--; after < 0 {
			panic(killed{})
		}
	}
	_ = h.pushers[0].round(context.Background(), byHand) // what went wrong is tried again
}

func TestPushOnEveryStore(t *testing.T) {
	c := clock.NewManual(start)
	storetest.EachWithClock(t, c, func(t *testing.T, db *store.DB) {
		l := newPushLab(t, db, c)
		for range 250 {
			l.books.record()
		}
		l.books.close("s1", "c1", "60", 1, c.Now())
		h := l.process()
		if err := h.pushers[0].round(t.Context(), false); err != nil {
			t.Fatal(err)
		}
		l.sink.want(t, 250, 1)
		l.books.record()
		l.books.close("s1", "c1", "-60", 2, c.Now())
		if err := h.pushers[0].round(t.Context(), false); err != nil {
			t.Fatal(err)
		}
		l.sink.want(t, 251, 2)
		if l.sink.got != 253 {
			t.Fatalf("%d messages, want 253", l.sink.got)
		}
		positions, err := h.Positions(t.Context())
		if err != nil || len(positions) != 3 || positions[0].Seq != 251 || positions[1].Seq != 2 || positions[0].Behind != 0 {
			t.Fatalf("%+v, %v", positions, err)
		}
	})
}

func TestSecretsAreReplacedWithoutALoss(t *testing.T) {
	c := clock.NewManual(start)
	l := newPushLab(t, storetest.SQLite(t, c), c)
	l.cfg.Webhooks[0].Secrets = []config.Secret{config.NewSecret("second"), config.NewSecret("first")}
	for i, key := range []string{"first", "second"} {
		l.books.record()
		l.sink.key = key
		c.Advance(time.Hour)
		if err := l.round(); err != nil {
			t.Fatal(err)
		}
		l.sink.want(t, int64(i+1), 0)
	}
}

// TestARefusedEventHoldsUpItsFeed, and no other, until a person leaves it out.
func TestARefusedEventHoldsUpItsFeed(t *testing.T) {
	c := clock.NewManual(start)
	l := newPushLab(t, storetest.SQLite(t, c), c)
	for range 3 {
		l.books.record()
	}
	l.books.close("s1", "c1", "60", 1, start)
	l.sink.answers = []int{204, 422}
	if err := l.round(); err == nil || !strings.Contains(err.Error(), "usage-records/2") {
		t.Fatalf("got %v", err)
	}
	l.sink.want(t, 1, 1)
	h := l.process()
	f := func(receiver, key string, d Decision, want error) {
		t.Helper()
		if err := h.Settle(t.Context(), receiver, key, Settlement{Decision: d, By: "ada", Reason: "their fault"}); !errors.Is(err, want) {
			t.Fatalf("%s: got %v, want %v", key, err, want)
		}
	}
	f("billing", "usage-records/3", Waive, ErrNotOpen)
	f("billing", "usage-records/2", Again, ErrNotOpen)
	f("billing", "usage-record/2", Waive, ErrUnknown)
	f("billing", "usage-records/x", Waive, ErrUnknown)
	f("biling", "usage-records/1", Waive, ErrUnknown)
	f("billing", "usage-records/2", Waive, nil)
	f("billing", "statements/2", Waive, ErrNotOpen) // there is none yet
	c.Advance(5 * time.Minute)
	if err := l.round(); err != nil {
		t.Fatal(err)
	}
	if got := l.sink.order["hostmeter.usage-record.v1"]; len(got) != 2 || got[1] != 3 {
		t.Fatalf("got %v", got)
	}
}

func TestAReceiverThatDoesNotAnswerIsLeftAlone(t *testing.T) {
	c := clock.NewManual(start)
	l := newPushLab(t, storetest.SQLite(t, c), c)
	l.books.record()
	for range 200 {
		l.sink.answers = append(l.sink.answers, 503)
	}
	for range 60 {
		_ = l.round()
		c.Advance(time.Minute)
	}
	if tries := 200 - len(l.sink.answers); tries < 4 || tries > 12 {
		t.Fatalf("%d attempts in an hour", tries)
	}
	l.sink.answers = nil
	c.Advance(time.Hour)
	if err := l.round(); err != nil {
		t.Fatal(err)
	}
	l.sink.want(t, 1, 0)
}

// TestARedirectIsNotFollowed: what is signed for one host is sent to no other.
func TestARedirectIsNotFollowed(t *testing.T) {
	c := clock.NewManual(start)
	l := newPushLab(t, storetest.SQLite(t, c), c)
	redirect := httptest.NewServer(http.RedirectHandler(l.sink.URL, http.StatusPermanentRedirect))
	defer redirect.Close()
	l.cfg.Webhooks[0].URL = redirect.URL
	l.books.record()
	if err := l.round(); err == nil || !strings.Contains(err.Error(), "308") {
		t.Fatalf("got %v", err)
	}
	l.sink.want(t, 0, 0)
}

// TestEveryEventInOrder: whatever fails and whoever is killed, a receiver that knows repeats has everything
// once, in order, and each repeat is the same message.
func TestEveryEventInOrder(t *testing.T) {
	c := clock.NewManual(start)
	db := storetest.SQLite(t, c)
	rapid.Check(t, func(r *rapid.T) {
		empty(r, db)
		l := newPushLab(t, db, c)
		defer l.sink.Close()
		round := func(point string) {
			l.roundKilledAt(point, rapid.IntRange(0, 5).Draw(r, "skip"), rapid.Bool().Draw(r, "by hand"))
		}
		r.Repeat(map[string]func(*rapid.T){
			"record": func(*rapid.T) { l.books.record() },
			"close":  func(*rapid.T) { l.books.close(fmt.Sprint("s", len(l.books.statements)), "c1", "60", 1, c.Now()) },
			"round": func(r *rapid.T) {
				l.sink.answers = rapid.SliceOfN(rapid.SampledFrom([]int{204, 0, 1, 302, 400, 429, 500}), 0, 5).Draw(r, "answers")
				round(rapid.SampledFrom([]string{"never", "before push", "after push", "before cursor", "after cursor"}).Draw(r, "point"))
			},
			"wait": func(*rapid.T) { c.Advance(time.Hour) },
		})
		l.sink.answers = nil
		c.Advance(2 * time.Hour)
		round("never")
		l.sink.want(r, int64(len(l.books.records)), int64(len(l.books.statements)))
	})
}

// teller has as many notices as it says.
type teller int64

func (n teller) Notices(_ context.Context, after int64, limit int) (list []notice.Notice, err error) {
	for number := after + 1; number <= int64(n) && len(list) < limit; number++ {
		list = append(list, notice.Notice{Number: number, Kind: notice.KindThreshold, Service: "s1", Threshold: 50, Hash: strconv.FormatInt(number, 16)})
	}
	return list, nil
}

// TestNoticesArePushed in order and once; a receiver that names its feeds is told of no other.
func TestNoticesArePushed(t *testing.T) {
	c := clock.NewManual(start)
	l := newPushLab(t, storetest.SQLite(t, c), c)
	l.cfg.Webhooks[0].Feeds = []Feed{Notices}
	h, err := New(l.cfg, Deps{DB: l.db, Ledger: l.books, Clock: l.clock, Logger: slog.New(slog.DiscardHandler), Notices: teller(150)})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := h.Now(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if l.sink.got != 150 {
		t.Fatalf("%d messages, want 150", l.sink.got)
	}
	positions, err := h.Positions(t.Context())
	if err != nil || len(positions) != 1 || positions[0].Feed != Notices || positions[0].Seq != 150 {
		t.Fatalf("%+v, %v", positions, err)
	}
}
