package rating

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/shopspring/decimal"
)

// NoticeTerms say what the customer of a service is told, and when. They have no part in a charge.
type NoticeTerms struct {
	At       Setting[Thresholds]
	Forecast Setting[Probability]
	Spike    Setting[Spike]
	// Decide is how long the customer has to choose what is done about a quota that is exceeded, or is forecast to be.
	Decide Setting[Grant]
}

// none is what takes a setting of a plan or the provider back.
const none = "none"

// Thresholds are shares of the allowance in whole per cent, ascending. The zero value is not set, Text "none"
// is none.
type Thresholds struct{ Text string }

// ParseThresholds reads "50 75 90 100", in any order and with commas or without, or "none".
func ParseThresholds(text string) (Thresholds, error) {
	if strings.TrimSpace(text) == none {
		return Thresholds{none}, nil
	}
	var list []int
	for _, field := range strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == ',' || r == ';' || r == '%' }) {
		n, err := strconv.Atoi(field)
		if err != nil || n < 1 || n > 1000 {
			return Thresholds{}, fmt.Errorf("thresholds %q: want whole per cents from 1 to 1000, as 50 75 90 100, or none", text)
		}
		list = append(list, n)
	}
	if len(list) == 0 {
		return Thresholds{}, fmt.Errorf("thresholds %q: want per cents, as 50 75 90 100, or none", text)
	}
	slices.Sort(list)
	texts := make([]string, 0, len(list))
	for _, n := range slices.Compact(list) {
		texts = append(texts, strconv.Itoa(n))
	}
	return Thresholds{strings.Join(texts, " ")}, nil
}

// String writes the thresholds as ParseThresholds reads them.
func (t Thresholds) String() string { return t.Text }

// Reached returns the thresholds that are reached, ascending: those of which a share of quota is not more than used.
// Nothing is reached of a quota of nothing.
func (t Thresholds) Reached(used, quota decimal.Decimal) []int {
	var reached []int
	for _, field := range strings.Fields(t.Text) {
		n, err := strconv.Atoi(field)
		if err == nil && quota.IsPositive() && used.Shift(2).GreaterThanOrEqual(quota.Mul(decimal.NewFromInt(int64(n)))) {
			reached = append(reached, n)
		}
	}
	return reached
}

// Probability is a share in per cent, above 0 and below 100, from which on a forecast is told. The zero value
// is not set, Text "none" is never.
type Probability struct{ Text string }

// ParseProbability reads "80 %" or "none".
func ParseProbability(text string) (Probability, error) {
	if strings.TrimSpace(text) == none {
		return Probability{none}, nil
	}
	d, err := ParseDecimal(strings.TrimSuffix(strings.TrimSpace(text), "%"))
	if err != nil || !d.IsPositive() || d.GreaterThanOrEqual(decimal.NewFromInt(100)) {
		return Probability{}, fmt.Errorf("probability %q: want a percentage above 0 and below 100, as 80 %%, or none", text)
	}
	return Probability{d.String() + " %"}, nil
}

// String writes the probability as ParseProbability reads it.
func (p Probability) String() string { return p.Text }

// Share returns the probability as a share, 0 to 1; ok is false where there is none.
func (p Probability) Share() (share float64, ok bool) {
	d, err := decimal.NewFromString(strings.TrimSuffix(p.Text, " %"))
	return d.Shift(-2).InexactFloat64(), err == nil && p.Text != ""
}

// Spike says from when on a day's peaks are told: where the rate is above Percent of the average for more than
// Over in a day. The zero value is not set.
type Spike struct {
	Percent decimal.Decimal
	Over    time.Duration
	None    bool
}

// ParseSpike reads "300 % 1h" or "none": whole slots of five minutes, less than a day.
func ParseSpike(text string) (Spike, error) {
	if strings.TrimSpace(text) == none {
		return Spike{None: true}, nil
	}
	fault := fmt.Errorf("spike %q: want a percentage of the average and a time a day, as 300 %% 1h, or none", text)
	percent, over, ok := strings.Cut(text, "%")
	d, err1 := ParseDecimal(strings.TrimSpace(percent))
	length, err2 := time.ParseDuration(strings.TrimSpace(over))
	if !ok || err1 != nil || err2 != nil || d.LessThan(decimal.NewFromInt(100)) || length < 0 || length >= 24*time.Hour || length%SlotLength != 0 {
		return Spike{}, fault
	}
	return Spike{Percent: d, Over: length}, nil
}

// String writes the spike as ParseSpike reads it.
func (s Spike) String() string {
	switch {
	case s.None:
		return none
	case !s.Percent.IsPositive():
		return ""
	}
	return s.Percent.String() + " % " + shortDuration(s.Over)
}

// Told says whether spikes are told at all.
func (s Spike) Told() bool { return s.Percent.IsPositive() }

// Grant is a time that a customer is given; the zero value is not set.
type Grant struct {
	For  time.Duration
	None bool
}

// grantMax is less than the shortest period.
const grantMax = 14 * 24 * time.Hour

// ParseGrant reads "48h" or "none".
func ParseGrant(text string) (Grant, error) {
	if strings.TrimSpace(text) == none {
		return Grant{None: true}, nil
	}
	length, err := time.ParseDuration(strings.TrimSpace(text))
	if err != nil || length < time.Hour || length > grantMax || length%time.Minute != 0 {
		return Grant{}, fmt.Errorf("%q: want from 1h to 336h, as 48h, or none", text)
	}
	return Grant{For: length}, nil
}

// String writes the grant as ParseGrant reads it.
func (g Grant) String() string {
	switch {
	case g.None:
		return none
	case g.For == 0:
		return ""
	}
	return shortDuration(g.For)
}

func shortDuration(d time.Duration) string {
	text := strings.TrimSuffix(d.String(), "0s")
	if strings.HasSuffix(text, "h0m") {
		return strings.TrimSuffix(text, "0m")
	}
	return text
}

// MarshalJSON writes the text of String.
func (t Thresholds) MarshalJSON() ([]byte, error) { return json.Marshal(t.String()) }

// MarshalJSON writes the text of String.
func (p Probability) MarshalJSON() ([]byte, error) { return json.Marshal(p.String()) }

// MarshalJSON writes the text of String.
func (s Spike) MarshalJSON() ([]byte, error) { return json.Marshal(s.String()) }

// MarshalJSON writes the text of String.
func (g Grant) MarshalJSON() ([]byte, error) { return json.Marshal(g.String()) }

// ErrChoice is returned for a text that is no choice of a customer.
var ErrChoice = errors.New("not a choice (want upgrade, throttle, disconnect or nothing)")

// Choices are what a customer may choose where the quota is exceeded, or is forecast to be, in the order in which
// they are offered.
var Choices = []DecisionKind{DecideUpgrade, DecideThrottle, DecideDisconnect, DecideNothing}

// ParseChoice reads one of Choices. Errors: ErrChoice.
func ParseChoice(text string) (DecisionKind, error) {
	if kind := DecisionKind(text); slices.Contains(Choices, kind) {
		return kind, nil
	}
	return "", fmt.Errorf("%q: %w", text, ErrChoice)
}

// IsChoice says whether the decision is a customer's choice about a quota: it stands on the statement and
// changes no charge.
func (k DecisionKind) IsChoice() bool { return slices.Contains(Choices, k) }
