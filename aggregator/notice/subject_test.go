package notice

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"hostmeter/aggregator/ledger"
	"hostmeter/aggregator/rating"
	"hostmeter/aggregator/statement"
)

const subjectsImport = `
prices: [{sku: rate, place: london, currency: GBP, from: 2026-01-01, noticed: 2025-12-01, per: Mbit/s, begun: true, amount: "10"}]
plans: [{name: burst-500, quota: 500 Mbit/s, direction: p95, period: calendar, sku: rate}]
customers: [{id: r1, name: Resell Ltd, email: noc@resell.example, rate_bought: 1000 Mbit/s}]
services: [{id: s3, customer: c1, plan: burst-500, place: london, opened: 2026-01-12}]
pools: [{pool: p1, customer: c1, plan: dedicated-10, place: london, opened: 2026-01-01}]
`

// percentile says that s3 has a percentile of so many Mbit/s, of so many slots, of which some were above its rate.
func (l *lab) percentile(mbit int64, slots, above int) {
	l.t.Helper()
	snapshot, err := l.inv.Snapshot(context.Background())
	if err != nil {
		l.t.Fatal(err)
	}
	contract, p, err := snapshot.PeriodAt("s3", l.clock.Now())
	if err != nil {
		l.t.Fatal(err)
	}
	c := l.current(contract, p, rating.Usage{Percentile: &rating.Percentile{Side: rating.Out, Slots: slots, Counted: slots, BitsPerSecond: mbit * 1e6}}, snapshot.Prices())
	c.Burst = rating.Burst{Slots: slots, Missing: 12, Above: above, Allowed: 432}
	l.books.slots = []ledger.Current{c}
}

// pool says that p1, of some services, has used so much of its period.
func (l *lab) pool(usedTB float64, members int) {
	l.t.Helper()
	c := l.use("p1", usedTB, 0.5)
	c.Members = members
}

// reseller says what r1's customers use together.
func (l *lab) reseller(mbit string, slots, above int) {
	p := rating.Schedule{Kind: rating.Calendar, Zone: time.UTC}.PeriodAt(l.clock.Now())
	bought := rating.Quantity{Amount: dec("1000"), Unit: rating.MbitPerSecond}
	l.books.resellers = []ledger.CurrentReseller{{Month: p, TimeZone: "UTC", Bought: bought, Burst: rating.Burst{Slots: slots, Above: above, Allowed: 432},
		Reseller: statement.Reseller{Reseller: "r1", RateBought: &bought.Amount, Unit: bought.Unit, Used: dec(mbit), Over: dec(mbit).GreaterThan(bought.Amount)}}}
}

// TestAPercentileIsToldWhenItIsKnown says nothing of a percentile of less than a week, unless it is certain; and reads slots once an
// hour at most.
func TestAPercentileIsToldWhenItIsKnown(t *testing.T) {
	eachLab(t, func(t *testing.T, l *lab) {
		l.load(subjectsImport)
		l.percentile(600, 2015, 432) // six days and 23 hours
		l.look()
		l.want("")
		l.percentile(600, 2016, 432)
		l.clock.Advance(59 * time.Minute)
		l.look()
		l.want("")
		l.clock.Advance(time.Minute)
		l.look()
		if l.want("threshold 100, decision_requested"); l.books.slotReads != 2 {
			t.Fatalf("slots were read %d times, want 2", l.books.slotReads)
		}
		r := l.asked()
		if r.Service != "s3" || r.Subject != SubjectService || r.Forecast != nil || r.Burst == nil || *r.Burst != (rating.Burst{Slots: 2016, Missing: 12, Above: 432, Allowed: 432}) ||
			!r.Exceeded() || !r.AmountExVAT.Equal(dec("1000")) {
			t.Fatalf("%+v %+v", r, r.Burst)
		}
		l.send()
		if len(l.post.got) != 2 || l.post.got[0].To != "ada@example.org" {
			t.Fatalf("%+v", l.post.got)
		}
		golden(t, "percentile-threshold.txt", l.post.got[0].Subject+"\n\n"+l.post.got[0].Text)
		text, _, _ := strings.Cut(l.post.got[1].Text, "https://")
		golden(t, "percentile-request.txt", l.post.got[1].Subject+"\n\n"+text)
		l.percentile(700, 3000, 500)
		l.restart()
		l.look()
		l.want("threshold 100, decision_requested")
	})
}

func TestAPercentileThatIsCertainIsToldAtOnce(t *testing.T) {
	l := oneLab(t)
	l.load(subjectsImport)
	l.percentile(700, 500, 433)
	l.look()
	l.want("threshold 100, decision_requested")
	l.send()
	if text := l.post.got[0].Text; !strings.Contains(text, "so that it will be above at the end as well") {
		t.Fatal(text)
	}
}

