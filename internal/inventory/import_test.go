package inventory_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"hostmeter/internal/clock"
	"hostmeter/internal/inventory"
	"hostmeter/internal/store"
	"hostmeter/internal/store/storetest"
	"hostmeter/schemas"
)

var now = time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC)

func each(t *testing.T, f func(t *testing.T, inv *inventory.Inventory)) {
	t.Helper()
	storetest.EachWithClock(t, clock.NewManual(now), func(t *testing.T, db *store.DB) { f(t, inventory.New(db)) })
}

func example(t testing.TB) []inventory.File {
	t.Helper()
	text, err := os.ReadFile("testdata/example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return []inventory.File{{Name: "example.yaml", Text: text}}
}

func mustImport(t testing.TB, inv *inventory.Inventory, files ...inventory.File) inventory.Difference {
	t.Helper()
	difference, err := inv.Import(context.Background(), files, false)
	if err != nil {
		t.Fatalf("import: %v", err)
	}
	return difference
}

func snapshot(t testing.TB, inv *inventory.Inventory) *inventory.Snapshot {
	t.Helper()
	s, err := inv.Snapshot(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func yaml(text string) inventory.File {
	return inventory.File{Name: "more.yaml", Text: []byte(text)}
}

func TestImportTwiceChangesNothing(t *testing.T) {
	each(t, func(t *testing.T, inv *inventory.Inventory) {
		dry, err := inv.Import(context.Background(), example(t), true)
		if err != nil {
			t.Fatal(err)
		}
		if s := snapshot(t, inv); len(s.Services()) != 0 || s.Version != 0 {
			t.Fatal("a dry run wrote something")
		}
		first := mustImport(t, inv, example(t)...)
		if first.Added != 9 || first.Changed != 0 || dry.Added != first.Added || !dry.DryRun {
			t.Fatalf("dry run %+v, import %+v, want 9 rows added by both", dry, first)
		}
		version := snapshot(t, inv).Version
		second := mustImport(t, inv, example(t)...)
		if second.Added+second.Changed != 0 || second.Unchanged != 9 || len(second.Edits) != 0 {
			t.Fatalf("second import: %+v", second)
		}
		if got := snapshot(t, inv).Version; got != version {
			t.Fatalf("second import moved the version from %d to %d", version, got)
		}
		third := mustImport(t, inv, yaml(`plans: [{name: dedicated-10, class: dedicated, quota: 20 TB, direction: sum, period: anniversary, block: 1 TB}]`))
		if want := "~ plan dedicated-10: quota 10 TB -> 20 TB"; third.Changed != 1 || third.Lines()[0] != want {
			t.Fatalf("got %q, want %q", third.Lines(), want)
		}
	})
}

func TestContractOfTheExample(t *testing.T) {
	inv := inventory.New(storetest.SQLite(t, clock.NewManual(now)))
	mustImport(t, inv, example(t)...)
	contract, err := snapshot(t, inv).Contract("s1", now)
	if err != nil {
		t.Fatal(err)
	}
	if contract.Quota.Value.String() != "10 TB" || contract.Quota.Level != "plan" || contract.RuleFrom(contract.Schedule.PeriodAt(time.Time{})) != "plan" ||
		contract.Zone.Value != "Europe/London" || contract.Zone.Level != "provider" || contract.Currency.Level != "contract" ||
		contract.Opened.String() != "2026-01-31" || contract.Bills.Value != "address" {
		t.Fatalf("got %+v", contract)
	}
	if exporters := snapshot(t, inv).ExportersOf("address:192.0.2.9", now, now.Add(time.Hour)); len(exporters) != 1 || exporters[0].Exporter != "192.0.2.250" {
		t.Fatalf("exporters of the address: %v", exporters)
	}
}

// TestEveryWrongLineIsNamed holds what a clerk sees for a file with one fault of each sort.
func TestEveryWrongLineIsNamed(t *testing.T) {
	each(t, func(t *testing.T, inv *inventory.Inventory) {
		mustImport(t, inv, example(t)...)
		f := func(text string, want ...string) {
			t.Helper()
			_, err := inv.Import(context.Background(), []inventory.File{yaml(text)}, false)
			var invalid *inventory.InvalidError
			if !errors.As(err, &invalid) {
				t.Fatalf("%s\ngot %v, want faults", text, err)
			}
			if got := err.Error(); len(invalid.Faults) != len(want) {
				t.Fatalf("%s\ngot %d faults, want %d:\n%s", text, len(invalid.Faults), len(want), got)
			}
			for i, fault := range invalid.Faults {
				if line := fault.Where + ": " + fault.Text; !strings.HasPrefix(line, want[i]) {
					t.Fatalf("%s\nfault %d is\n%s\nwant\n%s", text, i, line, want[i])
				}
			}
		}
		f("plans:\n  - {name: p, quota: 10 TB, colour: red}\n", "more.yaml:2: colour: not a column of plans")
		f("plans:\n  - name: p\n    quota: 10 Tb\n    direction: both\n", "more.yaml:3: quota: quantity \"10 Tb\"", "more.yaml:4: direction: direction \"both\"")
		f("plans:\n  - name: p\n    quota: 10 TB\n    grace: 10 %\n    missing: guess\n    sampled: upper\n", "more.yaml:5: missing: missing \"guess\"", "more.yaml:4: grace: grace \"10 %\": want a percentage", "more.yaml:6: sampled: sampled \"upper\"")
		f("services:\n  - {id: s2, customer: c1, plan: dedicated-10, place: london, opened: 2026-01-31, direction: p95}\n", "more.yaml:2: plan: quota 10 TB with direction p95: octets and rates do not go together")
		f("services:\n  - {id: s2, customer: c1, plan: dedicated-10, place: london, opened: 2026-01-31, direction: p95, quota: 100 Mbit/s}\n", "more.yaml:2: plan: block 1 TB with direction p95")
		f("services:\n  - {id: s2, customer: c1, plan: dedicated-10, place: london, opened: 2026-01-31, direction: p95, quota: 100 Mbit/s, block: 1 Mbit/s}\n", "more.yaml:2: plan: price (overage, london, GBP) is per TB, and direction p95")
		f("plans: [{name: p, quota: 1 TB, free: internal}, {name: q, quota: 1 TB, free: none backup}]\n", "more.yaml:1: free: internal", "more.yaml:1: free: \"none backup\"")
		inv.WithClasses([]string{"backup", "peering"})
		f("plans: [{name: p, quota: 1 TB, free: backup peerign}, {name: q, quota: 1 TB, free: backup}]\n", `more.yaml:1: free: "peerign": there is no such traffic class; collector.classes of the configuration has backup, peering`)
		inv.WithClasses(nil)
		f("services:\n  - {id: s2, customer: c1, plan: dedicated-10, place: london, opened: 2026-01-31, free: backup}\n", `more.yaml:2: free: "backup": there is no such traffic class: name it in collector.classes`)
		inv.WithClasses([]string{"backup"})
		f("services:\n  - {id: s2, customer: c1, plan: dedicated-10, place: london, opened: 2026-01-31, bills: port, free: backup, internal: false, sampled: hold}\n",
			"more.yaml:2: free: backup has no effect with bills: port, whose counters know no other end; leave it out, or bill by address",
			"more.yaml:2: internal: false has no effect with bills: port", "more.yaml:2: sampled: hold has no effect with bills: port, whose counters are exact")
		decide := func(fields string) string {
			return "decisions:\n  - {id: d1, service: s1, by: Jane, reason: DDoS, " + fields + "}\n"
		}
		f(decide("decision: forget"), "more.yaml:2: decision: \"forget\"")
		f(decide("decision: exclude, from: 2026-05-12T00:00:00Z"), "more.yaml:2: until: a decision to exclude needs one")
		f(decide("decision: exclude, from: 2026-05-12T00:00:00Z, until: 2026-05-11T00:00:00Z"), "more.yaml:2: until: 2026-05-11T00:00:00Z is not after from")
		f(decide("decision: exclude, from: 2026-05-12T00:01:00Z, until: 2026-05-12T00:10:00Z"), "more.yaml:2: from: an exclusion begins and ends at multiples")
		f(decide("decision: exclude, from: 2026-05-12T00:00:00Z, until: 2026-05-12T00:10:00Z, direction: max"), "more.yaml:2: direction: \"max\"")
		f(decide("decision: waive"), "more.yaml:2: from: a decision to waive needs one")
		f(decide("decision: waive, from: 2026-05-12T00:00:00Z, direction: in"), "more.yaml:2: direction: goes with a decision to exclude")
		f(decide("decision: zero, from: 2026-05-12T00:00:00Z"), "more.yaml:2: decision: service s1 counts octets")
		f(decide("decision: revoke, revokes: d0"), "more.yaml:2: revokes: \"d0\" is no decision about service s1")
		f(decide("decision: exclude, amount: 1, from: 2026-05-12T00:00:00Z, until: 2026-05-12T00:05:00Z"), "more.yaml:2: amount: goes with a decision to waive")
		f(decide("decision: waive, beyond: 1, from: 2026-05-12T00:00:00Z"), "more.yaml:2: beyond: goes with an amount")
		f(decide("decision: waive, amount: -1, from: 2026-05-12T00:00:00Z"), `more.yaml:2: amount: "-1": want an amount above 0`)
		f("decisions:\n  - {id: d1, service: s1, decision: waive, from: 2026-05-12T00:00:00Z, by: Jane}\n", "more.yaml:2: reason: missing")
		f("decisions:\n  - {id: d1, service: s9, decision: waive, from: 2026-05-12T00:00:00Z, by: Jane, reason: x}\n", "more.yaml:2: service: \"s9\" is neither a service nor a pool")
		pools := func(member string) string {
			return "pools:\n  - {pool: p1, customer: c1, place: london, opened: 2026-02-01}\n" + member
		}
		f("pools:\n  - {pool: s1, customer: c9, place: london, opened: 2026-02-01}\n", "more.yaml:2: pool: \"s1\" is a service already", "more.yaml:2: customer: customer \"c9\" is not known")
		f("pools:\n  - {pool: p1, customer: c1, place: london, opened: 2026-02-02}\n", "more.yaml:2: opened: 2026-02-02 is not the first day of one of the pool's periods, as 2026-02-01 is")
		f("pools:\n  - {pool: p1, customer: c1, place: mars, opened: 2026-02-01, quota: 1 TB}\n", "more.yaml:2: place: no price for (overage, mars, GBP)")
		f("pools:\n  - {pool: p1, customer: c1, place: london, opened: 2026-02-01, bills: port}\n", "more.yaml:2: bills: not a column of pools")
		f(pools("pool_members:\n  - {service: s9, pool: p1, from: 2026-03-01}\n"), "more.yaml:4: service: service \"s9\" is not known")
		f(pools("pool_members:\n  - {service: s1, pool: p1, from: 2026-03-02, until: 2026-04-01}\n"), "more.yaml:4: from: 2026-03-02 is inside a period of pool p1: want its first day, 2026-03-01, or the next one's, 2026-04-01")
		f(pools("pool_members:\n  - {service: s1, pool: p1, from: 2026-01-01}\n"), "more.yaml:4: from: pool p1 was opened on 2026-02-01")
		f(pools("pool_members:\n  - {service: s1, pool: p1, from: 2026-03-01, until: 2026-02-01}\n"), "more.yaml:4: until: 2026-02-01 is before from")
		f(pools("pool_members:\n  - {service: s1, pool: p1, from: 2026-03-01}\n  - {service: s1, pool: p1, from: 2026-04-01}\n"), "more.yaml:5: from: service s1 is in pool p1 from 2026-03-01 already")
		f("customers: [{id: c2, name: X}]\npools:\n  - {pool: p1, customer: c2, place: london, opened: 2026-02-01}\npool_members:\n  - {service: s1, pool: p1, from: 2026-03-01}\n", "more.yaml:5: pool: pool p1 is of customer c2, who is neither c1")
		f("pools:\n  - {pool: p1, customer: c1, place: london, opened: 2026-02-01, time_zone: Asia/Tokyo}\npool_members:\n  - {service: s1, pool: p1, from: 2026-03-01}\n", "more.yaml:4: pool: pool p1 has time_zone Asia/Tokyo, and the service")
		f("customers: [{id: c1, name: X, rate_bought: 5 TB}]\n", "more.yaml:1: rate_bought: \"5 TB\": want a rate")
		f("changes:\n  - {service: s1, at: 2026-05-12T00:00:00Z}\n", "more.yaml:2: plan: neither a plan nor a quota")
		f("changes:\n  - {service: s9, at: 2026-05-12T00:00:00Z, quota: 20 TB}\n", "more.yaml:2: service: \"s9\" is neither a service nor a pool")
		f("changes:\n  - {service: s1, at: 2026-05-12T00:00:00Z, plan: gold}\n", "more.yaml:2: plan: plan \"gold\" is not known")
		f("changes:\n  - {service: s1, at: 2026-01-30T00:00:00Z, quota: 20 TB}\n", "more.yaml:2: at: 2026-01-30T00:00:00Z is before the service was opened")
		f("plans: [{name: p, quota: 1 TB}]\nchanges:\n  - {service: s1, at: 2026-05-12T00:00:00Z, plan: p}\n", "more.yaml:3: plan: the plan has another period or time_zone")
		f("plans: [{name: p, quota: 1 Mbit/s, direction: p95, period: anniversary}]\nchanges:\n  - {service: s1, at: 2026-05-12T00:00:00Z, plan: p}\n", "more.yaml:3: plan: the plan counts a rate")
		f("plans: [{name: p, quota: 20 TB, period: anniversary, sku: gold}]\nchanges:\n  - {service: s1, at: 2026-05-12T00:00:00Z, plan: p}\n", "more.yaml:3: plan: no price for (gold, london, GBP)")
		f("plans: [{name: p, quota: 20 TB, period: anniversary}]\nservices: [{id: s2, customer: c1, plan: dedicated-10, quota: 15 TB, place: london, opened: 2026-01-31}]\nchanges:\n  - {service: s2, at: 2026-05-12T00:00:00Z, plan: p}\n", "more.yaml:4: quota: the service has a quota of its own, 15 TB")
		f("services:\n  - {id: s2, customer: nobody, plan: nothing, opened: 2026-01-31}\n", "more.yaml:2: customer: customer \"nobody\"", "more.yaml:2: plan: plan \"nothing\"")
		f("services:\n  - {id: s2, customer: c1, plan: dedicated-10, place: paris, opened: 2026-01-31}\n", "more.yaml:2: place: no price for (overage, paris, GBP)")
		f("services:\n  - {id: s2, customer: c1, plan: dedicated-10, place: london, opened: 2026-01-32, currency: XXX}\n", "more.yaml:2: currency: \"XXX\"", "more.yaml:2: opened: date \"2026-01-32\"")
		f("services:\n  - {id: s2, customer: c1, plan: dedicated-10, place: london, opened: 2026-01-31, time_zone: Mars/Base}\n", "more.yaml:2: time_zone: \"Mars/Base\"")
		f("prices:\n  - {sku: overage, place: london, currency: GBP, from: 2026-12-01, noticed: 2026-11-22, per: TB, begun: true, amount: 70}\n", "more.yaml:2: noticed: noticed 2026-11-22 for 2026-12-01: price needs at least 10 days' notice")
		f("prices:\n  - {sku: overage, place: london, currency: GBP, from: 2026-01-01, noticed: 2025-12-01, per: TB, begun: true, amount: 70}\n", "more.yaml:2: price (overage, london, GBP) from 2026-01-01 is in effect")
		f("prices:\n  - {sku: overage, place: london, currency: GBP, from: 2026-02-01, noticed: 2026-01-01, per: TB, begun: true, amount: 70}\n", "more.yaml:2: from: 2026-02-01 has passed, and the periods since then have the price from 2026-01-01")
		f("ownership:\n  - {service: s1, key: \"address:192.0.2.9\", from: 2026-05-01T00:00:00Z}\n", "more.yaml:2: key: address:192.0.2.9 belongs to service s1")
		f("ownership:\n  - {service: s9, key: \"address:192.0.2.77\", from: 2026-05-01T00:00:00Z, until: 2026-05-01T00:00:00Z}\n", "more.yaml:2: until: 2026-05-01T00:00:00Z is not after from")
		f("ownership:\n  - {service: s9, key: \"address:192.0.2.77\", from: yesterday}\n", "more.yaml:2: from: \"yesterday\"")
		f("ownership:\n  - {service: s9, key: \"address:192.0.2.77\", from: 2026-05-01T00:00:00Z}\n", "more.yaml:2: service: service \"s9\"")
		f("ownership:\n  - {service: s1, key: 192.0.2.77, from: 2026-05-01T00:00:00Z}\n", "more.yaml:2: key: \"192.0.2.77\": not a meter id")
		f("customers:\n  - {id: c2, name: B, reseller: c3}\n  - {id: c3, name: C, reseller: c2}\n", "more.yaml:2: reseller: \"c2\" sells to itself", "more.yaml:3: reseller: \"c3\" sells to itself")
		f("customers:\n  - {id: c2, name: B}\n  - {id: c2, name: C}\n", "more.yaml:3: customer c2: is at more.yaml:2 already")
		f("customers:\n  - {id: c2}\n", "more.yaml:2: name: missing")
		f("custmers: []\n", "more.yaml:1: \"custmers\"")
		f("customers: {id: c2}\n", "more.yaml:1: customers: want a list")
		f("customers: [\n", "more.yaml: ")
		f(strings.Repeat("[", 1000), "more.yaml: brackets nest 1000 deep")
		if s := snapshot(t, inv); len(s.Customers()) != 2 || len(s.Services()) != 1 {
			t.Fatal("a refused import left something behind")
		}
	})
}

// A history of prices may be imported where there was none: nobody was charged by another one.
func TestAPriceListMayHaveAHistory(t *testing.T) {
	inv := inventory.New(storetest.SQLite(t, clock.NewManual(now)))
	mustImport(t, inv, example(t)...)
	mustImport(t, inv, yaml(`prices:
  - {sku: overage, place: paris, currency: EUR, from: 2026-03-01, noticed: 2026-02-01, per: TB, begun: true, amount: 80}
  - {sku: overage, place: paris, currency: EUR, from: 2026-02-01, noticed: 2026-01-01, per: TB, begun: true, amount: 70}
`))
}

func TestCSV(t *testing.T) {
	each(t, func(t *testing.T, inv *inventory.Inventory) {
		mustImport(t, inv, example(t)...)
		difference := mustImport(t, inv,
			inventory.File{Name: "dir/ownership.csv", Text: []byte("service,key,from,until\ns2,address:192.0.2.10,2026-02-01T00:00:00Z,\n")},
			inventory.File{Name: "export-17.csv", Text: []byte("\ufeffid,customer,plan,place,opened\ns2,c1,dedicated-10,london,2026-02-01\n")},
			inventory.File{Name: "prefixes.csv", Text: []byte("prefix,exporters\n2001:db8::/32,192.0.2.250 192.0.2.249\n")})
		if difference.Added != 3 {
			t.Fatalf("got %+v", difference)
		}
		if owner, _ := snapshot(t, inv).OwnerAt("address:192.0.2.10", now); owner != "s2" {
			t.Fatalf("owner is %q", owner)
		}
		f := func(name, text, want string) {
			t.Helper()
			_, err := inv.Import(context.Background(), []inventory.File{{Name: name, Text: []byte(text)}}, false)
			if err == nil || !strings.HasPrefix(err.Error(), want) {
				t.Fatalf("%s: got %v, want %s", name, err, want)
			}
		}
		f("customers.csv", "id,name\nc9,\"A\nB\"\nc8,B,C\n", "customers.csv:4: has 3 columns, the header has 2")
		f("customers.csv", "id,name\nc9,A\nc8,\n", "customers.csv:3: name: missing")
		f("x.csv", "a,b\nc9,A\n", "x.csv:1: columns a,b are not those of one kind")
		f("x.txt", "a,b\n", "x.txt: want a file that ends in")
	})
}

func TestLateChangeOfOwnerIsSeenAsAChange(t *testing.T) {
	each(t, func(t *testing.T, inv *inventory.Inventory) {
		ctx := context.Background()
		mustImport(t, inv, example(t)...)
		before := snapshot(t, inv).Version
		mustImport(t, inv, yaml(`
services: [{id: s2, customer: c1, plan: dedicated-10, place: london, opened: 2026-02-01}]
ownership:
  - {service: s1, key: "address:192.0.2.9", from: 2026-01-31T00:00:00Z, until: 2026-10-12T03:17:00Z}
  - {service: s2, key: "address:192.0.2.9", from: 2026-10-12T03:17:00Z}
`))
		s := snapshot(t, inv)
		change := time.Date(2026, 10, 12, 3, 20, 0, 0, time.UTC) // the next slot boundary
		for at, want := range map[time.Time]string{change.Add(-1): "s1", change: "s2"} {
			if owner, _ := s.OwnerAt("address:192.0.2.9", at); owner != want {
				t.Errorf("owner at %s is %q, want %q", at, owner, want)
			}
		}
		changes, err := inv.OwnershipChanges(ctx, before, s.Version)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range changes {
			if c.Key != "address:192.0.2.9" || !c.From.Equal(change) || !c.To.IsZero() {
				t.Errorf("change %+v, want all from %s on and nothing before", c, change)
			}
		}
		if len(changes) != 2 {
			t.Errorf("got %d changes, want the end of one and the begin of the other", len(changes))
		}
		if err := inv.RemoveOwnership(ctx, inventory.Ownership{Key: "address:192.0.2.9", From: time.Date(2026, 10, 12, 3, 17, 0, 0, time.UTC)}); err != nil {
			t.Fatal(err)
		}
		if _, ok := snapshot(t, inv).OwnerAt("address:192.0.2.9", change); ok {
			t.Error("ownership that was taken back is still there")
		}
		if err := inv.RemoveOwnership(ctx, inventory.Ownership{Key: schemas.MeterID("address:192.0.2.9"), From: change}); !errors.Is(err, inventory.ErrUnknown) {
			t.Errorf("removing what is not there: %v", err)
		}
	})
}

func FuzzReadFiles(f *testing.F) {
	text, _ := os.ReadFile("testdata/example.yaml")
	f.Add("a.yaml", text)
	f.Add("customers.csv", []byte("id,name\n1,2\n"))
	f.Fuzz(func(t *testing.T, name string, text []byte) {
		rows, faults := inventory.ReadFiles([]inventory.File{{Name: name, Text: text}})
		for _, row := range rows {
			if row.Where == "" || row.Cells == nil {
				t.Fatalf("row without a place or cells: %+v", row)
			}
		}
		for _, fault := range faults {
			if fault.Text == "" {
				t.Fatal("fault without a text")
			}
		}
	})
}

// TestAnEndThatIsMovedTwiceIsAChangeFromTheFirst asks only after both.
func TestAnEndThatIsMovedTwiceIsAChangeFromTheFirst(t *testing.T) {
	inv := inventory.New(storetest.SQLite(t, clock.NewManual(now)))
	mustImport(t, inv, example(t)...)
	before := snapshot(t, inv).Version
	for _, until := range []string{"2026-10-12T00:00:00Z", "2026-10-20T00:00:00Z"} {
		mustImport(t, inv, yaml(`ownership: [{service: s1, key: "address:192.0.2.9", from: 2026-01-31T00:00:00Z, until: `+until+`}]`))
	}
	changes, err := inv.OwnershipChanges(context.Background(), before, snapshot(t, inv).Version)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []time.Time{time.Date(2026, 10, 20, 0, 0, 0, 0, time.UTC), time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)} {
		covered := false
		for _, c := range changes {
			covered = covered || !at.Before(c.From) && (c.To.IsZero() || at.Before(c.To))
		}
		if !covered {
			t.Errorf("%s is in no change: %+v", at, changes)
		}
	}
}

// TestDecisionsAreNeverChanged adds a decision, finds it again, and refuses another one of its id.
func TestDecisionsAreNeverChanged(t *testing.T) {
	each(t, func(t *testing.T, inv *inventory.Inventory) {
		mustImport(t, inv, example(t)...)
		waive := `decisions: [{id: d1, service: s1, decision: waive, from: 2026-10-15T00:00:00Z, by: Jane, reason: goodwill}]`
		mustImport(t, inv, yaml(waive))
		if again := mustImport(t, inv, yaml(waive)); again.Unchanged != 1 || len(again.Edits) != 0 {
			t.Fatalf("importing it again: %+v", again)
		}
		s := snapshot(t, inv)
		if on := s.DecisionsOn("s1"); len(on) != 1 || on[0].Reason != "goodwill" || s.Decisions()[0].RecordedVersion != s.Version {
			t.Fatalf("got %+v", s.Decisions())
		}
		_, err := inv.Import(context.Background(), []inventory.File{yaml(strings.Replace(waive, "goodwill", "whim", 1))}, false)
		if err == nil || !strings.Contains(err.Error(), "decision d1 is made and is not changed") {
			t.Fatalf("got %v", err)
		}
		mustImport(t, inv, yaml(`decisions: [{id: d2, service: s1, decision: revoke, revokes: d1, by: John, reason: a whim}]`))
		after := snapshot(t, inv)
		if len(after.DecisionsOn("s1")) != 0 || len(after.Decisions()) != 2 {
			t.Fatalf("revoked: %+v", after.Decisions())
		}
		spans := after.DecidedSpans(s.Version, after.Version)
		if len(spans) != 1 || spans[0].Service != "s1" || !spans[0].From.Equal(time.Date(2026, 10, 15, 0, 0, 0, 0, time.UTC)) {
			t.Fatalf("spans %+v", spans)
		}
	})
}

// TestChangesAreTermsFromAnInstantOn reads a service's contract before, between and behind what was ordered.
func TestChangesAreTermsFromAnInstantOn(t *testing.T) {
	each(t, func(t *testing.T, inv *inventory.Inventory) {
		mustImport(t, inv, example(t)...)
		mustImport(t, inv, yaml(`
plans: [{name: dedicated-20, class: dedicated, quota: 20 TB, period: anniversary, grace: 5 % allowance}]
changes:
  - {service: s1, at: 2026-06-12T10:00:00Z, plan: dedicated-20}
  - {service: s1, at: 2026-08-01T00:00:00Z, plan: dedicated-10}
`))
		f := func(at, quota, plan, grace string, steps int) {
			t.Helper()
			instant, err := time.Parse(time.RFC3339, at)
			if err != nil {
				t.Fatal(err)
			}
			c, err := snapshot(t, inv).Contract("s1", instant)
			if err != nil || c.Quota.Value.String() != quota || c.Plan != plan || c.Grace.Value.String() != grace || len(c.Steps) != steps {
				t.Fatalf("at %s: got %s, %s, %s, %d steps, %v", at, c.Quota.Value, c.Plan, c.Grace.Value, len(c.Steps), err)
			}
		}
		f("2026-06-12T09:59:59Z", "10 TB", "dedicated-10", "", 2)
		f("2026-06-12T10:00:00Z", "20 TB", "dedicated-20", "5 % allowance", 1)
		f("2026-08-30T22:59:59Z", "20 TB", "dedicated-20", "5 % allowance", 1)
		f("2026-08-30T23:00:00Z", "10 TB", "dedicated-10", "", 0) // midnight of the 31st in London
		c, _ := snapshot(t, inv).Contract("s1", now)
		if c.Steps != nil || len(snapshot(t, inv).Changes()) != 2 {
			t.Fatalf("got %+v", snapshot(t, inv).Changes())
		}
	})
}
