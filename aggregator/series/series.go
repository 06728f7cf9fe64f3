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
	"time"

	influxdb2 "github.com/influxdata/influxdb-client-go/v2"
	"github.com/influxdata/influxdb-client-go/v2/api/http"
	"github.com/influxdata/influxdb-client-go/v2/api/write"
	"github.com/prometheus/client_golang/prometheus"

	"hostmeter/internal/clock"
	"hostmeter/internal/config"
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
	// Owner tells who owned a meter at a time; empty where nobody did.
	Owner func(ctx context.Context, meter schemas.MeterID, at time.Time) (service, customer string)
}

// Sink writes the series. Run is called once.
type Sink struct {
	deps    Deps
	client  influxdb2.Client
	write   func(ctx context.Context, points ...*write.Point) error
	minutes *minutes
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
		refused: prometheus.NewCounter(prometheus.CounterOpts{Name: "hostmeter_series_refused_points_total", Help: "Points that InfluxDB will never take, and that were left out."}),
		written: prometheus.NewCounter(prometheus.CounterOpts{Name: "hostmeter_series_points_total", Help: "Points that InfluxDB has taken."}),
		failed:  prometheus.NewCounter(prometheus.CounterOpts{Name: "hostmeter_series_failed_writes_total", Help: "Writes that InfluxDB refused or did not answer; they are repeated."}),
	}
	if deps.Metrics != nil {
		if err := errors.Join(deps.Metrics.Register(s.written), deps.Metrics.Register(s.failed), deps.Metrics.Register(s.refused)); err != nil {
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

// Run reads the log and writes until ctx is done.
func (s *Sink) Run(ctx context.Context) error {
	defer s.client.Close()
	position, err := readSaved(ctx, s.deps.DB)
	if err != nil {
		return fmt.Errorf("read the series' position: %w", err)
	}
	s.minutes = newMinutes(position)
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

// take adds batches to their minutes, writes what has changed, and then moves the position.
func (s *Sink) take(ctx context.Context, batches []*schemas.Batch) error {
	for _, b := range batches {
		s.minutes.add(ctx, b, s.deps.Owner)
	}
	if err := writeSeen(ctx, s.deps.DB, s.minutes.read()); err != nil {
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
	if err := writeClosed(ctx, s.deps.DB, s.minutes.close()); err != nil {
		return fmt.Errorf("write the series' position: %w", err)
	}
	return nil
}

// Waits between repeats of a write.
const (
	retryFirst = 500 * time.Millisecond
	retryLast  = 5 * time.Second
)

// deliver writes points, again and again until they are taken or ctx is done. A request that is
// refused for what is in it is halved, until what cannot be written stands alone and is left out.
func (s *Sink) deliver(ctx context.Context, points []*write.Point) error {
	for wait := retryFirst; ; wait = min(2*wait, retryLast) {
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
