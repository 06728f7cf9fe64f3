package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"

	"hostmeter/aggregator/ledger"
	"hostmeter/aggregator/rating"
	"hostmeter/aggregator/statement"
	"hostmeter/internal/httpapi"
	"hostmeter/internal/inventory"
)

// checker joins finance's pages to what stands beside the charges of a month.
type checker struct{ *Desk }

// writePart writes a part of a month's report that is about all customers.
func (d *Desk) writePart(ctx context.Context, q httpapi.ReportQuery, w io.Writer) error {
	if q.Format != "csv" && q.Format != "json" || q.Customer != "" {
		return &httpapi.InvalidError{Message: fmt.Sprintf("part %s as %s", q.Part, q.Format), Hint: "it goes with format csv or json, and with no customer; the workbook (format xlsx) has all parts"}
	}
	if q.Part == "reconciliation" {
		rows, err := d.reconciliation(ctx, q.Month)
		if err != nil {
			return err
		}
		if q.Format == "csv" {
			return statement.WriteReconciledCSV(w, rows)
		}
		return statement.WritePartJSON(w, rows)
	}
	report, err := d.monthOf(ctx, q.Month)
	if err != nil {
		return err
	}
	switch {
	case q.Part == "unowned" && q.Format == "csv":
		return statement.WriteUnownedCSV(w, report)
	case q.Part == "unowned":
		return statement.WritePartJSON(w, report.Unowned)
	case q.Part == "completeness" && q.Format == "csv":
		return statement.WriteCompletenessCSV(w, report)
	case q.Part == "completeness":
		return statement.WriteCompletenessJSON(w, report)
	}
	return &httpapi.InvalidError{Message: fmt.Sprintf("part %q", q.Part), Hint: "want charges, unowned, completeness or reconciliation"}
}

// monthOf is the report of a month, also where no period ends in it.
func (d *Desk) monthOf(ctx context.Context, month httpapi.Month) (statement.Report, error) {
	report, err := d.report(ctx, string(month))
	if errors.Is(err, httpapi.ErrNotFound) {
		err = nil
	}
	return report, err
}

func (d *Desk) reconciliation(ctx context.Context, month httpapi.Month) ([]statement.Reconciled, error) {
	rows, err := d.ledger.Reconciliation(ctx, d.inventory, string(month), d.clock.Now())
	if errors.Is(err, ledger.ErrMonth) {
		err = &httpapi.InvalidError{Message: err.Error(), Hint: "for example 2026-10"}
	}
	return rows, err
}

// Reconciliation returns the days of the periods that end in a month.
func (d checker) Reconciliation(ctx context.Context, month httpapi.Month) ([]httpapi.ReconciledDay, error) {
	rows, err := d.reconciliation(ctx, month)
	out := make([]httpapi.ReconciledDay, len(rows))
	for i, r := range rows {
		day := httpapi.ReconciledDay{Customer: r.Customer, Service: r.Service, PeriodFrom: r.PeriodFrom, Day: r.Day, Bills: string(r.Bills),
			In: comparedToAPI(r.In), Out: comparedToAPI(r.Out), Verdict: string(r.Verdict), Reason: r.Reason, Released: r.Released}
		for _, m := range r.Missing {
			day.Missing = append(day.Missing, string(m.Kind)+": "+m.Reason)
		}
		out[i] = day
	}
	return out, err
}

func comparedToAPI(c statement.Compared) httpapi.Compared {
	out := httpapi.Compared{Address: c.Address, VNIC: c.VNIC, Port: c.Port}
	if c.Band != nil {
		out.Low, out.High = &c.Band.Low, &c.Band.High
	}
	return out
}

// Unowned returns the traffic of a month that no service owned.
func (d checker) Unowned(ctx context.Context, month httpapi.Month) ([]httpapi.UnownedMeter, error) {
	report, err := d.monthOf(ctx, month)
	out := make([]httpapi.UnownedMeter, len(report.Unowned))
	for i, u := range report.Unowned {
		out[i] = httpapi.UnownedMeter{Meter: u.Meter, Class: u.Class, InOctets: uint64(max(u.InOctets, 0)), OutOctets: uint64(max(u.OutOctets, 0))}
	}
	return out, err
}

