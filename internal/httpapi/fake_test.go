package httpapi

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/shopspring/decimal"

	"hostmeter/schemas"
)

// fake is a Backend over a made-up provider of sixty services, the same for every test: it is
// 2026-10-21, 14:37 in London.
type fake struct {
	mu        sync.Mutex
	now       time.Time
	services  []Service
	customers []Customer
	plans     []Plan
	incidents []IncidentDetail
	failing   error    // what every method returns, where it is set
	calls     []string // what was called that changes something
	chosen    *Choice  // about request 4
}

var fakeNow = time.Date(2026, 10, 21, 13, 37, 12, 0, time.UTC)

func london() *time.Location {
	zone, err := time.LoadLocation("Europe/London")
	if err != nil {
		panic(err)
	}
	return zone
}

func ptr[T any](v T) *T { return &v }

var customerNames = []string{"Ada Ltd", "Blackthorn Games", "Cinder & Sons", "Dovetail Media", "Eastgate Hosting", "Fenwick Analytics", "Glasshouse CDN",
	"Harbour Radio", "Inkwell Press", "Juniper Robotics", "Kestrel Mail", "Lantern VPN", "Moorland Archive", "Northlight Studio", "Osprey Backup",
	"Penrose Maths", "Quarry Stream", "Rookery Forum", "Saltmarsh Maps", "Tamarisk Shop"}

func newFake() *fake {
	f := &fake{now: fakeNow}
	for i, name := range customerNames {
		f.customers = append(f.customers, Customer{ID: fmt.Sprintf("c%02d", i+1), Name: name, Email: fmt.Sprintf("ops%d@example.net", i+1)})
	}
	f.plans = []Plan{
		{Name: "dedicated-10", Class: "dedicated", Rules: Rules{Quota: "10 TB", Direction: "sum", Period: "anniversary", Block: "1 TB"}},
		{Name: "dedicated-30", Class: "dedicated", Rules: Rules{Quota: "30 TB", Direction: "sum", Period: "anniversary", Block: "1 TB"}},
		{Name: "virtual-2", Class: "virtual", Rules: Rules{Quota: "2 TB", Direction: "sum", Period: "anniversary", Block: "0.1 TB"}},
		{Name: "virtual-500g", Class: "virtual", Rules: Rules{Quota: "500 GB", Direction: "out", Period: "calendar", Block: "100 GB"}},
		{Name: "colo-unmetered", Class: "dedicated", Rules: Rules{Direction: "sum", Period: "calendar"}},
	}
	for i := range 60 {
		plan := f.plans[[]int{2, 0, 2, 3, 2, 1, 3, 2, 0, 2, 3, 4}[i%12]]
		s := Service{ID: fmt.Sprintf("s%03d", 101+i), Customer: f.customers[(i*7)%20].ID, Plan: plan.Name, Place: "london", Currency: "GBP",
			Opened: fmt.Sprintf("2026-0%d-%02d", 1+i%6, 1+(i*11)%28), Rules: Rules{Bills: "address"}}
		if i%15 == 4 {
			s.Place, s.Currency = "chicago", "USD"
		}
		f.services = append(f.services, s)
	}
	f.incidents = f.makeIncidents()
	return f
}

func (f *fake) backend() Backend {
	return Backend{Usage: f, Records: f, Reports: f, Summary: f, Checks: f, Addresses: f, Incidents: f, Inventory: f, Eraser: f, AuditLog: f, Credits: f, Approvals: f, Preview: f, Exporters: f, Meters: f, Notices: f,
		Readiness: func(context.Context) error { return f.failing }, Reload: func(context.Context) error { f.call("reload"); return f.failing },
		OwnerNames: func(context.Context) (Names, error) {
			names := Names{}
			for _, c := range f.customers {
				names[c.ID] = c.Name
			}
			return names, nil
		},
	}
}

func (f *fake) Changes(context.Context) ([]Change, error) {
	return []Change{{Service: "s101", At: "2026-10-12T00:00:00Z", Quota: "20 TB"}}, f.failing
}

func (f *fake) Decisions(context.Context) ([]Decision, error) {
	return []Decision{{ID: "d1", Service: "s101", Decision: "waive", From: "2026-09-15T00:00:00Z", By: "user:ada", Reason: "goodwill"}}, f.failing
}

func (f *fake) Preview(_ context.Context, files []ImportFile) (Preview, error) {
	if len(files) > 0 && string(files[0].Text) == "wrong" {
		return Preview{}, &InvalidError{Message: "1 line is wrong", Hint: "correct it", Lines: []string{"import.yaml:1: wrong"}}
	}
	return Preview{Adjustments: []PreviewRow{{Statement: "s101/2026-10-01", Revision: 2, Customer: "c01", Service: "s101", PeriodFrom: f.now.Add(-60 * day),
		PeriodTo: f.now.Add(-30 * day), InOctets: -5, Amount: "-60.00", Currency: "GBP"}}}, f.failing
}

