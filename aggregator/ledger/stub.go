package ledger

import (
	"context"
	"errors"
	"time"

	"hostmeter/internal/store"
	"hostmeter/internal/stream"
	"hostmeter/schemas"
)

var errStub = errors.New("not written yet")

type memory struct{}

// Book books batches in one transaction.
func (l *Ledger) Book(ctx context.Context, batches []*schemas.Batch) (Booked, error) {
	return Booked{}, errStub
}

// Watermarks returns how far each sequence has been booked.
func (l *Ledger) Watermarks(ctx context.Context) (stream.Watermarks, error) { return nil, errStub }

// DeclareGap books that a part of a sequence is lost, and goes on behind it.
func (l *Ledger) DeclareGap(ctx context.Context, gap *stream.GapError) error { return errStub }

// Sealed says what a call of Seal did.
type Sealed struct {
	// Through is the beginning of the first hour that is not sealed; zero where none is.
	Through time.Time
	// DaysThrough is the beginning of the first UTC day whose sums are not derived.
	DaysThrough time.Time
	Hours, Days int
	// Waiting names the exporters that hold the next hour open.
	Waiting []string
}

// Seal seals the hours that are due at now and derives the sums of the days that are whole.
func (l *Ledger) Seal(ctx context.Context, now time.Time) (Sealed, error) { return Sealed{}, errStub }

// SealedThrough returns the beginning of the first hour that is not sealed, or the zero time, and
// the last booking number.
func (l *Ledger) SealedThrough(ctx context.Context) (time.Time, Booking, error) {
	return time.Time{}, 0, errStub
}

// Rows calls f with each row of an hour in q, by meter, hour and class, with late entries added in. Rows
// in the tx form do the same inside a transaction of the caller; f must not use that transaction.
func (l *Ledger) Rows(ctx context.Context, q Query, f func(UsageRow) error) error {
	return l.db.View(ctx, func(tx *store.Tx) error { return rows(ctx, tx, q, f) })
}

func rows(ctx context.Context, tx *store.Tx, q Query, f func(UsageRow) error) error { return errStub }

// Days is Rows by UTC day. Days whose sums are not derived yet are added up from their hours.
func (l *Ledger) Days(ctx context.Context, q Query, f func(UsageRow) error) error {
	return l.db.View(ctx, func(tx *store.Tx) error { return days(ctx, tx, q, f) })
}

func days(ctx context.Context, tx *store.Tx, q Query, f func(UsageRow) error) error { return errStub }

// LateEntries calls f with the late entries with numbers greater than after, in their order.
func (l *Ledger) LateEntries(ctx context.Context, after Booking, f func(LateEntry) error) error {
	return l.db.View(ctx, func(tx *store.Tx) error { return lateEntries(ctx, tx, after, f) })
}

func lateEntries(ctx context.Context, tx *store.Tx, after Booking, f func(LateEntry) error) error {
	return errStub
}

// GuestRows calls f with each guest's hours in [from, to), by guest and hour; an empty guest is all.
func (l *Ledger) GuestRows(ctx context.Context, guest string, from, to time.Time, f func(GuestRow) error) error {
	return errStub
}

// Guests returns what was last told of each guest, by UUID.
func (l *Ledger) Guests(ctx context.Context) ([]Guest, error) { return nil, errStub }

// Account is what was done with an exporter's datagrams in an hour of receive time.
type Account struct {
	Exporter, Protocol string
	Hour               time.Time
	MinutesObserved    uint64 // bit m: minute m
	Datagrams, Records, OptionRecords, Templates, CounterSamples,
	ReportedOctets, ReportedPackets, Octets, Packets,
	OctetsOnce, OctetsBoth, OctetsTransit, OctetsUncounted,
	ClampedRecords, UnknownSamplingRecords int64
	Dropped, Held, Lost []Count
}

// Count is a number of things of a unit, for a reason.
type Count struct {
	Unit, Reason string
	Count        int64
}

// Accounts calls f with the accounts in [from, to), by exporter, protocol and hour.
func (l *Ledger) Accounts(ctx context.Context, from, to time.Time, f func(Account) error) error {
	return errStub
}

// Completeness is what was last booked of an exporter.
type Completeness struct {
	Exporter  string
	Collector string
	// Through: no usage before it is still expected.
	Through time.Time
	Silent  bool
	// ToldAt is the end of receipt of the batch that said so.
	ToldAt time.Time
}

// Completeness returns what was last booked of each exporter, by name: the least of all shards.
func (l *Ledger) Completeness(ctx context.Context) ([]Completeness, error) { return nil, errStub }

// Coverage says how much of what should have been observed was.
type Coverage struct {
	// Share is between 0 and 1.
	Share float64
	// Minutes of exporters that were expected, and that were observed.
	Expected, Observed int64
	// LostOctets is an estimate, lost units times their mean octets. It is never added to usage.
	LostOctets schemas.Octets
	Missing    []Missing
}

// Missing is a span [From, To) in which an exporter was not under observation.
type Missing struct {
	Exporter string
	From, To time.Time
}

// Coverage returns the coverage of the exporters together in [from, to), cut to whole minutes.
func (l *Ledger) Coverage(ctx context.Context, exporters []string, from, to time.Time) (Coverage, error) {
	return Coverage{}, errStub
}

func coverage(ctx context.Context, tx *store.Tx, exporters []string, from, to time.Time) (Coverage, error) {
	return Coverage{}, errStub
}
