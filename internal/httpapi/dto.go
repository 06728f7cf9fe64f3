package httpapi

import (
	"time"

	"github.com/shopspring/decimal"
)

// The types of this file are the JSON of the API, as schemas/openapi.yaml describes it: fields are
// added, never changed. Octets are layer 3. Amounts of money and quantities in a contract's unit
// are decimals, which JSON carries as strings. Times are UTC. A nil pointer is null: not known, or none.

// UsageBy is what usage is grouped by.
type UsageBy string

// Groupings of usage.
const (
	ByService UsageBy = "service" // one row per (service, class)
	ByMeter   UsageBy = "meter"   // one row per (meter, class)
	ByHour    UsageBy = "hour"    // one row per (meter, hour, class)
)

// UsageQuery asks for usage in [From, To). Empty Service and Meter ask for all.
type UsageQuery struct {
	From, To       time.Time
	By             UsageBy
	Service, Meter string
}

// UsageRow is usage of a service, a meter, or a meter in one hour. Service is empty for what nobody owned.
type UsageRow struct {
	From                time.Time `json:"from"`
	To                  time.Time `json:"to"`
	Customer            string    `json:"customer"`
	Service             string    `json:"service"`
	Meter               string    `json:"meter,omitempty"`
	Class               string    `json:"class"`
	InOctets            uint64    `json:"in_octets"`
	OutOctets           uint64    `json:"out_octets"`
	InPackets           uint64    `json:"in_packets"`
	OutPackets          uint64    `json:"out_packets"`
	StandardErrorOctets uint64    `json:"octets_standard_error"`
	Coverage            *float64  `json:"coverage"`
	// Provisional: an hour in it is not sealed yet, so it may grow.
	Provisional bool `json:"provisional"`
}

// Statement is one line of a month: the same fields as the report's CSV. One of an adjustment holds signed
// differences to the revisions before it.
type Statement struct {
	Statement           string           `json:"statement"`
	Revision            int64            `json:"revision"`
	Customer            string           `json:"customer"`
	Service             string           `json:"service"`
	Plan                string           `json:"plan"`
	PeriodFrom          time.Time        `json:"period_from"`
	PeriodTo            time.Time        `json:"period_to"`
	TimeZone            string           `json:"time_zone"`
	Direction           string           `json:"direction"`
	InOctets            int64            `json:"in_octets"`
	OutOctets           int64            `json:"out_octets"`
	BillableOctets      int64            `json:"billable_octets"`
	StandardErrorOctets uint64           `json:"standard_error_octets"`
	Coverage            *float64         `json:"coverage"`
	Quota               *decimal.Decimal `json:"quota"`
	Unit                string           `json:"unit"`
	Used                decimal.Decimal  `json:"used"`
	Excess              decimal.Decimal  `json:"excess"`
	BilledQuantity      decimal.Decimal  `json:"billed_quantity"`
	UnitPrice           decimal.Decimal  `json:"unit_price"`
	Currency            string           `json:"currency"`
	AmountExVAT         decimal.Decimal  `json:"amount_ex_vat"`
	Kind                string           `json:"kind"` // overage, none, adjustment, waived
	RuleFrom            string           `json:"rule_from"`
	Pool                *PoolShare       `json:"pool"` // null: the service was in none
	// PriceUnit is what BilledQuantity counts and UnitPrice is for; empty where nothing was billed.
	PriceUnit string          `json:"price_unit"`
	Grace     decimal.Decimal `json:"grace"`
	// BitsPerSecond is what is held against the quota where a percentile counts, else 0.
	BitsPerSecond int64 `json:"bits_per_second"`
	// Approval is waiting, approved or waived; empty where the charge needs nobody's.
	Approval string          `json:"approval"`
	Rules    []StatementRule `json:"rules"`
}

// StatementRule is a setting that had a part in a charge, and the level that it was found at.
type StatementRule struct {
	Name  string `json:"name"`
	Value string `json:"value"`
	Level string `json:"level"`
}