func (f *fake) Unapproved(context.Context) ([]Unapproved, error) {
	return []Unapproved{{Number: 17, Statement: "s101/2026-10-01", Revision: 1, Customer: "c01", Service: "s101", PeriodFrom: f.now.Add(-60 * day),
		PeriodTo: f.now.Add(-30 * day), ClosedAt: f.now, Amount: "60.00", Currency: "GBP", Reason: "an owner was told late"}}, f.failing
}

func (f *fake) Approve(_ context.Context, numbers []int64, by Actor) error {
	if !slices.Equal(numbers, []int64{17}) {
		return fmt.Errorf("number %d: %w", numbers, ErrConflict)
	}
	f.call(fmt.Sprintf("approve %d by %s", numbers, by))
	return f.failing
}

func (f *fake) Waive(_ context.Context, numbers []int64, reason string, by Actor) error {
	f.call(fmt.Sprintf("waive %d by %s: %s", numbers, by, reason))
	return f.failing
}

func (f *fake) Credits(context.Context) ([]Credit, error) {
	return []Credit{{Statement: "s101/2026-10-01", Customer: "c01", Service: "s101", PeriodFrom: f.now.Add(-60 * day), PeriodTo: f.now.Add(-30 * day),
		Amount: "60.00", Currency: "GBP", Until: ptr("2026-12-01")}}, f.failing
}

func (f *fake) AllowCredit(_ context.Context, statement, reason string, by Actor) (Decision, error) {
	if statement != "s101/2026-10-01" {
		return Decision{}, fmt.Errorf("credit of %s: %w", statement, ErrNotFound)
	}
	f.call("credit " + statement + " by " + string(by) + ": " + reason)
	return Decision{ID: "d-1", Service: "s101", Decision: "credit", From: "2026-10-01T00:00:00Z", By: string(by), Reason: reason}, f.failing
}

func (f *fake) Erase(_ context.Context, customer, reason string, by Actor) (Erased, error) {
	for i := range f.customers {
		if f.customers[i].ID == customer {
			f.customers[i].Name, f.customers[i].Email = "", ""
			f.call("erase " + customer + " by " + string(by) + ": " + reason)
			return Erased{Customer: customer, At: f.now, Scrubbed: true}, f.failing
		}
	}
	return Erased{}, fmt.Errorf("customer %s: %w", customer, ErrNotFound)
}

func (f *fake) AuditEvents(_ context.Context, subject string, _ int64, _ int) ([]AuditEvent, error) {
	return []AuditEvent{{Seq: 1, At: f.now, Actor: "user:ada", Action: "erase customer", Subject: "c01", Reason: "letter"}}, f.failing
}

func (f *fake) Note(_ context.Context, by Actor, deed Deed) error {
	f.call(fmt.Sprintf("note %s %s of %q: %s", by, deed.Action, deed.Subject, deed.Text))
	return f.failing
}

func (f *fake) call(what string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, what)
}

func (f *fake) Usage(_ context.Context, q UsageQuery, yield func(UsageRow) error) error {
	for i, s := range f.services {
		row := UsageRow{From: q.From, To: q.To, Customer: s.Customer, Service: s.ID, Class: "external", InOctets: uint64(i) * 1e9, OutOctets: uint64(i) * 3e9,
			InPackets: uint64(i) * 1e6, OutPackets: uint64(i) * 3e6, Coverage: ptr(0.999), Provisional: q.To.After(f.now.Add(-24 * time.Hour))}
		if q.By != ByService {
			row.Meter = fmt.Sprintf("address:192.0.2.%d", i+1)
		}
		if err := yield(row); err != nil {
			return err
		}
	}
	return f.failing
}

func (f *fake) UsageRecords(_ context.Context, after int64, limit int) ([]schemas.UsageRecord, error) {
	var out []schemas.UsageRecord
	for seq := after + 1; seq <= 120 && len(out) < limit; seq++ {
		r := schemas.UsageRecord{Seq: seq, ID: fmt.Sprintf("ur-%06d", seq), Kind: "usage", Customer: "c01", Service: "s101", Meter: "address:192.0.2.1", Class: "external",
			Direction: "out", PeriodFrom: f.now.Add(-20 * day), PeriodTo: f.now.Add(10 * day), From: f.now.Add(-2 * day), To: f.now.Add(-day), Octets: 123456789,
			Packets: 98765, OctetsStandardError: 1200, Coverage: ptr(1.0), RecordedAt: f.now}
		if seq%10 == 0 {
			r.Kind, r.Octets, r.Corrects = "correction", -5000, ptr(fmt.Sprintf("ur-%06d", seq-1))
		}
		out = append(out, r)
	}
	return out, f.failing
}

