package app

import (
	"cmp"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"hostmeter/aggregator/ledger"
	"hostmeter/internal/httpapi"
	"hostmeter/schemas"
)

// UsageOptions are the flags of `hostmeter usage`.
type UsageOptions struct {
	From, To, By, Service, Meter, Format string
	JSON                                 bool
}

// Usage prints usage out of the ledger as CSV or JSON.
func (d *Desk) Usage(ctx context.Context, o UsageOptions, w io.Writer) error {
	query, err := d.usageQuery(ctx, o)
	if err != nil {
		return err
	}
	rows := usageCSV(w)
	if o.JSON || o.Format == "json" {
		rows = usageJSON(w)
	} else if o.Format != "csv" {
		return wrong(fmt.Errorf("--format %q", o.Format), "want csv or json")
	}
	if err := rows.begin(); err != nil {
		return err
	}
	if err := (usageReader{d}).Usage(ctx, query, rows.row); err != nil {
		return err
	}
	return rows.end()
}

func (d *Desk) usageQuery(ctx context.Context, o UsageOptions) (httpapi.UsageQuery, error) {
	zone, err := d.zone(ctx)
	if err != nil {
		return httpapi.UsageQuery{}, err
	}
	from, err1 := parseInstant(o.From, zone)
	to, err2 := parseInstant(o.To, zone)
	if err := errors.Join(err1, err2); err != nil {
		return httpapi.UsageQuery{}, wrong(err, "for example --from 2026-10-01 --to 2026-11-01, or RFC 3339 times")
	}
	if !from.Before(to) || from.Truncate(time.Hour) != from || to.Truncate(time.Hour) != to {
		return httpapi.UsageQuery{}, wrong(fmt.Errorf("from %s to %s", o.From, o.To), "the span begins before it ends, at whole hours")
	}
	by := httpapi.UsageBy(o.By)
	if by != httpapi.ByService && by != httpapi.ByMeter && by != httpapi.ByHour {
		return httpapi.UsageQuery{}, wrong(fmt.Errorf("--by %q", o.By), "want service, meter or hour")
	}
	query := httpapi.UsageQuery{From: from.UTC(), To: to.UTC(), By: by, Service: o.Service}
	if o.Meter != "" {
		meter, err := schemas.ParseMeter(o.Meter)
		if err != nil {
			return query, wrong(err, "for example --meter address:192.0.2.9")
		}
		query.Meter = string(meter)
	}
	return query, nil
}

// parseInstant reads RFC 3339, or a date that begins in a zone.
func parseInstant(text string, zone *time.Location) (time.Time, error) {
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return at, nil
	}
	at, err := time.ParseInLocation(time.DateOnly, text, zone)
	if err != nil {
		return at, fmt.Errorf("%q is neither a date nor an RFC 3339 time", text)
	}
	return at, nil
}

// rowWriter writes a listing row by row, so that a long one needs no memory.
type rowWriter struct {
	begin, end func() error
	row        func(httpapi.UsageRow) error
}

func usageJSON(w io.Writer) rowWriter {
	separator := "\n"
	return rowWriter{
		begin: func() error { _, err := io.WriteString(w, "["); return err },
		row: func(row httpapi.UsageRow) error {
			text, err := json.Marshal(row)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(w, "%s%s", separator, text)
			separator = ",\n"
			return err
		},
		end: func() error { _, err := io.WriteString(w, "\n]\n"); return err },
	}
}

func usageCSV(w io.Writer) rowWriter {
	out := csv.NewWriter(w)
	return rowWriter{
		begin: func() error {
			return out.Write([]string{"from", "to", "customer", "service", "meter", "class", "in_octets", "out_octets", "in_packets", "out_packets", "octets_standard_error", "provisional"})
		},
		row: func(r httpapi.UsageRow) error {
			n := func(v uint64) string { return strconv.FormatUint(v, 10) }
			return out.Write([]string{
				r.From.Format(time.RFC3339), r.To.Format(time.RFC3339), r.Customer, r.Service, r.Meter, r.Class,
				n(r.InOctets), n(r.OutOctets), n(r.InPackets), n(r.OutPackets), n(r.StandardErrorOctets), strconv.FormatBool(r.Provisional),
			})
		},
		end: func() error {
			out.Flush()
			return out.Error()
		},
	}
}

