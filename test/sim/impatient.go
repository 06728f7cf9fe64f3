package sim

import (
	"context"
	"time"
)

// patience is a context that is done when it is asked for the second time: a reader that would wait for
// more returns instead, and nothing depends on a real clock.
type patience struct {
	context.Context
	asked bool
}

func impatient() context.Context { return &patience{Context: background} }

var over = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

func (p *patience) Done() <-chan struct{} {
	if !p.asked {
		p.asked = true
		return nil
	}
	return over
}

func (p *patience) Err() error { return context.DeadlineExceeded }

func (p *patience) Deadline() (time.Time, bool) { return time.Time{}, false }
