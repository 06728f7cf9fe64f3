// Package incident owns what a person deals with: durable incidents, who acknowledged, silenced,
// assigned or resolved them, and the outbox of notifications that is written with each change.
//
// It promises that an incident is known by (rule, meter, begin of its condition), so that a detector
// that reads the same log again opens nothing twice, and that an opened or resolved incident and its
// notifications are written in one transaction. It sends nothing: that is package notify.
package incident

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strconv"
	"time"
)

// State of an incident. Acknowledged, silenced and assigned stand beside it.
type State string

// The states.
const (
	Open     State = "open"
	Resolved State = "resolved"
)

// Events of an incident that receivers are told of.
const (
	EventOpened   = "opened"
	EventResolved = "resolved"
)

// ErrNotFound is returned for an id that no incident has.
var ErrNotFound = errors.New("no such incident")

// ErrResolved is returned where an open incident is needed.
var ErrResolved = errors.New("incident is resolved")

// Incident is one row of what a person deals with. Times are UTC; a zero time is "not yet".
type Incident struct {
	// ID follows from Rule, Meter and BeganAt: see NewID.
	ID   string `json:"id"`
	Rule string `json:"rule"`
	// Meter is a meter id, or "service:ID", "customer:ID" for rules over sums.
	Meter    string `json:"meter"`
	Severity string `json:"severity"`
	State    State  `json:"state"`
	// Condition is the condition's state: firing, unknown, recovering, or clear once resolved.
	Condition string `json:"condition"`
	// Late says that it was found in data older than a minute (short rules): it paged nobody.
	Late bool `json:"late"`
	// BeganAt is when the condition began to hold, in event time.
	BeganAt time.Time `json:"began_at"`
	// OpenedAt, ResolvedAt and UpdatedAt are times of the transactions.
	OpenedAt      time.Time `json:"opened_at"`
	UpdatedAt     time.Time `json:"updated_at"`
	ResolvedAt    time.Time `json:"resolved_at,omitzero"`
	ResolvedBy    string    `json:"resolved_by,omitempty"`
	ResolveReason string    `json:"resolve_reason,omitempty"`
	// Service and Customer owned the meter when it was opened; empty where nobody did.
	Service  string `json:"service,omitempty"`
	Customer string `json:"customer,omitempty"`

	AcknowledgedAt time.Time `json:"acknowledged_at,omitzero"`
	AcknowledgedBy string    `json:"acknowledged_by,omitempty"`
	Note           string    `json:"note,omitempty"`
	SilencedUntil  time.Time `json:"silenced_until,omitzero"`
	SilencedBy     string    `json:"silenced_by,omitempty"`
	SilenceReason  string    `json:"silence_reason,omitempty"`
	AssignedTo     string    `json:"assigned_to,omitempty"`

	Evidence Evidence `json:"evidence"`
}

// Silenced says whether notifications are held back at a time.
func (i Incident) Silenced(at time.Time) bool { return at.Before(i.SilencedUntil) }

// Evidence is what the detector knew when it opened the incident: enough to show it to the customer
// without asking any other system.
type Evidence struct {
	// RuleText is the rule as it was, as YAML.
	RuleText  string  `json:"rule_text"`
	Metric    string  `json:"metric"`
	Threshold float64 `json:"threshold"`
	// Share of the observed time in [WindowFrom, WindowTo) that was beyond the threshold, and share
	// of that window that was observed.
	WindowFrom time.Time `json:"window_from"`
	WindowTo   time.Time `json:"window_to"`
	Share      float64   `json:"share"`
	Coverage   float64   `json:"coverage"`
	Series     Series    `json:"series"`
	// StandardErrorShare is the standard error of the last cell's octets, as a share of them; 0 where
	// nothing was sampled.
	StandardErrorShare float64 `json:"standard_error_share"`
	TopPeers           []Peer  `json:"top_peers,omitempty"`
	TopPorts           []Port  `json:"top_ports,omitempty"`
	Service            string  `json:"service,omitempty"`
	Customer           string  `json:"customer,omitempty"`
	// Exporters that told of the meter.
	Exporters []string `json:"exporters,omitempty"`
}

// Series is the window, cell by cell: one character a cell, the oldest first: '#' beyond the
// threshold, '.' not, '?' not observed.
type Series struct {
	From        time.Time `json:"from"`
	CellSeconds float64   `json:"cell_seconds"`
	Cells       string    `json:"cells"`
	// Values of the newest cells, the oldest first; fewer than Cells.
	Values []Value `json:"values,omitempty"`
}

// Value is what the metric was in the cell that begins at At.
type Value struct {
	At    time.Time `json:"at"`
	Value float64   `json:"value"`
}

// Peer is a remote address and its traffic with the meter.
type Peer struct {
	Address   string `json:"address"`
	Direction string `json:"direction"`
	Octets    uint64 `json:"octets"`
	Packets   uint64 `json:"packets"`
}

// Port is a remote port and its traffic with the meter.
type Port struct {
	Protocol  uint32 `json:"protocol"`
	Port      uint32 `json:"port"`
	Direction string `json:"direction"`
	Octets    uint64 `json:"octets"`
	Packets   uint64 `json:"packets"`
}

// Event is a line of an incident's history.
type Event struct {
	At     time.Time `json:"at"`
	Actor  string    `json:"actor"`
	Action string    `json:"action"`
	Text   string    `json:"text"`
}

// NewID derives the id of an incident: the same condition gives the same id, whoever reads the log.
func NewID(rule, meter string, beganAt time.Time) string {
	sum := sha256.Sum256([]byte(rule + "\x00" + meter + "\x00" + strconv.FormatInt(beganAt.UnixNano(), 10)))
	return "inc-" + hex.EncodeToString(sum[:8])
}

// NotificationID is stable over retries and restarts, so that a receiver can tell a repeat.
func NotificationID(incident, receiver, event string) string {
	sum := sha256.Sum256([]byte(incident + "\x00" + receiver + "\x00" + event))
	return "msg_" + hex.EncodeToString(sum[:12])
}