// Completeness returns how complete each exporter was in a month.
func (d checker) Completeness(ctx context.Context, month httpapi.Month) ([]httpapi.ExporterMonth, error) {
	report, err := d.monthOf(ctx, month)
	out := make([]httpapi.ExporterMonth, len(report.Exporters))
	for i, c := range report.Exporters {
		gap := c.LongestGap()
		out[i] = httpapi.ExporterMonth{Exporter: c.Exporter.Exporter, Protocols: c.Protocols, Coverage: c.Coverage, MinutesExpected: c.MinutesExpected, Missing: c.MissingMinutes(),
			Gaps: len(c.Gaps), GapFrom: gap.From, GapTo: gap.To, Datagrams: uint64(max(c.Datagrams, 0)), Records: uint64(max(c.Records, 0)), Octets: uint64(max(c.Octets, 0)),
			LostOctets: uint64(max(c.LostOctets, 0)), Lost: countsToAPI(c.Lost), Dropped: countsToAPI(c.Dropped)}
	}
	return out, err
}

func countsToAPI(list []statement.Count) []httpapi.Count {
	out := make([]httpapi.Count, len(list))
	for i, c := range list {
		out[i] = httpapi.Count{Unit: c.Unit, Reason: c.Reason, Count: uint64(max(c.Count, 0))}
	}
	return out
}

// addressDesk joins the API to the use of addresses.
type addressDesk struct{ *Desk }

func (d *Desk) utilisation(ctx context.Context) ([]statement.Utilised, error) {
	return d.ledger.Utilisation(ctx, d.inventory, d.config.Addresses, d.clock.Now())
}

// Utilisation returns how the addresses are used that services have now.
func (d addressDesk) Utilisation(ctx context.Context) ([]httpapi.AddressUse, error) {
	rows, err := d.utilisation(ctx)
	out := make([]httpapi.AddressUse, len(rows))
	for i, r := range rows {
		out[i] = utilisedToAPI(r)
	}
	return out, err
}

func utilisedToAPI(r statement.Utilised) httpapi.AddressUse {
	out := httpapi.AddressUse{Customer: r.Customer, Service: r.Service, Prefix: r.Prefix.String(), AssignedAt: r.AssignedAt, Addresses: r.Addresses, Used: r.Used,
		AssignmentAddresses: r.AssignmentAddresses, Needed: r.Needed, AssignmentUsed: r.AssignmentUsed, Deadline: r.Deadline, State: string(r.State),
		ServiceAddresses: r.ServiceAddresses, BeyondFree: r.Beyond}
	if n := r.Notice; n != nil {
		out.Notice = &httpapi.NoticeSeen{On: n.On.String(), By: n.By, Reason: n.Reason, RevocableFrom: n.RevocableFrom}
	}
	return out
}

// WriteUtilisation writes the same as CSV.
func (d addressDesk) WriteUtilisation(ctx context.Context, w io.Writer) error {
	rows, err := d.utilisation(ctx)
	if err != nil {
		return err
	}
	return statement.WriteUtilisedCSV(w, rows)
}

// GiveNotice records a notice and returns the prefix as it stands then.
func (d addressDesk) GiveNotice(ctx context.Context, notice httpapi.AddressNotice, by httpapi.Actor) (httpapi.AddressUse, error) {
	row, err := d.giveNotice(ctx, notice, string(by))
	switch {
	case errors.Is(err, ledger.ErrNotAssigned):
		err = fmt.Errorf("%w: %w", err, httpapi.ErrNotFound)
	case errors.Is(err, ledger.ErrNoticeNotDue):
		err = fmt.Errorf("%w: %w", err, httpapi.ErrConflict)
	}
	if err != nil {
		return httpapi.AddressUse{}, err
	}
	return utilisedToAPI(row), nil
}

// giveNotice is GiveNotice. Errors: the ledger's own, *httpapi.InvalidError.
func (d *Desk) giveNotice(ctx context.Context, notice httpapi.AddressNotice, by string) (statement.Utilised, error) {
	prefix, err := parseAddressPrefix(notice.Prefix)
	if err != nil {
		return statement.Utilised{}, &httpapi.InvalidError{Message: err.Error(), Hint: "for example 192.0.2.0/28"}
	}
	zone, err := d.zone(ctx)
	if err != nil {
		return statement.Utilised{}, err
	}
	on, err := rating.ParseDate(cmp.Or(notice.On, rating.DateOf(d.clock.Now().In(zone)).String()))
	if err != nil {
		return statement.Utilised{}, &httpapi.InvalidError{Message: fmt.Sprintf("on: %v", err), Hint: "for example 2026-10-20"}
	}
	return d.ledger.GiveNotice(ctx, d.inventory, d.config.Addresses, inventory.AddressNotice{Service: notice.Service, Prefix: prefix, On: on, By: by, Reason: notice.Reason}, d.clock.Now())
}

// parseAddressPrefix reads an address or a prefix.
func parseAddressPrefix(text string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(text); err == nil {
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil || prefix != prefix.Masked() {
		return prefix, fmt.Errorf("%q is neither an address nor a prefix", text)
	}
	return prefix, nil
}
