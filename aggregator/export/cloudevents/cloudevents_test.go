package cloudevents_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"testing"
	"time"

	sdk "github.com/cloudevents/sdk-go/v2"
	"github.com/shopspring/decimal"

	"hostmeter/aggregator/export/cloudevents"
	"hostmeter/aggregator/ledger"
	"hostmeter/aggregator/notice"
	"hostmeter/aggregator/rating"
	"hostmeter/aggregator/statement"
	"hostmeter/schemas"
)

var update = flag.Bool("update", false, "write the golden files anew")

func samples() map[string]cloudevents.Event {
	from, to := time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC), time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	coverage := 0.9999
	usage := schemas.UsageRecord{Seq: 17, ID: "s1|address:192.0.2.9|external|in|2026-10-04T00:00:00Z|2026-10-05T00:00:00Z", Kind: ledger.RecordUsage,
		Customer: "c1", Service: "s1", Meter: "address:192.0.2.9", Class: "external", Direction: "in", PeriodFrom: from, PeriodTo: to,
		From: from.AddDate(0, 0, 3), To: from.AddDate(0, 0, 4), Octets: 9007199254740993, Packets: 7, OctetsStandardError: 1024, Coverage: &coverage,
		RecordedAt: time.Date(2026, 10, 6, 0, 1, 2, 345000000, time.UTC)}
	correction := usage
	correction.Seq, correction.ID, correction.Kind, correction.Corrects, correction.Octets, correction.Coverage = 18, usage.ID+"#1", ledger.RecordCorrection, &usage.ID, -5, nil
	number := decimal.RequireFromString
	closed := ledger.Statement{Number: 3, ClosedAt: to.Add(25 * time.Hour), Hash: "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b", Previous: "00"}
	closed.Body.Row = statement.Row{Customer: "c1", Service: "s1", Plan: "dedicated-10", PeriodFrom: from, PeriodTo: to, TimeZone: "UTC", Direction: rating.Sum,
		InOctets: 4000000000001, OutOctets: 6000000000000, BillableOctets: 10000000000001, Coverage: -1, Quota: number("10"), Unit: rating.TB,
		Used: number("10.000000000001"), Excess: number("0.000000000001"), BilledQuantity: number("1"), PriceUnit: rating.TB, UnitPrice: number("60"),
		Currency: "GBP", AmountExVAT: number("60"), Kind: rating.KindOverage, RuleFrom: rating.FromPlan, Statement: "s1/2026-10-01", Revision: 1}
	amount := number("60")
	asked := notice.Notice{Number: 4, At: from.AddDate(0, 0, 20), Kind: notice.KindRequest, Customer: "c1", Subject: notice.SubjectService, Service: "s1", Plan: "dedicated-10", PeriodFrom: from, PeriodTo: to,
		TimeZone: "UTC", Direction: rating.Sum, Unit: rating.TB, Used: number("8"), Quota: number("10"), Currency: "GBP", Deadline: from.AddDate(0, 0, 22),
		Forecast: &notice.Forecast{MadeAt: from.AddDate(0, 0, 20), Expected: number("10.9"), Low: number("10.1"), High: number("11.7"), Probability: 0.968, ExpectedAmount: &amount, Days: 56},
		Hash:     "d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35"}
	return map[string]cloudevents.Event{
		"notice":       cloudevents.OfNotice("/hostmeter", asked),
		"usage-record": cloudevents.OfUsageRecord("/hostmeter", usage),
		"correction":   cloudevents.OfUsageRecord("/hostmeter", correction),
		"statement":    cloudevents.OfStatement("/hostmeter", closed),
	}
}

