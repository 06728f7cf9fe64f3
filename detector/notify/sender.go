package notify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"hostmeter/detector/incident"
	"hostmeter/internal/clock"
	"hostmeter/internal/store"
)

// Deps are what a sender needs. DB is required.
type Deps struct {
	DB      *store.DB
	Clock   clock.Clock
	Logger  *slog.Logger
	Metrics prometheus.Registerer
	// Client is for tests; nil is one with a timeout of ten seconds that follows no redirect.
	Client *http.Client
}

// Sender sends what is due in the outbox.
type Sender struct {
	deps      Deps
	receivers map[string]receiver
	outcomes  *prometheus.CounterVec
}

// Times of the sender.
const (
	lookEvery    = time.Second
	sendTimeout  = 10 * time.Second
	backoffFirst = 5 * time.Second
	backoffLast  = 10 * time.Minute
	attemptsMax  = 1000 // about a week: then a receiver is gone for good
	dueAtOnce    = 100
)

// New returns a sender that has touched nothing yet.
func New(cfg Config, deps Deps) (*Sender, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("notify.%w", err)
	}
	if deps.Clock == nil {
		deps.Clock = clock.Real{}
	}
	if deps.Logger == nil {
		deps.Logger = slog.Default()
	}
	if deps.Client == nil {
		deps.Client = &http.Client{Timeout: sendTimeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	s := &Sender{
		deps: deps, receivers: map[string]receiver{},
		outcomes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "hostmeter_notifications_total", Help: "Attempts to tell a receiver, by outcome.",
		}, []string{"receiver", "outcome"}),
	}
	for i, a := range cfg.Alertmanager {
		s.receivers["alertmanager-"+strconv.Itoa(i+1)] = alertmanager{url: a.URL, linkTo: cfg.LinkTo, client: deps.Client}
	}
	for i, w := range cfg.Webhooks {
		s.receivers["webhook-"+strconv.Itoa(i+1)] = webhook{url: w.URL, key: keyOf(w.Secret.Reveal()), client: deps.Client}
	}
	if deps.Metrics != nil {
		if err := deps.Metrics.Register(s.outcomes); err != nil {
			return nil, fmt.Errorf("register the notifications' metrics: %w", err)
		}
	}
	return s, nil
}

// Run sends until ctx is done.
func (s *Sender) Run(ctx context.Context) error {
	for {
		if err := s.SendDue(ctx); err != nil && ctx.Err() == nil {
			s.deps.Logger.Error("the outbox of notifications cannot be read or written; it will be tried again", "err", err)
		}
		if err := s.deps.Clock.Sleep(ctx, lookEvery); err != nil {
			return err
		}
	}
}

// due is one row of the outbox, with its incident.
type due struct {
	id, incident, receiver, event, state string
	attempts                             int64
}

// SendDue sends what is due once.
//
// Errors: the store's. What a receiver answers is written down and tried again.
func (s *Sender) SendDue(ctx context.Context) error {
	list, err := s.due(ctx)
	if err != nil {
		return err
	}
	incidents := incident.New(s.deps.DB)
	for _, d := range list {
		i, err := incidents.Get(ctx, d.incident)
		if err != nil {
			return err
		}
		if err := s.settle(ctx, d, i); err != nil {
			return err
		}
	}
	return nil
}

func (s *Sender) due(ctx context.Context) (list []due, err error) {
	err = s.deps.DB.View(ctx, func(tx *store.Tx) error {
		rows, err := tx.Query(ctx, `SELECT id, incident, receiver, event, state, attempts FROM notification
			WHERE state IN ('pending', 'standing') AND next_at <= ? ORDER BY next_at, created_at, id LIMIT ?`, tx.Now.UnixNano(), dueAtOnce)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var d due
			if err := rows.Scan(&d.id, &d.incident, &d.receiver, &d.event, &d.state, &d.attempts); err != nil {
				return err
			}
			list = append(list, d)
		}
		return rows.Err()
	})
	return list, err
}

// settle sends one notification and writes down what became of it.
func (s *Sender) settle(ctx context.Context, d due, i incident.Incident) error {
	now := s.deps.Clock.Now()
	to, known := s.receivers[d.receiver]
	switch {
	case !known:
		return s.note(ctx, d, "dropped", now, errors.New("the receiver is no longer configured"))
	case d.event == incident.EventOpened && i.State == incident.Resolved:
		if d.state == "standing" { // its end is told by the notification of that
			return s.note(ctx, d, "sent", now, nil)
		}
	case i.Silenced(now):
		return s.note(ctx, d, d.state, i.SilencedUntil, nil)
	}
	err := to.tell(ctx, d.id, d.event, i, now)
	switch {
	case err == nil:
		s.outcomes.WithLabelValues(d.receiver, "sent").Inc()
		if _, repeats := to.(alertmanager); repeats && d.event == incident.EventOpened {
			return s.note(ctx, d, "standing", now.Add(alertRepeat), nil)
		}
		return s.note(ctx, d, "sent", now, nil)
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, errRefused) || d.attempts >= attemptsMax:
		s.outcomes.WithLabelValues(d.receiver, "refused").Inc()
		s.deps.Logger.Error("a receiver refuses a notification", "receiver", d.receiver, "incident", d.incident, "err", err)
		return s.note(ctx, d, "refused", now, err)
	}
	s.outcomes.WithLabelValues(d.receiver, "retrying").Inc()
	wait := backoffLast
	if d.attempts < 7 {
		wait = min(backoffFirst<<d.attempts, backoffLast)
	}
	return s.note(ctx, d, d.state, now.Add(wait), err)
}

// note writes the state of a notification. A failed attempt, and a first success, count.
func (s *Sender) note(ctx context.Context, d due, state string, next time.Time, failure error) error {
	text, attempts := "", int64(0)
	if failure != nil {
		text, attempts = failure.Error(), 1
	}
	sent := state == "sent" || state == "standing"
	return s.deps.DB.Update(ctx, func(tx *store.Tx) error {
		var at any
		if sent && failure == nil {
			at = tx.Now.UnixNano()
		}
		_, err := tx.Exec(ctx, `UPDATE notification SET state = ?, next_at = ?, attempts = attempts + ?, last_error = ?,
			sent_at = COALESCE(sent_at, ?) WHERE id = ?`, state, next.UnixNano(), attempts, text, at, d.id)
		return err
	})
}
