package libvirt

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"hostmeter/internal/clock"
	"hostmeter/schemas"
)

// Deps are what polling needs of the program; the zero value works.
type Deps struct {
	Logger *slog.Logger
	Clock  clock.Clock
	// Failed, when set, is told of each poll that brought no reading.
	Failed func(err error)
}

// ErrNoLibvirt is the reason why a build cannot poll.
var ErrNoLibvirt = errors.New("this build has no libvirt source (build it with cgo and -tags libvirt_dlopen)")

// ErrDeadline is returned for a connection or a poll that took too long and was given up.
var ErrDeadline = errors.New("no answer in time")

// errHanging is returned for a call that was not made, because too many before it still hang.
var errHanging = errors.New("calls before still hang")

// connection is one connection to a hypervisor.
type connection interface {
	readings(extent) ([]schemas.GuestReading, error)
	// changed tells that a guest or interface came or went, or that the connection broke.
	changed() <-chan struct{}
	// close returns at once; what is under way on the connection ends before it.
	close()
}

// extent is what a poll asks for.
type extent int

const (
	everything extent = iota
	// withoutMonitors asks only what no guest's monitor has to tell, and so cannot hang with one:
	// state, interfaces, CPU time and vCPUs, but no steal.
	withoutMonitors
)

const (
	dialDeadline = 20 * time.Second
	pollDeadline = 30 * time.Second
	// pollPatience is how long a call may take at first, before it is left alone with its connection
	// and asked again on another one. The first call that meets a guest whose monitor hangs, hangs
	// with it and holds the guest's lock; the next one passes over a guest that is locked, because
	// it does not wait. On the same connection, answers were seen to come only with the next call.
	pollPatience = 3 * time.Second
	backoffLeast = time.Second
	backoffMost  = time.Minute
	// hungMost bounds the calls that were given up and have not come back: each holds a thread.
	hungMost = 16
	// stuckMost bounds how many of them may hang in guests' monitors, one guest each: a daemon has 20
	// threads for all its clients. With so many hung guests, no monitor is asked.
	stuckMost = 3
	// changeLeast is the least time between two polls that a change brings forward, and changeShare
	// how many times as long as a poll they are apart.
	changeLeast = time.Second
	changeShare = 5
)

// Poll reads the hypervisor every cfg.Every, and at once when it tells of a change, and hands what it
// said to handle, with the time at which the reading began, until ctx is done, which is no error. A
// connection that fails is made again after a growing, jittered pause, for as long as it takes.
//
// Errors: ErrNoLibvirt, and of Config.Validate.
func Poll(ctx context.Context, cfg Config, deps Deps, handle func(at time.Time, readings []schemas.GuestReading)) error {
	if err := Supported(); err != nil {
		return err
	}
	if err := cfg.Validate(); err != nil {
		return err
	}
	p := newPoller(cfg, deps, handle, dial)
	return p.run(ctx)
}

type poller struct {
	cfg    Config
	deps   Deps
	handle func(at time.Time, readings []schemas.GuestReading)
	dial   func(uri string, logger *slog.Logger) (connection, error)

	dialDeadline, pollDeadline time.Duration
	patienceLeast, patience    time.Duration // patience is of the next call
	hung                       chan struct{} // a token for each call that may hang
	stuck                      chan struct{} // and one for each that may hang in a monitor
	sparing                    bool          // the last poll asked no monitor

	random func(below time.Duration) time.Duration
}

func newPoller(cfg Config, deps Deps, handle func(time.Time, []schemas.GuestReading), dial func(string, *slog.Logger) (connection, error)) *poller {
	if deps.Logger == nil {
		deps.Logger = slog.Default()
	}
	if deps.Clock == nil {
		deps.Clock = clock.Real{}
	}
	if deps.Failed == nil {
		deps.Failed = func(error) {}
	}
	deps.Logger = deps.Logger.With("exporter", cfg.Exporter())
	return &poller{
		cfg: cfg, deps: deps, handle: handle, dial: dial,
		dialDeadline: dialDeadline, pollDeadline: pollDeadline,
		patienceLeast: pollPatience, patience: pollPatience,
		hung: make(chan struct{}, hungMost), stuck: make(chan struct{}, stuckMost),
		random: rand.N[time.Duration],
	}
}

