// Command ledger measures the ledger: how fast it books, on SQLite behind the log on disk and on PostgreSQL
// behind Kafka, how large a month is on disk, and how fast a month is sealed and closed.
//
// Everything is the real package: log, forwarder, aggregator, ledger, inventory, rating. The load is made
// of no chance at all, so that each run does the same. It writes one section of benchmarks/RESULTS.md.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"time"

	"hostmeter/benchmarks/results"
)

// options are the command's flags.
type options struct {
	dir, output, command, version string
	sections                      string
	kafka, postgres               string
	pids                          string
	addresses, many, minutes      int
}

func main() {
	var o options
	flag.StringVar(&o.dir, "dir", "", "an empty `folder` for ledgers and logs; about 12 GB at the default size")
	flag.StringVar(&o.output, "o", "", "the `file` to write, or nothing for standard output alone")
	flag.StringVar(&o.command, "command", "benchmarks/ledger", "how it was called, for the report")
	flag.StringVar(&o.version, "version", "unknown", "of hostmeter, for the report")
	flag.StringVar(&o.sections, "sections", "all", "of "+strings.Join(sectionNames, ", "))
	flag.StringVar(&o.kafka, "kafka", "", "HOST:PORT of a broker, for the section booking")
	flag.StringVar(&o.postgres, "postgres", "", "postgres://… of an empty database, for the section booking")
	flag.StringVar(&o.pids, "pids", "", "process ids of broker and database, whose CPU time counts too")
	flag.IntVar(&o.addresses, "addresses", 20_000, "addresses of the sections booking and month")
	flag.IntVar(&o.many, "services", 100_000, "services of the section days")
	flag.IntVar(&o.minutes, "minutes", 240, "minutes that are booked of each address in the section booking")
	flag.Parse()
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "ledger:", err)
		stop()
		os.Exit(1)
	}
}

// sectionNames are the parts, in the order in which they run.
var sectionNames = []string{"booking", "month", "days"}

func run(ctx context.Context, o options) error {
	if o.dir == "" {
		return fmt.Errorf("-dir: name an empty folder")
	}
	wanted := sectionNames
	if o.sections != "all" {
		wanted = strings.Split(o.sections, ",")
	}
	for _, name := range wanted {
		if !slices.Contains(sectionNames, name) {
			return fmt.Errorf("-sections: %q is not one of %s", name, strings.Join(sectionNames, ", "))
		}
	}
	r := &report{}
	r.preamble(o)
	for _, name := range wanted {
		var err error
		switch name {
		case "booking":
			err = booking(ctx, o, r)
		case "month":
			err = month(ctx, o, r)
		case "days":
			err = days(ctx, o, r)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	fmt.Print(r.String())
	if o.output == "" {
		return nil
	}
	return results.Replace(o.output, r.String())
}

// say tells how far the run is.
func say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%s ledger: %s\n", time.Now().UTC().Format(time.TimeOnly), fmt.Sprintf(format, args...))
}

// cores is how many cores the figures were made with.
func cores() int { return runtime.GOMAXPROCS(0) }
