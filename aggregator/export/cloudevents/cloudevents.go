// Package cloudevents writes usage records, statements and notices as CloudEvents in structured JSON.
//
// It owns the shape of the events. It promises that the same record gives the same event, octet for octet; and that an
// event's id is of what it says of usage and money, and of nothing else. So a ledger that was restored from a backup, and
// comes to the same again, tells it under the same id, whatever its number and hash there; and what says something else
// has another.
// Source: CloudEvents 1.0.2, JSON event format, extension "sequence".
package cloudevents

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"hostmeter/aggregator/ledger"
	"hostmeter/aggregator/notice"
	"hostmeter/aggregator/statement"
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

// UsageRecord is the data of a usage record: the fields of the API's feed.
type UsageRecord struct {
	Seq                 int64     `json:"seq"`
	ID                  string    `json:"id"`
	Kind                string    `json:"kind"`
	Customer            string    `json:"customer"`
	Service             string    `json:"service"`
	Meter               string    `json:"meter"`
	Class               string    `json:"class"`
	Direction           string    `json:"direction"`
	PeriodFrom          time.Time `json:"period_from"`
	PeriodTo            time.Time `json:"period_to"`
	From                time.Time `json:"from"`
	To                  time.Time `json:"to"`
	Octets              int64     `json:"octets"`
	Packets             int64     `json:"packets"`
	OctetsStandardError int64     `json:"octets_standard_error"`
	Coverage            *float64  `json:"coverage"`
	RecordedAt          time.Time `json:"recorded_at"`
	Corrects            *string   `json:"corrects"`
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

// OfUsageRecord returns the event of a usage record. The record's own id, in the data, says what it is about.
func OfUsageRecord(source string, r ledger.UsageRecord) Event {
	data := UsageRecord{
		Seq: r.Seq, ID: r.ID, Kind: r.Kind, Customer: r.Customer, Service: r.Service, Meter: string(r.Meter), Class: r.Class,
		Direction: r.Direction, PeriodFrom: r.PeriodFrom, PeriodTo: r.PeriodTo, From: r.From, To: r.To,
		Octets: r.Octets, Packets: r.Packets, OctetsStandardError: max(r.OctetsStandardError, 0), Coverage: r.Coverage, RecordedAt: r.RecordedAt,
	}
	if r.Corrects != "" {
		data.Corrects = &r.Corrects
	}
	id := idOf(r.ID, r.Kind, r.Customer, r.Service, instant(r.PeriodFrom), instant(r.PeriodTo), count(r.Octets), count(r.Packets))
	return event(source, TypeUsageRecord, id, r.Service, r.RecordedAt, r.Seq, data)
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

// OfNotice returns the event of a notice: its data is the notice.
func OfNotice(source string, n notice.Notice) Event {
	day := ""
	if n.Spike != nil {
		day = n.Spike.Day
	}
	id := idOf(string(n.Kind), n.Customer, n.Service, instant(n.PeriodFrom), instant(n.PeriodTo), count(int64(n.Threshold)), day, instant(n.Deadline), string(n.Choice), instant(n.DecidedAt))
	return event(source, TypeNotice, id, n.Service, n.At, n.Number, n)
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
