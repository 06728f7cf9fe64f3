package ledger

import (
	"cmp"
	"context"
	"fmt"
	"testing"
	"time"

	"hostmeter/aggregator/rating"
	statements "hostmeter/aggregator/statement"
	"hostmeter/internal/clock"
	"hostmeter/internal/inventory"
	"hostmeter/internal/scenario"
	"hostmeter/internal/store"
	"hostmeter/internal/store/storetest"
	"hostmeter/schemas"
)

// TestScenariosThroughTheBooks imports each scenario's terms, books its usage, closes its periods and
// compares the statements.
func TestScenariosThroughTheBooks(t *testing.T) {
	list, err := scenario.ReadFolder("../rating/testdata/scenarios")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range list {
		if len(s.Usage) > 0 { // without any there is nothing in the books, and no period
			t.Run(s.Name, func(t *testing.T) { newStage(t, s).play() })
		}
	}
}

// stage is a ledger of one scenario.
type stage struct {
	t      *testing.T
	s      scenario.Scenario
	db     *store.DB
	ledger *Ledger
	inv    *inventory.Inventory
	end    time.Time // when all is over and sealed
}

func newStage(t *testing.T, s scenario.Scenario) *stage {
	first, err := time.Parse(time.DateOnly, s.Lines[0].From)
	if err != nil {
		t.Fatal(err)
	}
	db := storetest.SQLite(t, clock.NewManual(first.Add(36*time.Hour)))
	return &stage{t: t, s: s, db: db, ledger: New(db, DefaultConfig()), inv: inventory.New(db)}
}

func (g *stage) play() {
	ctx := context.Background()
	for i, terms := range g.s.Terms {
		g.importText(fmt.Sprintf("terms%d.yaml", i), terms)
	}
	g.importText("prefixes.yaml", "prefixes: [{prefix: 10.0.0.0/8, exporters: [192.0.2.250]}]")
	owners, err := g.inv.Snapshot(ctx)
	if err != nil {
		g.t.Fatal(err)
	}
	meters := map[string]string{}
	for i, service := range owners.Services() {
		contract, err := owners.Contract(service.ID, time.Time{})
		if err != nil {
			g.t.Fatal(err)
		}
		meters[service.ID] = map[string]string{"address": fmt.Sprintf("address:10.0.0.%d", i), "port": fmt.Sprintf("port:192.0.2.250/%d", i),
			"vnic": fmt.Sprintf("vnic:7f3a/52:54:00:00:00:%02x", i)}[contract.Bills.Value]
		g.importText("ownership.yaml", fmt.Sprintf("ownership: [{service: %s, key: %q, from: 2020-01-01T00:00:00Z}]", service.ID, meters[service.ID]))
	}
	g.book(meters)
	if _, err := g.ledger.Seal(ctx, g.end); err != nil {
		g.t.Fatal(err)
	}
	if _, err := g.ledger.CloseDue(ctx, g.inv, g.end); err != nil {
		g.t.Fatal(err)
	}
	g.compare(owners)
	if _, err := g.ledger.VerifyStatements(ctx); err != nil {
		g.t.Error(err)
	}
}

func (g *stage) importText(name, text string) {
	g.t.Helper()
	if _, err := g.inv.Import(context.Background(), []inventory.File{{Name: name, Text: []byte(text)}}, false); err != nil {
		g.t.Fatal(err)
	}
}

// book sends all usage in one batch for each shard, and the accounts of the exporter.
func (g *stage) book(meters map[string]string) {
	batches := map[uint32]*schemas.Batch{}
	var first, last time.Time
	for _, u := range g.s.Usage {
		meter := meters[u.Service]
		shard := schemas.ShardOf(meter, testShards)
		b := batches[shard]
		if b == nil {
			b = testBatch("c", 7, shard, 1)
			b.Classes = []string{"external", "internal", "port", "peering", "backup", "scrubbed"}
			batches[shard] = b
		}
		class := uint32(0)
		for i, name := range b.Classes {
			if name == u.Class {
				class = uint32(i)
			}
		}
		for at := u.From; at.Before(u.Until); at = at.Add(SlotLength) {
			tally := &schemas.Tally{Meter: meter, Minute: at.Unix() / 60, Class: class}
			tally.In, tally.Out = traffic(u.In, u.InError), traffic(u.Out, u.OutError)
			if tally.In != nil || tally.Out != nil {
				b.Tallies = append(b.Tallies, tally)
			}
		}
		if first.IsZero() || u.From.Before(first) {
			first = u.From
		}
		last = later(last, u.Until)
	}
	g.end = last.AddDate(0, 2, 0)
	observed := batches[0]
	if observed == nil {
		observed = testBatch("c", 7, 0, 1)
		batches[0] = observed
	}
	observed.Accounts = g.accounts(first.AddDate(0, -2, 0), g.end)
	for _, b := range batches {
		b.ReceivedFrom, b.ReceivedTo = last.Add(-time.Hour).UnixNano(), last.UnixNano()
		if booked := mustBook(g.t, g.ledger, b); booked.Refused != 0 {
			g.t.Fatalf("booked %+v", booked)
		}
	}
}