// TestAnotherImplementationReadsThem: the CloudEvents project's own library takes each event for valid, and
// reads what was written.
func TestAnotherImplementationReadsThem(t *testing.T) {
	for name, event := range samples() {
		text, err := event.Encode()
		if err != nil {
			t.Fatal(err)
		}
		var read sdk.Event
		if err := json.Unmarshal(text, &read); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := read.Validate(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if read.ID() != event.ID || read.Source() != "/hostmeter" || read.Type() != event.Type || read.Subject() != "s1" || !read.Time().Equal(event.Time) ||
			read.SpecVersion() != "1.0" || read.DataContentType() != "application/json" || read.Extensions()["sequence"] != event.Sequence {
			t.Fatalf("%s: it read %v", name, read)
		}
		var data, want any
		if err := read.DataAs(&data); err != nil {
			t.Fatal(err)
		}
		text, err = json.Marshal(event.Data)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, &want); err != nil {
			t.Fatal(err)
		}
		got, _ := json.Marshal(data) // of what was JSON
		if again, _ := json.Marshal(want); !bytes.Equal(got, again) {
			t.Fatalf("%s: data %s, want %s", name, got, again)
		}
	}
}

func TestEventsAreWhatOthersRead(t *testing.T) {
	for name, event := range samples() {
		text, err := event.Encode()
		if err != nil {
			t.Fatal(err)
		}
		again, err := event.Encode()
		if err != nil || !bytes.Equal(text, again) {
			t.Fatalf("%s: the same event gave another text", name)
		}
		var indented bytes.Buffer
		if err := json.Indent(&indented, text, "", "  "); err != nil {
			t.Fatal(err)
		}
		indented.WriteByte('\n')
		file := "testdata/" + name + ".json"
		if *update {
			if err := os.WriteFile(file, indented.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(indented.Bytes(), want) {
			t.Fatalf("%s: got\n%s\nwant\n%s", file, indented.Bytes(), want)
		}
	}
}

// idCase changes what an event is made of, and says whether it says something else then.
type idCase[T any] struct {
	name   string
	other  bool
	change func(*T)
}

func checkIDs[T any](t *testing.T, base T, event func(T) cloudevents.Event, cases []idCase[T]) {
	t.Helper()
	seen := map[string]string{event(base).ID: "unchanged"}
	for _, c := range cases {
		changed := base
		c.change(&changed)
		id := event(changed).ID
		if name, known := seen[id]; known && c.other {
			t.Errorf("with another %s it has the id of %s", c.name, name)
		} else if !c.other && id != event(base).ID {
			t.Errorf("with another %s it has another id, and says the same", c.name)
		}
		seen[id] = c.name
	}
}

// TestIDsAreOfWhatIsSaid: another life of the ledger gives other numbers, hashes and times to the same statement; another
// statement never has its id.
func TestIDsAreOfWhatIsSaid(t *testing.T) {
	at := time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC)
	one := decimal.NewFromInt(1)
	var s ledger.Statement
	s.Body.Row = statement.Row{Statement: "s1/2026-10-01", Revision: 1, Customer: "c1", Service: "s1", PeriodFrom: at, PeriodTo: at.AddDate(0, 1, 0), Currency: "GBP", AmountExVAT: one}
	checkIDs(t, s, func(s ledger.Statement) cloudevents.Event { return cloudevents.OfStatement("/hostmeter", s) }, []idCase[ledger.Statement]{
		{"number", false, func(s *ledger.Statement) { s.Number++ }},
		{"hash", false, func(s *ledger.Statement) { s.Hash, s.Previous = "a", "b" }},
		{"time of closing", false, func(s *ledger.Statement) { s.ClosedAt = at }},
		{"coverage", false, func(s *ledger.Statement) { s.Body.Row.Coverage = 0.5 }},
		{"way to write the amount", false, func(s *ledger.Statement) { s.Body.Row.AmountExVAT = decimal.RequireFromString("1.00") }},
		{"zone to write the period in", false, func(s *ledger.Statement) { s.Body.Row.PeriodFrom = at.In(time.FixedZone("", 3600)) }},
		{"statement", true, func(s *ledger.Statement) { s.Body.Row.Statement = "s1/2026-10-02" }},
		{"revision", true, func(s *ledger.Statement) { s.Body.Row.Revision++ }},
		{"customer", true, func(s *ledger.Statement) { s.Body.Row.Customer = "c2" }},
		{"service", true, func(s *ledger.Statement) { s.Body.Row.Service = "s2" }},
		{"beginning", true, func(s *ledger.Statement) { s.Body.Row.PeriodFrom = at.Add(time.Hour) }},
		{"end", true, func(s *ledger.Statement) { s.Body.Row.PeriodTo = at.Add(time.Hour) }},
		{"kind", true, func(s *ledger.Statement) { s.Body.Row.Kind = rating.KindWaived }},
		{"incoming", true, func(s *ledger.Statement) { s.Body.Row.InOctets++ }},
		{"outgoing", true, func(s *ledger.Statement) { s.Body.Row.OutOctets++ }},
		{"billable", true, func(s *ledger.Statement) { s.Body.Row.BillableOctets++ }},
		{"used", true, func(s *ledger.Statement) { s.Body.Row.Used = one }},
		{"excess", true, func(s *ledger.Statement) { s.Body.Row.Excess = one }},
		{"billed quantity", true, func(s *ledger.Statement) { s.Body.Row.BilledQuantity = one }},
		{"unit price", true, func(s *ledger.Statement) { s.Body.Row.UnitPrice = one }},
		{"currency", true, func(s *ledger.Statement) { s.Body.Row.Currency = "USD" }},
		{"amount", true, func(s *ledger.Statement) { s.Body.Row.AmountExVAT = one.Neg() }},
	})
	usage := schemas.UsageRecord{ID: "s1|m|external|in|a|b", Kind: ledger.RecordUsage, Customer: "c1", Service: "s1", PeriodFrom: at, PeriodTo: at.AddDate(0, 1, 0), Octets: 5, Packets: 2}
	checkIDs(t, usage, func(r schemas.UsageRecord) cloudevents.Event { return cloudevents.OfUsageRecord("/hostmeter", r) }, []idCase[schemas.UsageRecord]{
		{"number", false, func(r *schemas.UsageRecord) { r.Seq++ }},
		{"time of recording", false, func(r *schemas.UsageRecord) { r.RecordedAt = at }},
		{"coverage", false, func(r *schemas.UsageRecord) { r.Coverage = new(float64) }},
		{"span", true, func(r *schemas.UsageRecord) { r.ID += "c" }},
		{"kind", true, func(r *schemas.UsageRecord) { r.Kind = ledger.RecordCorrection }},
		{"customer", true, func(r *schemas.UsageRecord) { r.Customer = "c2" }},
		{"period", true, func(r *schemas.UsageRecord) { r.PeriodFrom = at.Add(time.Hour) }},
		{"octets", true, func(r *schemas.UsageRecord) { r.Octets++ }},
		{"packets", true, func(r *schemas.UsageRecord) { r.Packets++ }},
	})
	told := notice.Notice{Kind: notice.KindThreshold, Customer: "c1", Service: "s1", PeriodFrom: at, PeriodTo: at.AddDate(0, 1, 0), Threshold: 75}
	checkIDs(t, told, func(n notice.Notice) cloudevents.Event { return cloudevents.OfNotice("/hostmeter", n) }, []idCase[notice.Notice]{
		{"number", false, func(n *notice.Notice) { n.Number++ }},
		{"hash", false, func(n *notice.Notice) { n.Hash = "a" }},
		{"time", false, func(n *notice.Notice) { n.At = at }},
		{"usage by then", false, func(n *notice.Notice) { n.Used = one }},
		{"kind", true, func(n *notice.Notice) { n.Kind = notice.KindForecast }},
		{"threshold", true, func(n *notice.Notice) { n.Threshold = 90 }},
		{"service", true, func(n *notice.Notice) { n.Service = "s2" }},
		{"period", true, func(n *notice.Notice) { n.PeriodFrom = at.Add(time.Hour) }},
		{"deadline", true, func(n *notice.Notice) { n.Deadline = at.Add(time.Hour) }},
		{"choice", true, func(n *notice.Notice) { n.Choice = rating.DecideNothing }},
		{"time of the choice", true, func(n *notice.Notice) { n.DecidedAt = at }},
		{"day of a spike", true, func(n *notice.Notice) { n.Spike = &notice.Spike{Day: "2026-10-04"} }},
	})
}
