// Package inventory keeps customers, services, plans, prices and prefixes, and who owned a meter
// when.
//
// It promises that what is stored is whole: every reference exists, every service has a price for
// what it may use too much, no two owners have the same key at one time. A change is refused or made
// as a whole. Ownership is kept with the time it was true and the time we were told, and rows of it
// are superseded, never changed.
//
// It does not promise that a change leaves past usage alone: ownership that is recorded late moves
// usage to its true owner, and what was already told about it is corrected by new entries (package
// ledger).
package inventory

import (
	"net/netip"
	"time"
	_ "time/tzdata" // zones must exist on a machine that has none installed

	"github.com/shopspring/decimal"

	"hostmeter/aggregator/rating"
	"hostmeter/internal/store"
	"hostmeter/schemas"

	"sync"
)

// Slot is the grain of ownership: a change takes effect at the next multiple of it.
const Slot = rating.SlotLength

// Defaults of the provider's own level, where neither the import nor the plan says anything.
const (
	defaultDirection = rating.Sum
	defaultPeriod    = rating.Calendar
	defaultBills     = schemas.KindAddress
	defaultSKU       = "overage"
	defaultRounding  = rating.HalfEven
	defaultMissing   = rating.MissingIgnore
	defaultSampled   = rating.SampledEstimate
	defaultPartial   = rating.PartialFull
	defaultZone      = "UTC"
)

// Notices where nobody says anything.
var (
	defaultNoticeAt       = rating.Thresholds{Text: "50 75 90 100"}
	defaultNoticeForecast = rating.Probability{Text: "80 %"}
	defaultNoticeSpike    = rating.Spike{Percent: decimal.NewFromInt(300), Over: time.Hour}
	defaultDecideWithin   = rating.Grant{For: 48 * time.Hour}
)

// Rules are the settings that a provider, a plan and a service may each have. What is empty is not
// set at that level.
type Rules struct {
	Quota     rating.Quantity      `json:"quota"`
	Direction rating.Direction     `json:"direction"`
	Period    rating.PeriodKind    `json:"period"`
	Block     rating.Quantity      `json:"block"`
	SKU       string               `json:"sku"`
	Bills     schemas.MeterKind    `json:"bills"`
	Internal  *bool                `json:"internal"`
	Missing   rating.MissingPolicy `json:"missing"`
	Grace     rating.Grace         `json:"grace"`
	Sampled   rating.SampledPolicy `json:"sampled"`
	Partial   rating.PartialPolicy `json:"partial"`
	Free      string               `json:"free"` // classes, sorted, with spaces between
	// What the customer is told, and when.
	NoticeAt       rating.Thresholds  `json:"notice_at"`
	NoticeForecast rating.Probability `json:"notice_forecast"`
	NoticeSpike    rating.Spike       `json:"notice_spike"`
	DecideWithin   rating.Grant       `json:"decide_within"`
	TimeZone       string             `json:"time_zone"`
}

// Provider is the hoster itself: its name and the defaults of everything below it.
type Provider struct {
	Name     string          `json:"name"`
	Currency string          `json:"currency"`
	Rounding rating.Rounding `json:"rounding"`
	// ChargeWindow is how long after a period what is to be paid is handed over without a person.
	ChargeWindow rating.Window `json:"charge_window"`
	// CreditWindow is how long after a period what it was charged too much is credited by itself, ClaimWindow how
	// long a person may decide to credit it. rating has what they are where they are not set.
	CreditWindow rating.Window `json:"credit_window"`
	ClaimWindow  rating.Window `json:"claim_window"`
	// Approval says whether charges wait for a person before they are handed over.
	Approval Approval `json:"approval"`
	Rules
}

// Approval says what a charge waits for before it is handed over.
type Approval string

// The approvals.
const (
	ApprovalNone     Approval = "none"     // nothing; so where it is not set
	ApprovalRequired Approval = "required" // a person's approval
)

// Customer is who pays. Reseller is the customer that sold to it, or empty. RateBought is what a reseller
// has bought for itself and all its customers together, or no quantity. ID is what everything else keeps of a
// customer, for good; Name and Email are empty once they are erased.
type Customer struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Email    string `json:"email"`
	Reseller string `json:"reseller"`

	RateBought rating.Quantity `json:"rate_bought"`
	// Erased is when the name was destroyed; zero where it was not.
	Erased time.Time `json:"erased,omitzero"`
}

// Plan is what services are sold as.
type Plan struct {
	Name  string `json:"name"`
	Class string `json:"class"`
	Rules
}

// Service is what a customer bought.
type Service struct {
	ID       string      `json:"id"`
	Customer string      `json:"customer"`
	Plan     string      `json:"plan"`
	Place    string      `json:"place"`
	Currency string      `json:"currency"` // empty: the provider's
	Opened   rating.Date `json:"opened"`
	Closed   rating.Date `json:"closed"` // zero while it runs
	// CommittedUntil is the day before which no downgrade takes effect; zero where there is none.
	CommittedUntil rating.Date `json:"committed_until"`
	Rules
}

// ContractChange is another plan or quota that was ordered for a running service.
type ContractChange struct {
	Service string          `json:"service"`
	At      time.Time       `json:"at"`
	Plan    string          `json:"plan"`  // empty: the same
	Quota   rating.Quantity `json:"quota"` // the service's own; empty: as it was, or the new plan's
}

// Prefix is address space of the provider and the exporters that account for it: where one of them
// was not observed, the usage of the prefix's meters is missing, not zero. Which they were at other times is kept
// too: Snapshot.ExportersOf.
type Prefix struct {
	Prefix    netip.Prefix `json:"prefix"`
	Exporters []string     `json:"exporters"`
}

// Ownership says that a service owned a key, [From, Until). A zero Until is open-ended. The key is a
// meter's id, and for addresses a prefix owns all meters inside it that no longer prefix owns.
type Ownership struct {
	Service    string          `json:"service"`
	Key        schemas.MeterID `json:"key"`
	From       time.Time       `json:"from"`
	Until      time.Time       `json:"until"`
	RecordedAt time.Time       `json:"recorded_at"`
}

// Inventory is the inventory in a store. It is safe for concurrent use.
type Inventory struct {
	db      *store.DB
	classes []string // that a contract may have free; nil: not known, and any

	mu     sync.Mutex
	cached *Snapshot
}

// New returns the inventory in db, which must have been migrated.
func New(db *store.DB) *Inventory { return &Inventory{db: db} }

// WithClasses makes the inventory refuse to have another traffic class free than these, and returns it.
func (inv *Inventory) WithClasses(names []string) *Inventory {
	inv.classes = append([]string{}, names...)
	return inv
}
