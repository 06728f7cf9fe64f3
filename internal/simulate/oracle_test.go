package simulate

import (
	"bytes"
	"encoding/csv"
	"math"
	"math/big"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"hostmeter/schemas"
)

// TestReport plays the whole story and finds in its bills what it promises.
func TestReport(t *testing.T) {
	if testing.Short() {
		t.Skip("plays five weeks")
	}
	begin, end := Span()
	p := New(1, begin, end)
	for range p.Play {
	}
	rows, err := p.Books().Report(p.Month())
	if err != nil {
		t.Fatal(err)
	}
	byService, overages, kinds := map[string]Row{}, 0, map[string]bool{}
	for _, r := range rows {
		byService[r.Service] = r
		if r.Kind == "overage" {
			overages++
			kinds[r.Plan] = true
		}
	}
	h := p.Highlights()
	if overages < 10 || len(kinds) != len(plans) {
		t.Errorf("%d overages of %d plans, want at least 10 of all %d", overages, len(kinds), len(plans))
	}
	if r := byService[h.ContractQuota]; r.RuleFrom != "contract" || r.Quota != "12" {
		t.Errorf("the contract's own quota: %+v", r)
	}
	if r := byService[h.EarlyClient]; r.PeriodFrom != "2026-09-30T00:00:00+01:00" || r.PeriodTo != "2026-10-31T00:00:00Z" {
		t.Errorf("the period of an account opened on a 31st: %s to %s", r.PeriodFrom, r.PeriodTo)
	}
	if r := byService[h.InternalFrom]; r.FreeOut == "0" {
		t.Error("no traffic inside the house")
	}
	checkHandover(t, p, byService)
	checkInterval(t, p, rows)
	checkColumns(t, rows)
}

// checkHandover: each of the two owners has what the address carried in its time, beside its own.
func checkHandover(t *testing.T, p *Provider, rows map[string]Row) {
	t.Helper()
	h := p.Highlights()
	counts := slotAfter(h.HandoverAt)
	shared := p.books.meters[schemas.AddressMeter(h.HandoverAddress)]
	for _, owner := range []struct {
		id          string
		first, last time.Time
	}{{h.HandoverFrom, p.begin, counts}, {h.HandoverTo, counts, p.end}} {
		r := rows[owner.id]
		from, _ := time.Parse(time.RFC3339, r.PeriodFrom)
		to, _ := time.Parse(time.RFC3339, r.PeriodTo)
		own := p.meterNamed(t, owner.id).book.Sum(schemas.ClassExternal, from, to)
		part := shared.Sum(schemas.ClassExternal, latest(owner.first, from), earliest(owner.last, to))
		want := own.In.Seen + own.Out.Seen + part.In.Seen + part.Out.Seen
		if r.BillableOctets != strconv.FormatUint(uint64(want), 10) || part.In.Seen == 0 {
			t.Errorf("%s is billed %s octets, want %d", owner.id, r.BillableOctets, want)
		}
	}
}

func earliest(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// checkInterval: sampled bills are near the truth, and not equal to it.
func checkInterval(t *testing.T, p *Provider, rows []Row) {
	t.Helper()
	sampled := 0
	for _, r := range rows {
		if !r.Sampled || p.story.silent == p.meterNamed(t, r.Service).exporter {
			continue
		}
		sampled++
		seen, _ := new(big.Float).SetString(r.BillableOctets)
		got, _ := seen.Float64()
		if off := math.Abs(got/float64(r.TrueOctets) - 1); off > 0.02 || off == 0 {
			t.Errorf("%s: %s octets of %d, off by %.2g", r.Service, r.BillableOctets, r.TrueOctets, off)
		}
	}
	if sampled < 15 {
		t.Errorf("%d sampled services", sampled)
	}
}

func checkColumns(t *testing.T, rows []Row) {
	t.Helper()
	var b bytes.Buffer
	if err := WriteCSV(&b, rows); err != nil {
		t.Fatal(err)
	}
	lines, err := csv.NewReader(&b).ReadAll()
	if err != nil || len(lines) != len(rows)+1 || len(lines[0]) < 24 {
		t.Fatalf("%d lines of %d columns, %v", len(lines), len(lines[0]), err)
	}
}

// TestBinomial: the sampler's mean and variance are those of independent sampling, in both ways that
// it draws.
func TestBinomial(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	f := func(n, rate uint64) {
		t.Helper()
		const draws = 20000
		sum, squares := 0.0, 0.0
		for range draws {
			k := float64(binomial(rng, n, rate))
			sum += k
			squares += k * k
		}
		chance := 1 / float64(rate)
		mean, variance := sum/draws, squares/draws-sum/draws*sum/draws
		wantMean, wantVariance := float64(n)*chance, float64(n)*chance*(1-chance)
		if math.Abs(mean-wantMean) > 5*math.Sqrt(wantVariance/draws) || math.Abs(variance/wantVariance-1) > 0.06 {
			t.Errorf("binomial(%d, 1/%d): mean %.4g, variance %.4g; want %.4g and %.4g", n, rate, mean, variance, wantMean, wantVariance)
		}
	}
	f(1, 100)
	f(500, 100)
	f(1100, 100) // just below the change of method
	f(1300, 100) // just above
	f(3_000_000, 512)
}
