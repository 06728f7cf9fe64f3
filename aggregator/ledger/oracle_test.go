package ledger

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"slices"
	"testing"
	"time"

	statements "hostmeter/aggregator/statement"
	"hostmeter/internal/clock"
	"hostmeter/internal/inventory"
	"hostmeter/internal/simulate"
	"hostmeter/internal/simulate/oracle"
	"hostmeter/internal/store/storetest"
	"hostmeter/schemas"
)

// The seeds of TestOracleAgrees: so many from this one on. `make oracle` runs 200.
var (
	oracleSeeds = flag.Int("oracle.seeds", 3, "seeds of months that the oracle bills too")
	oracleFirst = flag.Uint64("oracle.first", 1, "the first of the seeds")
)

// TestOracleAgrees draws months of contracts, books their usage, closes their periods, and holds the reports against an
// oracle that shares no code with them. With every other seed the decisions come when all is closed, and must come out as
// adjustments.
func TestOracleAgrees(t *testing.T) {
	kinds := map[string]int{}
	for seed := *oracleFirst; seed < *oracleFirst+uint64(*oracleSeeds); seed++ {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			for _, row := range newOracleMonth(t, seed).play(seed%2 == 0) {
				kinds[row.Kind]++
				kinds["direction "+row.Direction]++
			}
		})
	}
	t.Logf("agreed: %v", kinds)
	for _, kind := range []string{"overage", "none", "held", "waived", "direction max", "direction p95"} {
		if kinds[kind] == 0 && !t.Failed() && *oracleSeeds >= 20 {
			t.Errorf("no month has %s: agreeing shows little", kind)
		}
	}
}

// oracleMonth is a drawn month and a ledger of it.
type oracleMonth struct {
	t      *testing.T
	drawn  *simulate.Contracts
	ledger *Ledger
	inv    *inventory.Inventory
	before map[string]oracle.Row // what was closed before the decisions were made, by service and period
}

func newOracleMonth(t *testing.T, seed uint64) *oracleMonth {
	drawn := simulate.NewContracts(seed)
	db := storetest.SQLite(t, clock.NewManual(drawn.Now))
	m := &oracleMonth{t: t, drawn: drawn, ledger: New(db, DefaultConfig()), inv: inventory.New(db)}
	m.importText("terms.yaml", drawn.World.Import(drawn.Customers))
	m.book()
	if _, err := m.ledger.Seal(context.Background(), drawn.Now); err != nil {
		t.Fatal(err)
	}
	return m
}

func (m *oracleMonth) importText(name string, text []byte) {
	m.t.Helper()
	if _, err := m.inv.Import(context.Background(), []inventory.File{{Name: name, Text: text}}, false); err != nil {
		m.t.Fatalf("%v\n%s", err, text)
	}
}

// play closes the month with the decisions, or before they are made and again after, and returns what the oracle says.
func (m *oracleMonth) play(decisionsLate bool) []oracle.Row {
	if decisionsLate {
		decisions := m.takeDecisions()
		m.close()
		m.before = map[string]oracle.Row{}
		for _, row := range m.compare() {
			m.before[row.Service+row.PeriodFrom] = row
		}
		for i, s := range m.drawn.World.Services {
			s.Decisions = decisions[i]
		}
	}
	for _, s := range m.drawn.World.Services {
		for _, d := range s.Decisions {
			m.importText("decision.yaml", d.Import(s.ID))
		}
	}
	m.close()
	rows := m.compare()
	if _, err := m.ledger.VerifyStatements(context.Background()); err != nil {
		m.t.Error(err)
	}
	if again := m.close(); again.Statements+again.Adjustments != 0 {
		m.t.Errorf("closing again closed %+v", again)
	}
	return rows
}

func (m *oracleMonth) takeDecisions() [][]oracle.Decision {
	var taken [][]oracle.Decision
	for _, s := range m.drawn.World.Services {
		taken = append(taken, s.Decisions)
		s.Decisions = nil
	}
	return taken
}

func (m *oracleMonth) close() Closed {
	m.t.Helper()
	closed, err := m.ledger.CloseDue(context.Background(), m.inv, m.drawn.Now)
	if err != nil {
		m.t.Fatal(err)
	}
	return closed
}

// compare holds the months' reports against the oracle's.
func (m *oracleMonth) compare() []oracle.Row {
	m.t.Helper()
	var all []oracle.Row
	for _, month := range m.drawn.Months {
		report, err := m.ledger.Report(context.Background(), m.inv, month, m.drawn.Now)
		if err != nil {
			m.t.Fatal(err)
		}
		want, err := m.drawn.World.Report(month, m.drawn.Now)
		if err != nil {
			m.t.Fatal(err)
		}
		for i := range want {
			want[i] = m.asClosed(want[i], report)
		}
		var text bytes.Buffer
		if err := statements.WriteCSV(&text, report); err != nil {
			m.t.Fatal(err)
		}
		differences, err := oracle.Compare(&text, want)
		if err != nil {
			m.t.Fatal(err)
		}
		for _, difference := range differences {
			m.t.Errorf("%s: %s", month, difference)
		}
		if len(differences) > 0 {
			m.t.Logf("problems: %+v", report.Problems)
		}
		all = append(all, want...)
	}
	return all
}

// asClosed returns what a period that was closed before the decisions must say. An adjustment that is held waits, so that
// the statement stands; and where all differences are nothing there is no adjustment, so that its slots stand.
func (m *oracleMonth) asClosed(want oracle.Row, report statements.Report) oracle.Row {
	before, closed := m.before[want.Service+want.PeriodFrom]
	if !closed || before.Kind == "held" {
		return want
	}
	if want.Kind == "held" {
		return before
	}
	adjusted := slices.ContainsFunc(report.Rows, func(r statements.Row) bool {
		return r.Service == want.Service && r.PeriodFrom.Format(time.RFC3339) == want.PeriodFrom && r.Revision > 1
	})
	if !adjusted {
		want.Slots, want.SlotsMissing = before.Slots, before.SlotsMissing
	}
	return want
}

// book sends the month's tallies in one batch.
func (m *oracleMonth) book() {
	b := testBatch("c", 7, 0, 1)
	b.Shards = 1
	b.Classes = []string{schemas.ClassExternal, schemas.ClassInternal, schemas.ClassPort, "backup", "peering", "scrubbed"}
	b.ReceivedFrom, b.ReceivedTo = m.drawn.Now.Add(-7*24*time.Hour).UnixNano(), m.drawn.Now.Add(-6*24*time.Hour).UnixNano()
	m.drawn.Tallies(func(class string, tally *schemas.Tally) {
		tally.Class = uint32(slices.Index(b.Classes, class))
		b.Tallies = append(b.Tallies, tally)
	})
	m.drawn.Observed(func(exporter string, hour time.Time, minutes uint64) {
		b.Accounts = append(b.Accounts, &schemas.ExporterAccount{
			Exporter: exporter, Protocol: "netflow9", Hour: hour.Unix() / 3600, MinutesObserved: minutes, Datagrams: 1,
		})
	})
	if booked := mustBook(m.t, m.ledger, b); booked.Refused != 0 || booked.LateEntries != 0 {
		m.t.Fatalf("booked %+v", booked)
	}
}
