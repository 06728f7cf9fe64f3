package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"

	"hostmeter/aggregator/statement"
	"hostmeter/collector/libvirt"
	"hostmeter/internal/clock"
	"hostmeter/internal/doctor"
	"hostmeter/internal/httpapi"
	"hostmeter/schemas"
)

// Doctor checks an installation and prints what it found.
//
// Errors: where something does not work.
func Doctor(ctx context.Context, path string, asJSON bool, w io.Writer) error {
	cfg, err := LoadConfig(path)
	if err != nil {
		return err
	}
	checks := []doctor.Check{doctor.Folder("data", cfg.Data)}
	if n := len(cfg.Collector.UDP); n > 0 {
		checks = append(checks, doctor.ReceiveBuffer(int64(cfg.Collector.UDP[0].ReceiveBuffer)))
	}
	if len(cfg.Collector.Libvirt) > 0 {
		checks = append(checks, doctor.Check{Name: "libvirt", Run: func(context.Context) []doctor.Finding {
			if err := libvirt.Supported(); err != nil {
				return []doctor.Finding{{Level: doctor.Fault, Text: err.Error(), Hint: "use the build with cgo"}}
			}
			return nil
		}})
	}
	desk, err := openDesk(ctx, cfg, clock.Real{})
	if err != nil {
		checks = append(checks, doctor.Check{Name: "ledger", Run: func(context.Context) []doctor.Finding {
			return []doctor.Finding{{Level: doctor.Fault, Text: err.Error(), Hint: "check ledger.store"}}
		}})
	} else {
		defer desk.Close()
		checks = append(checks, desk.checks()...)
	}
	findings := doctor.Run(ctx, checks)
	if err := doctor.Write(w, findings, asJSON); err != nil {
		return err
	}
	if doctor.Worst(findings) == doctor.Fault {
		return errors.New("something does not work")
	}
	return nil
}

// checks are those that need the ledger.
func (d *Desk) checks() []doctor.Check {
	return []doctor.Check{
		{Name: "exporters", Run: d.checkExporters},
		{Name: "inventory", Run: d.checkInventory},
		{Name: "ledger", Run: d.checkLedger},
		{Name: "books", Run: d.checkBooks},
		{Name: "people", Run: d.checkUsers},
		{Name: "handover", Run: d.checkHandover},
	}
}

func (d *Desk) checkExporters(ctx context.Context) []doctor.Finding {
	list, err := exporterWatcher{Desk: d}.Exporters(ctx)
	if err != nil {
		return []doctor.Finding{{Level: doctor.Fault, Text: err.Error()}}
	}
	var out []doctor.Finding
	for _, e := range list.Exporters {
		switch e.State {
		case "never":
			out = append(out, doctor.Finding{Level: doctor.Warning, Text: e.Exporter + " has never sent anything that was booked",
				Hint: "point it at this collector's port, and check the firewall in between"})
		case "silent":
			out = append(out, doctor.Finding{Level: doctor.Warning, Text: e.Exporter + " is silent",
				Hint: "is the device up, and does it still export?"})
		default:
			out = append(out, doctor.Finding{Level: doctor.Good, Text: fmt.Sprintf("%s sends %s", e.Exporter, e.Protocol)})
		}
		out = append(out, samplingFindings(e)...)
		for _, c := range e.Dropped {
			finding := doctor.Finding{Level: doctor.Warning, Text: fmt.Sprintf("%s: %d %s dropped in 24 h: %s", e.Exporter, c.Count, c.Unit, c.Reason)}
			if c.Reason == schemas.ReasonRepeated {
				finding.Hint = "they came twice and count once: look for a bond or a mirror port on the way, and for two destinations in the exporter that both lead here"
			}
			out = append(out, finding)
		}
		for _, c := range e.Lost {
			if c.Reason == statement.LostByLog {
				continue // the check of the ledger names them
			}
			out = append(out, doctor.Finding{Level: doctor.Warning, Text: fmt.Sprintf("%s: %d %s lost on the way in 24 h", e.Exporter, c.Count, c.Unit),
				Hint: "compare hostmeter_collector_kernel_drops_total with the path between device and collector"})
		}
	}
	for _, k := range list.Knocking[:min(len(list.Knocking), knocksNamed)] {
		out = append(out, doctor.Finding{
			Level: doctor.Warning, Text: fmt.Sprintf("%s sends %s and may not: %d datagrams refused", k.Address, cmp.Or(k.Protocol, "something else than flows"), k.Datagrams),
			Hint: "add it to collector.exporters if it is yours, and reload",
		})
	}
	return out
}

// knocksNamed is how many refused senders the doctor names: those that knock most.
const knocksNamed = 5

// samplingFindings names sources of an sFlow exporter that sample at another rate than they say.
func samplingFindings(e httpapi.Exporter) (out []doctor.Finding) {
	for _, s := range e.SamplingDoubts {
		hint := "if it has lost nothing, it samples at another rate than it says: set collector.exporters[].sampling to the one that its port counters show"
		if s.Unsent > 0 {
			hint = fmt.Sprintf("it could not send %d samples that it took: let it sample less, at 1 in %d or more", s.Unsent, 2*s.Stated)
		}
		out = append(out, doctor.Finding{
			Level: doctor.Warning, Hint: hint,
			Text: fmt.Sprintf("%s: %s samples 1 in %.0f in effect, and says 1 in %d (%d samples in two hours)", e.Exporter, s.Source, s.InEffect, s.Stated, s.Samples),
		})
	}
	return out
}

func (d *Desk) checkInventory(ctx context.Context) []doctor.Finding {
	snapshot, err := d.inventory.Snapshot(ctx)
	if err != nil {
		return []doctor.Finding{{Level: doctor.Fault, Text: err.Error()}}
	}
	if len(snapshot.Services()) == 0 {
		return []doctor.Finding{{Level: doctor.Warning, Text: "no services: nothing can be billed", Hint: `"hostmeter import FILE" reads customers, services, plans and prices`}}
	}
	return []doctor.Finding{{Level: doctor.Good, Text: fmt.Sprintf("%d services", len(snapshot.Services()))}}
}

func (d *Desk) checkUsers(ctx context.Context) []doctor.Finding {
	users, err := d.keeper.Users(ctx)
	if err != nil {
		return []doctor.Finding{{Level: doctor.Fault, Text: err.Error()}}
	}
	if len(users) == 0 {
		return []doctor.Finding{{Level: doctor.Warning, Text: "nobody can log in to the pages", Hint: `"hostmeter user add NAME --role admin"`}}
	}
	return []doctor.Finding{{Level: doctor.Good, Text: fmt.Sprintf("%d users", len(users))}}
}
