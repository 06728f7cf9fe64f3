package httpapi

import "time"

// The inventory's rows have the names of the import file, and its texts: "10 TB", RFC 3339 times, plain dates.

// Customer buys services. Name and Email are personal data.
type Customer struct {
	ID       string  `json:"id"`
	Name     string  `json:"name"`
	Email    string  `json:"email"`
	Reseller *string `json:"reseller"` // id of the customer who resells to this one
	// RateBought is what a reseller has bought for all its customers together, "500 Mbit/s"; null where nothing is agreed.
	RateBought *string `json:"rate_bought"`
}

// Erased is a customer whose name is destroyed.
type Erased struct {
	Customer string    `json:"customer"`
	At       time.Time `json:"at"`
	Already  bool      `json:"already"`  // it had been erased before
	Scrubbed bool      `json:"scrubbed"` // the store's files do not hold it any more; else erase it again
	// Rewritten counts notes in which the name stood; Remaining are decisions that still name the customer;
	// Running are its services that are not closed.
	Rewritten int      `json:"rewritten"`
	Remaining []string `json:"remaining"`
	Running   []string `json:"running"`
}

// AuditEvent is one deed of a person, or of a program with a token.
type AuditEvent struct {
	Seq     int64     `json:"seq"`
	At      time.Time `json:"at"`
	Actor   string    `json:"actor"`
	Action  string    `json:"action"`
	Subject string    `json:"subject"`
	Reason  string    `json:"reason"`
}

// Rules are the settings of a plan, or those of a service that win over its plan's; empty: not said here.
type Rules struct {
	Quota     string `json:"quota,omitempty"`     // "10 TB"; unsaid everywhere: unmetered
	Direction string `json:"direction,omitempty"` // sum, in, out …
	Period    string `json:"period,omitempty"`    // anniversary, calendar
	Block     string `json:"block,omitempty"`     // "1 TB"
	SKU       string `json:"sku,omitempty"`
	Bills     string `json:"bills,omitempty"`    // address, port, vnic
	Internal  *bool  `json:"internal,omitempty"` // whether traffic between local addresses bills
	Missing   string `json:"missing,omitempty"`  // ignore, zero, hold: slots that were not observed
	Grace     string `json:"grace,omitempty"`    // 10 % threshold, 10 % allowance
	Sampled   string `json:"sampled,omitempty"`  // estimate, lower_bound, hold: what sampled usage is charged by
	Partial   string `json:"partial,omitempty"`  // full, prorated: the quota of a period in which it was opened or closed
	Free      string `json:"free,omitempty"`     // backup peering: traffic classes that do not count

	NoticeAt       string `json:"notice_at,omitempty"`       // 50 75 90 100, none: per cents of the quota that are told
	NoticeForecast string `json:"notice_forecast,omitempty"` // 80 %, none: the probability from which on a forecast is told
	NoticeSpike    string `json:"notice_spike,omitempty"`    // 300 % 1h, none: of the average, a day
	DecideWithin   string `json:"decide_within,omitempty"`   // 48h, none: to choose about a quota that is exceeded

	TimeZone string `json:"time_zone,omitempty"`
}

// Service is what a customer bought.
type Service struct {
	ID             string  `json:"id"`
	Customer       string  `json:"customer"`
	Plan           string  `json:"plan"`
	Place          string  `json:"place"`
	Currency       string  `json:"currency"`
	Opened         string  `json:"opened"`                    // date
	Closed         *string `json:"closed,omitempty"`          // date
	CommittedUntil *string `json:"committed_until,omitempty"` // date; before it no downgrade takes effect
	Rules
}

// Pool is an allowance that services share; Rules have neither bills nor partial.
type Pool struct {
	Pool           string  `json:"pool"` // its id
	Customer       string  `json:"customer"`
	Plan           string  `json:"plan"` // may be empty
	Place          string  `json:"place"`
	Currency       string  `json:"currency"`
	Opened         string  `json:"opened"` // date, the first day of a period
	CommittedUntil *string `json:"committed_until,omitempty"`
	Rules
}

// PoolMember says that a service is in a pool for a time, in whole periods of the pool.
type PoolMember struct {
	Service string  `json:"service"`
	Pool    string  `json:"pool"`
	From    string  `json:"from"`  // date
	Until   *string `json:"until"` // date; null: until further notice
}

// Plan is what a service is sold as.
type Plan struct {
	Name  string `json:"name"`
	Class string `json:"class"` // dedicated, virtual …
	Rules
}

// Price is one version of a price.
type Price struct {
	SKU      string `json:"sku"`
	Place    string `json:"place"`
	Currency string `json:"currency"`
	From     string `json:"from"`    // date
	Noticed  string `json:"noticed"` // date on which customers were told
	Per      string `json:"per"`     // TB, GB, Mbit/s …
	Begun    bool   `json:"begun"`
	Amount   string `json:"amount"` // decimal, ex VAT
}

// Prefix is local address space and the exporters that account for it.
type Prefix struct {
	Prefix    string   `json:"prefix"`
	Exporters []string `json:"exporters"`
}