// PoolShare is the pool that a service was in: all that it used and was charged, and the service's use of it.
type PoolShare struct {
	Pool           string           `json:"pool"`
	Customer       string           `json:"customer"`
	Members        int              `json:"members"`
	Octets         int64            `json:"octets"`
	OfOctets       int64            `json:"of_octets"`
	Quota          *decimal.Decimal `json:"quota"`
	Used           decimal.Decimal  `json:"used"`
	Excess         decimal.Decimal  `json:"excess"`
	BilledQuantity decimal.Decimal  `json:"billed_quantity"`
	AmountExVAT    decimal.Decimal  `json:"amount_ex_vat"`
}

// Resellers is a month's roll-up; Names are the customers' by id.
type Resellers struct {
	Provisional bool
	Names       map[string]string
	Resellers   []Reseller
}

// Reseller is a reseller and what everybody that it sells to used in a month.
type Reseller struct {
	Reseller            string
	RateBought          *decimal.Decimal // in Unit; nil where no rate is agreed
	Unit                string
	Used, Excess        decimal.Decimal // the 95th percentile, in Unit
	Over                bool
	Slots, SlotsMissing int
	InOctets, OutOctets uint64
	Totals              []string // amounts with their currencies
	Services            []ResoldService
}

// ResoldService is a service of a reseller's customer.
type ResoldService struct {
	Customer, Service, Plan string
	InOctets, OutOctets     uint64
	Totals                  []string
}

// Summary is one month as finance looks at it.
type Summary struct {
	Month    Month            `json:"month"`
	At       time.Time        `json:"at"`
	TimeZone string           `json:"time_zone"`
	Services []ServiceSummary `json:"services"`
	Unowned  Unowned          `json:"unowned"`
}

// Unowned is traffic of local meters that no service owned in the month: it is nobody's bill, and shown.
type Unowned struct {
	InOctets  uint64 `json:"in_octets"`
	OutOctets uint64 `json:"out_octets"`
	Meters    int    `json:"meters"`
}

// ServiceSummary is the period of one service that ends in the month.
type ServiceSummary struct {
	Service      string           `json:"service"`
	Customer     string           `json:"customer"`
	CustomerName string           `json:"customer_name"`
	Plan         string           `json:"plan"`
	Pool         string           `json:"pool"` // whose quota it shares; empty: none
	PeriodFrom   time.Time        `json:"period_from"`
	PeriodTo     time.Time        `json:"period_to"`
	TimeZone     string           `json:"time_zone"`
	State        string           `json:"state"` // open, provisional (over, not all sealed), closing (sealed), closed, corrected
	Direction    string           `json:"direction"`
	InOctets     uint64           `json:"in_octets"`
	OutOctets    uint64           `json:"out_octets"`
	Billable     uint64           `json:"billable_octets"`
	Quota        *decimal.Decimal `json:"quota"` // null: unmetered
	Unit         string           `json:"unit"`  // GB, TB, GiB, TiB, Mbit/s
	Used         decimal.Decimal  `json:"used"`
	// Forecast is what Used is expected to be at the period's end, from the weeks before; null where less than two weeks are
	// known, equal to Used where it is closed. ForecastLow and ForecastHigh bound it in 9 of 10 cases.
	Forecast     *decimal.Decimal `json:"forecast"`
	ForecastLow  *decimal.Decimal `json:"forecast_low"`
	ForecastHigh *decimal.Decimal `json:"forecast_high"`
	ForecastAt   *time.Time       `json:"forecast_at"`
	// Exceeds is the probability, 0 to 1, that more is used than quota and grace; null where there is no
	// forecast, 1 where it is so already.
	Exceeds *float64 `json:"exceeds_probability"`
	// Overage is the expected charge for what goes beyond the quota, ex VAT, without a forecast that of what is used;
	// for a closed period what was charged.
	Overage             *decimal.Decimal `json:"overage_ex_vat"`
	Currency            string           `json:"currency"`
	Coverage            *float64         `json:"coverage"`
	StandardErrorOctets uint64           `json:"standard_error_octets"`
	RuleFrom            string           `json:"rule_from"`
	// Hold says why the period is held until a person decides; empty where it is not.
	Hold string `json:"hold"`
}

