package inventory

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"hostmeter/aggregator/rating"
	"hostmeter/internal/store"
	"hostmeter/schemas"
)

// table holds all rows of one kind by their keys.
type table[T any] struct {
	kind *kind
	rows map[string]T
	row  func(T) []string
	read func(*fields) T
}

func newTable[T any](k *kind, read func(*fields) T, row func(T) []string) *table[T] {
	return &table[T]{kind: k, rows: map[string]T{}, row: row, read: read}
}

// sorted returns the rows by key.
func (t *table[T]) sorted() []T {
	rows := make([]T, 0, len(t.rows))
	for _, key := range slices.Sorted(maps.Keys(t.rows)) {
		rows = append(rows, t.rows[key])
	}
	return rows
}

// state is the whole inventory in memory: what is stored, or what it would become.
type state struct {
	hasProvider bool
	provider    Provider
	prefixes    *table[Prefix]
	prices      *table[rating.Price]
	plans       *table[Plan]
	customers   *table[Customer]
	services    *table[Service]
	pools       *table[Pool]
	members     *table[PoolMember]
	changes     *table[ContractChange]
	decisions   *table[Decision]
	ownership   *table[Ownership]
	// accounting has which exporters account for each prefix, of all times.
	accounting map[netip.Prefix]*accounted
	// classes are what may be free; nil where that is not known.
	classes []string
	// closedTo is the end of each service's last closed period; it is there where changes or memberships are put.
	closedTo map[string]time.Time
	// closedPeriods are the closed periods of which credits are put, by the decisions' ids.
	closedPeriods map[string]rating.Period
}

func newState() *state {
	return &state{
		prefixes:  newTable(&kindPrefix, readPrefix, Prefix.row),
		prices:    newTable(&kindPrice, readPrice, priceRow),
		plans:     newTable(&kindPlan, readPlan, Plan.row),
		customers: newTable(&kindCustomer, readCustomer, Customer.row),
		services:  newTable(&kindService, readService, Service.row),
		pools:     newTable(&kindPool, readPool, Pool.row),
		members:   newTable(&kindMember, readMember, PoolMember.row),
		changes:   newTable(&kindChange, readChange, ContractChange.row),
		decisions: newTable(&kindDecision, readDecision, Decision.row),
		ownership: newTable(&kindOwnership, readOwnership, Ownership.row),

		accounting: map[netip.Prefix]*accounted{},
	}
}

// Version returns the version of the inventory inside a transaction of the caller.
func Version(ctx context.Context, tx *store.Tx) (int64, error) { return readVersion(ctx, tx) }

// HoldVersion says whether the inventory still has a version, and keeps it from being written until the
// caller's transaction ends: a write that has begun before conflicts with it, and is tried again.
func HoldVersion(ctx context.Context, tx *store.Tx, version int64) (bool, error) {
	n, err := tx.Exec(ctx, `UPDATE inventory_state SET version = version WHERE id = 1 AND version = ?`, version)
	if err != nil {
		return false, fmt.Errorf("hold the version of the inventory: %w", err)
	}
	return n == 1, nil
}

// readClosedTo returns the end of each service's last closed period, from the ledger's table.
func readClosedTo(ctx context.Context, tx *store.Tx) (map[string]time.Time, error) {
	rows, err := tx.Query(ctx, `SELECT service, MAX(period_to) FROM statement GROUP BY service`)
	if err != nil {
		return nil, fmt.Errorf("read the last statements: %w", err)
	}
	defer rows.Close()
	ends := map[string]time.Time{}
	for rows.Next() {
		var service string
		var to int64
		if err := rows.Scan(&service, &to); err != nil {
			return nil, fmt.Errorf("read the last statements: %w", err)
		}
		ends[service] = timeOf(to)
	}
	return ends, rows.Err()
}

func readVersion(ctx context.Context, tx *store.Tx) (version int64, err error) {
	err = tx.QueryRow(ctx, `SELECT version FROM inventory_state WHERE id = 1`).Scan(&version)
	return version, err
}