func (f *fake) WriteEvidence(_ context.Context, q EvidenceQuery, w io.Writer) error {
	if f.failing != nil {
		return f.failing
	}
	if q.Service == "nobody" {
		return fmt.Errorf("service %s: %w", q.Service, ErrNotFound)
	}
	_, err := fmt.Fprintf(w, `[{"service": %q, "format": %q}]`, q.Service, q.Format)
	return err
}

func (f *fake) WriteResellers(_ context.Context, q ResellersQuery, w io.Writer) error {
	if f.failing != nil {
		return f.failing
	}
	if q.Reseller == "nobody" {
		return fmt.Errorf("customer %s: %w", q.Reseller, ErrNotFound)
	}
	_, err := fmt.Fprintf(w, `{"month": %q, "resellers": []}`, q.Month)
	return err
}

func (f *fake) Resellers(_ context.Context, month Month, _ time.Time) (Resellers, error) {
	if month < "2026-06" {
		return Resellers{}, f.failing
	}
	one := Reseller{Reseller: f.customers[0].ID, RateBought: ptr(decimal.New(500, 0)), Unit: "Mbit/s", Used: decimal.New(6123, -1), Excess: decimal.New(1123, -1), Over: true, Slots: 8928, SlotsMissing: 12,
		InOctets: 81e12, OutOctets: 190e12, Totals: []string{"180.00 GBP"}}
	for _, s := range f.services[:min(6, len(f.services))] {
		one.Services = append(one.Services, ResoldService{Customer: s.Customer, Service: s.ID, Plan: s.Plan, InOctets: 12e12, OutOctets: 31e12, Totals: []string{"30.00 GBP"}})
	}
	two := Reseller{Reseller: "<script>", Unit: "Mbit/s", Used: decimal.New(3, 0)}
	return Resellers{Provisional: true, Names: map[string]string{f.customers[0].ID: f.customers[0].Name}, Resellers: []Reseller{one, two}}, f.failing
}

func (f *fake) Pools(context.Context) ([]Pool, error) {
	return []Pool{{Pool: "p1", Customer: "c01", Place: "london", Opened: "2026-01-01", Rules: Rules{Quota: "20 TB"}}}, f.failing
}

func (f *fake) PoolMembers(context.Context) ([]PoolMember, error) {
	return []PoolMember{{Service: "s101", Pool: "p1", From: "2026-02-01"}}, f.failing
}

func (f *fake) WriteReport(_ context.Context, q ReportQuery, w io.Writer) error {
	month, format := q.Month, q.Format
	if f.failing != nil {
		return f.failing
	}
	if month < "2026-06" {
		return fmt.Errorf("report of %s: %w", month, ErrNotFound)
	}
	statements, _ := f.Statements(context.Background(), month)
	if format == "xlsx" || format == "pdf" {
		_, err := fmt.Fprintf(w, "a file of %s as %s for %q", month, format, q.Customer)
		return err
	}
	if format == "json" {
		return json.NewEncoder(w).Encode(statements)
	}
	out := csv.NewWriter(w)
	_ = out.Write([]string{"customer", "service", "amount_ex_vat"})
	for _, s := range statements {
		_ = out.Write([]string{s.Customer, s.Service, s.AmountExVAT.StringFixed(2)})
	}
	out.Flush()
	return out.Error()
}

func (f *fake) Statements(ctx context.Context, month Month) ([]Statement, error) {
	summary, err := f.Summary(ctx, month, f.now)
	var out []Statement
	for i, s := range summary.Services {
		kind := "none"
		if s.Overage != nil && s.Overage.Sign() > 0 {
			kind = "overage"
		}
		out = append(out, Statement{Statement: fmt.Sprintf("st-%s-%s", month, s.Service), Revision: int64(i % 2), Customer: s.Customer, Service: s.Service, Plan: s.Plan,
			PeriodFrom: s.PeriodFrom, PeriodTo: s.PeriodTo, TimeZone: s.TimeZone, Direction: s.Direction, InOctets: int64(s.InOctets), OutOctets: int64(s.OutOctets),
			BillableOctets: int64(s.Billable), StandardErrorOctets: s.StandardErrorOctets, Coverage: s.Coverage, Quota: s.Quota, Unit: s.Unit, Used: s.Used,
			Currency: s.Currency, AmountExVAT: amountOf(s.Overage), Kind: kind, RuleFrom: s.RuleFrom, Pool: &PoolShare{Pool: "p1", Customer: "c01", Members: 2, Octets: 1, OfOctets: 2}})
	}
	if len(out) > 0 {
		adjustment := out[0]
		adjustment.Revision, adjustment.Kind, adjustment.InOctets, adjustment.OutOctets, adjustment.BillableOctets = 2, "adjustment", -5, -7, -12
		out = append(out, adjustment)
	}
	return out, err
}

