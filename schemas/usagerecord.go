package schemas

import "time"

// UsageRecord is what a billing system is told of a service's usage, once, in JSON: by the feed of the API, and as the
// data of a CloudEvent. It is never changed. The truth about a span is the sum of its records: Octets and Packets of a
// correction are signed differences to what was told before.
type UsageRecord struct {
	// Seq is dense and in the order of the commits: who keeps the last one misses nothing.
	Seq       int64   `json:"seq"`
	ID        string  `json:"id"`
	Kind      string  `json:"kind"` // usage, correction
	Customer  string  `json:"customer"`
	Service   string  `json:"service"`
	Meter     MeterID `json:"meter"`
	Class     string  `json:"class"`
	Direction string  `json:"direction"` // in, out
	// PeriodFrom and PeriodTo are the billing period that the usage is in.
	PeriodFrom time.Time `json:"period_from"`
	PeriodTo   time.Time `json:"period_to"`
	// From and To are a UTC day, cut where the period or the ownership begins or ends.
	From    time.Time `json:"from"`
	To      time.Time `json:"to"`
	Octets  int64     `json:"octets"`
	Packets int64     `json:"packets"`
	// OctetsStandardError is that of Octets as an estimate, in whole octets; never negative.
	OctetsStandardError int64 `json:"octets_standard_error"`
	// Coverage is nil where no exporter accounts for the meter.
	Coverage   *float64  `json:"coverage"`
	RecordedAt time.Time `json:"recorded_at"`
	// Corrects is the ID of the span's first record; nil for that one itself.
	Corrects *string `json:"corrects"`
}