// ListExporters prints how the sources are.
func (d *Desk) ListExporters(ctx context.Context, asJSON bool, w io.Writer) error {
	list, err := exporterWatcher{Desk: d}.Exporters(ctx)
	if err != nil {
		return err
	}
	if asJSON {
		return printJSON(w, list)
	}
	rows := [][]string{{"EXPORTER", "NAME", "PROTOCOL", "SAMPLING", "STATE", "COVERAGE", "DROPPED", "LOST"}}
	for _, e := range list.Exporters {
		coverage := "?"
		if e.Coverage != nil {
			coverage = fmt.Sprintf("%.2f %%", 100**e.Coverage)
		}
		rows = append(rows, []string{e.Exporter, e.Name, e.Protocol, samplingColumn(e), e.State, coverage, countsText(e.Dropped), countsText(e.Lost)})
	}
	if err := printTable(w, rows); err != nil || len(list.Knocking) == 0 {
		return err
	}
	if _, err := fmt.Fprintf(w, "\nRefused: add those that are yours to collector.exporters, and reload.\n"); err != nil {
		return err
	}
	rows = [][]string{{"ADDRESS", "PROTOCOL", "DATAGRAMS", "FIRST", "LAST"}}
	for _, k := range list.Knocking {
		rows = append(rows, []string{k.Address, cmp.Or(k.Protocol, "?"), strconv.FormatUint(k.Datagrams, 10), k.FirstAt.Format(time.RFC3339), k.LastAt.Format(time.RFC3339)})
	}
	return printTable(w, rows)
}

// samplingColumn is the rate, and the one in effect where it is in doubt.
func samplingColumn(e httpapi.Exporter) string {
	if len(e.SamplingDoubts) == 0 || e.SamplingInEffect == nil {
		return cmp.Or(e.Sampling, "-")
	}
	return fmt.Sprintf("%s (1 in %.0f in effect)", e.Sampling, *e.SamplingInEffect)
}

func countsText(list []httpapi.Count) string {
	var parts []string
	for _, c := range list {
		parts = append(parts, strings.TrimSpace(fmt.Sprintf("%d %s %s", c.Count, c.Unit, c.Reason)))
	}
	if len(parts) == 0 {
		return "-"
	}
	return strings.Join(parts, ", ")
}

// guestUsage is what `hostmeter guests` prints of a guest.
type guestUsage struct {
	Meter    string  `json:"meter"`
	Name     string  `json:"name"`
	Host     string  `json:"host"`
	VCPUs    uint32  `json:"vcpus"`
	CPU      float64 `json:"cpu_seconds"`
	Steal    float64 `json:"steal_seconds"`
	Capacity float64 `json:"capacity_seconds"`
}

// ListGuests prints the guests' CPU of the last 24 hours.
func (d *Desk) ListGuests(ctx context.Context, asJSON bool, w io.Writer) error {
	guests, err := d.ledger.Guests(ctx)
	if err != nil {
		return err
	}
	list := make([]guestUsage, len(guests))
	index := map[string]int{}
	for i, g := range guests {
		list[i] = guestUsage{Meter: string(schemas.GuestMeter(g.Guest)), Name: g.Name, Host: g.Host, VCPUs: g.VCPUs}
		index[g.Guest] = i
	}
	now := d.clock.Now()
	if err := d.ledger.GuestRows(ctx, "", now.Add(-24*time.Hour).Truncate(time.Hour), now.Add(time.Hour), func(row ledger.GuestRow) error {
		if i, ok := index[row.Guest]; ok {
			list[i].CPU += row.CPU.Seconds()
			list[i].Steal += row.Steal.Seconds()
			list[i].Capacity += row.Capacity.Seconds()
		}
		return nil
	}); err != nil {
		return err
	}
	if asJSON {
		return printJSON(w, list)
	}
	rows := [][]string{{"METER", "NAME", "HOST", "VCPUS", "CPU", "STEAL"}}
	for _, g := range list {
		share := func(v float64) string {
			if g.Capacity == 0 {
				return "?"
			}
			return fmt.Sprintf("%.1f %%", 100*v/g.Capacity)
		}
		rows = append(rows, []string{g.Meter, g.Name, g.Host, strconv.Itoa(int(g.VCPUs)), share(g.CPU), share(g.Steal)})
	}
	return printTable(w, rows)
}