// IncidentFilter selects incidents; empty fields select all.
type IncidentFilter struct {
	State                    string // open, resolved
	Rule, Severity           string
	Meter, Service, Customer string
	Acknowledged             *bool
	Since                    time.Time // opened, or still open, at or after
	Limit                    int
}

// Incident is what a person deals with.
type Incident struct {
	ID             string     `json:"id"`
	State          string     `json:"state"`     // open, resolved
	Condition      string     `json:"condition"` // learning, clear, pending, firing, unknown, recovering
	Rule           string     `json:"rule"`
	Severity       string     `json:"severity"`
	Meter          string     `json:"meter"`
	Service        string     `json:"service"` // owner at the time it opened; empty: nobody
	Customer       string     `json:"customer"`
	Summary        string     `json:"summary"`
	Since          time.Time  `json:"since"`     // when the condition began to hold, event time
	OpenedAt       time.Time  `json:"opened_at"` // when a person could be told
	ResolvedAt     *time.Time `json:"resolved_at"`
	Share          *float64   `json:"share"`    // of the observed window that exceeded the threshold
	Coverage       *float64   `json:"coverage"` // of the window that was observed
	AcknowledgedAt *time.Time `json:"acknowledged_at"`
	AcknowledgedBy string     `json:"acknowledged_by"`
	AssignedTo     string     `json:"assigned_to"`
	SilencedUntil  *time.Time `json:"silenced_until"`
	Late           bool       `json:"late"` // raised from data that came late; paged nobody
}

// IncidentDetail is an incident with its evidence.
type IncidentDetail struct {
	Incident
	Evidence      Evidence       `json:"evidence"`
	Notifications []Notification `json:"notifications"`
	Events        []Event        `json:"events"`
}

// Evidence is what the rule saw, and the rule as it was then.
type Evidence struct {
	Metric        string        `json:"metric"`
	Unit          string        `json:"unit"` // ratio, bit/s, packet/s, flow/s, "" for counts
	Threshold     *float64      `json:"threshold"`
	WindowFrom    time.Time     `json:"window_from"`
	WindowTo      time.Time     `json:"window_to"`
	Series        []Point       `json:"series"`
	StandardError *float64      `json:"standard_error"` // of a point, relative; null where nothing was sampled
	TopPeers      []Peer        `json:"top_peers"`
	TopPorts      []PortTraffic `json:"top_ports"`
	RuleText      string        `json:"rule_text"`
}

// Point is one slot of a series; Value is null where nothing was observed.
type Point struct {
	At    time.Time `json:"at"`
	Value *float64  `json:"value"`
}

// Peer is a remote address and what it exchanged with the meter.
type Peer struct {
	Address string `json:"address"`
	Octets  uint64 `json:"octets"`
	Packets uint64 `json:"packets"`
}

// PortTraffic is a remote port and what went to and from it.
type PortTraffic struct {
	Protocol string `json:"protocol"` // tcp, udp, icmp, or the number
	Port     uint32 `json:"port"`
	Octets   uint64 `json:"octets"`
	Packets  uint64 `json:"packets"`
}

// Notification is one attempt to tell a receiver.
type Notification struct {
	At       time.Time `json:"at"`
	Receiver string    `json:"receiver"`
	Outcome  string    `json:"outcome"` // sent, retrying, refused, unknown
	Detail   string    `json:"detail"`
}

// Event is one thing that happened to an incident.
type Event struct {
	At   time.Time `json:"at"`
	By   string    `json:"by"`
	What string    `json:"what"` // opened, acknowledged, silenced, resolved, reopened
	Note string    `json:"note"`
}

// Exporters is how the sources are.
type Exporters struct {
	At        time.Time  `json:"at"`
	Exporters []Exporter `json:"exporters"`
	// Knocking are senders that no configuration names: refused, and counted.
	Knocking []Knock `json:"knocking"`
	// CountedTwice are pairs that were seen to tell of the same traffic in the last 24 hours.
	CountedTwice []Twice `json:"counted_twice"`
}

