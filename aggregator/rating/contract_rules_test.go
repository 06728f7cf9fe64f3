package rating

import (
	"strings"
	"testing"
)

// TestRulesNameNoneThatCountersCannotFollow: what a plan says of flow records has no part in a charge by counters.
func TestRulesNameNoneThatCountersCannotFollow(t *testing.T) {
	names := func(bills string) string {
		c := Contract{
			Bills: Setting[string]{bills, FromContract}, Free: Setting[string]{"backup", FromPlan}, Sampled: Setting[SampledPolicy]{SampledHold, FromProvider},
		}
		var list []string
		for _, rule := range c.Rules(Period{}) {
			list = append(list, rule.Name)
		}
		return " " + strings.Join(list, " ") + " "
	}
	for _, name := range []string{"internal", "free", "sampled"} {
		for bills, want := range map[string]bool{"address": true, "port": false, "vnic": false} {
			if got := strings.Contains(names(bills), " "+name+" "); got != want {
				t.Errorf("bills %s: %s is a rule: %v", bills, name, got)
			}
		}
	}
}