// load reads everything that is true now.
func load(ctx context.Context, tx *store.Tx) (*state, error) {
	s := newState()
	err := loadRows(ctx, tx, &kindProvider, func(f *fields) { s.hasProvider, s.provider = true, readProvider(f) })
	return s, errors.Join(err,
		loadTable(ctx, tx, s.prefixes), loadTable(ctx, tx, s.prices), loadTable(ctx, tx, s.plans),
		loadCustomers(ctx, tx, s.customers), loadTable(ctx, tx, s.services), loadTable(ctx, tx, s.pools), loadTable(ctx, tx, s.members), loadTable(ctx, tx, s.changes), loadDecisions(ctx, tx, s.decisions), loadOwnership(ctx, tx, s.ownership),
		loadAccounting(ctx, tx, s))
}

func loadTable[T any](ctx context.Context, tx *store.Tx, t *table[T]) error {
	return loadRows(ctx, tx, t.kind, func(f *fields) {
		value := t.read(f)
		t.rows[t.kind.keyOf(t.row(value))] = value
	})
}

func loadRows(ctx context.Context, tx *store.Tx, k *kind, add func(*fields)) error {
	rows, err := tx.Query(ctx, `SELECT `+strings.Join(k.table(), ", ")+` FROM `+k.name)
	if err != nil {
		return fmt.Errorf("read %s: %w", k.section, err)
	}
	defer rows.Close()
	cells := make([]string, len(k.columns))
	into := make([]any, len(cells))
	for i := range cells {
		into[i] = &cells[i]
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return fmt.Errorf("read %s: %w", k.section, err)
		}
		f := &fields{get: cellOf(k, cells)}
		add(f)
		if len(f.errs) > 0 {
			return fmt.Errorf("read %s %s: %s: %w", k.name, k.keyOf(cells), f.errs[0].column, f.errs[0].err)
		}
	}
	return rows.Err()
}

func cellOf(k *kind, cells []string) func(string) string {
	return func(column string) string {
		if i := slices.Index(k.columns, column); i >= 0 {
			return cells[i]
		}
		return ""
	}
}

// OwnersAt returns who owned what as it was believed at a version of the inventory, with the exporters that accounted
// for the prefixes at all times and nothing else. It is asked by whoever computes again what was told then, of periods
// that are closed: what is recorded of exporters later does not reach into them.
func OwnersAt(ctx context.Context, tx *store.Tx, version int64) (*Snapshot, error) {
	s := newState()
	err := errors.Join(loadAccounting(ctx, tx, s), loadOwnershipWhere(ctx, tx, s.ownership,
		`recorded_version <= ? AND (superseded_version = 0 OR superseded_version > ?)`, version, version))
	if err != nil {
		return nil, err
	}
	return newSnapshot(version, s)
}

func loadOwnership(ctx context.Context, tx *store.Tx, t *table[Ownership]) error {
	return loadOwnershipWhere(ctx, tx, t, `superseded_version = 0`)
}

