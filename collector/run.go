package collector

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"

	"hostmeter/collector/libvirt"
	"hostmeter/collector/udp"
	"hostmeter/schemas"
)

// finishDeadline bounds the last flush.
const finishDeadline = 15 * time.Second

// Run opens the collector and works until ctx is done: then what is queued at the sockets is still
// counted, everything is flushed, and Run returns nil.
//
// Errors: of Open, a socket that broke, a last flush that the log did not take.
func (c *Collector) Run(ctx context.Context) error {
	if err := c.Open(ctx); err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	group, groupCtx := errgroup.WithContext(ctx)
	for i, socket := range c.sockets {
		group.Go(func() error { return socket.Serve(groupCtx, len(c.lanes), c.laneOf, c.handler(i)) })
	}
	for _, cfg := range c.cfg.Libvirt {
		group.Go(func() error { return c.poll(groupCtx, cfg) })
	}
	group.Go(func() error {
		c.flushLoop(groupCtx)
		return nil
	})
	err := group.Wait()
	if last := c.finish(ctx); err == nil {
		err = last
	}
	return err
}

// handler hands what a socket received to the lanes.
func (c *Collector) handler(socket int) udp.Handler {
	return udp.Handler{
		Expect: func(lane int, d *udp.Datagram) { d.Mark = c.lanes[lane].repeated.hash(d.Payload) },
		Take: func(lane int, d *udp.Datagram) {
			c.lanes[lane].feed(d.From, d.ReceivedAt, d.Payload, d.Mark, queue{socket + 1, d.Drops})
		},
	}
}

func (c *Collector) poll(ctx context.Context, cfg libvirt.Config) error {
	deps := libvirt.Deps{
		Logger: c.deps.Logger, Clock: c.deps.Clock,
		Failed: func(error) { c.missPoll(cfg.Name, c.deps.Clock.Now()) },
	}
	return libvirt.Poll(ctx, cfg, deps, func(at time.Time, readings []schemas.GuestReading) {
		c.FeedGuests(cfg.Name, at, readings)
	})
}

// flushLoop flushes busy meters often and everything now and then. An error is logged when it
// begins and when it is over; the flush itself is tried again at the next turn.
func (c *Collector) flushLoop(ctx context.Context) {
	var failing bool
	var last time.Time
	for c.deps.Clock.Sleep(ctx, c.cfg.Flush.Busy) == nil {
		now := c.deps.Clock.Now()
		all := now.Sub(last) >= c.cfg.Flush.Idle
		err := c.Flush(ctx, now, all)
		if all && err == nil {
			last = now
			c.saveStatus(now)
		}
		switch {
		case err != nil && !failing && ctx.Err() == nil:
			c.deps.Logger.Error("the log does not take what was counted; it is kept and tried again", "err", err)
		case err == nil && failing:
			c.deps.Logger.Info("the log takes what is counted again")
		}
		failing = err != nil
	}
}

// finish books what waits for a sampling rate at the default and flushes everything.
func (c *Collector) finish(ctx context.Context) error {
	for _, l := range c.lanes {
		l.mu.Lock()
		for _, e := range l.exporters {
			for _, s := range e.sources {
				l.endSampling(s)
			}
		}
		l.mu.Unlock()
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishDeadline)
	defer cancel()
	c.flushMu.Lock()
	c.state.saved = time.Time{} // save after the last flush in any case
	for c.saveLearned(c.deps.Clock.Now()) {
	}
	c.flushMu.Unlock()
	return c.Flush(ctx, c.deps.Clock.Now(), true)
}
