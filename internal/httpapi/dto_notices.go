package httpapi

import (
	"time"

	"github.com/shopspring/decimal"
)

// Notice is one thing that a customer was told.
type Notice struct {
	Number      int64           `json:"number"`
	At          time.Time       `json:"at"`
	Kind        string          `json:"kind"` // threshold, forecast, spike, decision_requested, decision_made
	Customer    string          `json:"customer"`
	Subject     string          `json:"subject"` // service, pool, reseller
	Service     string          `json:"service"` // or the pool's id; empty of a reseller's sum
	Members     int             `json:"members"` // services in the pool, else 0
	Plan        string          `json:"plan"`
	PeriodFrom  time.Time       `json:"period_from"`
	PeriodTo    time.Time       `json:"period_to"`
	TimeZone    string          `json:"time_zone"`
	Direction   string          `json:"direction"`
	Unit        string          `json:"unit"`
	Used        decimal.Decimal `json:"used"`
	Quota       decimal.Decimal `json:"quota"`
	Grace       decimal.Decimal `json:"grace"`
	Currency    string          `json:"currency"`
	AmountExVAT decimal.Decimal `json:"amount_ex_vat"` // for what was used until then
	Threshold   *int            `json:"threshold"`     // per cent
	Passed      []int           `json:"passed"`        // lower ones that were reached at the same look, and not told apart
	Burst       *Burst          `json:"burst"`         // of percentiles
	Forecast    *Forecast       `json:"forecast"`
	Spike       *Spike          `json:"spike"`
	Deadline    *time.Time      `json:"deadline"`
	Request     *int64          `json:"request"` // that a decision answers
	Choice      *Choice         `json:"choice"`
	Hash        string          `json:"hash"`
	Mail        NoticeMail      `json:"mail"`
}

// Burst is how much of the time above a rate is used up that a percentile leaves out, in slots of five minutes.
type Burst struct {
	Slots   int `json:"slots"`         // observed until then
	Missing int `json:"slots_missing"` // not observed
	Above   int `json:"slots_above"`   // of slots, above the rate
	Allowed int `json:"slots_allowed"` // of the whole period that may be above it
}

// Forecast is what a period comes to. Low and High bound it in 9 of 10 cases.
type Forecast struct {
	MadeAt         time.Time        `json:"made_at"`
	Expected       decimal.Decimal  `json:"expected"`
	Low            decimal.Decimal  `json:"low"`
	High           decimal.Decimal  `json:"high"`
	Probability    float64          `json:"probability"`
	ExpectedAmount *decimal.Decimal `json:"expected_amount_ex_vat"`
	Days           int              `json:"days"`
}

// Spike is a day's peaks above the average.
type Spike struct {
	Day                  string          `json:"day"`
	Minutes              int             `json:"minutes"`
	Percent              decimal.Decimal `json:"percent"`
	AverageBitsPerSecond int64           `json:"average_bits_per_second"`
	PeakBitsPerSecond    int64           `json:"peak_bits_per_second"`
}

// Choice is what a customer has chosen; by "nobody" where the deadline passed in silence.
type Choice struct {
	Choice string    `json:"choice"` // upgrade, throttle, disconnect, nothing
	At     time.Time `json:"at"`
	By     string    `json:"by"`
	How    string    `json:"how"`
}

// NoticeMail is what became of the mail of a notice.
type NoticeMail struct {
	State     string     `json:"state"` // pending, sending, unknown, sent, refused, failed, unsure, skipped, expired
	Repeated  bool       `json:"repeated"`
	Attempts  int64      `json:"attempts"`
	SettledAt *time.Time `json:"settled_at"`
	Error     string     `json:"error"`
}

// DecisionRequest is a notice by which a customer was asked to choose, and what was chosen.
type DecisionRequest struct {
	Notice
	Open    bool    `json:"open"`
	Outcome *Choice `json:"outcome"`
}