// Exporter is one configured source, or one that has sent.
type Exporter struct {
	Exporter         string     `json:"exporter"` // address, or libvirt/NAME
	Name             string     `json:"name"`
	Collector        string     `json:"collector"`
	Protocol         string     `json:"protocol"`
	Mode             string     `json:"mode"`     // edge, border, single
	Sampling         string     `json:"sampling"` // none, "1 in 512", auto (unknown)
	State            string     `json:"state"`    // ok, silent, never
	LastDatagramAt   *time.Time `json:"last_datagram_at"`
	DatagramsPerSec  float64    `json:"datagrams_per_second"`
	RecordsPerSecond float64    `json:"records_per_second"`
	BitsPerSecond    float64    `json:"bits_per_second"` // scaled, layer 3
	// ClockAhead is by how many seconds its clock is ahead of the collector's; nil where it is not known.
	ClockAhead *float64 `json:"clock_ahead_seconds"`
	// SamplingInEffect is N of the 1-in-N at which it sampled in the last one to two hours, by its own sample
	// pool and the samples received (sFlow): a witness, by which nothing is billed. nil where it is not known.
	SamplingInEffect *float64 `json:"sampling_in_effect"`
	// SamplingDoubts are data sources whose samples do not fit the rate that they state.
	SamplingDoubts []SamplingDoubt `json:"sampling_doubts"`
	// Of the last 24 hours.
	Dropped  []Count  `json:"dropped"`
	Held     []Count  `json:"held"`
	Lost     []Count  `json:"lost"`
	Coverage *float64 `json:"coverage"`
}

// SamplingDoubt is a data source of an sFlow exporter that samples at another rate than it says, or whose
// samples are lost.
type SamplingDoubt struct {
	Source   string  `json:"source"`
	Stated   uint32  `json:"stated"`
	InEffect float64 `json:"in_effect"`
	Samples  uint64  `json:"samples"` // received
	Unsent   uint64  `json:"unsent"`  // taken by the agent, which could not send them
}

// Count is a number of things of a unit, for a reason.
type Count struct {
	Unit   string `json:"unit"`
	Reason string `json:"reason,omitempty"`
	Count  uint64 `json:"count"`
}

// Twice is traffic that two exporters told of, or one twice.
type Twice struct {
	First  string    `json:"first"` // exporter, protocol and direction
	Second string    `json:"second"`
	Flows  int       `json:"flows"` // of those looked at
	Share  float64   `json:"share"` // of the octets of the one that told of less
	At     time.Time `json:"at"`
}

// Knock is a sender that is not allowed in.
type Knock struct {
	Address   string    `json:"address"`
	Protocol  string    `json:"protocol"`
	Datagrams uint64    `json:"datagrams"`
	FirstAt   time.Time `json:"first_at"`
	LastAt    time.Time `json:"last_at"`
}

// MeterHistory is the series of one meter.
type MeterHistory struct {
	Meter       string    `json:"meter"`
	Service     string    `json:"service"` // owner now
	Customer    string    `json:"customer"`
	From        time.Time `json:"from"`
	To          time.Time `json:"to"`
	SlotSeconds int       `json:"slot_seconds"`
	Series      []Series  `json:"series"`
}

// Series is one metric, named as in rules (in_bits_per_second, cpu_ratio …).
type Series struct {
	Metric string  `json:"metric"`
	Unit   string  `json:"unit"`
	Points []Point `json:"points"`
}

// TopMeter is a meter and its present rate.
type TopMeter struct {
	Meter               string    `json:"meter"`
	Service             string    `json:"service"`
	Customer            string    `json:"customer"`
	At                  time.Time `json:"at"`
	InBitsPerSecond     float64   `json:"in_bits_per_second"`
	OutBitsPerSecond    float64   `json:"out_bits_per_second"`
	InPacketsPerSecond  float64   `json:"in_packets_per_second"`
	OutPacketsPerSecond float64   `json:"out_packets_per_second"`
}
