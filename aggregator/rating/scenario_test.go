package rating_test

import (
	"cmp"
	"fmt"
	"testing"
	"time"

	"hostmeter/aggregator/rating"
	"hostmeter/internal/inventory"
	"hostmeter/internal/scenario"
)

// TestScenarios rates what a clerk has written down; package ledger holds its books and statements to
// the same files.
func TestScenarios(t *testing.T) {
	list, err := scenario.ReadFolder("testdata/scenarios")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range list {
		t.Run(s.Name, func(t *testing.T) { runScenario(t, s) })
	}
}

func runScenario(t *testing.T, s scenario.Scenario) {
	owners := preview(t, s)
	for _, line := range s.Lines {
		contract, period := periodOf(t, owners, line)
		charge, usage, err := rate(s, owners, contract, period)
		if err != nil {
			t.Fatal(err)
		}
		for _, difference := range line.Differences(lineOf(contract, period, charge, usage)) {
			t.Errorf("%s from %s: %s", line.Service, line.From, difference)
		}
	}
}

func rate(s scenario.Scenario, owners *inventory.Snapshot, contract rating.Contract, period rating.Period) (rating.Charge, rating.Usage, error) {
	if contract.Pool == nil {
		usage, err := fill(s, contract, period).Usage()
		if err != nil {
			return rating.Charge{}, usage, err
		}
		charge, err := rating.Rate(contract, period, usage, owners.Prices())
		return charge, usage, err
	}
	whole := rating.NewAccount(*contract.Pool, period, period.To)
	var members []rating.Member
	at := 0
	for _, service := range owners.Services() {
		other, p, err := owners.PeriodAt(service.ID, period.From)
		if err != nil || other.Pool == nil || other.Pool.Service != contract.Pool.Service || p != period {
			continue
		}
		account := fill(s, other, p)
		usage, err := account.Usage()
		if err != nil {
			return rating.Charge{}, usage, err
		}
		if service.ID == contract.Service {
			at = len(members)
		}
		whole.Merge(account)
		members = append(members, rating.Member{Contract: other, Usage: usage})
	}
	used, err := whole.Usage()
	if err != nil {
		return rating.Charge{}, used, err
	}
	pool, err := rating.RatePool(period, used, members, owners.Prices())
	if err != nil {
		return rating.Charge{}, used, err
	}
	return pool.Shares[at], members[at].Usage, nil
}

// fill books a service's usage into an account.
func fill(s scenario.Scenario, contract rating.Contract, period rating.Period) *rating.Account {
	account := rating.NewAccount(contract, period, period.To)
	for _, u := range s.Usage {
		if u.Service == contract.Service {
			book(account, u)
		}
	}
	for _, span := range s.Unobserved {
		account.Miss(span.From, span.Until)
	}
	return account
}

func preview(t *testing.T, s scenario.Scenario) *inventory.Snapshot {
	t.Helper()
	var files []inventory.File
	for i, terms := range s.Terms {
		files = append(files, inventory.File{Name: fmt.Sprintf("terms%d.yaml", i), Text: []byte(terms)})
	}
	now, err := time.Parse(time.DateOnly, s.Lines[0].From)
	if err != nil {
		t.Fatal(err)
	}
	owners, err := inventory.Preview(files, now.Add(36*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	return owners
}

func periodOf(t *testing.T, owners *inventory.Snapshot, line scenario.Line) (rating.Contract, rating.Period) {
	t.Helper()
	first := date(t, line.From)
	contract, err := owners.Contract(line.Service, first.In(time.UTC))
	if err != nil {
		t.Fatal(err)
	}
	contract, period, err := owners.PeriodAt(line.Service, first.In(contract.Schedule.Zone))
	if err != nil {
		t.Fatal(err)
	}
	return contract, period
}

// book adds usage slot by slot, up to the period's bounds.
func book(account *rating.Account, u scenario.Usage) {
	variance := func(octets uint64) uint64 { return (octets / 1024) * (octets / 1024) }
	for at := u.From; at.Before(u.Until); at = at.Add(scenario.SlotLength) {
		if !at.Before(rating.SlotAfter(account.Period().From)) && at.Before(rating.SlotAfter(account.Period().To)) {
			account.Add(rating.Part{At: at, Class: u.Class, In: rating.Amount{Octets: u.In, VarianceKiB2: variance(u.InError)},
				Out: rating.Amount{Octets: u.Out, VarianceKiB2: variance(u.OutError)}})
		}
	}
}

// lineOf writes a charge as a scenario has it.
func lineOf(c rating.Contract, p rating.Period, charge rating.Charge, usage rating.Usage) scenario.Line {
	zone := c.Schedule.Zone
	day := func(at time.Time) string { return rating.DateOf(at.In(zone)).String() }
	quota := charge.Quota.String() + " " + string(charge.Unit)
	if charge.Unlimited {
		quota = "unlimited"
	}
	got := scenario.Line{
		Service: c.Service, From: day(p.From), Until: day(p.To), Kind: string(charge.Kind), Quota: quota,
		Used:      charge.Used.String() + " " + string(charge.Unit),
		Excess:    charge.Excess.String() + " " + string(charge.Unit),
		Excluded:  fmt.Sprintf("%d in, %d out", charge.ExcludedInOctets, charge.ExcludedOutOctets),
		Estimated: fmt.Sprint(charge.EstimatedOctets),
		Grace:     charge.Grace.String() + " " + string(charge.Unit),
		Billed:    charge.BilledQuantity.String() + " " + string(cmp.Or(charge.PriceUnit, charge.Unit)),
		Price:     charge.UnitPrice.StringFixed(rating.CurrencyDigits(charge.Currency)),
		Amount:    charge.AmountExVAT.StringFixed(rating.CurrencyDigits(charge.Currency)) + " " + charge.Currency,
		Hold:      charge.Hold, RuleFrom: string(charge.RuleFrom),
	}
	var freeIn, freeOut uint64
	for _, class := range usage.Classes {
		if !class.Counted {
			freeIn, freeOut = freeIn+class.InOctets, freeOut+class.OutOctets
		}
	}
	got.Free = fmt.Sprintf("%d in, %d out", freeIn, freeOut)
	if p := usage.Percentile; p != nil {
		got.Slots = fmt.Sprintf("%d, %d missing", p.Slots, p.Missing)
	}
	if p := charge.Pool; p != nil {
		quota := p.Quota.String() + " " + string(p.Unit)
		if p.Unlimited {
			quota = "unlimited"
		}
		got.Pool = fmt.Sprintf("%s, %d services, %s %s of %s, %s %s billed, %s %s", p.Pool, p.Members, p.Used, p.Unit, quota, p.BilledQuantity, cmp.Or(charge.PriceUnit, charge.Unit),
			p.AmountExVAT.StringFixed(rating.CurrencyDigits(p.Currency)), p.Currency)
		got.Share = fmt.Sprintf("%d of %d octets", p.Octets, p.OfOctets)
	}
	for _, rule := range charge.Rules {
		got.Rules = append(got.Rules, rule.String())
	}
	return got
}