func traffic(octets, standardError uint64) *schemas.Traffic {
	if octets == 0 {
		return nil
	}
	kib := standardError / 1024
	return &schemas.Traffic{Octets: octets, Packets: 1, Flows: 1, VarianceKib2: kib * kib}
}

func (g *stage) accounts(from, to time.Time) []*schemas.ExporterAccount {
	var list []*schemas.ExporterAccount
	for hour := from.Truncate(time.Hour); hour.Before(to); hour = hour.Add(time.Hour) {
		var minutes uint64
		for m := range 60 {
			at := hour.Add(time.Duration(m) * time.Minute)
			seen := true
			for _, span := range g.s.Unobserved {
				seen = seen && (at.Before(span.From) || !at.Before(span.Until))
			}
			if seen {
				minutes |= 1 << m
			}
		}
		if minutes != 0 {
			list = append(list, &schemas.ExporterAccount{Exporter: "192.0.2.250", Protocol: "netflow9", Hour: hour.Unix() / 3600, MinutesObserved: minutes, Datagrams: 1})
		}
	}
	return list
}

// compare finds each line in the report of its month; what is not held is closed.
func (g *stage) compare(owners *inventory.Snapshot) {
	for _, line := range g.s.Lines {
		contract, err := owners.Contract(line.Service, time.Time{})
		if err != nil {
			g.t.Fatal(err)
		}
		first, err := rating.ParseDate(line.From)
		if err != nil {
			g.t.Fatal(err)
		}
		zone := contract.Schedule.Zone
		_, period, err := owners.PeriodAt(line.Service, first.In(zone))
		if err != nil {
			g.t.Fatal(err)
		}
		report, err := g.ledger.Report(context.Background(), g.inv, monthOf(period, zone), g.end)
		if err != nil {
			g.t.Fatal(err)
		}
		found := false
		for _, row := range report.Rows {
			if row.Service != line.Service || rating.DateOf(row.PeriodFrom) != first {
				continue
			}
			found = true
			if row.Provisional != (row.Kind == rating.KindHeld) {
				g.t.Errorf("%s from %s: provisional is %v", line.Service, line.From, row.Provisional)
			}
			for _, difference := range line.Differences(lineOf(row)) {
				g.t.Errorf("%s from %s: %s", line.Service, line.From, difference)
			}
		}
		if !found {
			g.t.Errorf("%s from %s: not in the report; problems %+v", line.Service, line.From, report.Problems)
		}
	}
}

// lineOf writes a row as a scenario has it.
func lineOf(row statements.Row) scenario.Line {
	quota := row.Quota.String() + " " + string(row.Unit)
	if row.Unlimited {
		quota = "unlimited"
	}
	line := scenario.Line{
		Service: row.Service, From: rating.DateOf(row.PeriodFrom).String(), Until: rating.DateOf(row.PeriodTo).String(), Kind: string(row.Kind), Quota: quota,
		Used: row.Used.String() + " " + string(row.Unit), Excess: row.Excess.String() + " " + string(row.Unit),
		Free: fmt.Sprintf("%d in, %d out", row.FreeInOctets, row.FreeOutOctets), Excluded: fmt.Sprintf("%d in, %d out", row.ExcludedInOctets, row.ExcludedOutOctets),
		Estimated: fmt.Sprint(row.EstimatedOctets),
		Grace:     row.Grace.String() + " " + string(row.Unit),
		Billed:    row.BilledQuantity.String() + " " + string(cmp.Or(row.PriceUnit, row.Unit)),
		Price:     statements.Money(row.UnitPrice, row.Currency), Amount: statements.Money(row.AmountExVAT, row.Currency) + " " + row.Currency, Hold: row.Hold, RuleFrom: string(row.RuleFrom),
	}
	if row.Slots > 0 {
		line.Slots = fmt.Sprintf("%d, %d missing", row.Slots, row.SlotsMissing)
	}
	if p := row.Pool; p != nil {
		quota := p.Quota.String() + " " + string(p.Unit)
		if p.Unlimited {
			quota = "unlimited"
		}
		line.Pool = fmt.Sprintf("%s, %d services, %s %s of %s, %s %s billed, %s %s", p.Pool, p.Members, p.Used, p.Unit, quota, p.BilledQuantity, cmp.Or(row.PriceUnit, row.Unit),
			statements.Money(p.AmountExVAT, p.Currency), p.Currency)
		line.Share = fmt.Sprintf("%d of %d octets", p.Octets, p.OfOctets)
	}
	for _, rule := range row.Rules {
		line.Rules = append(line.Rules, rule.String())
	}
	return line
}