func (f *fake) Months(context.Context, time.Time) ([]Month, error) {
	return []Month{"2026-11", "2026-10", "2026-09", "2026-08"}, f.failing
}

func (f *fake) Summary(_ context.Context, month Month, now time.Time) (Summary, error) {
	out := Summary{Month: month, At: now, TimeZone: "Europe/London", Unowned: Unowned{InOctets: 4_812_000_000, OutOctets: 911_000_000, Meters: 3}}
	if month < "2026-06" {
		out.Unowned = Unowned{}
		return out, f.failing
	}
	random := rand.New(rand.NewPCG(7, uint64(len(month))+uint64(month[6])))
	for i, s := range f.services {
		out.Services = append(out.Services, f.summaryOf(i, s, month, now, random))
	}
	return out, f.failing
}

// summaryOf makes up the period of a service that ends in month.
func (f *fake) summaryOf(i int, s Service, month Month, now time.Time, random *rand.Rand) ServiceSummary {
	zone := london()
	from, to := month.Bounds(zone)
	var plan Plan
	for _, p := range f.plans {
		if p.Name == s.Plan {
			plan = p
		}
	}
	if plan.Period == "anniversary" {
		opened, _ := time.Parse("2006-01-02", s.Opened)
		to = time.Date(from.Year(), from.Month(), opened.Day(), 0, 0, 0, 0, zone)
		from = time.Date(from.Year(), from.Month()-1, opened.Day(), 0, 0, 0, 0, zone)
	}
	row := ServiceSummary{Service: s.ID, Customer: s.Customer, CustomerName: f.customers[(i*7)%20].Name, Plan: s.Plan, PeriodFrom: from.UTC(), PeriodTo: to.UTC(),
		TimeZone: "Europe/London", State: "open", Direction: plan.Direction, Unit: "TB", Currency: s.Currency, Coverage: ptr(1.0), RuleFrom: "plan"}
	share := random.ExpFloat64() * 0.33 // used of quota at the period's end
	quota := 2.0
	if amount, unit, found := strings.Cut(plan.Quota, " "); found {
		row.Quota, row.Unit = ptr(decimal.RequireFromString(amount)), unit
		quota, _ = row.Quota.Float64()
	}
	gone := min(1, max(0, now.Sub(from).Hours()/to.Sub(from).Hours()))
	factor := map[string]float64{"TB": 1e12, "GB": 1e9}[row.Unit]
	total := quota * share * factor * gone
	row.OutOctets, row.InOctets = uint64(total*0.78), uint64(total*0.22)
	row.Billable = row.InOctets + row.OutOctets
	if plan.Direction == "out" {
		row.Billable = row.OutOctets
	}
	row.Used = decimal.NewFromUint64(row.Billable).DivRound(decimal.NewFromFloat(factor), 6)
	if gone > 0.05 {
		row.Forecast = ptr(row.Used.DivRound(decimal.NewFromFloat(gone), 6))
	}
	if gone > 0.05 && gone < 1 {
		row.ForecastLow, row.ForecastHigh = ptr(row.Forecast.Mul(decimal.RequireFromString("0.95")).Round(6)), ptr(row.Forecast.Mul(decimal.RequireFromString("1.05")).Round(6))
		row.ForecastAt, row.Exceeds = ptr(now.Add(-5*time.Minute)), ptr(0.004)
		if row.Quota != nil && row.Forecast.GreaterThan(*row.Quota) {
			row.Exceeds = ptr(0.83)
		}
	}
	if gone == 1 {
		row.State = "closed"
		if now.Sub(to) < 2*day {
			row.State = "closing"
		}
	}
	if row.Quota != nil && row.Forecast != nil {
		row.Overage = ptr(decimal.Max(decimal.Zero, row.Forecast.Sub(*row.Quota)).Div(decimal.NewFromFloat(1e12 / factor)).Mul(decimal.NewFromInt(10)).Ceil().Mul(decimal.NewFromInt(6)))
	}
	if i%9 == 3 {
		row.Coverage, row.StandardErrorOctets = ptr(1-random.Float64()*0.02), uint64(math.Sqrt(total)*4000)
	}
	return row
}

