package app

import (
	"context"
	"sort"
	"time"

	"hostmeter/aggregator/ledger"
	"hostmeter/internal/httpapi"
	"hostmeter/internal/inventory"
	"hostmeter/schemas"
)

// meterReader joins the API to single meters.
type meterReader struct{ *Desk }

// History returns rates by slot out of the ledger's rows.
func (d meterReader) History(ctx context.Context, meter string, from, to time.Time) (httpapi.MeterHistory, error) {
	id, err := schemas.ParseMeter(meter)
	if err != nil {
		return httpapi.MeterHistory{}, &httpapi.InvalidError{Message: err.Error(), Hint: "for example address:192.0.2.9"}
	}
	from, to = from.Truncate(ledger.SlotLength), to.Truncate(ledger.SlotLength)
	out := httpapi.MeterHistory{Meter: string(id), From: from, To: to, SlotSeconds: int(ledger.SlotLength / time.Second)}
	snapshot, err := d.inventory.Snapshot(ctx)
	if err != nil {
		return out, err
	}
	out.Service, out.Customer = ownerOf(snapshot, id, d.clock.Now())
	if id.Kind() == schemas.KindGuest {
		out.Series, err = d.guestSeries(ctx, id, from, to)
	} else {
		out.Series, err = d.trafficSeries(ctx, id, from, to)
	}
	return out, err
}

func ownerOf(snapshot *inventory.Snapshot, meter schemas.MeterID, at time.Time) (service, customer string) {
	service, ok := snapshot.OwnerAt(meter, at)
	if !ok {
		return "", ""
	}
	if s, ok := snapshot.ServiceByID(service); ok {
		customer = s.Customer
	}
	return service, customer
}

// points returns one point a slot, without values.
func points(from, to time.Time) []httpapi.Point {
	out := make([]httpapi.Point, 0, int(to.Sub(from)/ledger.SlotLength))
	for at := from; at.Before(to); at = at.Add(ledger.SlotLength) {
		out = append(out, httpapi.Point{At: at})
	}
	return out
}

// put sets the value of the slot at a time, added to what is there.
func put(series []httpapi.Point, from, at time.Time, value float64) {
	i := int(at.Sub(from) / ledger.SlotLength)
	if at.Before(from) || i >= len(series) {
		return
	}
	if old := series[i].Value; old != nil {
		value += *old
	}
	series[i].Value = &value
}

func (d meterReader) trafficSeries(ctx context.Context, meter schemas.MeterID, from, to time.Time) ([]httpapi.Series, error) {
	in := httpapi.Series{Metric: "in_bits_per_second", Unit: "bit/s", Points: points(from, to)}
	out := httpapi.Series{Metric: "out_bits_per_second", Unit: "bit/s", Points: points(from, to)}
	seconds := ledger.SlotLength.Seconds()
	err := d.ledger.Rows(ctx, ledger.Query{From: from.Truncate(time.Hour), To: to, Meter: meter}, func(row ledger.UsageRow) error {
		for i := range ledger.SlotsPerHour {
			at := row.Hour.Add(time.Duration(i) * ledger.SlotLength)
			put(in.Points, from, at, 8*float64(row.In.Slots[i])/seconds)
			put(out.Points, from, at, 8*float64(row.Out.Slots[i])/seconds)
		}
		return nil
	})
	return []httpapi.Series{in, out}, err
}

func (d meterReader) guestSeries(ctx context.Context, meter schemas.MeterID, from, to time.Time) ([]httpapi.Series, error) {
	cpu := httpapi.Series{Metric: "cpu_ratio", Unit: "ratio", Points: points(from, to)}
	uuid := string(meter)[len(schemas.KindGuest)+1:]
	err := d.ledger.GuestRows(ctx, uuid, from.Truncate(time.Hour), to, func(row ledger.GuestRow) error {
		for i := range ledger.SlotsPerHour {
			if row.CapacitySlots[i] > 0 { // else nothing was observed
				put(cpu.Points, from, row.Hour.Add(time.Duration(i)*ledger.SlotLength), float64(row.CPUSlots[i])/float64(row.CapacitySlots[i]))
			}
		}
		return nil
	})
	return []httpapi.Series{cpu}, err
}

// topWindow is the span whose mean rate is "now": the slot before the present one, and what there is
// of the present one.
const topWindow = ledger.SlotLength

// Top returns the meters of traffic with the highest present rate.
func (d meterReader) Top(ctx context.Context, by string, limit int) ([]httpapi.TopMeter, error) {
	snapshot, err := d.inventory.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	now := d.clock.Now()
	from := now.Truncate(ledger.SlotLength).Add(-topWindow)
	seconds := now.Sub(from).Seconds()
	byMeter := map[schemas.MeterID]*httpapi.TopMeter{}
	err = d.ledger.Rows(ctx, ledger.Query{From: from.Truncate(time.Hour), To: now, Kind: schemas.KindAddress}, func(row ledger.UsageRow) error {
		first := max(0, int(from.Sub(row.Hour)/ledger.SlotLength))
		in, out := row.In.Slice(first, ledger.SlotsPerHour), row.Out.Slice(first, ledger.SlotsPerHour)
		top, ok := byMeter[row.Meter]
		if !ok {
			top = &httpapi.TopMeter{Meter: string(row.Meter), At: now}
			byMeter[row.Meter] = top
		}
		top.InBitsPerSecond += 8 * float64(in.Octets) / seconds
		top.OutBitsPerSecond += 8 * float64(out.Octets) / seconds
		top.InPacketsPerSecond += float64(in.Packets) / seconds
		top.OutPacketsPerSecond += float64(out.Packets) / seconds
		return nil
	})
	if err != nil {
		return nil, err
	}
	list := make([]httpapi.TopMeter, 0, len(byMeter))
	for meter, top := range byMeter {
		top.Service, top.Customer = ownerOf(snapshot, meter, now)
		list = append(list, *top)
	}
	rate := func(t httpapi.TopMeter) float64 {
		switch by {
		case "in":
			return t.InBitsPerSecond
		case "out":
			return t.OutBitsPerSecond
		}
		return t.InBitsPerSecond + t.OutBitsPerSecond
	}
	sort.Slice(list, func(i, j int) bool {
		if a, b := rate(list[i]), rate(list[j]); a != b {
			return a > b
		}
		return list[i].Meter < list[j].Meter
	})
	return list[:min(limit, len(list))], nil
}
