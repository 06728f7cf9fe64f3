package app

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// part is something that runs beside the collector, and may be run again after it has failed.
type part struct {
	name string
	run  func(ctx context.Context) error
}

// The pauses before a part begins again grow from keepFirst to keepLast, and anew when it has run for keepAnew.
const (
	keepFirst = time.Second
	keepLast  = 30 * time.Second
	keepAnew  = 2 * keepLast
)

func newRestarts(registry prometheus.Registerer) *prometheus.CounterVec {
	restarts := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "hostmeter_part_restarts_total",
		Help: "How often a part of this process failed and began again; everything else went on."}, []string{"part"})
	registry.MustRegister(restarts) // new in a registry of its own
	return restarts
}

// keep runs a part until ctx is done. Whatever becomes of it stops nothing else, the collector least of all: what it
// missed waits in the log.
func (a *App) keep(ctx context.Context, p part) error {
	for pause := keepFirst; ; pause = min(2*pause, keepLast) {
		began := a.clock.Now()
		err := p.run(ctx)
		if ctx.Err() != nil {
			return quiet(err)
		}
		if a.clock.Now().Sub(began) >= keepAnew {
			pause = keepFirst
		}
		a.restarts.WithLabelValues(p.name).Inc()
		a.logger.Error("a part of this process failed; it begins again, and the others go on", "part", p.name, "pause", pause, "err", err)
		if a.clock.Sleep(ctx, pause) != nil {
			return nil
		}
	}
}
