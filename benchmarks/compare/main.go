//go:build linux

// Command compare runs the project's collector and its peers in turn on this machine, under the same
// load of known content, and writes what each of them cost, lost and got wrong as Markdown.
//
// benchmarks/compare.sh installs the peers, builds everything and calls it. All traffic stays on
// loopback; what it starts it ends.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"hostmeter/benchmarks/results"
)

// options say what is run and for how long.
type options struct {
	bin       string // folder of the programs that compare.sh built
	hostmeter string
	out       string
	command   string // how the results were made, for the report
	sections  []string
	receivers []string
	protocols []string
	rounds    int
	each      time.Duration // saturated and paced runs
	sustain   time.Duration
	search    time.Duration // one trial of the search for the rate without loss
	v9Rate    float64       // of the sustained runs
	sflowRate float64
	sampling  string // the collector's setting for NetFlow and IPFIX
}

func main() {
	o, err := parse(os.Args[1:])
	if err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		err = run(ctx, o)
	}
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "compare: error:", err)
		os.Exit(1)
	}
}

func parse(args []string) (options, error) {
	var o options
	var names []string
	for _, s := range sections {
		names = append(names, s.name)
	}
	var chosen, who, what string
	flags := flag.NewFlagSet("compare", flag.ContinueOnError)
	flags.StringVar(&o.bin, "bin", "", "folder of load, udpfloor, collector, goflow2")
	flags.StringVar(&o.hostmeter, "hostmeter", "bin/hostmeter", "the program")
	flags.StringVar(&o.out, "o", "", "write the report here; else to standard output")
	flags.StringVar(&o.command, "command", "make bench", "what the report says it was written by")
	flags.StringVar(&chosen, "sections", "all", "of "+strings.Join(names, ","))
	flags.StringVar(&who, "receivers", "all", "of "+strings.Join(receiverNames(), ","))
	flags.StringVar(&what, "protocols", "netflow9,ipfix,netflow5,sflow5", "of the saturated table and the sums")
	flags.IntVar(&o.rounds, "rounds", 1, "runs of each; the median counts")
	flags.DurationVar(&o.each, "each", 3*time.Second, "length of a saturated or paced run")
	flags.DurationVar(&o.sustain, "sustain", 5*time.Second, "length of a sustained run")
	flags.DurationVar(&o.search, "search", time.Second, "length of a trial for the rate without loss")
	flags.Float64Var(&o.v9Rate, "v9-rate", 1_000_000, "records a second of the sustained runs")
	flags.Float64Var(&o.sflowRate, "sflow-rate", 300_000, "samples a second of the sustained runs")
	flags.StringVar(&o.sampling, "sampling", "auto", "the collector's setting of the exporters: auto or none (sFlow: always auto)")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	var err error
	if o.sections, err = list("-sections", chosen, names); err != nil {
		return o, err
	}
	if o.receivers, err = list("-receivers", who, receiverNames()); err != nil {
		return o, err
	}
	o.protocols, err = list("-protocols", what, []string{"netflow9", "ipfix", "netflow5", "sflow5"})
	return o, err
}

// list reads names with commas between them; "all" is every one there is.
func list(flag, value string, known []string) ([]string, error) {
	if value == "all" {
		return known, nil
	}
	names := strings.Split(value, ",")
	for _, name := range names {
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("%s: %q is none of %s", flag, name, strings.Join(known, ", "))
		}
	}
	return names, nil
}

func run(ctx context.Context, o options) error {
	work, err := os.MkdirTemp("", "hostmeter-benchmark-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(work) }()
	b := &bench{options: o, work: work, report: &strings.Builder{}, saturated: map[string]result{}}
	if b.accounting, err = newAccounting(); err != nil {
		return err
	}
	defer b.accounting.close()
	b.preamble()
	for _, s := range sections {
		if slices.Contains(o.sections, s.name) {
			say("%s: %s", s.name, s.title)
			fmt.Fprintf(b.report, "\n## %s\n\n", s.title)
			if err := s.run(b, ctx); err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
		}
	}
	fmt.Fprintf(b.report, "\nLoad average at the end: %s.\n", loadAverage())
	if o.out == "" {
		_, err = os.Stdout.WriteString(b.report.String())
		return err
	}
	return results.Replace(o.out, b.report.String())
}

// bench is one run of everything.
type bench struct {
	options
	work       string
	accounting *accounting
	report     *strings.Builder
	runs       int               // made so far: each has a folder and a port of its own
	saturated  map[string]result // by receiver and protocol
}

func say(format string, values ...any) { fmt.Fprintf(os.Stderr, format+"\n", values...) }