// fakeNotices are one of each kind; 4 is an open request, and 5 answers another.
func (f *fake) fakeNotices() []Notice {
	d := decimal.RequireFromString
	base := Notice{At: f.now.Add(-time.Hour), Customer: "c01", Subject: "service", Service: "s101", Plan: "virtual-2", PeriodFrom: f.now.Add(-20 * day), PeriodTo: f.now.Add(10 * day), TimeZone: "Europe/London",
		Direction: "sum", Unit: "TB", Used: d("1.85"), Quota: d("2"), Currency: "GBP", Passed: []int{}, Hash: "abc", Mail: NoticeMail{State: "sent", Attempts: 1, SettledAt: ptr(f.now)}}
	list := make([]Notice, 5)
	for i, kind := range []string{"threshold", "forecast", "spike", "decision_requested", "decision_made"} {
		list[i] = base
		list[i].Number, list[i].Kind = int64(i+1), kind
	}
	list[0].Threshold, list[0].Passed = ptr(90), []int{50, 75}
	list[1].Forecast = &Forecast{MadeAt: f.now, Expected: d("2.2"), Low: d("2.05"), High: d("2.35"), Probability: 0.97, ExpectedAmount: ptr(d("12")), Days: 56}
	list[2].Spike = &Spike{Day: "2026-10-20", Minutes: 95, Percent: d("300"), AverageBitsPerSecond: 7e6, PeakBitsPerSecond: 61e6}
	list[3].Forecast, list[3].Deadline = list[1].Forecast, ptr(f.now.Add(47*time.Hour))
	list[4].Request, list[4].Choice = ptr(int64(3)), &Choice{Choice: "throttle", At: f.now, By: "customer c01", How: "by the link"}
	list[4].Mail = NoticeMail{State: "unsure", Repeated: true, Attempts: 2, Error: "no answer"}
	pool, reseller := list[0], list[0]
	pool.Number, pool.Subject, pool.Service, pool.Members, pool.Plan = 6, "pool", "p1", 3, ""
	reseller.Number, reseller.Subject, reseller.Service, reseller.Plan = 7, "reseller", "", ""
	reseller.Direction, reseller.Unit, reseller.Used, reseller.Quota = "p95", "Mbit/s", d("934.5"), d("1000")
	reseller.Burst = &Burst{Slots: 5000, Missing: 12, Above: 120, Allowed: 446}
	return append(list, pool, reseller)
}

func (f *fake) Notices(_ context.Context, after int64, limit int) ([]Notice, error) {
	list := f.fakeNotices()
	return list[min(int(after), len(list)):min(int(after)+limit, len(list))], f.failing
}

func (f *fake) LastNotices(context.Context, int) ([]Notice, error) {
	list := f.fakeNotices()
	slices.Reverse(list)
	return list, f.failing
}

func (f *fake) QuotaDecisions(context.Context, bool) ([]DecisionRequest, error) {
	r, err := f.QuotaDecision(context.Background(), 4)
	return []DecisionRequest{r}, err
}

