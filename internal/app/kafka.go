package app

import (
	"context"
	"fmt"

	"hostmeter/internal/stream/kafka"
)

// openKafka joins the components that run apart: a collector forwards its log and hears what is
// confirmed; the others read the topics. The brokers need not be there yet: a collector keeps what it
// receives on its disk, and the others wait.
func (a *App) openKafka(context.Context) error {
	broker, err := kafka.New(*a.cfg.Log.Kafka, kafka.Deps{Clock: a.clock, Logger: a.logger, Metrics: a.registry})
	if err != nil {
		return wrong(fmt.Errorf("log.kafka.%w", err), "correct the key in the configuration")
	}
	a.broker = broker
	if a.log != nil {
		a.forwarder = kafka.NewForwarder(broker, a.log)
	}
	a.source = broker
	return nil
}
