package statement

import (
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"math"
	"slices"
	"strings"
	"time"

	"hostmeter/aggregator/rating"
)

// SlotLength is the length of the ledger's slots, in which presence is told.
const SlotLength = 5 * time.Minute

// Evidence is what stands behind the rows of one service and period: the usage that was rated, who
// owned it, the contract and the price that were applied, and how well it was measured.
//
// The counted usage of Days, of Hours and of Owned each add up to the octets of Rows, where Difference
// is zero.
type Evidence struct {
	CustomerName string `json:"customer_name"` // empty where it is not known any more
	// Rows are the statement and its adjustments, by revision; while the period is open the one
	// provisional row.
	Rows     []Row           `json:"rows"`
	Contract rating.Contract `json:"contract"`
	Price    *rating.Price   `json:"price"`    // the version that applied; nil where none was needed
	Closings []Closing       `json:"closings"` // one for each closed row
	Owned    []Owned         `json:"owned"`
	// Days are local days of the contract's zone, Hours those of UTC, both cut at the period's bounds
	// and in order of time and class. What counts has an entry for each day.
	Days      []Usage    `json:"days"`
	Hours     []Usage    `json:"hours"`
	Slots     Slots      `json:"slots"`
	Exporters []Exporter `json:"exporters"`
	// Difference is usage that is known by now, and is in no row yet: an adjustment will hold it.
	Difference Difference `json:"difference"`
	// Reconciliation has the UTC days of the period whose hours are sealed: what the service's meters of each kind counted,
	// the band of its witnesses and the verdict, from the same late entries as Days.
	Reconciliation []Reconciled `json:"reconciliation"`
}

// Closing says when a row was closed, and from what.
type Closing struct {
	Revision         int       `json:"revision"`
	Number           int64     `json:"number"` // in the chain of statements
	Hash             string    `json:"hash"`
	ClosedAt         time.Time `json:"closed_at"`
	SealedThrough    time.Time `json:"sealed_through"`
	Booking          int64     `json:"booking"` // the last late entry that was read
	InventoryVersion int64     `json:"inventory_version"`
	RatingVersion    int       `json:"rating_version"`
}

// Owned is a span in which a meter was the service's.
type Owned struct {
	Meter string    `json:"meter"`
	Key   string    `json:"key"` // what the inventory says is owned: the meter itself, or a prefix around it
	From  time.Time `json:"from"`
	To    time.Time `json:"to"`
	// InOctets and OutOctets are of the classes that count.
	InOctets  int64 `json:"in_octets"`
	OutOctets int64 `json:"out_octets"`
}

// Usage is usage of a class in [From, To).
type Usage struct {
	From       time.Time `json:"from"`
	To         time.Time `json:"to"`
	Class      string    `json:"class"`
	Counted    bool      `json:"counted"`            // against the quota
	Excluded   bool      `json:"excluded,omitempty"` // it would count, but for a decision
	InOctets   int64     `json:"in_octets"`
	OutOctets  int64     `json:"out_octets"`
	InPackets  int64     `json:"in_packets"`
	OutPackets int64     `json:"out_packets"`
}

// Slots counts the five minutes of the period, until now where it is open. One is missing where an
// accounting exporter was not observed for a part of it.
type Slots struct {
	Expected int64 `json:"expected"`
	Present  int64 `json:"present"`
	Missing  int64 `json:"missing"`
	Gaps     []Gap `json:"gaps"` // by exporter and time
}

// Gap is a span in which an exporter was not observed.
type Gap struct {
	Exporter string    `json:"exporter"`
	From     time.Time `json:"from"`
	To       time.Time `json:"to"`
}

// Exporter is what an accounting exporter of the service told in the period, of all that it saw.
type Exporter struct {
	Exporter        string `json:"exporter"`
	MinutesExpected int64  `json:"minutes_expected"`
	MinutesObserved int64  `json:"minutes_observed"`
	Datagrams       int64  `json:"datagrams"`
	Records         int64  `json:"records"`
	// Octets is ReportedOctets multiplied by sampling, record by record.
	ReportedOctets         int64   `json:"reported_octets"`
	Octets                 int64   `json:"octets"`
	UnknownSamplingRecords int64   `json:"unknown_sampling_records"`
	Lost                   []Count `json:"lost"`
	Dropped                []Count `json:"dropped"`
	// LostOctets is an estimate, of all that the exporter saw; it is never added to usage.
	LostOctets int64 `json:"lost_octets_estimated"`
}

// Count is a number of things, for a reason.
type Count struct {
	Unit   string `json:"unit"`
	Reason string `json:"reason"`
	Count  int64  `json:"count"`
}

