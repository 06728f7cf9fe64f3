package export

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"hostmeter/internal/store"
)

type metrics struct {
	outcomes *prometheus.CounterVec
	open     *prometheus.GaugeVec
	failing  *prometheus.GaugeVec
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		outcomes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "hostmeter_handover_total", Help: "What became of charges and events handed to a receiver, by outcome.",
		}, []string{"receiver", "outcome"}),
		open: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "hostmeter_handover_open_charges", Help: "Charges that are not settled, by state. Parked ones wait for a person.",
		}, []string{"receiver", "state"}),
		failing: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "hostmeter_handover_failures", Help: "Rounds since a receiver last took everything.",
		}, []string{"receiver"}),
	}
	if r == nil {
		return m, nil
	}
	if err := errors.Join(r.Register(m.outcomes), r.Register(m.open), r.Register(m.failing)); err != nil {
		return nil, fmt.Errorf("register the metrics of the hand-over: %w", err)
	}
	return m, nil
}

func (m *metrics) count(receiver, outcome string) {
	m.outcomes.WithLabelValues(receiver, outcome).Inc()
}

// count sets the gauges; one that cannot be read keeps its value.
func (h *Handover) count(ctx context.Context) {
	_ = h.deps.DB.View(ctx, func(tx *store.Tx) error {
		if h.biller != nil {
			for _, state := range []State{Pending, Intended, Parked} {
				n := 0
				err := tx.QueryRow(ctx, `SELECT count(*) FROM handover_charge WHERE receiver = ? AND state = ?`, receiverWHMCS, string(state)).Scan(&n)
				if err != nil {
					return err
				}
				h.metrics.open.WithLabelValues(receiverWHMCS, string(state)).Set(float64(n))
			}
		}
		for name := range h.rounds() {
			r, err := readReceiver(ctx, tx, name)
			if noRows(err) != nil {
				return err
			}
			h.metrics.failing.WithLabelValues(name).Set(float64(r.Failures))
		}
		return nil
	})
}

// noRows takes "there is no row" for no error.
func noRows(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	return err
}
