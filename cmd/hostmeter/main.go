// Command hostmeter meters what the customers of a hosting provider use, bills what they use beyond
// their contract, and tells the operators who is abusing the platform.
//
// There is a file here for each subcommand and no logic: internal/app has it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"hostmeter/internal/app"
)

// Exit codes.
const (
	exitDone    = 0
	exitFailed  = 1 // the work failed
	exitUsage   = 2 // wrong usage or configuration
	exitRefused = 3 // done, with input refused, and said which
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:]))
}

// run runs the command line and returns the exit code.
func run(ctx context.Context, args []string) int {
	root := newRoot()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitDone
	}
	fmt.Fprintln(os.Stderr, "hostmeter: error:", err)
	var hinted *app.HintError
	if errors.As(err, &hinted) {
		fmt.Fprintln(os.Stderr, "hostmeter: hint:", hinted.Hint)
	}
	switch {
	case errors.Is(err, app.ErrInputRefused):
		return exitRefused
	case errors.Is(err, app.ErrUsage), errors.Is(err, errCommandLine):
		return exitUsage
	}
	return exitFailed
}

// errCommandLine marks what cobra refuses before a command runs.
var errCommandLine = errors.New("")

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "hostmeter",
		Short: "Transfer metering, overage billing and abuse detection for hosting providers",
		Long: `hostmeter collects NetFlow v5/v9, IPFIX and sFlow from switches, and CPU and interface counters from
libvirt hypervisors; computes each service's transfer for overage billing; and raises incidents for
sustained CPU, bandwidth and packet rates and for outgoing attacks.

Start here:
  hostmeter demo                      a simulated provider, with pages to look at
  hostmeter config example >h.yaml    a first configuration, explained
  hostmeter run -c h.yaml             everything in one process
  hostmeter import inventory.yaml -c h.yaml`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &app.HintError{Err: fmt.Errorf("%w%w", errCommandLine, err), Hint: fmt.Sprintf("run %q", cmd.CommandPath()+" --help")}
	})
	root.AddCommand(
		newRun(), newCollect(), newAggregate(), newDetect(), newServe(), newDemo(),
		newReplay(), newBacktest(), newImport(), newVirtualizor(), newUsage(), newGuests(), newStatement(), newAddresses(), newHandover(), newApproval(), newCredit(), newErase(), newAudit(), newIncidents(), newExporters(),
		newVerify(), newDoctor(), newConfig(), newUser(), newToken(), newVersion(),
	)
	for _, cmd := range root.Commands() {
		markUsage(cmd)
	}
	return root
}

// markUsage makes wrong arguments count as wrong usage.
func markUsage(cmd *cobra.Command) {
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return &app.HintError{Err: fmt.Errorf("%w%w", errCommandLine, err), Hint: fmt.Sprintf("run %q", cmd.CommandPath()+" --help")}
			}
			return nil
		}
	}
	for _, sub := range cmd.Commands() {
		markUsage(sub)
	}
}
