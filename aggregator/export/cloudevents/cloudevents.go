// Package cloudevents writes usage records, statements and notices as CloudEvents in structured JSON.
//
// It owns the shape of the events. It promises that the same record gives the same event, octet for octet; and that an
// event's id is of what it says of usage and money, and of nothing else. So a ledger that was restored from a backup, and
// comes to the same again, tells it under the same id, whatever its number and hash there; and what says something else
// has another.
// Source: CloudEvents 1.0.2, JSON event format, extension "sequence".
package cloudevents

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"hostmeter/aggregator/ledger"
	"hostmeter/aggregator/notice"
	"hostmeter/aggregator/statement"
	"hostmeter/schemas"
)

// ContentType is that of an event.
const ContentType = "application/cloudevents+json; charset=utf-8"

// The types of events. A change that a reader could stumble over makes another version.
const (
	TypeUsageRecord = "hostmeter.usage-record.v1"
	TypeStatement   = "hostmeter.statement.v1"
	TypeNotice      = "hostmeter.notice.v1"
)

// Event is one event. Sequence is the number in the feed, of equal length, so that texts sort as numbers. Restored is
// set where the ledger was restored from a backup that ended before this number: what the receiver has of this type
// with this number or a higher one, and was told before then, was said by a ledger that was lost.
type Event struct {
	SpecVersion     string    `json:"specversion"`
	ID              string    `json:"id"`
	Source          string    `json:"source"`
	Type            string    `json:"type"`
	Subject         string    `json:"subject"` // the service
	Time            time.Time `json:"time"`
	DataContentType string    `json:"datacontenttype"`
	Sequence        string    `json:"sequence"`
	Restored        time.Time `json:"restored,omitzero"`
	Data            any       `json:"data"`
}

// Statement is the data of a closed statement or an adjustment: the line of the report, and its place in
// the chain.
type Statement struct {
	Number       int64         `json:"number"`
	ClosedAt     time.Time     `json:"closed_at"`
	Hash         string        `json:"hash"`
	PreviousHash string        `json:"previous_hash"`
	Line         statement.Row `json:"line"`
}

// OfUsageRecord returns the event of a usage record: its data is the record, as in the API's feed. The record's own id,
// in the data, says what it is about.
func OfUsageRecord(source string, r schemas.UsageRecord) Event {
	id := idOf(r.ID, r.Kind, r.Customer, r.Service, instant(r.PeriodFrom), instant(r.PeriodTo), count(r.Octets), count(r.Packets))
	return event(source, TypeUsageRecord, id, r.Service, r.RecordedAt, r.Seq, r)
}

// OfStatement returns the event of a statement.
func OfStatement(source string, s ledger.Statement) Event {
	line := s.Body.Row
	if line.Missing == nil {
		line.Missing = []string{}
	}
	data := Statement{Number: s.Number, ClosedAt: s.ClosedAt, Hash: s.Hash, PreviousHash: s.Previous, Line: line}
	id := idOf(line.Statement, count(int64(line.Revision)), string(line.Kind), line.Customer, line.Service, line.Plan, instant(line.PeriodFrom), instant(line.PeriodTo),
		count(line.InOctets), count(line.OutOctets), count(line.BillableOctets), count(line.BitsPerSecond), line.Quota.String(), string(line.Unit), line.Used.String(), line.Excess.String(),
		line.BilledQuantity.String(), string(line.PriceUnit), line.UnitPrice.String(), line.Currency, line.AmountExVAT.String())
	return event(source, TypeStatement, id, line.Service, s.ClosedAt, s.Number, data)
}

// OfNotice returns the event of a notice: its data is the notice. Its subject is the service or the pool; of a reseller's sum the
// customer.
func OfNotice(source string, n notice.Notice) Event {
	day := ""
	if n.Spike != nil {
		day = n.Spike.Day
	}
	threshold := count(int64(n.Threshold))
	if n.Raised {
		threshold += " of " + n.Quota.String()
	}
	id := idOf(string(n.Kind), n.Customer, n.Service, instant(n.PeriodFrom), instant(n.PeriodTo), threshold, day, instant(n.Deadline), string(n.Choice), instant(n.DecidedAt))
	return event(source, TypeNotice, id, cmp.Or(n.Service, n.Customer), n.At, n.Number, n)
}

// idOf is the SHA-256 over what an event says, in hexadecimal.
func idOf(said ...string) string {
	text, _ := json.Marshal(said) // of texts
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

func count(n int64) string { return strconv.FormatInt(n, 10) }

func instant(at time.Time) string { return at.UTC().Format(time.RFC3339Nano) }

func event(source, kind, id, subject string, at time.Time, seq int64, data any) Event {
	return Event{
		SpecVersion: "1.0", ID: id, Source: source, Type: kind, Subject: subject, Time: at.UTC(),
		DataContentType: "application/json", Sequence: fmt.Sprintf("%020d", seq), Data: data,
	}
}

// Encode returns the event's JSON.
func (e Event) Encode() ([]byte, error) {
	text, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("write event %s: %w", e.ID, err)
	}
	return text, nil
}
