// Package series writes minute series of services and guests to InfluxDB, for dashboards.
//
// It promises that a repeat changes nothing: a point holds the whole value of its minute, under a time
// and tags that follow from what it measures, and is written again when the minute grows. After a
// restart the log is read again from where the oldest open minute began, so the values are the same.
// It does not promise that the series are there at once, or that they survive the server: the
// ledger is what counts, and dashboards are drawn from a copy.
package series

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	influxdb2 "github.com/influxdata/influxdb-client-go/v2"
	"github.com/influxdata/influxdb-client-go/v2/api/http"
	"github.com/influxdata/influxdb-client-go/v2/api/write"
	"github.com/prometheus/client_golang/prometheus"

	"hostmeter/internal/clock"
	"hostmeter/internal/config"
	"hostmeter/internal/lease"
	"hostmeter/internal/store"
	"hostmeter/internal/stream"
	"hostmeter/schemas"
)

// Config is the part `series` of the configuration.
type Config struct {
	// InfluxDB is absent where no series are written.
	InfluxDB *InfluxConfig `yaml:"influxdb"`
}

// InfluxConfig names a bucket. InfluxDB 1.8 has no organisations: its bucket is DATABASE/autogen, and
// its token USER:PASSWORD.
type InfluxConfig struct {
	URL    string        `yaml:"url"`
	Org    string        `yaml:"org"`
	Bucket string        `yaml:"bucket"`
	Token  config.Secret `yaml:"token"`
}

// DefaultConfig writes no series.
func DefaultConfig() Config { return Config{} }

// Validate names the key that is wrong.
func (c Config) Validate() error {
	switch {
	case c.InfluxDB == nil:
		return nil
	case c.InfluxDB.URL == "":
		return errors.New("influxdb.url: missing")
	case c.InfluxDB.Bucket == "":
		return errors.New("influxdb.bucket: missing")
	}
	return nil
}

// Deps are what a sink needs. DB and Source are required.
type Deps struct {
	DB      *store.DB
	Source  stream.Source
	Clock   clock.Clock
	Logger  *slog.Logger
	Metrics prometheus.Registerer
	// Owners reads who owns what, as it is now. While it cannot, nothing is drawn. Optional.
	Owners func(ctx context.Context) (Owner, error)
	// Standby has Run wait until no other sink draws. Without it Run takes over at once, as is right for the only one
	// there should be.
	Standby bool
	// Home is a folder of this sink's own on its machine, for Standby: one that is killed and started again there goes
	// on at once. Empty: it waits until its own lease has run out.
	Home string
}

// Owner tells who owned a meter at a time; empty where nobody did.
type Owner func(meter schemas.MeterID, at time.Time) (service, customer string)

// Sink writes the series.
type Sink struct {
	deps    Deps
	client  influxdb2.Client
	write   func(ctx context.Context, points ...*write.Point) error
	lease   *lease.Lease
	minutes *minutes
	active  prometheus.Gauge
	written prometheus.Counter
	failed  prometheus.Counter
	refused prometheus.Counter

	gatherFor time.Duration
}

// New returns a sink that has touched nothing yet.
func New(cfg Config, deps Deps) (*Sink, error) {
	if cfg.InfluxDB == nil {
		return nil, errors.New("no influxdb is configured")
	}
	if deps.Clock == nil {
		deps.Clock = clock.Real{}
	}
	if deps.Logger == nil {
		deps.Logger = slog.Default()
	}
	s := &Sink{
		deps:    deps,
		minutes: newMinutes(nil), gatherFor: gatherFor,
		lease:   lease.New(lease.Config{Table: "series_lease", What: "series sink", Age: leaseAge, Home: deps.Home}, deps.DB, deps.Clock, deps.Logger),
		active:  prometheus.NewGauge(prometheus.GaugeOpts{Name: "hostmeter_series_active", Help: "1 where this process writes the series, 0 where it stands by."}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{Name: "hostmeter_series_refused_points_total", Help: "Points that InfluxDB will never take, and that were left out."}),
		written: prometheus.NewCounter(prometheus.CounterOpts{Name: "hostmeter_series_points_total", Help: "Points that InfluxDB has taken."}),
		failed:  prometheus.NewCounter(prometheus.CounterOpts{Name: "hostmeter_series_failed_writes_total", Help: "Writes that InfluxDB refused or did not answer; they are repeated."}),
	}
	if deps.Metrics != nil {
		if err := errors.Join(deps.Metrics.Register(s.written), deps.Metrics.Register(s.failed), deps.Metrics.Register(s.refused), deps.Metrics.Register(s.active)); err != nil {
			return nil, fmt.Errorf("register the series' metrics: %w", err)
		}
	}
	options := influxdb2.DefaultOptions().SetPrecision(time.Second).SetUseGZip(true)
	s.client = influxdb2.NewClientWithOptions(cfg.InfluxDB.URL, cfg.InfluxDB.Token.Reveal(), options)
	s.write = s.client.WriteAPIBlocking(cfg.InfluxDB.Org, cfg.InfluxDB.Bucket).WritePoint
	return s, nil
}

