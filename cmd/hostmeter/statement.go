package main

import (
	"io"
	"os"

	"github.com/spf13/cobra"

	"hostmeter/internal/app"
)

func newStatement() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "statement",
		Short: "The month's overage report, and the closing of periods",
		Long: `A month holds the periods that end in it. A period closes by itself when its hours are sealed and its
exporters complete; a closed statement never changes, and what arrives later is an adjustment.

A period is open (it runs), provisional (it is over, and late usage still counts in it), closing (its hours are sealed),
closed, or corrected (it has adjustments).`,
	}
	path := configFlag(cmd)
	cmd.AddCommand(newStatementList(path), newStatementShow(path), newStatementExport(path), newStatementEvidence(path), newStatementReconcile(path), newStatementResellers(path), newStatementClose(path), newStatementVerify(path))
	return cmd
}

func newStatementList(path *string) *cobra.Command {
	var month string
	var asJSON bool
	cmd := &cobra.Command{Use: "list --month 2026-10", Short: "List a month's lines", Args: cobra.NoArgs}
	cmd.Flags().StringVar(&month, "month", "", "the month (default: the last one that is over)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return withDesk(cmd, *path, func(desk *app.Desk) error {
			return desk.ListStatements(cmd.Context(), month, asJSON, cmd.OutOrStdout())
		})
	}
	return cmd
}

func newStatementShow(path *string) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{Use: "show STATEMENT", Short: "Print one closed statement as it was closed", Args: cobra.ExactArgs(1)}
	cmd.Flags().BoolVar(&asJSON, "json", true, "print JSON (the only form)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return withDesk(cmd, *path, func(desk *app.Desk) error {
			return desk.ShowStatement(cmd.Context(), args[0], cmd.OutOrStdout())
		})
	}
	return cmd
}

func newStatementExport(path *string) *cobra.Command {
	var o app.ExportOptions
	cmd := &cobra.Command{
		Use: "export --month 2026-10 --format csv -o FILE", Short: "Write the month's report, or what customers are sent", Args: cobra.NoArgs,
		Long: `csv   one line a charge, or a service without one
xlsx  the same with types, totals as formulas, and the evidence of the charges
json  the same with what else is known: totals, unowned traffic, problems
pdf   what a customer is sent. With --customer ID one file; without, one for each customer: into the
      folder that -o names, or into a ZIP where its name ends in .zip or it is standard output

--part names what stands beside the charges, as csv or json; the workbook has unowned and completeness as sheets:
unowned         traffic of your addresses while no service owned them
completeness    how much of what each exporter should have told arrived
reconciliation  what bills beside its witnesses, one line a service and day`,
		Example: `  hostmeter statement export --month 2026-10 --format xlsx -o october.xlsx
  hostmeter statement export --month 2026-10 --format pdf -o october/
  hostmeter statement export --month 2026-10 --format pdf --customer c1 -o c1.pdf
  hostmeter statement export --month 2026-10 --part reconciliation -o october-days.csv`,
	}
	flags := cmd.Flags()
	flags.StringVar(&o.Month, "month", "", "the month (default: the last one that is over)")
	flags.StringVar(&o.Format, "format", "csv", "csv, xlsx, pdf or json")
	flags.StringVar(&o.Customer, "customer", "", "only this customer")
	flags.StringVar(&o.Reseller, "reseller", "", "only this reseller and everybody that it sells to")
	flags.StringVar(&o.Part, "part", "charges", "charges, unowned, completeness or reconciliation")
	flags.StringVarP(&o.Output, "output", "o", "", "file, or folder of PDFs (default: standard output)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return withDesk(cmd, *path, func(desk *app.Desk) error {
			if o.Folder() {
				return desk.ExportFolder(cmd.Context(), o)
			}
			return toFile(o.Output, cmd.OutOrStdout(), func(w io.Writer) error {
				return desk.ExportReport(cmd.Context(), o, w)
			})
		})
	}
	return cmd
}

func newStatementEvidence(path *string) *cobra.Command {
	var o app.ExportOptions
	cmd := &cobra.Command{
		Use: "evidence --service ID --month 2026-10 -o FILE", Short: "Write what stands behind the charges of a service", Args: cobra.NoArgs,
		Long: `Usage by day and hour, direction and class; who owned what and when; the contract with the level of
each setting, and the price version with its notice; slots present and missing; the sampling error; and
what the exporters declare as lost.`,
	}
	flags := cmd.Flags()
	flags.StringVar(&o.Service, "service", "", "the service")
	flags.StringVar(&o.Month, "month", "", "the month (default: the last one that is over)")
	flags.StringVar(&o.Format, "format", "json", "json, xlsx or pdf")
	flags.StringVarP(&o.Output, "output", "o", "", "file (default: standard output)")
	_ = cmd.MarkFlagRequired("service")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return withDesk(cmd, *path, func(desk *app.Desk) error {
			return toFile(o.Output, cmd.OutOrStdout(), func(w io.Writer) error {
				return desk.ExportEvidence(cmd.Context(), o, w)
			})
		})
	}
	return cmd
}

