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
	"golang.org/x/sync/errgroup"

	"hostmeter/detector/incident"
	"hostmeter/internal/clock"
	"hostmeter/internal/store"
	"hostmeter/internal/webhook"
)

// Deps are what a sender needs. DB is required.
type Deps struct {
	DB      *store.DB
	Clock   clock.Clock
	Logger  *slog.Logger
	Metrics prometheus.Registerer
	// Client is for tests; nil is one with a timeout of ten seconds that follows no redirect.
	Client *http.Client
	// ReadTo returns up to where, in time of receipt, the detector has read the log. After the ledger was restored from a
	// backup, what began before then is told when it has read as far, and only what is open. nil is all of it.
	ReadTo func() time.Time
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
	claimFor     = 3 * sendTimeout // an attempt takes less: behind it, its process is gone
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
		deps.Client = webhook.Client(sendTimeout)
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
		s.receivers["webhook-"+strconv.Itoa(i+1)] = signed{url: w.URL, key: webhook.Key(w.Secret.Reveal()), client: deps.Client}
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
	attempts, nextAt                     int64
	held                                 bool
}

// SendDue sends what is due once, to all receivers side by side: one that is slow or gone holds up no
// other.
//
// Errors: the store's. What a receiver answers is written down and tried again.
func (s *Sender) SendDue(ctx context.Context) error {
	list, err := s.due(ctx)
	if err != nil {
		return err
	}
	byReceiver := map[string][]due{}
	for _, d := range list {
		byReceiver[d.receiver] = append(byReceiver[d.receiver], d)
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, rows := range byReceiver {
		group.Go(func() error { return s.sendTo(ctx, rows) })
	}
	return group.Wait()
}

// sendTo sends to one receiver, in order, until it does not answer: what is left is due at the next look.
func (s *Sender) sendTo(ctx context.Context, rows []due) error {
	incidents := incident.New(s.deps.DB)
	restored, err := s.restoring(ctx)
	if err != nil {
		return err
	}
	for _, d := range rows {
		i, err := incidents.Get(ctx, d.incident)
		if err != nil {
			return err
		}
		if mayRepeat(d, i, restored) {
			if err := s.holdBack(ctx, d, i); err != nil {
				return err
			}
			continue
		}
		answered, err := s.settle(ctx, d, i)
		if err != nil || !answered {
			return err
		}
	}
	return nil
}

// due returns the rows that are due, a bounded number for each receiver. A receiver is not told of an end while it is
// still to be told of the begin: it would take the incident for open from then on.
func (s *Sender) due(ctx context.Context) (list []due, err error) {
	err = s.deps.DB.View(ctx, func(tx *store.Tx) error {
		rows, err := tx.Query(ctx, `SELECT id, incident, receiver, event, state, attempts, next_at, last_error FROM (
				SELECT id, incident, receiver, event, state, attempts, next_at, last_error, created_at,
					row_number() OVER (PARTITION BY receiver ORDER BY next_at, created_at, event, id) AS place
				FROM notification AS n WHERE state IN ('pending', 'standing') AND next_at <= ? AND NOT (event = ? AND EXISTS (
					SELECT 1 FROM notification AS begun WHERE begun.incident = n.incident AND begun.receiver = n.receiver
						AND begun.event = ? AND begun.state = 'pending' AND begun.next_at > n.next_at))) AS waiting
			WHERE place <= ? ORDER BY receiver, place`, tx.Now.UnixNano(), incident.EventResolved, incident.EventOpened, dueAtOnce)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var d due
			var said string
			if err := rows.Scan(&d.id, &d.incident, &d.receiver, &d.event, &d.state, &d.attempts, &d.nextAt, &said); err != nil {
				return err
			}
			d.held = said == heldText
			list = append(list, d)
		}
		return rows.Err()
	})
	return list, err
}

