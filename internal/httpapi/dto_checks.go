package httpapi

import "time"

// ReconciledDay is a UTC day of a service in a month's report: what its meters of each kind counted, and the verdict
// about the figure that bills.
type ReconciledDay struct {
	Customer, Service string
	PeriodFrom, Day   time.Time
	Bills             string // address, vnic or port
	In, Out           Compared
	Verdict           string // outside, witnesses_differ, agrees, not_compared
	Reason            string
	Missing           []string // why a kind of meter has no figure
	Released          string   // by whom and why
}

// Compared is one direction in octets: nil where a kind has no figure, or where nothing was compared.
type Compared struct{ Address, VNIC, Port, Low, High *int64 }

// UnownedMeter is traffic of a local meter in a month while no service owned it.
type UnownedMeter struct {
	Meter, Class        string
	InOctets, OutOctets uint64
}

// ExporterMonth is how complete an exporter was in a month.
type ExporterMonth struct {
	Exporter                 string
	Protocols                []string
	Coverage                 float64
	MinutesExpected, Missing int64
	Gaps                     int
	GapFrom, GapTo           time.Time // the longest one; zero where there is none
	Datagrams, Records       uint64
	Octets, LostOctets       uint64
	Lost, Dropped            []Count
}

// AddressUse is an IPv4 prefix of a service, and how many of its addresses have sent since they were assigned. It is
// judged with all that the service was given at the same time.
type AddressUse struct {
	Customer            string      `json:"customer"`
	Service             string      `json:"service"`
	Prefix              string      `json:"prefix"`
	AssignedAt          time.Time   `json:"assigned_at"`
	Addresses           int64       `json:"addresses"`
	Used                int64       `json:"used"`
	AssignmentAddresses int64       `json:"assignment_addresses"`
	Needed              int64       `json:"assignment_needed"`
	AssignmentUsed      int64       `json:"assignment_used"`
	Deadline            time.Time   `json:"deadline"`
	State               string      `json:"state"` // in_time, satisfied, notice_due, notice_given, revocable
	Notice              *NoticeSeen `json:"notice"`
	ServiceAddresses    int64       `json:"service_addresses"`
	BeyondFree          int64       `json:"service_addresses_beyond_free"`
}

// NoticeSeen is a notice that was given.
type NoticeSeen struct {
	On            string    `json:"on"` // a date in the provider's zone
	By            string    `json:"by"`
	Reason        string    `json:"reason"`
	RevocableFrom time.Time `json:"revocable_from"`
}

// AddressNotice says that a customer was told, on a date in the provider's zone, that addresses are not used enough.
type AddressNotice struct {
	Service string `json:"service"`
	Prefix  string `json:"prefix"`
	On      string `json:"on"` // empty: today
	Reason  string `json:"reason"`
}