func newStatementResellers(path *string) *cobra.Command {
	var o app.ExportOptions
	cmd := &cobra.Command{
		Use: "resellers --month 2026-10", Short: "Roll a month up to the resellers, against the rates that they have bought", Args: cobra.NoArgs,
		Long: `What the services of each reseller's customers, and of their customers, used together in a calendar month:
octets, and the 95th percentile of the sum against the rate bought. A reseller is a customer that another names
as its reseller, or that has a rate_bought. Charges are those of the periods that end in the month.`,
		Example: `  hostmeter statement resellers --month 2026-10
  hostmeter statement resellers --month 2026-10 --reseller r1 --format csv -o r1.csv`,
	}
	flags := cmd.Flags()
	flags.StringVar(&o.Month, "month", "", "the month (default: the last one that is over)")
	flags.StringVar(&o.Reseller, "reseller", "", "only this one")
	flags.StringVar(&o.Format, "format", "table", "table, csv or json")
	flags.StringVarP(&o.Output, "output", "o", "", "file (default: standard output)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return withDesk(cmd, *path, func(desk *app.Desk) error {
			return toFile(o.Output, cmd.OutOrStdout(), func(w io.Writer) error {
				return desk.ListResellers(cmd.Context(), o, w)
			})
		})
	}
	return cmd
}

func newStatementReconcile(path *string) *cobra.Command {
	var o app.ReconcileOptions
	cmd := &cobra.Command{
		Use: "reconcile --month 2026-10", Short: "Compare what bills with the other meters of each service, day by day", Args: cobra.NoArgs,
		Long: `Address meters against vNICs against switch ports, of each UTC day whose hours are sealed, in octets of layer 3 as the
customer sees them. The band follows from the sizes of the packets, the sampling error and what was not observed. A day outside
its band holds the line of its period, until a decision to release it is imported:

  decisions:
    - {id: d1, service: s1, decision: release, from: 2026-10-15T00:00:00Z, by: Jane Roe, reason: the backup VLAN has no exporter}

Where a witness is missing the day is not compared, which is no mismatch. Without --all only the days are printed on which
something does not agree. For a file: hostmeter statement export --part reconciliation.`,
	}
	cmd.Flags().StringVar(&o.Month, "month", "", "the month (default: the last one that is over)")
	cmd.Flags().StringVar(&o.Service, "service", "", "only this service")
	cmd.Flags().BoolVar(&o.All, "all", false, "all days")
	cmd.Flags().BoolVar(&o.JSON, "json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return withDesk(cmd, *path, func(desk *app.Desk) error {
			return desk.Reconcile(cmd.Context(), o, cmd.OutOrStdout())
		})
	}
	return cmd
}

func newStatementClose(path *string) *cobra.Command {
	var dryRun, asJSON bool
	cmd := &cobra.Command{Use: "close", Short: "Close the periods that are due now, without waiting for the next round", Args: cobra.NoArgs}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "print what would be closed and adjusted, and write nothing")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a dry run as JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return withDesk(cmd, *path, func(desk *app.Desk) error {
			if dryRun {
				return desk.PreviewClosing(cmd.Context(), asJSON, cmd.OutOrStdout())
			}
			return desk.CloseDue(cmd.Context(), cmd.OutOrStdout())
		})
	}
	return cmd
}

func newStatementVerify(path *string) *cobra.Command {
	return &cobra.Command{
		Use: "verify", Short: "Check the chains of closed statements and of notices", Args: cobra.NoArgs,
		Long: `Check the chains of closed statements and of notices: hashes and numbers only. "hostmeter verify" computes each
statement again.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withDesk(cmd, *path, func(desk *app.Desk) error {
				return desk.VerifyStatements(cmd.Context(), cmd.OutOrStdout())
			})
		},
	}
}

// toFile writes through f to a file that appears whole or not at all, or to w where path is empty.
func toFile(path string, w io.Writer, f func(io.Writer) error) error {
	if path == "" {
		return f(w)
	}
	file, err := os.Create(path + ".new")
	if err != nil {
		return err
	}
	defer os.Remove(path + ".new")
	if err := f(file); err != nil {
		file.Close()
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
