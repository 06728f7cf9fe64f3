package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/bits"
	"slices"
	"sort"
	"strings"
	"time"

	statements "hostmeter/aggregator/statement" // in this package a statement is also one of SQL
	"hostmeter/internal/store"
	"hostmeter/schemas"
)

// Account is what was done with an exporter's datagrams in an hour of receive time. Octets is the sum
// of OctetsOnce, OctetsBoth, OctetsTransit and OctetsUncounted.
type Account struct {
	Exporter, Protocol string
	Hour               time.Time
	// MinutesObserved has bit m set where minute m was observed.
	MinutesObserved uint64

	Datagrams, Records, OptionRecords, Templates, CounterSamples int64
	// Reported counts are as the exporter wrote them; the others are multiplied by sampling.
	ReportedOctets, ReportedPackets, Octets, Packets       int64
	OctetsOnce, OctetsBoth, OctetsTransit, OctetsUncounted int64
	ClampedRecords, UnknownSamplingRecords                 int64
	// Dropped, Held and Lost are sorted by unit and reason; none is 0.
	Dropped, Held, Lost []Count
}

// Count is a number of things of a unit, for a reason.
type Count struct {
	Unit, Reason string
	Count        int64
}

// accountColumns are the sums of exporter_hour, in the order of accountNumbers.
var accountColumns = []string{
	"datagrams", "records", "option_records", "templates", "counter_samples",
	"reported_octets", "reported_packets", "octets", "packets",
	"octets_once", "octets_both", "octets_transit", "octets_uncounted",
	"clamped_records", "unknown_sampling_records",
}

const accountSums = 15

func accountNumbers(a *schemas.ExporterAccount) [accountSums]uint64 {
	return [...]uint64{
		a.GetDatagrams(), a.GetRecords(), a.GetOptionRecords(), a.GetTemplates(), a.GetCounterSamples(),
		a.GetReportedOctets(), a.GetReportedPackets(), a.GetOctets(), a.GetPackets(),
		a.GetOctetsOnce(), a.GetOctetsBoth(), a.GetOctetsTransit(), a.GetOctetsUncounted(),
		a.GetClampedRecords(), a.GetUnknownSamplingRecords(),
	}
}

type accountKey struct {
	exporter string
	hour     int64
	protocol string
}

// accountRow is a row of exporter_hour. counts is by "dropped|held|lost/UNIT/REASON".
type accountRow struct {
	told    uint64 // the minutes that the store has
	minutes uint64
	sums    [accountSums]int64
	counts  map[string]int64
}

func (r *accountRow) clone() *accountRow {
	c := *r
	c.counts = maps.Clone(r.counts)
	return &c
}

// add adds a batch's difference. Errors: refusal, where a sum does not fit; r is then of no use.
func (r *accountRow) add(a *schemas.ExporterAccount) error {
	r.minutes |= a.GetMinutesObserved()
	for i, n := range accountNumbers(a) {
		if r.sums[i] > math.MaxInt64-int64(n) {
			return refuse("account of exporter %q, hour %d: %s does not fit any more", a.GetExporter(), a.GetHour(), accountColumns[i])
		}
		r.sums[i] += int64(n)
	}
	kinds := map[string][]*schemas.Count{"dropped": a.GetDropped(), "held": a.GetHeld(), "lost": a.GetLost()}
	for kind, counts := range kinds {
		for _, c := range counts {
			name := kind + "/" + c.GetUnit() + "/" + c.GetReason()
			sum := r.counts[name] + c.GetCount()
			if (c.GetCount() > 0) != (sum > r.counts[name]) && c.GetCount() != 0 {
				return refuse("account of exporter %q, hour %d: %s does not fit any more", a.GetExporter(), a.GetHour(), name)
			}
			if r.counts[name] = sum; sum == 0 {
				delete(r.counts, name)
			}
		}
	}
	return nil
}

// readAccount reads one row, or returns an empty one. Errors: ErrCorrupt.
func readAccount(ctx context.Context, tx *store.Tx, key accountKey) (*accountRow, error) {
	query := "SELECT minutes_observed, " + columns(accountColumns) + ", counts FROM exporter_hour WHERE exporter = ? AND hour = ? AND protocol = ?"
	r := &accountRow{}
	var minutes int64
	var counts string
	into := []any{&minutes}
	for i := range r.sums {
		into = append(into, &r.sums[i])
	}
	err := tx.QueryRow(ctx, query, key.exporter, key.hour, key.protocol).Scan(append(into, &counts)...)
	if errors.Is(err, sql.ErrNoRows) {
		return &accountRow{counts: make(map[string]int64)}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the account of %s in hour %d: %w", key.exporter, key.hour, err)
	}
	r.told, r.minutes = uint64(minutes), uint64(minutes)
	if err := json.Unmarshal([]byte(counts), &r.counts); err != nil || r.counts == nil {
		return nil, fmt.Errorf("counts of exporter %s in hour %d: %w", key.exporter, key.hour, ErrCorrupt)
	}
	return r, nil
}

