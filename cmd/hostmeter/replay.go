package main

import (
	"errors"

	"github.com/spf13/cobra"

	"hostmeter/internal/app"
)

func newReplay() *cobra.Command {
	var options app.ReplayOptions
	cmd := &cobra.Command{
		Use:   "replay --json [--local CIDR,…] [--exporter ADDR] FILE…",
		Short: "Decode captures and print what they add up to",
		Long: `Run captures through the real decoding path and print the sums as JSON: what each exporter sent, what was
counted, held, dropped (with its reason) and lost, and the octets of each address. FILE is a pcap or pcapng
file, or a raw UDP payload (any other extension), which counts as sent by --exporter in the order given.`,
		Example: "  hostmeter replay --json --local 192.0.2.0/24 exporters.pcap",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, files []string) error {
			if !options.JSON {
				return &app.HintError{Err: errors.Join(app.ErrUsage, errors.New("replay prints JSON only")), Hint: "add --json"}
			}
			return app.Replay(files, options, cmd.OutOrStdout())
		},
	}
	cmd.Flags().BoolVar(&options.JSON, "json", false, "print JSON (the only form)")
	cmd.Flags().StringSliceVar(&options.Local, "local", nil, "local prefixes whose addresses are summed (default: all addresses)")
	cmd.Flags().StringVar(&options.Exporter, "exporter", "192.0.2.1", "sender of raw payload files")
	return cmd
}
