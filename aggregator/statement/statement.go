// Package statement writes statements and the month's report for people and for billing systems.
//
// It owns the shape of the report and of the evidence behind it, and their formats: CSV, XLSX, JSON, and
// the PDF that a customer is sent. It is pure: a report goes in, a file comes out on an io.Writer, and
// the same report gives the same file to the octet. It computes no charge and knows no store.
package statement

import (
	"time"

	"github.com/shopspring/decimal"

	"hostmeter/aggregator/rating"
)

// FormatVersion names the formats of this package.
const FormatVersion = 1

// Report is a month's report: every period of every service that ends in the month, the sums, the traffic
// that nobody owned, and how complete the exporters were. Rows are in the order of customer, service, period and revision.
type Report struct {
	Month    string `json:"month"` // "2026-10"
	Provider string `json:"provider"`
	TimeZone string `json:"time_zone"` // the provider's; it bounds the unowned traffic
	// Provisional says that at least one row is not closed, or the month is not over.
	Provisional bool      `json:"provisional"`
	Rows        []Row     `json:"rows"`
	Totals      []Total   `json:"totals"`
	Unowned     []Unowned `json:"unowned"`
	Problems    []Problem `json:"problems"`
	// Exporters are how complete each of them was in the calendar month.
	Exporters []Completeness `json:"exporters"`
}

// Row is one charge, or one service without a charge. Numbers of an adjustment are signed
// differences to what was told before; quota and unit price are the ones that it was computed with.
type Row struct {
	Customer            string           `json:"customer"`
	Service             string           `json:"service"`
	Plan                string           `json:"plan"`
	PeriodFrom          time.Time        `json:"period_from"` // in TimeZone
	PeriodTo            time.Time        `json:"period_to"`
	TimeZone            string           `json:"time_zone"`
	Direction           rating.Direction `json:"direction"`
	InOctets            int64            `json:"in_octets"`
	OutOctets           int64            `json:"out_octets"`
	BillableOctets      int64            `json:"billable_octets"`
	StandardErrorOctets int64            `json:"standard_error_octets"`
	// Coverage is the share, 0 to 1, of what should have been observed that was; -1 is not known.
	Coverage       float64         `json:"coverage"`
	Unlimited      bool            `json:"unlimited"`
	Quota          decimal.Decimal `json:"quota"`
	Unit           rating.Unit     `json:"unit"` // of Quota, Used and Excess
	Used           decimal.Decimal `json:"used"`
	Excess         decimal.Decimal `json:"excess"`
	Grace          decimal.Decimal `json:"grace"` // in Unit, beyond Quota; Rules say whether it is a threshold or an allowance
	BilledQuantity decimal.Decimal `json:"billed_quantity"`
	PriceUnit      rating.Unit     `json:"price_unit"` // of BilledQuantity; empty where there is no price
	UnitPrice      decimal.Decimal `json:"unit_price"`
	Currency       string          `json:"currency"`
	AmountExVAT    decimal.Decimal `json:"amount_ex_vat"`
	Kind           rating.Kind     `json:"kind"`
	RuleFrom       rating.Level    `json:"rule_from"`
	Statement      string          `json:"statement"` // empty while provisional
	Revision       int             `json:"revision"`
	Provisional    bool            `json:"provisional"`

	// InternalInOctets and InternalOutOctets went between two of the provider's own addresses; they
	// are counted above only where the contract says so.
	InternalInOctets  int64 `json:"internal_in_octets"`
	InternalOutOctets int64 `json:"internal_out_octets"`
	// Missing names the exporters that were silent for a part of the period.
	Missing []string `json:"missing_exporters"`

	// BitsPerSecond is what is held against the quota where a percentile counts, of Slots slots of five
	// minutes, of which SlotsMissing were not observed whole. All three are 0 where octets count.
	BitsPerSecond int64 `json:"bits_per_second"`
	Slots         int   `json:"slots"`
	SlotsMissing  int   `json:"slots_missing"`
	// EstimatedOctets is the estimate of what counts; BillableOctets is less where the contract charges by
	// a lower bound.
	EstimatedOctets int64 `json:"estimated_octets"`
	// FreeInOctets and FreeOutOctets are of classes that the contract does not count; ExcludedInOctets and
	// ExcludedOutOctets would have counted, but for a decision that Rules name.
	FreeInOctets      int64 `json:"free_in_octets"`
	FreeOutOctets     int64 `json:"free_out_octets"`
	ExcludedInOctets  int64 `json:"excluded_in_octets"`
	ExcludedOutOctets int64 `json:"excluded_out_octets"`
	// Hold says why nothing is charged until a person decides; empty where nothing is held.
	Hold string `json:"hold"`
	// Disputed says what other meters of the service contradicted, whether it was released or not; not there
	// where nothing was.
	Disputed string `json:"disputed,omitempty"`
	// Classes are all that was used, whether it counts or not. Those of an adjustment are whole, not
	// differences.
	Classes []rating.ClassUsage `json:"classes"`
	// Rules are all that had a part in the charge, each with the level that it was found at.
	Rules []rating.Rule `json:"rules"`
	// Pool is the pool that the service was in, of whose excess, billed quantity and amount this row has a share,
	// and whose quota it shares: Quota is the pool's, Used the service's own. Nil where it was in none. That of an
	// adjustment is whole, not a difference.
	Pool *rating.PoolShare `json:"pool,omitempty"`
	// State is how far the period is when the report is made; a statement itself has none.
	State State `json:"state,omitempty"`
}

// LastDay is an instant of the last day of the period, which ends before PeriodTo.
func (r Row) LastDay() time.Time { return r.PeriodTo.Add(-time.Nanosecond) }

// State is how far a period is.
type State string

// The states of a period, in the order in which it has them.
const (
	StateOpen        State = "open"        // it runs: its figures grow
	StateProvisional State = "provisional" // it is over, and some of its hours are not sealed: late usage still counts in it
	StateClosing     State = "closing"     // its hours are sealed: the next closing closes it, or says what it waits for
	StateClosed      State = "closed"      // there is a statement, which never changes
	StateCorrected   State = "corrected"   // there is, and adjustments to it
)

// Total is the sum of the amounts of one currency.
type Total struct {
	Currency    string          `json:"currency"`
	AmountExVAT decimal.Decimal `json:"amount_ex_vat"`
}

// Unowned is traffic in the month of a meter while no service owned it.
type Unowned struct {
	Meter     string `json:"meter"`
	Class     string `json:"class"`
	InOctets  int64  `json:"in_octets"`
	OutOctets int64  `json:"out_octets"`
}

// Problem says why a service has no row, or why one of its rows is not adjusted.
type Problem struct {
	Service string `json:"service"`
	Text    string `json:"text"`
}
