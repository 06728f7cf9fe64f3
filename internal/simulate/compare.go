package simulate

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math/big"
	"sort"
	"time"
)

// exact are the columns that a report must have as the oracle has them; numbers are compared by
// value and times as instants.
var exact = []struct {
	column string
	of     func(Row) string
}{
	{"customer", func(r Row) string { return r.Customer }},
	{"plan", func(r Row) string { return r.Plan }},
	{"period_to", func(r Row) string { return r.PeriodTo }},
	{"time_zone", func(r Row) string { return r.TimeZone }},
	{"direction", func(r Row) string { return r.Direction }},
	{"in_octets", func(r Row) string { return r.InOctets }},
	{"out_octets", func(r Row) string { return r.OutOctets }},
	{"billable_octets", func(r Row) string { return r.BillableOctets }},
	{"quota", func(r Row) string { return r.Quota }},
	{"unit", func(r Row) string { return r.Unit }},
	{"used", func(r Row) string { return r.Used }},
	{"excess", func(r Row) string { return r.Excess }},
	{"billed_quantity", func(r Row) string { return r.BilledQuantity }},
	{"unit_price", func(r Row) string { return r.UnitPrice }},
	{"currency", func(r Row) string { return r.Currency }},
	{"amount_ex_vat", func(r Row) string { return r.AmountVAT }},
	{"kind", func(r Row) string { return r.Kind }},
	{"rule_from", func(r Row) string { return r.RuleFrom }},
}

// Compare holds a month's report (CSV) against the oracle's and returns every difference, sorted; none
// means that they are equal.
//
// Rows are matched by service and beginning of the period. Errors: the report cannot be read.
func Compare(report io.Reader, oracle []Row) ([]string, error) {
	lines, err := csv.NewReader(report).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("read the report: %w", err)
	}
	if len(lines) == 0 {
		return nil, errors.New("read the report: empty")
	}
	want := map[string]Row{}
	for _, r := range oracle {
		want[key(r.Service, r.PeriodFrom)] = r
	}
	var differences []string
	for _, line := range lines[1:] {
		got := map[string]string{}
		for i, column := range lines[0] {
			got[column] = line[i]
		}
		k := key(got["service"], got["period_from"])
		r, ok := want[k]
		if !ok {
			differences = append(differences, k+": the oracle has no such row, or the report has two")
			continue
		}
		delete(want, k)
		for _, e := range exact {
			if w := e.of(r); !same(got[e.column], w) {
				differences = append(differences, fmt.Sprintf("%s: %s is %q, the oracle has %q", k, e.column, got[e.column], w))
			}
		}
	}
	for k := range want {
		differences = append(differences, k+": not in the report")
	}
	sort.Strings(differences)
	return differences, nil
}

func key(service, from string) string {
	if at, err := time.Parse(time.RFC3339, from); err == nil {
		from = at.UTC().Format(time.RFC3339)
	}
	return service + " from " + from
}

// same compares as times, as numbers, or as text.
func same(a, b string) bool {
	if x, err := time.Parse(time.RFC3339, a); err == nil {
		y, err := time.Parse(time.RFC3339, b)
		return err == nil && x.Equal(y)
	}
	if x, ok := new(big.Rat).SetString(a); ok {
		y, ok := new(big.Rat).SetString(b)
		return ok && x.Cmp(y) == 0
	}
	return a == b
}
