package disk

import (
	"context"
	"errors"
	"time"
)

// trouble is what a reader has with the disk.
type trouble struct {
	tries int // of the place at which it is, that failed
	again time.Time
	// answered says that the disk took a write before the last try, away that it did not at some time.
	answered, away bool
	// gaveUp says that a part of this segment has been given up, and skipped what was passed over.
	gaveUp  bool
	skipped skip
}

// pause is how long it is to the next try. A clock that was set back makes it no longer than a pause is.
func (r *reader) pause() time.Duration {
	if r.trouble.tries == 0 {
		return 0
	}
	return min(r.trouble.again.Sub(r.log.deps.Clock.Now()), readPauseMost)
}

// sleep waits until the clock has moved by d, or as wait does.
func (r *reader) sleep(ctx context.Context, d time.Duration) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	over := make(chan struct{})
	go func() {
		defer close(over)
		_ = r.log.deps.Clock.Sleep(ctx, d) // an error is the end of ctx
	}()
	r.wait(ctx, over)
}

// endure notes a read that failed: it is tried again after a pause. A place that cannot be read is given up in the
// end, where the disk took a write both before and after it. One that is away is given all tries again when it is back.
func (r *reader) endure(err error) {
	t := &r.trouble
	if t.tries++; t.tries == 1 {
		r.log.metrics.waiting.WithLabelValues(r.consumer).Set(1)
		r.log.deps.Logger.Warn("the log cannot be read, trying again", "consumer", r.consumer, "err", err)
	}
	t.again = r.log.deps.Clock.Now().Add(readPause(t.tries))
	most := readTries
	if t.gaveUp {
		most = readTriesAgain
	}
	var bad *unreadable
	if !errors.As(err, &bad) || t.tries < most-1 {
		return
	}
	before, away := t.answered, r.log.answers()
	t.answered = away == nil
	switch {
	case before && t.answered && t.tries >= most:
		r.giveUp(bad)
	case away != nil:
		if !t.away {
			r.log.deps.Logger.Error("the disk of the log does not answer; reading waits for it, and nothing is given up",
				"consumer", r.consumer, "err", away, "hint", "look at dmesg: is the disk there, and its file system mounted for writing?")
		}
		t.away, t.tries = true, 1
	}
}

// giveUp goes on behind a place that cannot be read.
func (r *reader) giveUp(bad *unreadable) {
	t := &r.trouble
	r.log.mu.Lock()
	end := r.segment.size
	r.log.mu.Unlock()
	to := end
	if !bad.whole {
		to = t.skipped.over(bad.at, end)
	}
	r.log.unreadable(r.consumer, r.segment.path, bad.at, to, bad.cause)
	r.offset, r.searching = to, true
	t.tries, t.answered, t.gaveUp = 0, false, true
}

// recovered notes that a read succeeded.
func (r *reader) recovered() {
	if r.trouble.tries > 0 {
		r.log.deps.Logger.Info("the log can be read again", "consumer", r.consumer)
	}
	r.trouble.tries, r.trouble.answered, r.trouble.away = 0, false, false
	r.log.metrics.waiting.WithLabelValues(r.consumer).Set(0)
}