// batchesAtOnce and gatherFor bound what is read between two writes, pointsAtOnce what one request holds.
const (
	batchesAtOnce = 1024
	gatherFor     = 5 * time.Second
	pointsAtOnce  = 5000
)

// leaseAge is how long the sink that draws may not be heard of before one that stands by takes over, and releaseMost
// how long giving the lease back may take.
const (
	leaseAge    = 30 * time.Second
	releaseMost = 5 * time.Second
)

// Run reads the log and writes until ctx is done. One sink draws, others on the same store stand by; whoever takes
// over goes on from the position in the store, as after a restart.
//
// Errors: those of the store and the log. Run may be called again then, and reads again what had not been written.
func (s *Sink) Run(ctx context.Context) error {
	defer s.client.Close() // its idle connections
	if s.deps.Standby {
		defer s.lease.Settle()()
	}
	for standby := s.deps.Standby; ; standby = true {
		open := s.open
		if standby {
			open = func(ctx context.Context) error { return s.lease.StandBy(ctx, s.open) }
		}
		if err := open(ctx); err != nil {
			return err
		}
		err := s.draw(ctx)
		if !errors.Is(err, lease.ErrSuperseded) {
			return err
		}
		s.deps.Logger.Warn("another process draws the series; this one stands by")
	}
}

