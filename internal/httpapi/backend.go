package httpapi

import (
	"context"
	"errors"
	"io"
	"time"

	"hostmeter/schemas"
)

// Backend is all that the API and the pages ask of the rest of the program, in small parts. A part
// that this process does not have is nil: its routes answer 503 and say so.
type Backend struct {
	Usage      UsageReader
	Records    UsageRecordReader
	Reports    Reporter
	Summary    Summarizer
	Checks     Checker
	Addresses  AddressDesk
	Incidents  IncidentDesk
	Inventory  Inventory
	Eraser     Eraser
	Credits    CreditDesk
	Approvals  ApprovalDesk
	Preview    Previewer
	AuditLog   AuditLog
	Exporters  ExporterWatcher
	Meters     MeterReader
	Notices    NoticeDesk
	Readiness  func(ctx context.Context) error          // nil: always ready
	Reload     func(ctx context.Context) error          // reads the configuration again
	OwnerNames func(ctx context.Context) (Names, error) // nil: pages show identifiers
}

// Names give pages a text to show beside an identifier: customer id -> name.
type Names map[string]string

// Errors that a Backend returns, wrapped or not; others are faults of ours and answer 500.
var (
	// ErrNotFound answers 404.
	ErrNotFound = errors.New("not found")
	// ErrConflict answers 409: the thing is not in a state in which this can be done.
	ErrConflict = errors.New("conflict")
	// ErrUnavailable answers 503: what would know the answer is not reachable now.
	ErrUnavailable = errors.New("not available")
)

// InvalidError answers 422: the input is well-formed and refused. Lines names each wrong line of an import.
type InvalidError struct {
	Message string
	Hint    string
	Lines   []string
}

func (e *InvalidError) Error() string { return e.Message }

// Actor is who did something, as incidents and the audit remember it: "user:ada" or "token:whmcs".
type Actor string

// UsageReader reads usage out of the ledger.
type UsageReader interface {
	// Usage calls yield with the rows of [query.From, query.To), ordered by what query.By groups,
	// and stops at yield's error, which it returns.
	Usage(ctx context.Context, query UsageQuery, yield func(UsageRow) error) error
}

// UsageRecordReader reads the feed for billing systems.
type UsageRecordReader interface {
	// UsageRecords returns at most limit records with Seq > after, ascending.
	UsageRecords(ctx context.Context, after int64, limit int) ([]schemas.UsageRecord, error)
}

// Reporter gives finance its month.
type Reporter interface {
	// WriteReport writes the report of the periods that end in a month. An error before the first octet
	// becomes an answer; ErrNotFound for a month, or a customer in it, without periods.
	WriteReport(ctx context.Context, query ReportQuery, w io.Writer) error
	// WriteEvidence writes the evidence behind the charges of a service in a month; ErrNotFound.
	WriteEvidence(ctx context.Context, query EvidenceQuery, w io.Writer) error
	// WriteResellers writes the roll-up of a calendar month to the resellers; ErrNotFound for one that is none.
	WriteResellers(ctx context.Context, query ResellersQuery, w io.Writer) error
	// Statements returns the statements of the periods that end in month, by customer and service.
	Statements(ctx context.Context, month Month) ([]Statement, error)
}

// ReportQuery chooses a report.
type ReportQuery struct {
	Month Month
	// Format is csv, xlsx, json or pdf, which is what customers are sent: one of them, or all in a ZIP.
	Format   string
	Customer string // empty is all
	Reseller string // its own rows and those of everybody that it sells to; empty is all
	// Part is charges, unowned, completeness or reconciliation; the last three are of all customers, as csv or json.
	Part string
}

// ResellersQuery chooses a roll-up; Format is json or csv.
type ResellersQuery struct {
	Month            Month
	Reseller, Format string // no reseller is all of them
}

// Checker gives finance what stands beside the charges of a month.
type Checker interface {
	// Reconciliation returns the days of the periods that end in month, by customer, service and day.
	Reconciliation(ctx context.Context, month Month) ([]ReconciledDay, error)
	Unowned(ctx context.Context, month Month) ([]UnownedMeter, error)
	Completeness(ctx context.Context, month Month) ([]ExporterMonth, error)
}

// AddressDesk knows how addresses are used, and keeps the notices.
type AddressDesk interface {
	Utilisation(ctx context.Context) ([]AddressUse, error)
	// WriteUtilisation writes the same as CSV.
	WriteUtilisation(ctx context.Context, w io.Writer) error
	// GiveNotice records a notice and returns the prefix as it stands then; ErrNotFound, ErrConflict (none is due), *InvalidError.
	GiveNotice(ctx context.Context, notice AddressNotice, by Actor) (AddressUse, error)
}

// EvidenceQuery chooses evidence; Format is json, xlsx or pdf.
type EvidenceQuery struct {
	Month           Month
	Service, Format string
}

// Summarizer gives finance its page.
type Summarizer interface {
	// Summary tells, per service, the period that ends in month: what was used, and for an open
	// period what is to be expected at now.
	Summary(ctx context.Context, month Month, now time.Time) (Summary, error)
	// Resellers rolls a calendar month up to the resellers, as it is known at now.
	Resellers(ctx context.Context, month Month, now time.Time) (Resellers, error)
	// Months lists the months that have something to show, the newest first.
	Months(ctx context.Context, now time.Time) ([]Month, error)
}

