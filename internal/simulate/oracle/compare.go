package oracle

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math/big"
	"slices"
	"sort"
	"time"
)

// differing are the columns in which an adjustment holds a difference: the sum over a statement and its adjustments is
// what is known.
var differing = []string{
	"in_octets", "out_octets", "billable_octets", "estimated_octets", "bits_per_second", "free_in_octets", "free_out_octets",
	"excluded_in_octets", "excluded_out_octets", "used", "excess", "billed_quantity", "amount_ex_vat",
}

// Compare holds a month's report (CSV) against the oracle's and returns every difference, sorted; none means that they
// are equal. Numbers are compared by value and times as instants.
//
// Rows are matched by service and beginning of the period, and adjustments are added to what they adjust: of those the
// kind is not compared. Errors: the report cannot be read.
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
	said := map[string]map[string]string{}
	for _, line := range lines[1:] {
		got := map[string]string{}
		for i, column := range lines[0] {
			got[column] = line[i]
		}
		k := key(got["service"], got["period_from"])
		before := said[k]
		switch {
		case before != nil && got["kind"] == "adjustment":
			for _, column := range differing {
				got[column] = sum(before[column], got[column])
			}
			said[k] = got // the other columns are as they are known now
		case before != nil:
			differences = append(differences, k+": the report has two such rows")
		default:
			said[k] = got
		}
	}
	for k, got := range said {
		r, ok := want[k]
		if !ok {
			differences = append(differences, k+": the oracle has no such row")
			continue
		}
		delete(want, k)
		for _, c := range columns {
			told, there := got[c.name]
			if w := c.of(r); there && !same(told, w) && (c.name != "kind" || told != "adjustment") {
				differences = append(differences, fmt.Sprintf("%s: %s is %q, the oracle has %q", k, c.name, told, w))
			}
		}
	}
	for k := range want {
		differences = append(differences, k+": not in the report")
	}
	sort.Strings(differences)
	return slices.Compact(differences), nil
}

func key(service, from string) string {
	if at, err := time.Parse(time.RFC3339, from); err == nil {
		from = at.UTC().Format(time.RFC3339)
	}
	return service + " from " + from
}

func sum(a, b string) string {
	if a == b && a == "" {
		return ""
	}
	x, ok1 := new(big.Rat).SetString(a)
	y, ok2 := new(big.Rat).SetString(b)
	if !ok1 || !ok2 {
		return a + " + " + b
	}
	return exactly(x.Add(x, y))
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
