package main

import (
	"github.com/spf13/cobra"

	"hostmeter/internal/app"
)

func newRun() *cobra.Command {
	return component("run", "Run everything in one process, on the embedded log and SQLite",
		"Collector, aggregator, detector and pages in one process. The folder `data` of the configuration holds\nthe log and the ledger. SIGHUP reads the configuration again; SIGTERM stops after a last flush.", app.All)
}

func newCollect() *cobra.Command {
	return component("collect", "Run the collector: flows and counters in, batches to the log (and Kafka)",
		"Needs log.kafka: the batches go to Kafka for the components that run apart. The collector's own log on\ndisk is kept until the ledger has confirmed what is in it.", app.Collect)
}

func newAggregate() *cobra.Command {
	return component("aggregate", "Run the aggregator: batches from Kafka into the ledger",
		"Reads the batches from Kafka, books them exactly once, seals hours, closes periods.", app.Aggregate)
}

func newDetect() *cobra.Command {
	return component("detect", "Run the detector: batches from Kafka into incidents and notifications", "", app.Detect)
}

func newServe() *cobra.Command {
	return component("serve", "Run the pages and the API over the ledger", "", app.Serve)
}

func component(name, short, long string, parts app.Parts) *cobra.Command {
	cmd := &cobra.Command{Use: name, Short: short, Long: short + ".\n\n" + long, Args: cobra.NoArgs}
	path := configFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return app.RunParts(cmd.Context(), *path, parts, cmd.ErrOrStderr())
	}
	return cmd
}

// configFlag adds -c.
func configFlag(cmd *cobra.Command) *string {
	return cmd.PersistentFlags().StringP("config", "c", "hostmeter.yaml", "configuration file")
}
