package statement

import (
	"time"

	"github.com/shopspring/decimal"

	"hostmeter/aggregator/rating"
)

// The words of statements, for what else is written to customers.

// QuantityWords is a quantity with at most three digits behind its point.
func QuantityWords(d decimal.Decimal) string { return quantityWords(d) }

// MoneyWords is an amount with its currency.
func MoneyWords(amount decimal.Decimal, currency string) string { return moneyWords(amount, currency) }

// SpanWords names the first and the last day of a period.
func SpanWords(from, to time.Time) string { return spanWords(from, to) }

// DirectionWords says what counts against a quota.
func DirectionWords(d rating.Direction) string { return directionWords(d) }

// UnitWords says what a unit is worth.
func UnitWords(u rating.Unit) string { return unitWords(u) }