// Difference is signed.
type Difference struct {
	InOctets  int64 `json:"in_octets"`
	OutOctets int64 `json:"out_octets"`
}

// Evidences goes through evidence, one service and period after the other, in the order of a report's
// rows. It may be gone through more than once. After an error there is no more.
type Evidences = iter.Seq2[Evidence, error]

// Last is the row of the highest revision.
func (e Evidence) Last() Row { return e.Rows[len(e.Rows)-1] }

// Zone is the contract's.
func (e Evidence) Zone() *time.Location {
	if e.Contract.Schedule.Zone != nil {
		return e.Contract.Schedule.Zone
	}
	return e.Rows[0].PeriodFrom.Location()
}

// Sum returns the signed octets of all rows.
func (e Evidence) Sum() (in, out int64) {
	for _, row := range e.Rows {
		in, out = in+row.InOctets, out+row.OutOctets
	}
	return in, out
}

// Charged says that a row of the evidence is a charge, a waived one or an adjustment.
func (r Row) Charged() bool { return r.Kind != rating.KindNone }

// Interval95 returns the billable octets of all rows, and the bounds between which their true value
// lies in 95 of 100 months, where the error is of sampling alone: 1.96 standard errors to either side.
func (e Evidence) Interval95() (billable, low, high int64) {
	for _, row := range e.Rows {
		billable += row.BillableOctets
	}
	margin := int64(math.Round(1.96 * float64(e.Last().StandardErrorOctets)))
	return billable, max(billable-margin, 0), billable + margin
}

// UnitBatches and LostByLog are how batches stand among what is lost that a log lost before they were booked: parts of
// what a collector had counted, of some of its exporters.
const (
	UnitBatches = "batches"
	LostByLog   = "log"
)

// LostOctets is the sum of the exporters' estimates.
func (e Evidence) LostOctets() (octets int64) {
	for _, x := range e.Exporters {
		octets += x.LostOctets
	}
	return octets
}

// Only returns the report of the rows that keep says yes to, with their sums: what a customer is sent.
// Traffic that nobody owned, exporters and services without a row are not in it.
func (r Report) Only(keep func(Row) bool) Report {
	part := r
	part.Rows, part.Unowned, part.Exporters, part.Problems, part.Provisional = nil, nil, nil, nil, false
	for _, row := range r.Rows {
		if keep(row) {
			part.Rows = append(part.Rows, row)
			part.Provisional = part.Provisional || row.Provisional
		}
	}
	part.Totals = Totals(part.Rows)
	return part
}

// Totals returns the sums of the rows' amounts by currency.
func Totals(rows []Row) []Total {
	var sums []Total
	for _, row := range rows {
		at := slices.IndexFunc(sums, func(t Total) bool { return t.Currency == row.Currency })
		if at < 0 {
			at, sums = len(sums), append(sums, Total{Currency: row.Currency})
		}
		sums[at].AmountExVAT = sums[at].AmountExVAT.Add(row.AmountExVAT)
	}
	slices.SortFunc(sums, func(a, b Total) int { return strings.Compare(a.Currency, b.Currency) })
	return sums
}

// WriteEvidenceJSON writes evidence as a JSON array, one element at a time. Lists are never null.
func WriteEvidenceJSON(w io.Writer, evidence Evidences) error {
	before := "["
	for e, err := range evidence {
		if err != nil {
			return err
		}
		text, err := json.MarshalIndent(e.withoutNulls(), "  ", "  ")
		if err != nil {
			return fmt.Errorf("write evidence of %s: %w", e.Rows[0].Service, err)
		}
		if _, err := fmt.Fprintf(w, "%s\n  %s", before, text); err != nil {
			return fmt.Errorf("write evidence of %s: %w", e.Rows[0].Service, err)
		}
		before = ","
	}
	end := "\n]\n"
	if before == "[" {
		end = "[]\n"
	}
	_, err := io.WriteString(w, end)
	return err
}

func (e Evidence) withoutNulls() Evidence {
	e.Rows = Report{Rows: e.Rows}.withoutNulls().Rows
	e.Closings, e.Owned, e.Days, e.Hours = list(e.Closings), list(e.Owned), list(e.Days), list(e.Hours)
	e.Slots.Gaps, e.Reconciliation = list(e.Slots.Gaps), list(e.Reconciliation)
	e.Exporters = slices.Clone(list(e.Exporters))
	for i := range e.Exporters {
		e.Exporters[i].Lost, e.Exporters[i].Dropped = list(e.Exporters[i].Lost), list(e.Exporters[i].Dropped)
	}
	return e
}

func list[T any](l []T) []T {
	if l == nil {
		return []T{}
	}
	return l
}

// IsZero says that all usage that is known is in a row.
func (d Difference) IsZero() bool { return d == Difference{} }
