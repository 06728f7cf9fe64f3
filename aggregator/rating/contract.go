package rating

import (
	"fmt"
)

// Direction says which octets of a service are counted against its quota.
type Direction string

// The directions, seen from the customer.
const (
	Sum Direction = "sum" // incoming and outgoing together
	In  Direction = "in"
	Out Direction = "out"
)

// ParseDirection reads "sum", "in" or "out".
func ParseDirection(text string) (Direction, error) {
	switch d := Direction(text); d {
	case Sum, In, Out:
		return d, nil
	}
	return "", fmt.Errorf("direction %q: want sum, in or out", text)
}

// Level is where a setting was found. A contract's own setting wins over its plan's, and a plan's
// over the provider's default.
type Level string

// The levels, the strongest first.
const (
	FromContract Level = "contract"
	FromPlan     Level = "plan"
	FromProvider Level = "provider"
)

// Setting is a value and the level that it was found at.
type Setting[T any] struct {
	Value T     `json:"value"`
	Level Level `json:"level"`
}

// Contract is everything that rating needs to know of one service. It is a plain value: a statement
// keeps the one that it was computed with.
type Contract struct {
	Service  string `json:"service"`
	Customer string `json:"customer"`
	Plan     string `json:"plan"`

	Direction Setting[Direction] `json:"direction"`
	Quota     Setting[Quantity]  `json:"quota"`
	// Block is what begun prices round up to; where it is the zero value, one unit of the price.
	Block Setting[Quantity] `json:"block"`
	// BillInternal counts traffic between two of the provider's own addresses as well.
	BillInternal Setting[bool] `json:"bill_internal"`
	// Bills is the kind of meter that counts: address, vnic or port. The others are witnesses.
	Bills Setting[string] `json:"bills"`

	SKU      Setting[string]     `json:"sku"`
	Place    Setting[string]     `json:"place"`
	Currency Setting[string]     `json:"currency"`
	Zone     Setting[string]     `json:"time_zone"`
	Period   Setting[PeriodKind] `json:"period"`
	Rounding Setting[Rounding]   `json:"rounding"`

	Opened Date `json:"opened"` // the anchor of anniversary periods
	Closed Date `json:"closed"` // no period begins on or after it; the zero value is never

	// Schedule cuts the periods; it is Period, Opened and Zone once more, ready for use.
	Schedule Schedule `json:"-"`
}

// PriceKey returns the key under which the contract's prices are published.
func (c Contract) PriceKey() PriceKey {
	return PriceKey{SKU: c.SKU.Value, Place: c.Place.Value, Currency: c.Currency.Value}
}

// RuleFrom returns the strongest level among the settings that make the charge: quota, direction and
// block. Each setting's own level stands beside it in the contract.
func (c Contract) RuleFrom() Level {
	levels := []Level{c.Quota.Level, c.Direction.Level, c.Block.Level}
	for _, strongest := range []Level{FromContract, FromPlan} {
		for _, level := range levels {
			if level == strongest {
				return strongest
			}
		}
	}
	return FromProvider
}
