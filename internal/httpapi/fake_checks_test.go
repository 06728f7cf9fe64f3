package httpapi

import (
	"context"
	"fmt"
	"io"
	"time"
)

// Reconciliation makes up a month in which one service is outside on two days, one has witnesses that differ, and most
// have no witness.
func (f *fake) Reconciliation(_ context.Context, month Month) ([]ReconciledDay, error) {
	if month < "2026-06" {
		return nil, f.failing
	}
	var out []ReconciledDay
	from, to := month.Bounds(time.UTC)
	for i, s := range f.services[:12] {
		for day := from; day.Before(to) && day.Before(f.now.Add(-day1)); day = day.Add(day1) {
			d := ReconciledDay{Customer: s.Customer, Service: s.ID, PeriodFrom: from, Day: day, Bills: "address", Verdict: "not_compared",
				In: Compared{Address: ptr(int64(9_812_000_000))}, Out: Compared{Address: ptr(int64(48_100_000_000))}, Missing: []string{"vnic: none is the service's", "port: none is the service's"}}
			if i < 4 {
				d.Verdict, d.Missing = "agrees", []string{"port: none is the service's"}
				d.In.VNIC, d.Out.VNIC = ptr(int64(9_815_000_000)), ptr(int64(48_090_000_000))
				d.In.Low, d.In.High, d.Out.Low, d.Out.High = ptr(int64(9_500_000_000)), ptr(int64(10_300_000_000)), ptr(int64(46_900_000_000)), ptr(int64(50_400_000_000))
			}
			switch {
			case i == 0 && day.Day() < 3:
				d.Verdict, d.Reason = "outside", "out: address has 24050000000 octets, its witnesses allow 46900000000 to 50400000000"
				d.Out.Address = ptr(int64(24_050_000_000))
			case i == 1 && day.Day() == 5:
				d.Verdict, d.Reason, d.Missing = "witnesses_differ", "out: vnic says at least 48000000000 octets, port at most 44000000000", nil
				d.In.Port, d.Out.Port = ptr(int64(9_816_000_000)), ptr(int64(44_000_000_000))
			case i == 2 && day.Day() == 7:
				d.Verdict, d.Reason, d.Released = "outside", "in: address has 9812000000 octets, its witnesses allow 1 to 2", "d7, by Jane: the backup VLAN has no exporter"
			}
			out = append(out, d)
		}
	}
	return out, f.failing
}

const day1 = 24 * time.Hour

func (f *fake) Unowned(_ context.Context, month Month) ([]UnownedMeter, error) {
	if month < "2026-06" {
		return nil, f.failing
	}
	return []UnownedMeter{{"address:192.0.2.201", "external", 1_812_000_000, 900_000_000}, {"address:192.0.2.214", "external", 3_000_000_000, 11_000_000}, {"address:2001:db8:7:9::/64", "internal", 7, 0}}, f.failing
}

func (f *fake) Completeness(_ context.Context, month Month) ([]ExporterMonth, error) {
	if month < "2026-06" {
		return nil, f.failing
	}
	gap := time.Date(2026, 10, 4, 3, 10, 0, 0, time.UTC)
	return []ExporterMonth{
		{Exporter: "192.0.2.250", Protocols: []string{"netflow9"}, Coverage: 1, MinutesExpected: 29_797, Datagrams: 18_200_311, Records: 401_000_222, Octets: 912_000_000_000_000},
		{Exporter: "192.0.2.251", Protocols: []string{"sflow5", "sflow5-counters"}, Coverage: 0.9931, MinutesExpected: 29_797, Missing: 61, Gaps: 2, GapFrom: gap, GapTo: gap.Add(48 * time.Minute), Datagrams: 9_001_000, Records: 61_000_000,
			Octets: 1_210_000_000_000_000, LostOctets: 8_000_000_000_000, Lost: []Count{{Unit: "datagrams", Reason: "sequence", Count: 61_207}}, Dropped: []Count{{Unit: "samples", Reason: "counter_reset", Count: 3}}},
		{Exporter: "192.0.2.253", Coverage: 0, MinutesExpected: 29_797, Missing: 29_797, Gaps: 1, GapFrom: gap, GapTo: gap.Add(17 * 24 * time.Hour)},
	}, f.failing
}

func (f *fake) Utilisation(context.Context) ([]AddressUse, error) {
	at := f.now.Add(-30 * 24 * time.Hour)
	var out []AddressUse
	states := []string{"satisfied", "satisfied", "notice_due", "notice_given", "revocable", "in_time"}
	for i, s := range f.services[:18] {
		row := AddressUse{Customer: s.Customer, Service: s.ID, Prefix: fmt.Sprintf("192.0.2.%d/28", i*16%256), AssignedAt: at, Addresses: 16, AssignmentAddresses: 16, Needed: 13,
			Used: 5, AssignmentUsed: 5, Deadline: at.Add(10 * 24 * time.Hour), State: states[i%6], ServiceAddresses: 16, BeyondFree: 8}
		if row.State == "satisfied" {
			row.Used, row.AssignmentUsed = 15, 15
		}
		if row.State == "notice_given" || row.State == "revocable" {
			row.Notice = &NoticeSeen{On: "2026-10-18", By: "user:ada", Reason: "mail of that day", RevocableFrom: f.now.Add(40 * time.Hour)}
		}
		out = append(out, row)
	}
	out[2].Prefix = "192.0.2.48/28"
	return out, f.failing
}

func (f *fake) WriteUtilisation(_ context.Context, w io.Writer) error {
	_, err := io.WriteString(w, "customer,service,prefix\nc01,s101,192.0.2.0/28\n")
	return err
}

func (f *fake) GiveNotice(_ context.Context, n AddressNotice, by Actor) (AddressUse, error) {
	switch {
	case f.failing != nil:
		return AddressUse{}, f.failing
	case n.Prefix != "192.0.2.48/28":
		return AddressUse{}, fmt.Errorf("%s: %w", n.Prefix, ErrNotFound)
	case n.On == "":
		return AddressUse{}, fmt.Errorf("%s: notice was given already: %w", n.Prefix, ErrConflict)
	}
	f.call("notice " + n.Service + " " + n.Prefix + " on " + n.On + " by " + string(by))
	rows, _ := f.Utilisation(context.Background())
	row := rows[2]
	row.State, row.Notice = "notice_given", &NoticeSeen{On: n.On, By: string(by), Reason: n.Reason, RevocableFrom: f.now}
	return row, nil
}