func (p *poller) run(ctx context.Context) error {
	backoff := backoffLeast
	told := false
	for ctx.Err() == nil {
		conn, err := p.connect(ctx)
		if err == nil {
			p.deps.Logger.Debug("connected to the hypervisor", "uri", p.cfg.URI)
			var polls int
			polls, err = p.pollUntilError(ctx, conn)
			conn.close()
			if polls > 0 {
				backoff, told = backoffLeast, false
			}
			if errors.Is(err, ErrDeadline) && p.patience < p.pollDeadline {
				p.patience = min(2*p.patience, p.pollDeadline)
				p.deps.Logger.Warn("the hypervisor takes long to answer; asking on another connection", "err", err)
				continue
			}
		}
		if ctx.Err() != nil {
			return nil
		}
		p.deps.Failed(err)
		if !told {
			p.deps.Logger.Warn("the hypervisor cannot be read; trying again", "err", err)
			told = true
		}
		_ = p.deps.Clock.Sleep(ctx, backoff/2+p.random(backoff)) // ctx is looked at above
		backoff = min(2*backoff, backoffMost)
	}
	return nil
}

func (p *poller) pollUntilError(ctx context.Context, conn connection) (polls int, err error) {
	// Hosts that were connected to together are not polled together.
	next := p.deps.Clock.Now().Add(-p.random(p.cfg.every()))
	for {
		at, began := p.deps.Clock.Now(), time.Now()
		readings, err := p.read(ctx, conn)
		if err != nil {
			return polls, fmt.Errorf("read guests of %s: %w", p.cfg.Name, err)
		}
		polls++
		took := time.Since(began)
		// A host that is slow in earnest is given the time that it takes.
		p.patience = min(max(p.patienceLeast, 3*took), p.pollDeadline)
		p.handle(at, readings)
		if !next.After(at) { // else a change brought this poll forward
			next = next.Add(p.cfg.every())
		}
		now := p.deps.Clock.Now()
		if next.Before(now) { // a slow poll is not made up for
			next = now.Add(p.cfg.every())
		}
		if err := p.pause(ctx, conn.changed(), max(changeLeast, changeShare*took), next.Sub(now)); err != nil {
			return polls, err
		}
	}
}

func (p *poller) read(ctx context.Context, conn connection) ([]schemas.GuestReading, error) {
	what, tokens := everything, p.stuck
	if len(p.stuck) == cap(p.stuck) {
		what, tokens = withoutMonitors, p.hung
	}
	if sparing := what == withoutMonitors; sparing != p.sparing {
		p.sparing = sparing
		p.deps.Logger.Warn("guests' monitors hang; no monitor is asked until they answer, and there is no steal time", "hung", sparing)
	}
	return withDeadline(ctx, tokens, p.patience, func() ([]schemas.GuestReading, error) { return conn.readings(what) }, nil)
}

// pause sleeps for most, or for least and until there is a change.
func (p *poller) pause(ctx context.Context, changed <-chan struct{}, least, most time.Duration) error {
	if err := p.deps.Clock.Sleep(ctx, min(least, most)); err != nil || most <= least {
		return err
	}
	sleep, wake := context.WithCancel(ctx)
	defer wake()
	go func() {
		select {
		case <-changed:
			wake()
		case <-sleep.Done():
		}
	}()
	_ = p.deps.Clock.Sleep(sleep, most-least)
	return ctx.Err()
}

// connect gives up after a deadline, because libvirt's own call blocks for as long as the daemon
// hangs. A connection that comes later is closed.
func (p *poller) connect(ctx context.Context) (connection, error) {
	conn, err := withDeadline(ctx, p.hung, p.dialDeadline, func() (connection, error) {
		return p.dial(p.cfg.URI, p.deps.Logger)
	}, func(late connection) { late.close() })
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", p.cfg.Name, err)
	}
	return conn, nil
}

// withDeadline runs f in a goroutine and stops waiting for it after a deadline of the machine's
// time; discard then gets what came late. tokens bounds the calls that are left hanging.
func withDeadline[T any](ctx context.Context, tokens chan struct{}, deadline time.Duration, f func() (T, error), discard func(T)) (T, error) {
	type outcome struct {
		value T
		err   error
	}
	var zero T
	select {
	case tokens <- struct{}{}:
	default:
		return zero, fmt.Errorf("%w: %d calls", errHanging, cap(tokens))
	}
	done := make(chan outcome) // unbuffered: a late outcome finds nobody
	gone := make(chan struct{})
	go func() {
		defer func() { <-tokens }()
		value, err := f()
		select {
		case done <- outcome{value, err}:
		case <-gone:
			if err == nil && discard != nil {
				discard(value)
			}
		}
	}()
	defer close(gone)
	timer := time.NewTimer(deadline)
	defer timer.Stop()
	select {
	case o := <-done:
		return o.value, o.err
	case <-timer.C:
		return zero, fmt.Errorf("%w (%v)", ErrDeadline, deadline)
	case <-ctx.Done():
		return zero, ctx.Err()
	}
}
