package rule_test

import (
	"testing"
	"time"

	"hostmeter/detector/rule"
)

// TestMachine steps a rule of ten cells (at least 80 % beyond, half observed; ends below 50 % of four)
// over a drawing: '#' beyond, '.' not, '?' not observed. Below it stands the state after each cell:
// l earning, c lear, p ending, f iring, u nknown, r ecovering; in capitals where an incident opens or
// is resolved.
func TestMachine(t *testing.T) {
	r := &rule.Rule{Name: "r", Metric: rule.CPURatio, Value: 0.9, For: 10 * time.Minute, AtLeast: 0.8, Coverage: 0.5,
		Clear: rule.Clear{BelowShare: 0.5, Over: 4 * time.Minute}, Each: rule.EachGuest, Severity: "warning"}
	f := func(cells, want string) {
		t.Helper()
		c := rule.NewCondition(r, time.Minute)
		got := ""
		for i, cell := range cells {
			events := c.Close(r, int64(i), cell != '?', cell == '#')
			letter := string("lcpfur"[c.Machine.State])
			if events&(rule.Opened|rule.Resolve) != 0 {
				letter = string("LCPFUR"[c.Machine.State])
			}
			got += letter
		}
		if got != want {
			t.Fatalf("cells  %s\nstates %s\nwant   %s", cells, got, want)
		}
	}
	f("", "")
	f("..........", "llllcccccc")                 // learnt once half of the window was observed
	f("##########", "llllFfffff")                 // five cells of ten are enough to fire
	f("####......", "llllFrCccc")                 // 4 of 5 holds, 4 of 6 does not; it ends when 1 of 4 is beyond
	f("..########", "llllcppppF")                 // 7 of 9 is not enough, 8 of 10 is
	f("########.#.#.#.#.#", "llllFfffffffrrrrrr") // half of four is not below half
	f("#####????????????", "llllFffuuuuuuuuuu")   // nothing is resolved by absence
	f("#####?????????....", "llllFffuuuuuuuuUuu") // two quiet cells of four end it; the window is still not covered
	f("#####????#####....", "llllFffuuufffffrCc") // and what was firing before the silence goes on firing
	f("?????.....", "lllllllllc")
	f(".....??????????...", "llllcccuuuuuuuuuuu")
}

func TestNothingFiresWithoutAnObservation(t *testing.T) {
	r := &rule.Rule{Name: "r", Metric: rule.CPURatio, Value: 0.9, For: 10 * time.Minute, AtLeast: 0.8, Coverage: 0.5,
		Clear: rule.Clear{BelowShare: 0.5, Over: 4 * time.Minute}, Each: rule.EachGuest}
	c := rule.NewCondition(r, time.Minute)
	// Two quiet cells leave the window while nothing is observed: the share rises to 1, by absence.
	for i, cell := range "..######????" {
		if events := c.Close(r, int64(i), cell != '?', cell == '#'); events&rule.Opened != 0 {
			t.Fatalf("an incident was opened at cell %d (%c)", i, cell)
		}
	}
}

func TestByHand(t *testing.T) {
	r := &rule.Rule{Name: "r", Metric: rule.CPURatio, Value: 0.9, For: 4 * time.Minute, AtLeast: 1, Coverage: 1,
		Clear: rule.Clear{BelowShare: 1, Over: time.Minute}, Each: rule.EachGuest}
	c := rule.NewCondition(r, time.Minute)
	opened := 0
	for i, cell := range "########.####" {
		if c.Close(r, int64(i), true, cell == '#')&rule.Opened != 0 {
			opened++
			c.Machine.CloseByHand()
		}
	}
	if opened != 2 {
		t.Fatalf("opened %d times, want 2: at first, and when the condition began anew", opened)
	}
}