// open takes the lease and reads the position.
func (s *Sink) open(ctx context.Context) error {
	var states map[string]saved
	err := s.deps.DB.Update(ctx, func(tx *store.Tx) (err error) {
		if err = s.lease.Take(ctx, tx); err == nil {
			states, err = readSaved(ctx, tx)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("read the series' position: %w", err)
	}
	s.minutes = newMinutes(states)
	return nil
}

// draw reads and writes until ctx is done or another sink has taken over, which it finds out beside: it may have
// to wait for the log or for InfluxDB.
func (s *Sink) draw(ctx context.Context) error {
	s.active.Set(1)
	defer s.active.Set(0)
	drawing, stop := context.WithCancelCause(ctx)
	var beside sync.WaitGroup
	beside.Go(func() {
		for s.deps.Clock.Sleep(drawing, leaseAge/6) == nil {
			switch err := s.lease.Renew(drawing); {
			case errors.Is(err, lease.ErrSuperseded):
				stop(err)
			case err != nil && drawing.Err() == nil:
				s.deps.Logger.Warn("the series' lease cannot be renewed; it will be tried again", "err", err)
			}
		}
	})
	err := s.read(drawing)
	if cause := context.Cause(drawing); errors.Is(cause, lease.ErrSuperseded) {
		err = cause
	}
	stop(nil)
	beside.Wait()
	if errors.Is(err, lease.ErrSuperseded) {
		return err
	}
	releasing, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseMost)
	defer cancel()
	if err := s.lease.Release(releasing); err != nil {
		s.deps.Logger.Warn("the series' lease was not given back: the next one waits for it to grow old", "err", err)
	}
	return err
}

func (s *Sink) read(ctx context.Context) error {
	reader, err := s.deps.Source.OpenReader(ctx, "series", s.minutes.positions())
	if err != nil {
		return fmt.Errorf("open the log for the series: %w", err)
	}
	defer func() { _ = reader.Close() }()
	for {
		batches, err := s.gather(ctx, reader)
		if err == nil || len(batches) > 0 {
			if err := s.take(ctx, batches); err != nil {
				return err
			}
		}
		var gap *stream.GapError
		if errors.As(err, &gap) {
			s.deps.Logger.Warn("series: the log no longer holds what was not yet drawn", "err", err)
			s.minutes.skip(gap)
			continue
		}
		if err != nil {
			return err
		}
	}
}

// gather reads for a while, so that a minute that grows twice a second is not written twice a second.
// With an error it returns what it had read before.
func (s *Sink) gather(ctx context.Context, reader stream.Reader) ([]*schemas.Batch, error) {
	batches, err := reader.Next(ctx, batchesAtOnce)
	if err != nil {
		return nil, err
	}
	until, stop := context.WithTimeout(ctx, s.gatherFor)
	defer stop()
	for len(batches) < batchesAtOnce {
		more, err := reader.Next(until, batchesAtOnce-len(batches))
		if err != nil && until.Err() != nil && ctx.Err() == nil {
			return batches, nil // time to write
		}
		if err != nil {
			return batches, err
		}
		batches = append(batches, more...)
	}
	return batches, nil
}

// take adds batches to their minutes, writes what has changed, and then moves the position. With an error the minutes
// may be ahead of the store: they are made anew from it.
func (s *Sink) take(ctx context.Context, batches []*schemas.Batch) error {
	if err := s.add(ctx, batches); err != nil {
		return err
	}
	if err := s.save(ctx, s.minutes.read(), writeSeen); err != nil {
		return fmt.Errorf("write how far the series have read: %w", err)
	}
	points := s.minutes.changed()
	for len(points) > 0 {
		n := min(len(points), pointsAtOnce)
		if err := s.deliver(ctx, points[:n]); err != nil {
			return err
		}
		points = points[n:]
	}
	if err := s.save(ctx, s.minutes.close(), writeClosed); err != nil {
		return fmt.Errorf("write the series' position: %w", err)
	}
	return nil
}

// add adds batches to their minutes. Who owns what is read before: what cannot be read is never taken for nobody's.
func (s *Sink) add(ctx context.Context, batches []*schemas.Batch) error {
	var owner Owner
	if s.deps.Owners != nil {
		var err error
		if owner, err = s.deps.Owners(ctx); err != nil {
			return fmt.Errorf("read who owns the meters: %w", err)
		}
	}
	for _, b := range batches {
		s.minutes.add(b, owner)
	}
	return nil
}

// save writes states by one of writeSeen and writeClosed, if this is the sink that draws.
func (s *Sink) save(ctx context.Context, states map[string]saved, query string) error {
	if len(states) == 0 {
		return nil
	}
	return s.lease.Update(ctx, func(tx *store.Tx) error { return writeEach(ctx, tx, states, query) })
}

// Waits between repeats of a write.
const (
	retryFirst = 500 * time.Millisecond
	retryLast  = 5 * time.Second
)

// deliver writes points, again and again until they are taken or ctx is done. A request that is
// refused for what is in it is halved, until what cannot be written stands alone and is left out. Before each
// request the store is asked who draws: what one that was paused would write may be older than what stands there.
func (s *Sink) deliver(ctx context.Context, points []*write.Point) error {
	for wait := retryFirst; ; wait = min(2*wait, retryLast) {
		if err := s.lease.Confirm(ctx); err != nil {
			return err
		}
		err := s.write(ctx, points...)
		if err == nil {
			s.written.Add(float64(len(points)))
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		s.failed.Inc()
		if isRefused(err) {
			if len(points) > 1 {
				half := len(points) / 2
				if err := s.deliver(ctx, points[:half]); err != nil {
					return err
				}
				return s.deliver(ctx, points[half:])
			}
			s.refused.Inc()
			s.deps.Logger.Error("influxdb refuses a point of the series", "point", write.PointToLineProtocol(points[0], time.Second), "err", err)
			return nil
		}
		s.deps.Logger.Warn("influxdb does not take the series; trying again", "points", len(points), "wait", wait, "err", err)
		if err := s.deps.Clock.Sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// isRefused says that the same request will always be answered like this: malformed, of another type
// than the field has, or too large.
func isRefused(err error) bool {
	var answer *http.Error
	if !errors.As(err, &answer) {
		return false
	}
	switch answer.StatusCode {
	case 400, 413, 422:
		return true
	}
	return false
}