// settle sends one notification, unless another sender does, and writes down what became of it. answered is false
// where the receiver was asked and did not answer.
func (s *Sender) settle(ctx context.Context, d due, i incident.Incident) (answered bool, err error) {
	now := s.deps.Clock.Now()
	to, known := s.receivers[d.receiver]
	switch {
	case !known:
		return true, s.note(ctx, d, "dropped", now, errors.New("the receiver is no longer configured"))
	case d.state == "standing" && i.State == incident.Resolved:
		return true, s.note(ctx, d, "sent", now, nil) // its end is told by the notification of that
	case i.Silenced(now), i.State == incident.Resolved && i.Silenced(i.ResolvedAt):
		return true, s.settleSilenced(ctx, d, i)
	}
	claimed, err := s.claim(ctx, d)
	if err != nil || !claimed {
		return true, err
	}
	err = to.tell(ctx, d.id, d.event, i, now)
	switch {
	case err == nil:
		s.outcomes.WithLabelValues(d.receiver, "sent").Inc()
		if _, repeats := to.(alertmanager); repeats && d.event == incident.EventOpened {
			return true, s.note(ctx, d, "standing", now.Add(alertRepeat), nil)
		}
		return true, s.note(ctx, d, "sent", now, nil)
	case ctx.Err() != nil: // being stopped: who comes next need not wait for the claim to end
		return false, errors.Join(ctx.Err(), s.note(context.WithoutCancel(ctx), d, d.state, now, nil))
	case errors.Is(err, webhook.ErrRefused) || d.attempts >= attemptsMax:
		s.outcomes.WithLabelValues(d.receiver, "refused").Inc()
		s.deps.Logger.Error("a receiver refuses a notification", "receiver", d.receiver, "incident", d.incident, "err", err)
		return true, s.note(ctx, d, "refused", now, err)
	}
	s.outcomes.WithLabelValues(d.receiver, "retrying").Inc()
	wait := backoffLast
	if d.attempts < 7 {
		wait = min(backoffFirst<<d.attempts, backoffLast)
	}
	return false, s.note(ctx, d, d.state, now.Add(wait), err)
}

// claim puts a notification off for claimFor before it is sent, so that it comes again if this process is killed in
// the attempt. It is false where the notification is no longer as it was read, or this process was held up: another
// sender is at it, or was.
func (s *Sender) claim(ctx context.Context, d due) (claimed bool, err error) {
	began := s.deps.Clock.Now()
	err = s.deps.DB.Update(ctx, func(tx *store.Tx) error {
		n, err := tx.Exec(ctx, `UPDATE notification SET next_at = ? WHERE id = ? AND state = ? AND attempts = ? AND next_at = ?`,
			tx.Now.Add(claimFor).UnixNano(), d.id, d.state, d.attempts, d.nextAt)
		claimed = n == 1
		return err
	})
	return claimed && s.deps.Clock.Now().Sub(began) < sendTimeout, err
}

// settleSilenced holds back what tells of a silenced incident. One that ends in its silence is not told
// of at all; but a receiver that was told of its begin before is told of its end, whatever the silence.
func (s *Sender) settleSilenced(ctx context.Context, d due, i incident.Incident) error {
	if i.State == incident.Open {
		return s.note(ctx, d, d.state, i.SilencedUntil, nil)
	}
	told, err := s.wasTold(ctx, d)
	if err != nil {
		return err
	}
	if d.event == incident.EventResolved && told {
		i.SilencedUntil = time.Time{} // told, as if it were not silenced
		_, err := s.settle(ctx, d, i)
		return err
	}
	s.outcomes.WithLabelValues(d.receiver, "skipped").Inc()
	return s.note(ctx, d, "skipped", s.deps.Clock.Now(), errors.New("silenced until it was over"))
}

// wasTold says whether the receiver was told that the incident began.
func (s *Sender) wasTold(ctx context.Context, d due) (bool, error) {
	n := 0
	err := s.deps.DB.View(ctx, func(tx *store.Tx) error {
		return tx.QueryRow(ctx, `SELECT count(*) FROM notification WHERE id = ? AND sent_at IS NOT NULL`,
			incident.NotificationID(d.incident, d.receiver, incident.EventOpened)).Scan(&n)
	})
	return n > 0, err
}

// note writes the state of a notification, unless another sender has written it meanwhile. A failed attempt, and a
// first success, count.
func (s *Sender) note(ctx context.Context, d due, state string, next time.Time, failure error) error {
	text, attempts := "", int64(0)
	if failure != nil {
		text, attempts = failure.Error(), 1
	}
	sent := state == "sent" || state == "standing"
	return s.write(ctx, d, state, next, attempts, text, sent && failure == nil)
}

func (s *Sender) write(ctx context.Context, d due, state string, next time.Time, attempts int64, text string, sent bool) error {
	return s.deps.DB.Update(ctx, func(tx *store.Tx) error {
		var at any
		if sent {
			at = tx.Now.UnixNano()
		}
		_, err := tx.Exec(ctx, `UPDATE notification SET state = ?, next_at = ?, attempts = attempts + ?, last_error = ?,
			sent_at = COALESCE(sent_at, ?) WHERE id = ? AND state = ? AND attempts = ?`, state, next.UnixNano(), attempts, text, at, d.id, d.state, d.attempts)
		return err
	})
}