// IncidentDesk is what the NOC works with.
type IncidentDesk interface {
	// Incidents returns at most filter.Limit incidents, open ones first, then the newest first.
	Incidents(ctx context.Context, filter IncidentFilter) ([]Incident, error)
	// Incident returns one with its evidence; ErrNotFound.
	Incident(ctx context.Context, id string) (IncidentDetail, error)
	// Acknowledge, Silence and Resolve return the incident as it is afterwards; ErrNotFound,
	// ErrConflict (already resolved). Acknowledging twice changes nothing.
	Acknowledge(ctx context.Context, id string, by Actor, note string) (Incident, error)
	Silence(ctx context.Context, id string, until time.Time, by Actor, note string) (Incident, error)
	Resolve(ctx context.Context, id string, by Actor, note string) (Incident, error)
}

// Inventory reads and changes who bought what.
type Inventory interface {
	Customers(ctx context.Context) ([]Customer, error)
	Services(ctx context.Context) ([]Service, error)
	Pools(ctx context.Context) ([]Pool, error)
	PoolMembers(ctx context.Context) ([]PoolMember, error)
	Plans(ctx context.Context) ([]Plan, error)
	Prices(ctx context.Context) ([]Price, error)
	Prefixes(ctx context.Context) ([]Prefix, error)
	Ownership(ctx context.Context) ([]Ownership, error)
	Changes(ctx context.Context) ([]Change, error)
	Decisions(ctx context.Context) ([]Decision, error)
	// Put adds or changes what is named, all or nothing; *InvalidError names what is wrong.
	Put(ctx context.Context, change InventoryChange, by Actor) (Difference, error)
	// Import reads files of the import format, all or nothing; with dryRun it only tells the
	// difference. *InvalidError names each wrong line.
	Import(ctx context.Context, files []ImportFile, dryRun bool, by Actor) (Difference, error)
}

// Previewer says what a change would make of closed periods, before it is made.
type Previewer interface {
	// Preview returns what the next closing would do if files of the import format were imported; with none, as
	// things are. Nothing is written. *InvalidError names each wrong line.
	Preview(ctx context.Context, files []ImportFile) (Preview, error)
}

// ApprovalDesk lets charges go to billing systems, where the provider wants a person to.
type ApprovalDesk interface {
	// Unapproved returns the charges that wait, by number.
	Unapproved(ctx context.Context) ([]Unapproved, error)
	// Approve and Waive decide about charges, all or none; ErrConflict where one does not wait, *InvalidError.
	Approve(ctx context.Context, numbers []int64, by Actor) error
	Waive(ctx context.Context, numbers []int64, reason string, by Actor) error
}

// CreditDesk deals with credits that come late.
type CreditDesk interface {
	// Credits returns those that wait for a person.
	Credits(ctx context.Context) ([]Credit, error)
	// AllowCredit decides that one is given; the next closing gives it. ErrNotFound where none waits for the
	// statement, *InvalidError.
	AllowCredit(ctx context.Context, statement, reason string, by Actor) (Decision, error)
}

// Eraser destroys the names of customers.
type Eraser interface {
	// Erase destroys a customer's name and e-mail address for good; ErrNotFound, *InvalidError. A second call
	// changes nothing, and goes over the files again.
	Erase(ctx context.Context, customer, reason string, by Actor) (Erased, error)
}

// Deed is what somebody did to a subject, an identifier; Text says more, and names no customer.
type Deed struct{ Action, Subject, Text string }

// AuditLog knows who has done what, and why.
type AuditLog interface {
	// AuditEvents returns at most limit events behind a number, the oldest first; of one subject where it is not
	// empty.
	AuditEvents(ctx context.Context, subject string, after int64, limit int) ([]AuditEvent, error)
	// Note adds a deed that changes nothing in the store, with which it would be noted otherwise.
	Note(ctx context.Context, by Actor, deed Deed) error
}

// ExporterWatcher knows how the sources are.
type ExporterWatcher interface {
	Exporters(ctx context.Context) (Exporters, error)
}

// NoticeDesk has what customers were told, and takes their choices.
type NoticeDesk interface {
	// Notices returns at most limit notices with greater numbers than after, ascending; LastNotices the last ones, the newest first.
	Notices(ctx context.Context, after int64, limit int) ([]Notice, error)
	LastNotices(ctx context.Context, limit int) ([]Notice, error)
	// QuotaDecisions returns the requests for decisions, the newest first: those that are open, or all.
	QuotaDecisions(ctx context.Context, openOnly bool) ([]DecisionRequest, error)
	QuotaDecision(ctx context.Context, number int64) (DecisionRequest, error) // ErrNotFound
	// Choose records a choice; ErrNotFound, ErrConflict (it is decided, or the deadline is over), *InvalidError.
	Choose(ctx context.Context, number int64, choice string, by Actor, note string) (DecisionRequest, error)
	// Linked returns the request that a link in a mail is for, and changes nothing; ErrNotFound where the link is none of ours.
	Linked(ctx context.Context, token string) (DecisionRequest, error)
	// ChooseByLink is Choose for whoever has the link.
	ChooseByLink(ctx context.Context, token, choice string) (DecisionRequest, error)
}

// MeterReader reads single meters.
type MeterReader interface {
	// History returns the series of a meter in [from, to), one point per slot; ErrNotFound.
	History(ctx context.Context, meter string, from, to time.Time) (MeterHistory, error)
	// Top returns at most limit meters with the highest present rate, by "in", "out" or "sum".
	Top(ctx context.Context, by string, limit int) ([]TopMeter, error)
}
