package kafka

import (
	"context"
	"errors"
	"maps"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"hostmeter/internal/stream"
)

// Forwarder ships a collector's log on disk to Kafka, and tells the log what the ledger has confirmed.
type Forwarder struct {
	to   *Source
	from stream.Source

	mu        sync.Mutex
	confirmed stream.Watermarks
	heard     time.Time // when the ledger was last seen to confirm something
}

// NewForwarder returns a forwarder that reads from as the consumer "forwarder", and confirms to it.
func NewForwarder(to *Source, from stream.Source) *Forwarder {
	return &Forwarder{to: to, from: from, confirmed: make(stream.Watermarks)}
}

// errLost says that Kafka does not have something that it had acknowledged.
var errLost = errors.New("kafka does not have what it acknowledged")

// Run forwards until ctx is done, whose error it returns, or the log on disk cannot be read. It begins
// behind what is confirmed, and goes back there when Kafka has lost something.
func (f *Forwarder) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		return f.to.FollowConfirmations(ctx, func(confirmed stream.Watermarks) {
			f.confirm(confirmed)
			if err := f.from.Confirm(ctx, confirmed); err != nil && ctx.Err() == nil {
				f.to.deps.Logger.Warn("confirmed batches cannot be deleted yet", "err", err)
			}
		})
	})
	group.Go(func() error { return f.forward(ctx) })
	return group.Wait()
}

// forward runs one session after the other.
func (f *Forwarder) forward(ctx context.Context) error {
	var passed time.Time // when a session last ended because what it had sent was taken for gone
	for {
		err := f.session(ctx, passed)
		if !errors.Is(err, errLost) {
			return err
		}
		if errors.Is(err, errPassed) || errors.Is(err, errStalled) {
			passed = f.to.deps.Clock.Now()
		}
		f.to.metrics.resends.Inc()
		f.to.deps.Logger.Error("kafka lost batches, sending everything again that is not confirmed", "err", err)
		if err := f.to.deps.Clock.Sleep(ctx, retryMax/5); err != nil {
			return err
		}
	}
}

func (f *Forwarder) confirm(confirmed stream.Watermarks) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for key, index := range confirmed {
		if index > f.confirmed[key] {
			f.confirmed[key], f.heard = index, f.to.deps.Clock.Now()
		}
	}
}

func (f *Forwarder) heardAt() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.heard
}

// confirmedOf returns what the ledger is known to have of a key.
func (f *Forwarder) confirmedOf(key stream.Key) uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.confirmed[key]
}

func (f *Forwarder) confirmedNow() stream.Watermarks {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.confirmed)
}
