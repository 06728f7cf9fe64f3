// Package cloudevents writes usage records, statements and notices as CloudEvents in structured JSON.
//
// It owns the shape of the events. It promises that the same record gives the same event, octet for octet:
// a repeat is known by its source and id, and can be told from nothing else by its body.
// Source: CloudEvents 1.0.2, JSON event format, extension "sequence".
package cloudevents

import (
	"encoding/json"
	"fmt"
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

// Event is one event. Sequence is the number in the feed, of equal length, so that texts sort as numbers.
type Event struct {
	SpecVersion     string    `json:"specversion"`
	ID              string    `json:"id"`
	Source          string    `json:"source"`
	Type            string    `json:"type"`
	Subject         string    `json:"subject"` // the service
	Time            time.Time `json:"time"`
	DataContentType string    `json:"datacontenttype"`
	Sequence        string    `json:"sequence"`
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

// OfUsageRecord returns the event of a usage record: its data is the record, as in the API's feed. Its id is the
// record's, which says what it is about.
func OfUsageRecord(source string, r schemas.UsageRecord) Event {
	return event(source, TypeUsageRecord, r.ID, r.Service, r.RecordedAt, r.Seq, r)
}

// OfStatement returns the event of a statement. Its id is the hash, which holds all that was said.
func OfStatement(source string, s ledger.Statement) Event {
	line := s.Body.Row
	if line.Missing == nil {
		line.Missing = []string{}
	}
	data := Statement{Number: s.Number, ClosedAt: s.ClosedAt, Hash: s.Hash, PreviousHash: s.Previous, Line: line}
	return event(source, TypeStatement, s.Hash, line.Service, s.ClosedAt, s.Number, data)
}

// OfNotice returns the event of a notice: its data is the notice. Its id is the hash, which holds all that was told.
func OfNotice(source string, n notice.Notice) Event {
	return event(source, TypeNotice, n.Hash, n.Service, n.At, n.Number, n)
}

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
