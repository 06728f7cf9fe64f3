// Package app joins the components to one program: the only package that knows all of them.
//
// It owns the order in which things are opened, run and stopped, and the adapters between the
// components' own types. It promises that a stop loses nothing: what was received is flushed, and in the
// embedded form booked, before the program ends. It has no rule of business.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"hostmeter/aggregator"
	"hostmeter/aggregator/export"
	"hostmeter/aggregator/series"
	"hostmeter/aggregator/statement"
	"hostmeter/collector"
	"hostmeter/collector/udp"
	"hostmeter/detector"
	"hostmeter/detector/notify"
	"hostmeter/internal/clock"
	"hostmeter/internal/httpapi"
	"hostmeter/internal/stream"
	"hostmeter/internal/stream/disk"
	"hostmeter/internal/stream/kafka"
	"hostmeter/internal/telemetry"
)

// Parts are the components that a process runs.
type Parts struct {
	Collect, Aggregate, Detect, Serve bool
}

// The processes there are.
var (
	All       = Parts{Collect: true, Aggregate: true, Detect: true, Serve: true}
	Collect   = Parts{Collect: true}
	Aggregate = Parts{Aggregate: true}
	Detect    = Parts{Detect: true}
	Serve     = Parts{Serve: true}
)

// drainMax is how long a stop waits for the components behind the log.
const drainMax = 30 * time.Second

// App is one process.
type App struct {
	cfg      Config
	parts    Parts
	clock    clock.Clock
	logger   *slog.Logger
	registry *prometheus.Registry
	restarts *prometheus.CounterVec

	desk       *Desk // nil where only Collect runs
	log        *disk.Log
	tail       *tail // what the collector appends through
	source     stream.Source
	forwarder  *kafka.Forwarder
	broker     *kafka.Source
	collector  *collector.Collector
	aggregator *aggregator.Aggregator
	unclosed   map[statement.Problem]bool // that afterSeal met the last time
	prunedAt   time.Time
	forgetful  bool             // rememberBooked failed the last time
	handover   *export.Handover // nil where nothing is handed over
	detector   *detector.Detector
	sender     *notify.Sender
	series     *series.Sink
	server     *httpapi.Server
	notice     string // stands above every page; empty in a real installation
	sockets    *udp.Sockets
	reload     func(context.Context) error // nil where nothing can be read again
}

// New returns a process that has touched nothing yet.
func New(cfg Config, parts Parts, c clock.Clock, logger *slog.Logger) *App {
	registry := telemetry.NewRegistry()
	return &App{cfg: cfg, parts: parts, clock: c, logger: logger, registry: registry, restarts: newRestarts(registry)}
}

