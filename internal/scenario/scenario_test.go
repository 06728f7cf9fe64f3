package scenario_test

import (
	"strings"
	"testing"

	"hostmeter/internal/scenario"
)

func TestReadSaysWhatIsWrong(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		_, err := scenario.Read("x.yaml", []byte(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Fatalf("%s\ngot %v, want %q", text, err, want)
		}
	}
	f("scenarios: [{name: a, colour: red}]", "colour")
	f("scenarios: [{name: a}]", `x.yaml: scenario "a": expects no line`)
	f("scenarios: [{name: a, lines: [{service: s, from: 2026-05-01, kind: none}]}]", "needs service, from, kind and amount")
	f("scenarios: [{name: a, usage: [{at: 2026-05-03T12:01Z}], lines: [{service: s, from: 2026-05-01, kind: none, amount: 0.00 GBP}]}]", "a multiple of five minutes")
	f("scenarios: [{name: a, usage: [{at: 2026-05-03T12:00Z, in: 5 TBs}], lines: [{service: s, from: 2026-05-01, kind: none, amount: 0.00 GBP}]}]", `amount "5 TBs"`)
	f("scenarios: [{name: a, usage: [{at: 2026-05-03T12:00Z, in: 0.3 octets}], lines: [{service: s, from: 2026-05-01, kind: none, amount: 0.00 GBP}]}]", "no whole number")
}

func TestReadUsage(t *testing.T) {
	list, err := scenario.Read("x.yaml", []byte(`
terms: {provider: {name: X}}
scenarios:
  - name: a
    usage:
      - {service: s, at: 2026-05-03T12:00Z, in: "10 TB + 1 octet", out: 1.5 GiB}
      - {service: s, from: 2026-05-03T12:00Z, until: 2026-05-04T00:00Z, class: internal, in: 0.1 Mbit/s}
    lines: [{service: s, from: 2026-05-01, kind: none, amount: 0.00 GBP}]
`))
	if err != nil {
		t.Fatal(err)
	}
	u := list[0].Usage
	if u[0].In != 10_000_000_000_001 || u[0].Out != 3<<29 || u[0].Until.Sub(u[0].From) != scenario.SlotLength || u[0].Class != "external" {
		t.Fatalf("got %+v", u[0])
	}
	if u[1].In != 3_750_000 || u[1].Class != "internal" || len(list[0].Terms) != 1 {
		t.Fatalf("got %+v", u[1])
	}
}
