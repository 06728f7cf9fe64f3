package main

import (
	"io"

	"github.com/spf13/cobra"

	"hostmeter/internal/app"
)

func newVirtualizor() *cobra.Command {
	options := app.DefaultVirtualizor()
	var out string
	cmd := &cobra.Command{
		Use:   "virtualizor --url https://HOST:4085 -o FILE",
		Short: "Write an import file of the services, addresses and plans that a Virtualizor has",
		Long: `Read users, plans and virtual servers by the admin API, compare them with the inventory, and write an import file that
makes the inventory say the same. Nothing is changed: look at it, and import it.

  hostmeter virtualizor --url https://panel:4085 --place london -o vz.yaml
  hostmeter import --dry-run vz.yaml
  hostmeter import vz.yaml`,
		Args: cobra.NoArgs,
	}
	path := configFlag(cmd)
	flags := cmd.Flags()
	flags.StringVar(&options.URL, "url", "", "the panel's address with the admin's port (required)")
	flags.StringVar(&options.Key, "key", options.Key, "API key: env:NAME or file:PATH")
	flags.StringVar(&options.Pass, "pass", options.Pass, "API password: env:NAME or file:PATH")
	flags.StringVar(&options.CA, "ca", "", "file of the certificate to trust, where it is the panel's own")
	flags.StringVar(&options.Prefix, "prefix", options.Prefix, "before the ids of services, plans and customers; another one for each panel")
	flags.StringVar(&options.Unit, "unit", options.Unit, "what the panel's GB is: GB (10^9) or GiB (2^30, as it counts)")
	flags.StringVar(&options.Place, "place", "", "of new services: which price applies")
	flags.StringVar(&options.Currency, "currency", "", "of new services (default: the provider's)")
	flags.StringVar(&options.Class, "class", options.Class, "of new plans")
	flags.StringVar(&options.Period, "period", options.Period, "of new plans: anniversary or calendar")
	flags.StringVar(&options.Block, "block", options.Block, "of new plans: what a price for what is begun rounds up to")
	flags.StringVar(&options.Since, "since", "", "day from which on addresses belong to services that are new here, 2026-10-01 (default: now)")
	flags.IntVar(&options.MayClose, "may-close", options.MayClose, "how many services may be gone at once")
	flags.StringVarP(&out, "output", "o", "", "file (default: standard output)")
	_ = cmd.MarkFlagRequired("url")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return withDesk(cmd, *path, func(desk *app.Desk) error {
			return toFile(out, cmd.OutOrStdout(), func(w io.Writer) error {
				return desk.Virtualizor(cmd.Context(), options, w, cmd.ErrOrStderr())
			})
		})
	}
	return cmd
}