// Open opens the store, the log and the components, in the order in which they need each other.
func (a *App) Open(ctx context.Context) error {
	if a.parts != All && a.cfg.Log.Kafka == nil && !a.parts.onlyServe() {
		return wrong(errors.New("components that run apart meet on Kafka, and log.kafka is not set"),
			`set log.kafka.brokers, or run everything in one process with "hostmeter run"`)
	}
	if a.parts.Aggregate || a.parts.Detect || a.parts.Serve {
		var err error
		if a.desk, err = openDesk(ctx, a.cfg, a.clock); err != nil {
			return err
		}
		a.desk.ledger.SetLogger(a.logger)
	}
	steps := []struct {
		wanted bool
		open   func(context.Context) error
	}{
		{a.parts.Collect, a.openLog},
		{a.cfg.Log.Kafka != nil && !a.parts.onlyServe(), a.openKafka},
		{a.parts.Collect, a.openCollector},
		{a.parts.Aggregate, a.openAggregator},
		{a.parts.Detect, a.openDetector},
		{a.parts.Serve, a.openServer},
	}
	for _, step := range steps {
		if !step.wanted {
			continue
		}
		if err := step.open(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (p Parts) onlyServe() bool { return p == Serve }

func (a *App) openLog(ctx context.Context) error {
	log, err := disk.Open(ctx, a.cfg.Log.Config, a.cfg.Collector.ID, a.cfg.Collector.Shards,
		disk.Deps{Clock: a.clock, Logger: a.logger, Metrics: a.registry})
	if errors.Is(err, stream.ErrLocked) {
		return &HintError{Err: err, Hint: "another hostmeter uses this folder: stop it, or give this one its own `data`"}
	}
	if err != nil {
		return err
	}
	a.log, a.source = log, log
	a.tail = &tail{Log: log, end: stream.Watermarks{}}
	return nil
}

func (a *App) openCollector(ctx context.Context) error {
	var err error
	a.collector, err = collector.New(a.cfg.Collector, collector.Deps{
		Log: a.tail, Clock: a.clock, Logger: a.logger, Metrics: a.registry,
		StateDir: collectorDir(a.cfg), Sockets: a.sockets,
	})
	if err != nil {
		return err
	}
	if err := a.collector.Open(ctx); err != nil {
		if errors.Is(err, syscall.EADDRINUSE) {
			err = &HintError{Err: err, Hint: "is another program on this port? `ss -lunp` lists them"}
		}
		return err
	}
	return nil
}

// collectorDir is where a collector keeps what a restart needs.
func collectorDir(cfg Config) string { return filepath.Join(cfg.Data, "collector") }

// Run runs the parts until ctx is done or the collector fails for good; of the others, one that fails begins again. The
// collector stops first, and what stands behind the log has drainMax to take what it flushed last.
func (a *App) Run(ctx context.Context) error {
	rest, stopRest := context.WithCancel(context.WithoutCancel(ctx))
	defer stopRest()
	var behind errgroup.Group
	for _, p := range a.behindTheLog() {
		behind.Go(func() error { return a.keep(rest, p) })
	}
	var first error
	if a.collector != nil {
		first = quiet(a.collector.Run(ctx))
	} else {
		<-ctx.Done()
	}
	if first == nil {
		a.drain(rest)
	}
	stopRest()
	err := errors.Join(first, behind.Wait())
	if a.aggregator != nil {
		a.rememberLast(context.WithoutCancel(ctx))
	}
	return err
}

// behindTheLog lists what runs beside and behind the collector.
func (a *App) behindTheLog() []part {
	parts := []part{{"private", func(ctx context.Context) error {
		return telemetry.ServePrivate(ctx, a.cfg.HTTP.PrivateListen, a.registry, a.healthHandler())
	}}}
	if a.forwarder != nil {
		parts = append(parts, part{"forwarder", a.forwarder.Run})
	}
	if a.aggregator != nil {
		parts = append(parts, part{"aggregator", a.aggregator.Run})
	}
	if a.parts.Aggregate {
		parts = append(parts, part{"notices", a.desk.notices.Run})
	}
	if a.handover != nil {
		parts = append(parts, part{"handover", a.handover.Run})
	}
	if a.series != nil {
		parts = append(parts, part{"series", a.series.Run})
	}
	if a.detector != nil {
		parts = append(parts, part{"detector", a.detector.Run})
	}
	if a.server != nil {
		parts = append(parts, part{"http", a.server.Run})
	}
	return parts
}

// drain waits until what the collector appended last has been booked and looked at.
func (a *App) drain(ctx context.Context) {
	if a.tail == nil || a.aggregator == nil {
		return // the log on disk keeps it for the next start
	}
	ctx, cancel := context.WithTimeout(ctx, drainMax)
	defer cancel()
	if err := a.WaitFor(ctx, a.tail.End()); err != nil {
		a.logger.Warn("stopped before everything was booked; the next start goes on from the log", "err", err)
	}
}

// WaitFor waits until the aggregator and the detector have dealt with all batches up to end.
func (a *App) WaitFor(ctx context.Context, end stream.Watermarks) error {
	if a.aggregator != nil {
		if err := a.aggregator.WaitFor(ctx, end); err != nil {
			return fmt.Errorf("wait for the aggregator: %w", err)
		}
	}
	if a.detector != nil {
		if err := a.detector.WaitFor(ctx, end); err != nil {
			return fmt.Errorf("wait for the detector: %w", err)
		}
	}
	return nil
}

// Close closes what Open opened, the last first. It may be called twice.
func (a *App) Close() error {
	var errs []error
	closers := []func() error{}
	if a.desk != nil {
		closers = append(closers, a.desk.Close)
	}
	if a.broker != nil {
		closers = append(closers, a.broker.Close)
	}
	if a.log != nil {
		closers = append(closers, a.log.Close)
	}
	if a.collector != nil {
		closers = append(closers, a.collector.Close)
	}
	if a.detector != nil {
		closers = append(closers, a.detector.Close)
	}
	for i := len(closers) - 1; i >= 0; i-- {
		errs = append(errs, closers[i]())
	}
	return errors.Join(errs...)
}

// quiet turns the end of a context into no error: that is how a component is stopped.
func quiet(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}