// Ownership says that a service owned a meter (or a prefix) for a time.
type Ownership struct {
	Service string  `json:"service"`
	Key     string  `json:"key"`   // "address:192.0.2.9", "vnic:UUID/MAC" …
	From    string  `json:"from"`  // RFC 3339
	Until   *string `json:"until"` // RFC 3339; null: until further notice
}

// InventoryChange is what PUT brings: rows to add or change, by their keys.
type InventoryChange struct {
	Customers []Customer `json:"customers,omitempty"`
	Services  []Service  `json:"services,omitempty"`

	Pools       []Pool       `json:"pools,omitempty"`
	PoolMembers []PoolMember `json:"pool_members,omitempty"`

	Plans     []Plan      `json:"plans,omitempty"`
	Prices    []Price     `json:"prices,omitempty"`
	Prefixes  []Prefix    `json:"prefixes,omitempty"`
	Ownership []Ownership `json:"ownership,omitempty"`
	Changes   []Change    `json:"changes,omitempty"`
	Decisions []Decision  `json:"decisions,omitempty"`
}

// Change is another plan or quota that is ordered for a running service. An upgrade takes effect at At, a downgrade
// on the first anniversary after it on which the commitment is over.
type Change struct {
	Service string `json:"service"`
	At      string `json:"at"`              // RFC 3339
	Plan    string `json:"plan,omitempty"`  // empty: the same
	Quota   string `json:"quota,omitempty"` // empty: as it was, or the new plan's
}

// Decision is what a person has decided about a service, and why. It is never changed, only revoked by another one.
type Decision struct {
	ID        string `json:"id"`
	Service   string `json:"service"`
	Decision  string `json:"decision"`            // exclude, estimate, lower_bound, ignore, zero, waive, credit, revoke
	From      string `json:"from,omitempty"`      // RFC 3339
	Until     string `json:"until,omitempty"`     // RFC 3339; of an exclusion
	Direction string `json:"direction,omitempty"` // in, out, sum; of an exclusion
	Amount    string `json:"amount,omitempty"`    // ex VAT; how much of the charge is waived, all where it is not there
	Beyond    string `json:"beyond,omitempty"`    // ex VAT; the amount beyond which the charge is waived
	Revokes   string `json:"revokes,omitempty"`   // the id that a revocation is of
	By        string `json:"by"`
	Reason    string `json:"reason"`
}

// Preview is what the next closing would do.
type Preview struct {
	Statements  []PreviewRow `json:"statements"`  // periods that would close
	Adjustments []PreviewRow `json:"adjustments"` // differences to closed ones
	Problems    []string     `json:"problems"`    // what would wait, and for what
}

// PreviewRow is a line that would be written; those of an adjustment are signed differences.
type PreviewRow struct {
	Statement  string    `json:"statement"`
	Revision   int       `json:"revision"` // 1: a period that would close
	Customer   string    `json:"customer"`
	Service    string    `json:"service"`
	PeriodFrom time.Time `json:"period_from"`
	PeriodTo   time.Time `json:"period_to"`
	InOctets   int64     `json:"in_octets"`
	OutOctets  int64     `json:"out_octets"`
	Amount     string    `json:"amount_ex_vat"`
	Currency   string    `json:"currency"`
}

// Unapproved is a closed charge that is handed over only after a person has approved it.
type Unapproved struct {
	Number     int64     `json:"number"` // of the statement
	Statement  string    `json:"statement"`
	Revision   int       `json:"revision"`
	Customer   string    `json:"customer"`
	Service    string    `json:"service"`
	PeriodFrom time.Time `json:"period_from"`
	PeriodTo   time.Time `json:"period_to"`
	ClosedAt   time.Time `json:"closed_at"`
	Amount     string    `json:"amount_ex_vat"`
	Currency   string    `json:"currency"`
	Reason     string    `json:"reason"` // why it waits; empty where the provider wants that of all charges
}

// Credit is an amount in a customer's favour that comes after the window for credits, and waits for a person.
type Credit struct {
	Statement  string    `json:"statement"`
	Customer   string    `json:"customer"`
	Service    string    `json:"service"`
	PeriodFrom time.Time `json:"period_from"`
	PeriodTo   time.Time `json:"period_to"`
	Amount     string    `json:"amount_ex_vat"` // above zero
	Currency   string    `json:"currency"`
	Until      *string   `json:"until"` // the day from which on it is not given; null: it waits for ever
}

// ImportFile is one file of an import. Its name tells its kind: *.yaml, or KIND.csv.
type ImportFile struct {
	Name string
	Text []byte
}

// Difference is what an import or a PUT changed, or with dry_run would change.
type Difference struct {
	DryRun    bool     `json:"dry_run"`
	Added     int      `json:"added"`
	Changed   int      `json:"changed"`
	Unchanged int      `json:"unchanged"`
	Lines     []string `json:"lines"` // one per change, "+ service s1", "~ plan dedicated-10: quota 10 TB -> 20 TB"
}
