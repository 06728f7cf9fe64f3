package app

import (
	"context"
	"math"
	"sort"
	"time"

	"hostmeter/aggregator/ledger"
	"hostmeter/internal/httpapi"
	"hostmeter/internal/inventory"
	"hostmeter/schemas"
)

// usageReader joins the API and the command to the ledger's usage.
type usageReader struct{ *Desk }

// Usage calls yield with usage by service, by meter or by hour. The rows of a service or a meter are
// summed in memory: there is one for each, however long the span.
func (d usageReader) Usage(ctx context.Context, q httpapi.UsageQuery, yield func(httpapi.UsageRow) error) error {
	snapshot, err := d.inventory.Snapshot(ctx)
	if err != nil {
		return err
	}
	sums := newUsageSums(q, snapshot)
	query := ledger.Query{From: q.From, To: q.To, Meter: schemas.MeterID(q.Meter)}
	if q.By == httpapi.ByHour {
		return d.ledger.Rows(ctx, query, func(row ledger.UsageRow) error {
			return sums.each(row, func(part usagePart) error {
				part.row.StandardErrorOctets = standardError(part.varianceKiB2)
				return yield(part.row)
			})
		})
	}
	if err := d.ledger.Rows(ctx, query, func(row ledger.UsageRow) error {
		return sums.each(row, sums.add)
	}); err != nil {
		return err
	}
	for _, row := range sums.rows() {
		if err := yield(row); err != nil {
			return err
		}
	}
	return nil
}

// usageSums adds up the ledger's rows by what a query groups by.
type usageSums struct {
	query    httpapi.UsageQuery
	snapshot *inventory.Snapshot
	sums     map[usageKey]*usagePart
}

type usageKey struct{ service, meter, class string }

// usagePart is a row of the answer, or of what adds up to one, with the variance of its estimate.
type usagePart struct {
	row          httpapi.UsageRow
	varianceKiB2 uint64
}

func newUsageSums(q httpapi.UsageQuery, s *inventory.Snapshot) *usageSums {
	return &usageSums{query: q, snapshot: s, sums: map[usageKey]*usagePart{}}
}

// each cuts a row at the bounds of ownership inside its hour and hands on the parts that the query
// asks for.
func (s *usageSums) each(row ledger.UsageRow, f func(usagePart) error) error {
	end := row.Hour.Add(time.Hour)
	cut := row.Hour
	for _, interval := range s.snapshot.Intervals(row.Meter, row.Hour, end) {
		if interval.From.After(cut) {
			if err := s.part(row, cut, interval.From, "", f); err != nil {
				return err
			}
		}
		if err := s.part(row, interval.From, interval.To, interval.Service, f); err != nil {
			return err
		}
		cut = interval.To
	}
	if cut.Before(end) {
		return s.part(row, cut, end, "", f)
	}
	return nil
}

// part hands on the usage of [from, to), which lies inside the row's hour.
func (s *usageSums) part(row ledger.UsageRow, from, to time.Time, service string, f func(usagePart) error) error {
	if s.query.Service != "" && service != s.query.Service {
		return nil
	}
	first, last := int(from.Sub(row.Hour)/ledger.SlotLength), int(to.Sub(row.Hour)/ledger.SlotLength)
	in, out := row.In.Slice(first, last), row.Out.Slice(first, last)
	if in.Octets+out.Octets == 0 && in.Packets+out.Packets == 0 && (first > 0 || last < ledger.SlotsPerHour) {
		return nil
	}
	customer := ""
	if owner, ok := s.snapshot.ServiceByID(service); ok {
		customer = owner.Customer
	}
	return f(usagePart{row: httpapi.UsageRow{
		From: from, To: to, Customer: customer, Service: service, Meter: string(row.Meter), Class: row.Class,
		InOctets: uint64(in.Octets), OutOctets: uint64(out.Octets),
		InPackets: uint64(in.Packets), OutPackets: uint64(out.Packets),
		Provisional: !row.Sealed,
	}, varianceKiB2: in.VarianceKiB2 + out.VarianceKiB2})
}

func (s *usageSums) add(part usagePart) error {
	key := usageKey{service: part.row.Service, class: part.row.Class}
	if s.query.By == httpapi.ByMeter {
		key.meter = part.row.Meter
	}
	sum, ok := s.sums[key]
	if !ok {
		sum = &usagePart{row: httpapi.UsageRow{
			From: s.query.From, To: s.query.To, Customer: part.row.Customer,
			Service: part.row.Service, Meter: key.meter, Class: part.row.Class,
		}}
		s.sums[key] = sum
	}
	sum.row.InOctets += part.row.InOctets
	sum.row.OutOctets += part.row.OutOctets
	sum.row.InPackets += part.row.InPackets
	sum.row.OutPackets += part.row.OutPackets
	sum.row.Provisional = sum.row.Provisional || part.row.Provisional
	sum.varianceKiB2 += part.varianceKiB2
	return nil
}

func (s *usageSums) rows() []httpapi.UsageRow {
	out := make([]httpapi.UsageRow, 0, len(s.sums))
	for _, sum := range s.sums {
		sum.row.StandardErrorOctets = standardError(sum.varianceKiB2)
		out = append(out, sum.row)
	}
	sort.Slice(out, func(i, j int) bool {
		a, b := out[i], out[j]
		if a.Service != b.Service {
			return a.Service < b.Service
		}
		if a.Meter != b.Meter {
			return a.Meter < b.Meter
		}
		return a.Class < b.Class
	})
	return out
}

// standardError returns the standard error in octets of a variance in KiB^2.
func standardError(varianceKiB2 uint64) uint64 {
	return uint64(math.Ceil(1024 * math.Sqrt(float64(varianceKiB2))))
}