// TestTheOwnerOfAPoolIsTold as of a service, once, by the settings of the pool; what is chosen is a decision about the pool.
func TestTheOwnerOfAPoolIsTold(t *testing.T) {
	eachLab(t, func(t *testing.T, l *lab) {
		l.load(subjectsImport)
		l.pool(7.5, 3)
		l.look()
		l.restart()
		l.look()
		l.want("threshold 75, decision_requested") // 0.5 TB a day
		r := l.asked()
		if r.Subject != SubjectPool || r.Service != "p1" || r.Customer != "c1" || r.Members != 3 || r.Forecast == nil {
			t.Fatalf("%+v", r)
		}
		l.send()
		golden(t, "pool-threshold.txt", l.post.got[0].Subject+"\n\n"+l.post.got[0].Text)
		text, _, _ := strings.Cut(l.post.got[1].Text, "https://")
		golden(t, "pool-request.txt", l.post.got[1].Subject+"\n\n"+text)
		if _, err := l.ChooseByLink(t.Context(), l.link(), "throttle"); err != nil {
			t.Fatal(err)
		}
		snapshot, err := l.inv.Snapshot(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if made := snapshot.DecisionsOn("p1"); len(made) != 1 || made[0].Kind != rating.DecideThrottle {
			t.Fatalf("decisions about the pool: %+v", made)
		}
		l.want("threshold 75, decision_requested, decision_made")
	})
}

func TestAPoolHasSettingsOfItsOwn(t *testing.T) {
	l := oneLab(t)
	l.load(subjectsImport)
	l.load(`pools: [{pool: p1, customer: c1, plan: dedicated-10, place: london, opened: 2026-01-01, notice_at: "60", decide_within: none, notice_forecast: none}]`)
	l.pool(7.5, 1)
	l.look()
	l.want("threshold 60")
}

// TestAResellerIsToldOfItsSum once a month and threshold, and nobody is asked: nothing is charged for it. A service, or a pool, with
// the reseller's id is another subject.
func TestAResellerIsToldOfItsSum(t *testing.T) {
	eachLab(t, func(t *testing.T, l *lab) {
		l.load(subjectsImport)
		l.load("services: [{id: r1, customer: c2, plan: dedicated-10, place: london, opened: 2026-01-12}]")
		l.reseller("1200", 100, 99) // nothing is known yet
		l.look()
		l.want("")
		l.use("r1", 5, 0)
		l.reseller("760", 2016, 3)
		l.clock.Advance(time.Hour)
		l.look()
		l.want("threshold 50, threshold 75")
		l.reseller("1000.000001", 3000, 160)
		l.clock.Advance(time.Hour)
		l.look()
		l.restart()
		l.look()
		l.want("threshold 50, threshold 75, threshold 100")
		list, err := l.Notices.Notices(t.Context(), 2, 10)
		if err != nil || len(list) != 1 {
			t.Fatal(list, err)
		}
		if n := list[0]; n.Subject != SubjectReseller || n.Customer != "r1" || n.Service != "" || !n.AmountExVAT.IsZero() || n.Burst.Above != 160 || len(n.Passed) != 1 || n.Passed[0] != 90 {
			t.Fatalf("%+v", n)
		}
		l.send()
		last := l.post.got[len(l.post.got)-1]
		if last.To != "noc@resell.example" {
			t.Fatalf("to %s", last.To)
		}
		golden(t, "reseller-threshold.txt", last.Subject+"\n\n"+last.Text)
		if list, err := l.Requests(t.Context(), false); err != nil || len(list) != 0 {
			t.Fatalf("%+v, %v", list, err)
		}
	})
}

// alarms counts what it is told.
type alarms struct {
	over   []string
	broken error
}

func (a *alarms) Over(_ context.Context, r ledger.CurrentReseller, _ time.Time) error {
	a.over = append(a.over, r.Reseller.Reseller+" "+r.Used.String())
	return a.broken
}

// TestAnAlarmThatFailsHoldsNoNoticeBack tells all that there is to tell, and raises the alarm again at the next look.
func TestAnAlarmThatFailsHoldsNoNoticeBack(t *testing.T) {
	l := oneLab(t)
	l.load(subjectsImport)
	told := alarms{broken: errLost}
	l.deps.Alarm = &told
	l.use("s1", 5, 0)
	l.percentile(300, 3000, 0)
	l.reseller("1200", 3000, 500)
	if err := l.Look(t.Context()); !errors.Is(err, errLost) {
		t.Fatal(err)
	}
	l.want("threshold 50, threshold 50, threshold 100")
	told.broken = nil
	l.look()
	l.look() // within the hour
	if l.want("threshold 50, threshold 50, threshold 100"); len(told.over) != 2 {
		t.Fatalf("%q", told.over)
	}
}

func TestTheAlarmIsToldOfEachResellerThatIsKnown(t *testing.T) {
	l := oneLab(t)
	l.load(subjectsImport + "provider: {name: Example Hosting, time_zone: Europe/London, currency: GBP, notice_at: none}\n")
	var told alarms
	l.deps.Alarm = &told
	l.reseller("1200", 2000, 0)
	l.look()
	l.reseller("1200", 2016, 150)
	l.clock.Advance(time.Hour)
	l.look()
	l.want("")
	if len(told.over) != 1 || told.over[0] != "r1 1200" {
		t.Fatalf("%q", told.over)
	}
}