func (f *fake) QuotaDecision(_ context.Context, number int64) (DecisionRequest, error) {
	if number != 4 {
		return DecisionRequest{}, fmt.Errorf("number %d: %w", number, ErrNotFound)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return DecisionRequest{Notice: f.fakeNotices()[3], Open: f.chosen == nil, Outcome: f.chosen}, f.failing
}

func (f *fake) Choose(ctx context.Context, number int64, choice string, by Actor, _ string) (DecisionRequest, error) {
	r, err := f.QuotaDecision(ctx, number)
	if err != nil {
		return r, err
	}
	if !slices.ContainsFunc(choiceOptions, func(o choiceOption) bool { return o.Name == choice }) {
		return r, &InvalidError{Message: "not a choice", Hint: "choose one of the four"}
	}
	if r.Outcome != nil {
		return r, fmt.Errorf("it is decided: %w", ErrConflict)
	}
	f.mu.Lock()
	f.chosen = &Choice{Choice: choice, At: f.now, By: string(by), How: "by the API"}
	f.mu.Unlock()
	f.call("choose " + choice + " by " + string(by))
	return f.QuotaDecision(ctx, number)
}

// fakeToken is a link's; its letters are to be found in no log.
const fakeToken = "canary-token-AAAA"

func (f *fake) Linked(ctx context.Context, token string) (DecisionRequest, error) {
	if token != fakeToken {
		return DecisionRequest{}, fmt.Errorf("link: %w", ErrNotFound)
	}
	return f.QuotaDecision(ctx, 4)
}

func (f *fake) ChooseByLink(ctx context.Context, token, choice string) (DecisionRequest, error) {
	if _, err := f.Linked(ctx, token); err != nil {
		return DecisionRequest{}, err
	}
	return f.Choose(ctx, 4, choice, "customer c01", "")
}

func (f *fake) Customers(context.Context) ([]Customer, error) { return f.customers, f.failing }
func (f *fake) Services(context.Context) ([]Service, error)   { return f.services, f.failing }
func (f *fake) Plans(context.Context) ([]Plan, error)         { return f.plans, f.failing }

func (f *fake) Prices(context.Context) ([]Price, error) {
	return []Price{{SKU: "overage", Place: "london", Currency: "GBP", From: "2026-01-01", Noticed: "2025-12-01", Per: "TB", Begun: true, Amount: "60.00"},
		{SKU: "overage", Place: "chicago", Currency: "USD", From: "2026-01-01", Noticed: "2025-12-01", Per: "TB", Begun: true, Amount: "30.00"}}, f.failing
}

func (f *fake) Prefixes(context.Context) ([]Prefix, error) {
	return []Prefix{{Prefix: "192.0.2.0/24", Exporters: []string{"192.0.2.250", "192.0.2.251"}}, {Prefix: "2001:db8:7::/48", Exporters: []string{"192.0.2.250"}}}, f.failing
}

func (f *fake) Ownership(context.Context) ([]Ownership, error) {
	var out []Ownership
	for i, s := range f.services {
		out = append(out, Ownership{Service: s.ID, Key: fmt.Sprintf("address:192.0.2.%d", i+1), From: s.Opened + "T00:00:00Z"})
		if i%20 == 0 {
			out = append(out, Ownership{Service: s.ID, Key: fmt.Sprintf("address:2001:db8:7:%x::/64", i+1), From: s.Opened + "T00:00:00Z"})
		}
	}
	out = append(out, Ownership{Service: "s101", Key: "address:192.0.2.200", From: "2026-02-01T00:00:00Z", Until: ptr("2026-09-01T00:00:00Z")})
	return out, f.failing
}

func (f *fake) Put(_ context.Context, change InventoryChange, by Actor) (Difference, error) {
	for _, c := range change.Customers {
		if c.ID == "" {
			return Difference{}, &InvalidError{Message: "1 line is wrong, nothing was changed", Hint: "correct it and send all again", Lines: []string{"customers[0].id: missing"}}
		}
	}
	f.call("put by " + string(by))
	return Difference{Added: 1, Lines: []string{"+ customer c99"}}, f.failing
}

func (f *fake) Import(_ context.Context, files []ImportFile, dryRun bool, by Actor) (Difference, error) {
	f.call(fmt.Sprintf("import %s dry=%t by %s", files[0].Name, dryRun, by))
	return Difference{DryRun: dryRun, Added: len(files)}, f.failing
}

func (f *fake) Exporters(context.Context) (Exporters, error) {
	at := func(d time.Duration) *time.Time { return ptr(f.now.Add(-d)) }
	return Exporters{At: f.now, Exporters: []Exporter{
		{Exporter: "192.0.2.250", Name: "edge-1", Collector: "collector-1", Protocol: "netflow9", Mode: "single", Sampling: "none", State: "ok", LastDatagramAt: at(time.Second), DatagramsPerSec: 212.4, RecordsPerSecond: 4912.1, BitsPerSecond: 6.21e9, Coverage: ptr(1.0)},
		{Exporter: "192.0.2.251", Name: "edge-2", Collector: "collector-1", Protocol: "sflow5", Mode: "border", Sampling: "1 in 2,048", State: "ok", LastDatagramAt: at(2 * time.Second), DatagramsPerSec: 88.9, RecordsPerSecond: 611.0, BitsPerSecond: 9.94e9, Coverage: ptr(0.9931), Lost: []Count{{Unit: "datagrams", Count: 1207}},
			SamplingInEffect: ptr(2290.6), SamplingDoubts: []SamplingDoubt{{Source: "interface 7", Stated: 2048, InEffect: 2601.5, Samples: 80_211}}},
		{Exporter: "192.0.2.252", Name: "border-1", Collector: "collector-1", Protocol: "ipfix", Mode: "border", Sampling: "auto (unknown)", State: "ok", LastDatagramAt: at(4 * time.Second), DatagramsPerSec: 31, RecordsPerSecond: 702, BitsPerSecond: 1.12e9, Coverage: ptr(1.0), Held: []Count{{Unit: "tallies", Reason: "sampling", Count: 811}}, Dropped: []Count{{Unit: "sets", Reason: "no template", Count: 14}}},
		{Exporter: "192.0.2.253", Name: "old-3750", Collector: "collector-1", Protocol: "netflow5", Mode: "edge", Sampling: "1 in 100", State: "silent", LastDatagramAt: at(41 * time.Minute), Coverage: ptr(0.971), ClockAhead: ptr(-3600.4)},
		{Exporter: "libvirt/hv1", Name: "", Collector: "collector-1", Protocol: "libvirt", Sampling: "none", State: "ok", LastDatagramAt: at(6 * time.Second), Coverage: ptr(1.0)},
	}, Knocking: []Knock{{Address: "198.51.100.77", Protocol: "netflow9", Datagrams: 18213, FirstAt: f.now.Add(-5 * time.Hour), LastAt: f.now.Add(-3 * time.Second)}},
		CountedTwice: []Twice{{First: "192.0.2.251 (sflow5, ingress)", Second: "192.0.2.252 (ipfix, no direction)", Flows: 61, Share: 0.97, At: f.now.Add(-20 * time.Minute)}}}, f.failing
}

func (f *fake) History(_ context.Context, meter string, from, to time.Time) (MeterHistory, error) {
	if meter == "address:203.0.113.1" {
		return MeterHistory{}, fmt.Errorf("meter %s: %w", meter, ErrNotFound)
	}
	in, out := wave(from, to, 1, 90e6), wave(from, to, 2, 310e6)
	for i := range in {
		if i > len(in)/3 && i < len(in)/3+len(in)/50 {
			in[i].Value, out[i].Value = nil, nil
		}
	}
	return MeterHistory{Meter: meter, Service: "s105", Customer: "c09", From: from, To: to, SlotSeconds: 300,
		Series: []Series{{Metric: "in_bits_per_second", Unit: "bit/s", Points: in}, {Metric: "out_bits_per_second", Unit: "bit/s", Points: out}}}, f.failing
}

// wave is a day's rhythm with noise.
func wave(from, to time.Time, seed uint64, height float64) []Point {
	random := rand.New(rand.NewPCG(seed, 3))
	var out []Point
	for at := from.Truncate(5 * time.Minute); at.Before(to); at = at.Add(5 * time.Minute) {
		hour := float64(at.Unix()%86400) / 3600
		v := height * (0.45 + 0.35*math.Sin((hour-9)/24*2*math.Pi) + 0.12*random.Float64() + 0.2*math.Pow(random.Float64(), 8))
		out = append(out, Point{At: at, Value: &v})
	}
	return out
}

func (f *fake) Top(_ context.Context, by string, limit int) ([]TopMeter, error) {
	out := []TopMeter{}
	for i := range min(limit, 12) {
		out = append(out, TopMeter{Meter: fmt.Sprintf("address:192.0.2.%d", (i*37)%60+1), Service: f.services[(i*37)%60].ID, Customer: f.services[(i*37)%60].Customer,
			At: f.now, InBitsPerSecond: 4.1e8 / float64(i*i+3), OutBitsPerSecond: 2.61e9 / float64(i*i+1+i%3), InPacketsPerSecond: 61e3 / float64(i+1), OutPacketsPerSecond: 410e3 / float64(i*i+1)})
	}
	out[3].Meter, out[3].Service, out[3].Customer = "address:2001:db8:7:15::/64", "", ""
	return out, f.failing
}

func (f *fake) makeIncidents() []IncidentDetail {
	at := func(d time.Duration) time.Time { return f.now.Add(-d) }
	cpu := wave(at(84*time.Hour), f.now, 5, 0.08)
	for i := range cpu {
		*cpu[i].Value += 0.06
		if i > 140 {
			*cpu[i].Value = math.Min(1.02, 0.93+*cpu[i].Value/2)
		}
		if i > 500 && i < 522 {
			cpu[i].Value = nil
		}
	}
	flood := wave(at(2*time.Hour), f.now, 9, 40e6)
	for i := range flood[len(flood)-6:] {
		*flood[len(flood)-6+i].Value = 2.4e9 + float64(i)*4e7
	}
	rule := "name: sustained-cpu\nmetric: cpu_ratio\nabove: 0.90\nfor: 72h\nat_least: 0.95\ncoverage: 0.80\nclear: {below_share: 0.80, over: 6h}\nseverity: warning\neach: guest\n"
	return []IncidentDetail{
		{Incident: Incident{ID: "i-0007", State: "open", Condition: "firing", Rule: "outgoing-flood", Severity: "critical", Meter: "address:192.0.2.1", Service: "s101", Customer: "c01",
			Summary: "2.6 Gbit/s out for 6 minutes, UDP to one address", Since: at(7 * time.Minute), OpenedAt: at(6 * time.Minute), Share: ptr(1.0), Coverage: ptr(1.0)},
			Evidence: Evidence{Metric: "out_bits_per_second", Unit: "bit/s", Threshold: ptr(1e9), WindowFrom: at(2 * time.Hour), WindowTo: f.now, Series: flood, StandardError: ptr(0.021),
				TopPeers: []Peer{{"203.0.113.80", 98_200_000_000, 71_000_000}, {"198.51.100.4", 310_000_000, 240_000}, {"2001:db8:ffff::53", 12_000_000, 90_100}},
				TopPorts: []PortTraffic{{"udp", 80, 97_900_000_000, 70_800_000}, {"tcp", 443, 400_000_000, 310_000}},
				RuleText: "name: outgoing-flood\nmetric: out_bits_per_second\nabove: 1e9\nfor: 5m\nat_least: 0.95\nseverity: critical\neach: address\n"},
			Notifications: []Notification{{at(6 * time.Minute), "alertmanager http://127.0.0.1:9093", "sent", "HTTP 200"}, {at(6 * time.Minute), "webhook noc", "retrying", "HTTP 503, again in 30 s"}},
			Events:        []Event{{at(6 * time.Minute), "detector", "opened", ""}}},
		{Incident: Incident{ID: "i-0004", State: "open", Condition: "firing", Rule: "sustained-cpu", Severity: "warning", Meter: "guest:0f1d9a52-6c1e-4f6e-9d2b-5f3e8a7d1c44", Service: "s105", Customer: "c09",
			Summary: "CPU above 90 % for 72 h", Since: at(3*day + 40*time.Minute), OpenedAt: at(40 * time.Minute), Share: ptr(0.9987), Coverage: ptr(0.9745)},
			Evidence: Evidence{Metric: "cpu_ratio", Unit: "ratio", Threshold: ptr(0.9), WindowFrom: at(84 * time.Hour), WindowTo: f.now, Series: cpu, RuleText: rule},
			Events:   []Event{{at(40 * time.Minute), "detector", "opened", ""}}},
		{Incident: Incident{ID: "i-0003", State: "open", Condition: "recovering", Rule: "sustained-out-200m", Severity: "warning", Meter: "address:192.0.2.17", Service: "s117", Customer: "c13",
			Summary: "above 200 Mbit/s out for 72 h", Since: at(4 * day), OpenedAt: at(day + time.Hour), Share: ptr(0.9612), Coverage: ptr(0.9931), AcknowledgedAt: ptr(at(23 * time.Hour)), AcknowledgedBy: "user:noor", SilencedUntil: ptr(f.now.Add(6 * time.Hour))}},
		{Incident: Incident{ID: "i-0002", State: "resolved", Condition: "clear", Rule: "sustained-packets", Severity: "warning", Meter: "address:192.0.2.44", Service: "s144", Customer: "c02",
			Since: at(5 * day), OpenedAt: at(2 * day), ResolvedAt: ptr(at(3 * time.Hour)), Share: ptr(0.62), Coverage: ptr(1.0)}},
	}
}

func (f *fake) Incidents(_ context.Context, q IncidentFilter) ([]Incident, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []Incident
	for _, i := range f.incidents {
		if (q.State == "" || q.State == i.State) && (q.Rule == "" || q.Rule == i.Rule) && len(out) < q.Limit {
			out = append(out, i.Incident)
		}
	}
	return out, f.failing
}

func (f *fake) find(id string) (*IncidentDetail, error) {
	i := slices.IndexFunc(f.incidents, func(d IncidentDetail) bool { return d.ID == id })
	if i < 0 {
		return nil, fmt.Errorf("incident %s: %w", id, ErrNotFound)
	}
	return &f.incidents[i], f.failing
}

func (f *fake) Incident(_ context.Context, id string) (IncidentDetail, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	d, err := f.find(id)
	if err != nil {
		return IncidentDetail{}, err
	}
	return *d, nil
}

func (f *fake) change(id, what, note string, by Actor, do func(*Incident)) (Incident, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, what+" "+id+" by "+string(by))
	d, err := f.find(id)
	if err != nil {
		return Incident{}, err
	}
	if d.State == "resolved" {
		return Incident{}, fmt.Errorf("incident %s is resolved: %w", id, ErrConflict)
	}
	do(&d.Incident)
	d.Events = append(d.Events, Event{f.now, string(by), what, note})
	return d.Incident, nil
}

func (f *fake) Acknowledge(_ context.Context, id string, by Actor, note string) (Incident, error) {
	return f.change(id, "acknowledged", note, by, func(i *Incident) { i.AcknowledgedAt, i.AcknowledgedBy = ptr(f.now), string(by) })
}

func (f *fake) Silence(_ context.Context, id string, until time.Time, by Actor, note string) (Incident, error) {
	return f.change(id, "silenced", note, by, func(i *Incident) { i.SilencedUntil = &until })
}

func (f *fake) Resolve(_ context.Context, id string, by Actor, note string) (Incident, error) {
	return f.change(id, "resolved", note, by, func(i *Incident) { i.State, i.ResolvedAt = "resolved", ptr(f.now) })
}
