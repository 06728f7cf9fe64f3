// Command hostmeter meters what the customers of a hosting provider use, bills what they use beyond
// their contract, and tells the operators who is abusing the platform.
//
// There is a file here for each subcommand and no logic: internal/app has it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
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
	os.Exit(run(ctx, os.Args[1:], os.Stderr))
}

// run runs the command line, tells of a fault on w, and returns the exit code. What is refused before a command begins
// its work is wrong usage.
func run(ctx context.Context, args []string, w io.Writer) int {
	root, begun := newRoot(), false
	onBegin(root, func() { begun = true })
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil && !begun {
		err = unknownCommand(cmd)
	}
	if err == nil {
		return exitDone
	}
	fmt.Fprintln(w, "hostmeter: error:", err)
	var hinted *app.HintError
	switch {
	case errors.As(err, &hinted):
		fmt.Fprintln(w, "hostmeter: hint:", hinted.Hint)
	case !begun:
		fmt.Fprintf(w, "hostmeter: hint: run %q\n", cmd.CommandPath()+" --help")
	}
	switch {
	case errors.Is(err, app.ErrInputRefused):
		return exitRefused
	case errors.Is(err, app.ErrUsage), !begun:
		return exitUsage
	}
	return exitFailed
}

// onBegin calls begin before the work of each command.
func onBegin(cmd *cobra.Command, begin func()) {
	if work := cmd.RunE; work != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			begin()
			return work(cmd, args)
		}
	}
	for _, sub := range cmd.Commands() {
		onBegin(sub, begin)
	}
}

// unknownCommand refuses what stands where a subcommand should; cobra shows the help for it.
func unknownCommand(cmd *cobra.Command) error {
	if asked := cmd.Flags().Changed("help"); asked || !cmd.HasSubCommands() || cmd.Flags().NArg() == 0 {
		return nil
	}
	return fmt.Errorf("unknown command %q for %q", cmd.Flags().Arg(0), cmd.CommandPath())
}

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
	root.AddCommand(
		newRun(), newCollect(), newAggregate(), newDetect(), newServe(), newDemo(),
		newReplay(), newBacktest(), newImport(), newVirtualizor(), newUsage(), newGuests(), newStatement(), newAddresses(), newNotices(), newHandover(), newApproval(), newCredit(), newErase(), newAudit(), newIncidents(), newExporters(),
		newVerify(), newBackup(), newRestore(), newPrune(), newDoctor(), newConfig(), newUser(), newToken(), newVersion(),
	)
	return root
}
