package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"hostmeter/collector"
	"hostmeter/collector/udp"
	"hostmeter/internal/failpoint"
	"hostmeter/internal/store"
)

// process runs one configuration after the other: it begins anew with what the file says then when
// it is told to reload. The sockets stay, so that what arrives meanwhile waits in their queues.
type process struct {
	path    string
	parts   Parts
	out     io.Writer // of the log
	sockets *udp.Sockets
	// next holds the configuration to go on with; a later one replaces one that waits. reloading is
	// held while one is put there.
	next      chan Config
	reloading sync.Mutex
}

// RunParts loads a configuration file and runs the parts of it until ctx is done. SIGHUP, or a
// request of the API, loads it again; one that cannot work is refused and changes nothing. The log
// goes to w.
func RunParts(ctx context.Context, path string, parts Parts, w io.Writer) error {
	cfg, err := LoadConfig(path)
	if err != nil {
		return err
	}
	sockets, err := udp.Inherited()
	if err != nil {
		return err
	}
	defer func() { _ = sockets.Close() }()
	if _, set := os.LookupEnv("GOGC"); !set && parts.Collect {
		debug.SetGCPercent(collector.GarbagePercent)
	}
	p := &process{path: path, parts: parts, out: w, sockets: sockets, next: make(chan Config, 1)}
	return p.run(ctx, cfg)
}

// run runs configurations until ctx is done. A new one that does not open is told of, and the one
// before goes on.
func (p *process) run(ctx context.Context, cfg Config) error {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	var before *Config
	pause := roomFirst
	for {
		opened, err := p.runOne(ctx, cfg, hangups)
		if opened {
			pause = roomFirst
		}
		if err != nil && !opened && before != nil {
			slog.New(slog.NewTextHandler(p.out, nil)).Error("the new configuration does not start; the one before goes on", "err", err)
			cfg, before = *before, nil
			continue
		}
		if isFull(err) && p.waitForRoom(ctx, cfg, hangups, pause, err) {
			pause = min(2*pause, roomLast)
			select {
			case cfg = <-p.next:
			default:
			}
			continue
		}
		if err != nil || ctx.Err() != nil {
			return err
		}
		last := cfg
		select {
		case cfg = <-p.next:
			before = &last
		default:
			return nil
		}
	}
}

// The pauses between starts on a full disk.
const (
	roomFirst = time.Second
	roomLast  = 5 * time.Second
)

// isFull says that a disk, of the log, of the ledger or of what the collector keeps, has no room.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || store.IsFull(err)
}

// waitForRoom waits before a start is tried again that the disk had no room for: nothing was changed by it, and a
// process that is there begins to receive as soon as somebody has made room. False says that it is to end.
func (p *process) waitForRoom(ctx context.Context, cfg Config, hangups <-chan os.Signal, pause time.Duration, err error) bool {
	logger, wrong := cfg.Telemetry.NewLogger(p.out)
	if wrong != nil || ctx.Err() != nil {
		return false
	}
	logger.Error("the disk is full; the start waits until there is room, and nothing is received before", "pause", pause, "err", err)
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-hangups:
		_ = p.reload(logger, func() {}) // it is in the log
	case <-timer.C:
	}
	return true
}

// runOne runs one configuration until ctx is done or another waits in next. opened says that it got
// as far as working.
func (p *process) runOne(ctx context.Context, cfg Config, hangups <-chan os.Signal) (opened bool, err error) {
	logger, err := cfg.Telemetry.NewLogger(p.out)
	if err != nil {
		return false, wrong(fmt.Errorf("telemetry.%w", err), "")
	}
	a := New(cfg, p.parts, failpoint.Clock(), logger)
	a.sockets = p.sockets
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	a.reload = func(context.Context) error { return p.reload(logger, stop) }
	defer func() { err = errors.Join(err, a.Close()) }()
	if err := a.Open(ctx); err != nil {
		return false, err
	}
	go func() {
		for {
			select {
			case <-hangups:
				_ = p.reload(logger, stop) // it is in the log
			case <-ctx.Done():
				return
			}
		}
	}()
	return true, a.Run(ctx)
}

// reload reads the file again and stops what runs, which makes room for what the file says. A file
// that cannot work is refused.
func (p *process) reload(logger *slog.Logger, stop func()) error {
	p.reloading.Lock()
	defer p.reloading.Unlock()
	cfg, err := LoadConfig(p.path)
	if err != nil {
		logger.Error("the configuration is not read again: what runs goes on as it is", "err", err)
		return err
	}
	select {
	case <-p.next: // read a moment ago, and older
	default:
	}
	p.next <- cfg
	logger.Info("the configuration is read again", "path", p.path)
	stop()
	return nil
}