// Accounts calls f with the accounts of the hours that begin in [from, to), by exporter, hour and
// protocol. A zero time is no bound.
func (l *Ledger) Accounts(ctx context.Context, from, to time.Time, f func(Account) error) error {
	return l.db.View(ctx, func(tx *store.Tx) error { return accounts(ctx, tx, "", from, to, f) })
}

// accounts is Accounts in a transaction, of one exporter where it is not empty.
func accounts(ctx context.Context, tx *store.Tx, exporter string, from, to time.Time, f func(Account) error) error {
	first, last := hourBounds(from, to)
	query := "SELECT exporter, hour, protocol, minutes_observed, " + columns(accountColumns) + ", counts FROM exporter_hour WHERE hour >= ? AND hour < ?"
	args := []any{first, last}
	if exporter != "" {
		query, args = query+" AND exporter = ?", append(args, exporter)
	}
	rows, err := tx.Query(ctx, query+" ORDER BY exporter"+collate(tx)+", hour, protocol", args...)
	if err != nil {
		return fmt.Errorf("read the exporters' accounts: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		a, err := scanAccount(rows)
		if err != nil {
			return err
		}
		if err := f(a); err != nil {
			return err
		}
	}
	return rows.Err()
}

func scanAccount(rows *sql.Rows) (a Account, err error) {
	var hour, minutes int64
	var counts string
	into := []any{
		&a.Exporter, &hour, &a.Protocol, &minutes,
		&a.Datagrams, &a.Records, &a.OptionRecords, &a.Templates, &a.CounterSamples,
		&a.ReportedOctets, &a.ReportedPackets, &a.Octets, &a.Packets,
		&a.OctetsOnce, &a.OctetsBoth, &a.OctetsTransit, &a.OctetsUncounted,
		&a.ClampedRecords, &a.UnknownSamplingRecords, &counts,
	}
	if err := rows.Scan(into...); err != nil {
		return a, err
	}
	a.Hour, a.MinutesObserved = hourTime(hour), uint64(minutes)
	var byName map[string]int64
	if err := json.Unmarshal([]byte(counts), &byName); err != nil {
		return a, fmt.Errorf("counts of exporter %s at %s: %w", a.Exporter, a.Hour, ErrCorrupt)
	}
	lists := map[string]*[]Count{"dropped": &a.Dropped, "held": &a.Held, "lost": &a.Lost}
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		parts := strings.SplitN(name, "/", 3)
		if len(parts) != 3 || lists[parts[0]] == nil {
			return a, fmt.Errorf("count %q of exporter %s at %s: %w", name, a.Exporter, a.Hour, ErrCorrupt)
		}
		list := lists[parts[0]]
		*list = append(*list, Count{Unit: parts[1], Reason: parts[2], Count: byName[name]})
	}
	return a, nil
}

// received is how many units of this kind arrived: the other side of a.Lost.
func (a *Account) received(unit string) int64 {
	switch unit {
	case statements.UnitBatches:
		return -1 // nobody counts what an exporter's share of them is
	case "datagrams":
		return a.Datagrams - a.refused()
	case "samples":
		return a.Records + a.CounterSamples
	case "records":
		return a.Records + a.OptionRecords // an IPFIX sequence number counts both
	default: // "flows"
		return a.Records
	}
}

// refused is how many datagrams arrived beyond their exporter's budget: nobody read them, as if they had been lost.
func (a *Account) refused() (n int64) {
	for _, c := range a.Dropped {
		if c.Unit == "datagrams" && c.Reason == "datagram_budget" {
			n += c.Count
		}
	}
	return n
}

// receivedShare is the part of what was sent that arrived and was read, the least of all units whose loss is
// known; and an estimate of the octets that were lost.
func (a *Account) receivedShare() (share float64, lostOctets schemas.Octets) {
	lost := make(map[string]int64)
	for _, c := range a.Lost {
		lost[c.Unit] += c.Count
	}
	lost["datagrams"] += a.refused()
	share = 1
	for unit, n := range lost {
		received := a.received(unit)
		if n <= 0 || received < 0 {
			continue
		}
		share = min(share, float64(received)/(float64(received)+float64(n)))
		if received > 0 && a.Octets > 0 {
			lostOctets = max(lostOctets, estimate(n, a.Octets, received))
		}
	}
	return share, lostOctets
}

// estimate returns lost*octets/received, at most what fits.
func estimate(lost, octets, received int64) schemas.Octets {
	high, low := bits.Mul64(uint64(lost), uint64(octets))
	if high >= uint64(received) {
		return math.MaxInt64
	}
	quotient, _ := bits.Div64(high, low, uint64(received))
	return schemas.Octets(quotient)
}

// sortedAccounts are the keys of the accounts of a transaction, in the order in which they are locked.
func sortedAccounts(m map[accountKey]*accountRow) []accountKey {
	keys := slices.Collect(maps.Keys(m))
	sort.Slice(keys, func(i, j int) bool {
		a, b := keys[i], keys[j]
		if a.exporter != b.exporter {
			return a.exporter < b.exporter
		}
		if a.hour != b.hour {
			return a.hour < b.hour
		}
		return a.protocol < b.protocol
	})
	return keys
}