func loadOwnershipWhere(ctx context.Context, tx *store.Tx, t *table[Ownership], condition string, args ...any) error {
	rows, err := tx.Query(ctx, `SELECT meter_key, service, valid_from, valid_until, recorded_at FROM ownership WHERE `+condition, args...)
	if err != nil {
		return fmt.Errorf("read ownership: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var o Ownership
		var from, until, recorded int64
		if err := rows.Scan(&o.Key, &o.Service, &from, &until, &recorded); err != nil {
			return fmt.Errorf("read ownership: %w", err)
		}
		o.From, o.Until, o.RecordedAt = timeOf(from), timeOf(until), timeOf(recorded)
		t.rows[t.kind.keyOf(o.row())] = o
	}
	return rows.Err()
}

// timeOf reads a stored time; 0 is none.
func timeOf(nanoseconds int64) time.Time {
	if nanoseconds == 0 {
		return time.Time{}
	}
	return time.Unix(0, nanoseconds).UTC()
}

func nanoseconds(at time.Time) int64 {
	if at.IsZero() {
		return 0
	}
	return at.UnixNano()
}

// Change is a span in which ownership of a key is no longer what it was believed to be.
type Change struct {
	Key schemas.MeterID
	// From and To are [From, To) in whole slots; a zero To is open-ended.
	From, To time.Time
}

// OwnershipChanges returns the spans whose ownership changed by writes with versions in (after,
// through]. It is asked by whoever has told usage by owner before.
func (inv *Inventory) OwnershipChanges(ctx context.Context, after, through int64) ([]Change, error) {
	var changes []Change
	err := inv.db.View(ctx, func(tx *store.Tx) (err error) {
		changes, err = OwnershipChanges(ctx, tx, after, through)
		return err
	})
	return changes, err
}

// ownedSpan is a row of ownership that was added or superseded.
type ownedSpan struct {
	key, service string
	from, until  int64
}

// OwnershipChanges is the method of that name inside a transaction of the caller.
func OwnershipChanges(ctx context.Context, tx *store.Tx, after, through int64) ([]Change, error) {
	read := func(column string) ([]ownedSpan, error) {
		spans, err := store.List(ctx, tx, func(row store.Row) (s ownedSpan, err error) {
			err = row.Scan(&s.key, &s.service, &s.from, &s.until)
			return s, err
		}, `SELECT meter_key, service, valid_from, valid_until FROM ownership
			WHERE `+column+` > ? AND `+column+` <= ? ORDER BY meter_key, valid_from, id`, after, through)
		if err != nil {
			err = fmt.Errorf("read changes of ownership: %w", err)
		}
		return spans, err
	}
	superseded, err := read("superseded_version")
	if err != nil {
		return nil, err
	}
	recorded, err := read("recorded_version")
	if err != nil {
		return nil, err
	}
	return changesBetween(superseded, recorded), nil
}

// ChangesBetween returns the spans whose ownership differs in two states of the inventory.
func ChangesBetween(before, after *Snapshot) []Change {
	return changesBetween(spansBeyond(before, after), spansBeyond(after, before))
}

// spansBeyond returns the rows of ownership that a state has and another has not.
func spansBeyond(s, other *Snapshot) []ownedSpan {
	known := make(map[ownedSpan]bool, len(other.ownership))
	for _, o := range other.ownership {
		known[o.span()] = true
	}
	var spans []ownedSpan
	for _, o := range s.ownership {
		if span := o.span(); !known[span] {
			spans = append(spans, span)
		}
	}
	return spans
}

func (o Ownership) span() ownedSpan {
	return ownedSpan{key: string(o.Key), service: o.Service, from: nanoseconds(o.From), until: nanoseconds(o.Until)}
}

// changesBetween leaves out what is the same before and after, as the past of an ownership that was
// only ended.
func changesBetween(superseded, recorded []ownedSpan) []Change {
	type start struct {
		key, service string
		from         int64
	}
	ended, times := map[start]int64{}, map[start]int{}
	for _, s := range superseded {
		at := start{s.key, s.service, s.from}
		ended[at] = s.until
		times[at]++
	}
	for _, r := range recorded {
		times[start{r.key, r.service, r.from}]++
	}
	var changes []Change
	add := func(key string, from, to int64) {
		change := Change{Key: schemas.MeterID(key), From: SlotAfter(timeOf(from))}
		if to != 0 {
			change.To = SlotAfter(timeOf(to))
		}
		changes = append(changes, change)
	}
	paired := map[start]bool{}
	for _, r := range recorded {
		at := start{r.key, r.service, r.from}
		before, ok := ended[at]
		if !ok || times[at] != 2 { // not one row in the place of one other
			add(r.key, r.from, r.until)
			continue
		}
		paired[at] = true
		switch {
		case before == r.until:
		case before == 0 || r.until != 0 && r.until < before:
			add(r.key, r.until, before)
		default:
			add(r.key, before, r.until)
		}
	}
	for _, s := range superseded {
		if !paired[start{s.key, s.service, s.from}] {
			add(s.key, s.from, s.until)
		}
	}
	return changes
}
