package rating

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/shopspring/decimal"
)

// Grace is a share of the quota beyond it that is not charged, or not yet. The zero value is none.
type Grace struct {
	Percent decimal.Decimal
	As      GraceKind
}

// GraceKind says what grace is once it is used up.
type GraceKind string

// The kinds of grace.
const (
	// GraceThreshold charges nothing up to quota plus grace, and all beyond the quota once that is crossed.
	GraceThreshold GraceKind = "threshold"
	// GraceAllowance is as if the quota were greater: only what lies beyond quota plus grace is charged.
	GraceAllowance GraceKind = "allowance"
)

// ParseGrace reads "10 % threshold" or "10 % allowance".
func ParseGrace(text string) (Grace, error) {
	fault := fmt.Errorf("grace %q: want a percentage and what it is, as 10 %% threshold or 10 %% allowance", text)
	number, kind, ok := strings.Cut(text, "%")
	as := GraceKind(strings.TrimSpace(kind))
	if !ok || as != GraceThreshold && as != GraceAllowance {
		return Grace{}, fault
	}
	percent, err := ParseDecimal(number)
	if err != nil || percent.IsNegative() {
		return Grace{}, fault
	}
	return Grace{Percent: percent, As: as}, nil
}

// String writes the grace as ParseGrace reads it.
func (g Grace) String() string {
	if g.As == "" {
		return ""
	}
	return g.Percent.String() + " % " + string(g.As)
}

// of returns the grace of a quota, exactly.
func (g Grace) of(quota decimal.Decimal) decimal.Decimal { return quota.Mul(g.Percent).Shift(-2) }

// Limit returns the octets, or bit/s, that a period may use before anything is charged: quota and grace. It has no meaning where
// the quota has no limit.
func (c Contract) Limit(p Period) decimal.Decimal {
	quota := c.Allowance(p).Size()
	return quota.Add(c.Grace.Value.of(quota))
}

// MarshalJSON writes the text of String.
func (g Grace) MarshalJSON() ([]byte, error) { return json.Marshal(g.String()) }

// UnmarshalJSON reads what MarshalJSON wrote.
func (g *Grace) UnmarshalJSON(data []byte) error { return unmarshalText(data, g, ParseGrace) }
