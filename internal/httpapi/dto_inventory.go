package httpapi

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
	TimeZone  string `json:"time_zone,omitempty"`
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
