package ledger

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"hostmeter/aggregator/rating"
	"hostmeter/internal/failpoint"
	"hostmeter/internal/inventory"
	"hostmeter/internal/store"
	"hostmeter/schemas"
)

// EmitUsageRecords adds to the feed what has been sealed since the last call, and the corrections for
// what has become known since about days that were told: late usage, and owners that were told late.
// It returns the number of records written.
//
// One rule makes both: for each span, what is wanted in all, less what was told. So a call that is
// repeated, killed half way or run by several processes at once tells nothing twice.
func (l *Ledger) EmitUsageRecords(ctx context.Context, inv *inventory.Inventory) (int, error) {
	const attempts = 5
	for i := 1; ; i++ {
		n, err := l.emitOnce(ctx, inv)
		if !errors.Is(err, errInventoryMoved) || i == attempts {
			return n, err
		}
	}
}

// errInventoryMoved says that ownership has changed since the snapshot that records were made with.
var errInventoryMoved = errors.New("the inventory has changed meanwhile")

func (l *Ledger) emitOnce(ctx context.Context, inv *inventory.Inventory) (int, error) {
	owners, err := inv.Snapshot(ctx)
	if err != nil {
		return 0, err
	}
	e := emission{owners: owners}
	if err := l.db.View(ctx, func(tx *store.Tx) error { return e.plan(ctx, tx) }); err != nil {
		return 0, fmt.Errorf("tell usage records: %w", err)
	}
	total := 0
	for _, day := range slices.SortedFunc(maps.Keys(e.days), time.Time.Compare) {
		n := 0
		err := l.retry(ctx, func(tx *store.Tx) (err error) {
			n, err = e.emitDay(ctx, tx, day)
			return err
		})
		if err != nil {
			return total, fmt.Errorf("tell usage records of %s: %w", day.Format(time.DateOnly), err)
		}
		if n > 0 {
			failpoint.Hit(failpoint.LedgerTold)
		}
		total += n
	}
	if !e.moved() {
		return total, nil
	}
	err = l.retry(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(ctx, `UPDATE usage_record_head SET
			through = CASE WHEN through < ? THEN ? ELSE through END,
			booking = CASE WHEN booking < ? THEN ? ELSE booking END,
			inventory_version = CASE WHEN inventory_version < ? THEN ? ELSE inventory_version END WHERE id = 1`,
			e.sealed.UnixNano(), e.sealed.UnixNano(), int64(e.booking), int64(e.booking), owners.Version, owners.Version)
		return err
	})
	if err != nil {
		return total, fmt.Errorf("tell usage records: %w", err)
	}
	return total, nil
}

// emission is one call of EmitUsageRecords.
type emission struct {
	owners *inventory.Snapshot

	through time.Time // sealed hours before it have been told
	before  struct {
		booking Booking
		version int64
	}
	sealed  time.Time
	booking Booking
	// days are those to tell; where the set of meters is not nil, those meters alone.
	days map[time.Time]map[schemas.MeterID]bool
}

func (e *emission) moved() bool {
	return !e.sealed.IsZero() && (e.sealed.After(e.through) || e.booking > e.before.booking || e.owners.Version > e.before.version)
}

func (e *emission) plan(ctx context.Context, tx *store.Tx) (err error) {
	var through int64
	err = tx.QueryRow(ctx, `SELECT through, booking, inventory_version FROM usage_record_head WHERE id = 1`).
		Scan(&through, &e.before.booking, &e.before.version)
	if err != nil {
		return err
	}
	e.days = map[time.Time]map[schemas.MeterID]bool{}
	if e.sealed, e.booking, err = sealedThrough(ctx, tx); err != nil || e.sealed.IsZero() {
		return err
	}
	begin, found, err := beginning(ctx, tx)
	if err != nil || !found {
		return err
	}
	e.through = hourTime(begin)
	if through != 0 {
		e.through = time.Unix(0, through).UTC()
	}
	e.planSealed()
	if err := e.planLate(ctx, tx); err != nil {
		return err
	}
	changes, err := inventory.OwnershipChanges(ctx, tx, e.before.version, e.owners.Version)
	for _, change := range changes {
		to := e.through
		if !change.To.IsZero() {
			to = earlier(change.To, to)
		}
		for day := dayOf(later(change.From, hourTime(begin))); day.Before(to); day = day.Add(24 * time.Hour) {
			e.days[day] = nil
		}
	}
	state, stateErr := readState(ctx, tx)
	maps.DeleteFunc(e.days, func(day time.Time, _ map[schemas.MeterID]bool) bool { // what retention has taken is told for good
		return day.Unix() < keptFrom(state.slotsPruned)
	})
	return errors.Join(err, stateErr)
}

// planSealed takes the days of newly sealed hours: whole ones, and of the last the part that ends at
// the end of a period or of an ownership.
func (e *emission) planSealed() {
	for day := dayOf(e.through); day.Add(24*time.Hour).Before(e.sealed) || day.Add(24*time.Hour).Equal(e.sealed); day = day.Add(24 * time.Hour) {
		e.days[day] = nil
	}
	last := dayOf(e.sealed)
	since := later(last, e.through)
	for _, cut := range e.cutsBefore(e.sealed) {
		if cut.After(since) && !cut.After(e.sealed) {
			e.days[last] = nil
			return
		}
	}
}

// cutsBefore returns the bounds of periods and ownerships that could lie in the day before at.
func (e *emission) cutsBefore(at time.Time) []time.Time {
	var cuts []time.Time
	for _, service := range e.owners.Services() {
		if _, period, err := e.owners.PeriodAt(service.ID, at); err == nil {
			cuts = append(cuts, inventory.SlotAfter(period.From))
		}
	}
	for _, o := range e.owners.Ownerships() {
		cuts = append(cuts, inventory.SlotAfter(o.From))
		if !o.Until.IsZero() {
			cuts = append(cuts, inventory.SlotAfter(o.Until))
		}
	}
	return cuts
}

// planLate takes the days of late entries, with their meters alone.
func (e *emission) planLate(ctx context.Context, tx *store.Tx) error {
	rows, err := tx.Query(ctx, `SELECT DISTINCT hour, meter FROM late_entry WHERE booking > ? AND booking <= ?`, int64(e.before.booking), int64(e.booking))
	if err != nil {
		return fmt.Errorf("read late entries: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var hour int64
		var meter schemas.MeterID
		if err := rows.Scan(&hour, &meter); err != nil {
			return fmt.Errorf("read late entries: %w", err)
		}
		day := dayOf(hourTime(hour))
		meters, planned := e.days[day]
		switch {
		case !planned:
			e.days[day] = map[schemas.MeterID]bool{meter: true}
		case meters != nil:
			meters[meter] = true
		}
	}
	return rows.Err()
}

// recordKey is what a record is about.
type recordKey struct {
	service, meter, class, direction string
	from, to                         int64
}

func compareKeys(a, b recordKey) int {
	for _, pair := range [][2]string{{a.service, b.service}, {a.meter, b.meter}, {a.class, b.class}, {a.direction, b.direction}} {
		if c := strings.Compare(pair[0], pair[1]); c != 0 {
			return c
		}
	}
	if a.from != b.from {
		return int(min(max(a.from-b.from, -1), 1))
	}
	return int(min(max(a.to-b.to, -1), 1))
}

func (k recordKey) id() string {
	return strings.Join([]string{k.service, k.meter, k.class, k.direction, time.Unix(0, k.from).UTC().Format(time.RFC3339), time.Unix(0, k.to).UTC().Format(time.RFC3339)}, "|")
}

// amounts are sums of a span. customer and period are those of the first record of it.
type amounts struct {
	octets, packets, varianceKiB2 int64
	customer                      string
	period                        rating.Period
	records                       int
}

// emitDay tells a day's records inside tx.
func (e *emission) emitDay(ctx context.Context, tx *store.Tx, day time.Time) (int, error) {
	// The head is locked first: whoever else emits waits, or begins again.
	if _, err := tx.Exec(ctx, `UPDATE usage_record_head SET last_seq = last_seq WHERE id = 1`); err != nil {
		return 0, err
	}
	if version, err := inventory.Version(ctx, tx); err != nil || version != e.owners.Version {
		return 0, errors.Join(err, errInventoryMoved)
	}
	sealed, _, err := sealedThrough(ctx, tx) // somebody else may have told more than was planned here
	if err != nil {
		return 0, err
	}
	wanted, err := e.wanted(ctx, tx, day, sealed)
	if err != nil {
		return 0, err
	}
	told, err := e.told(ctx, tx, day)
	if err != nil {
		return 0, err
	}
	keys := slices.Collect(maps.Keys(wanted))
	for key := range told {
		if _, ok := wanted[key]; !ok {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, compareKeys)
	w := recordWriter{known: newCoverages(nil), owners: e.owners, day: day}
	for _, key := range keys {
		if err := w.add(ctx, tx, key, wanted[key], told[key]); err != nil {
			return 0, err
		}
	}
	return len(w.records), w.write(ctx, tx)
}

// wanted returns the sums of the spans of a day that are sealed to their end.
func (e *emission) wanted(ctx context.Context, tx *store.Tx, day, sealed time.Time) (map[recordKey]*amounts, error) {
	sums := map[recordKey]*amounts{}
	end := day.Add(24 * time.Hour)
	a := attribution{owners: e.owners, targets: e.targets(day, end)}
	a.add = func(p part) {
		if p.segment.To.After(sealed) {
			return
		}
		for _, side := range []struct {
			direction string
			usage     Usage
		}{{"in", p.in}, {"out", p.out}} {
			if side.usage.Octets == 0 && side.usage.Packets == 0 {
				continue
			}
			key := recordKey{service: p.target.contract.Service, meter: string(p.meter), class: p.class, direction: side.direction,
				from: p.segment.From.UnixNano(), to: p.segment.To.UnixNano()}
			sum := sums[key]
			if sum == nil {
				sum = &amounts{customer: p.target.contract.Customer, period: p.target.period}
				sums[key] = sum
			}
			sum.octets += int64(side.usage.Octets)
			sum.packets += int64(side.usage.Packets)
			sum.varianceKiB2 += int64(side.usage.VarianceKiB2)
		}
	}
	meters := e.days[day]
	if meters == nil || len(meters) > maxMeterQueries {
		a.queries = []Query{{From: day, To: end}}
	} else {
		for _, meter := range slices.Sorted(maps.Keys(meters)) {
			a.queries = append(a.queries, Query{From: day, To: end, Meter: meter})
		}
	}
	if err := a.run(ctx, tx); err != nil {
		return nil, err
	}
	if meters := e.days[day]; meters != nil {
		maps.DeleteFunc(sums, func(key recordKey, _ *amounts) bool { return !meters[schemas.MeterID(key.meter)] })
	}
	return sums, nil
}

// targets returns the periods of all services that share an instant with a day.
func (e *emission) targets(from, to time.Time) map[string][]*target {
	targets := map[string][]*target{}
	for _, service := range e.owners.Services() {
		for at := from; at.Before(to); {
			contract, p, err := e.owners.PeriodAt(service.ID, at)
			if err != nil {
				break
			}
			targets[service.ID] = append(targets[service.ID], &target{contract: contract, period: p})
			at = p.To
		}
	}
	return targets
}

// told returns the sums of the records of a day, of the meters that are looked at.
func (e *emission) told(ctx context.Context, tx *store.Tx, day time.Time) (map[recordKey]*amounts, error) {
	rows, err := tx.Query(ctx, `SELECT service, meter, class, direction, from_at, to_at, customer, period_from, period_to, octets, packets, variance_kib2
		FROM usage_record WHERE day = ? ORDER BY seq`, day.Unix()/86400)
	if err != nil {
		return nil, fmt.Errorf("read usage records: %w", err)
	}
	defer rows.Close()
	meters := e.days[day]
	sums := map[recordKey]*amounts{}
	for rows.Next() {
		var key recordKey
		var record amounts
		var from, to int64
		if err := rows.Scan(&key.service, &key.meter, &key.class, &key.direction, &key.from, &key.to, &record.customer, &from, &to,
			&record.octets, &record.packets, &record.varianceKiB2); err != nil {
			return nil, fmt.Errorf("read usage records: %w", err)
		}
		if meters != nil && !meters[schemas.MeterID(key.meter)] {
			continue
		}
		sum := sums[key]
		if sum == nil {
			sum = &amounts{customer: record.customer, period: rating.Period{From: time.Unix(0, from).UTC(), To: time.Unix(0, to).UTC()}}
			sums[key] = sum
		}
		sum.octets += record.octets
		sum.packets += record.packets
		sum.varianceKiB2 += record.varianceKiB2
		sum.records++
	}
	return sums, rows.Err()
}

// recordWriter gathers the records of one day and writes them under one lock.
type recordWriter struct {
	known   *coverages
	owners  *inventory.Snapshot
	day     time.Time
	records []fresh
}

// fresh is a record that has no number yet, with the variance of its estimate.
type fresh struct {
	schemas.UsageRecord
	varianceKiB2 int64
}

// add makes the record of a span, if anything is to be told of it.
func (w *recordWriter) add(ctx context.Context, tx *store.Tx, key recordKey, wanted, told *amounts) error {
	if wanted == nil {
		wanted = &amounts{}
	}
	record := fresh{schemas.UsageRecord{ID: key.id(), Kind: RecordUsage, Customer: wanted.customer, Service: key.service, Meter: schemas.MeterID(key.meter),
		Class: key.class, Direction: key.direction, PeriodFrom: wanted.period.From, PeriodTo: wanted.period.To,
		From: time.Unix(0, key.from).UTC(), To: time.Unix(0, key.to).UTC(),
		Octets: wanted.octets, Packets: wanted.packets}, wanted.varianceKiB2}
	if told != nil {
		first := record.ID
		record.Kind, record.Corrects = RecordCorrection, &first
		record.ID += "#" + strconv.Itoa(told.records)
		record.Customer, record.PeriodFrom, record.PeriodTo = told.customer, told.period.From, told.period.To
		record.Octets -= told.octets
		record.Packets -= told.packets
		record.varianceKiB2 -= told.varianceKiB2
	}
	if record.Octets == 0 && record.Packets == 0 && record.varianceKiB2 == 0 {
		return nil
	}
	covered, err := w.known.of(ctx, tx, w.owners.ExportersOf(record.Meter, record.From, record.To))
	if err != nil {
		return err
	}
	if covered.Share >= 0 {
		record.Coverage = &covered.Share
	}
	w.records = append(w.records, record)
	return nil
}

func (w *recordWriter) write(ctx context.Context, tx *store.Tx) error {
	if len(w.records) == 0 {
		return nil
	}
	if _, err := tx.Exec(ctx, `UPDATE usage_record_head SET last_seq = last_seq + ? WHERE id = 1`, len(w.records)); err != nil {
		return err
	}
	var last int64
	if err := tx.QueryRow(ctx, `SELECT last_seq FROM usage_record_head WHERE id = 1`).Scan(&last); err != nil {
		return err
	}
	insert, err := tx.Prepare(ctx, `INSERT INTO usage_record (seq, id, kind, customer, service, meter, class, direction, period_from, period_to,
		from_at, to_at, day, octets, packets, variance_kib2, coverage, recorded_at, corrects) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`)
	if err != nil {
		return err
	}
	defer insert.Close()
	for i, r := range w.records {
		covered, corrects := "", ""
		if r.Corrects != nil {
			corrects = *r.Corrects
		}
		if r.Coverage != nil {
			covered = strconv.FormatFloat(*r.Coverage, 'g', -1, 64)
		}
		_, err := insert.ExecContext(ctx, last-int64(len(w.records)-1-i), r.ID, r.Kind, r.Customer, r.Service, string(r.Meter), r.Class, r.Direction,
			r.PeriodFrom.UnixNano(), r.PeriodTo.UnixNano(), r.From.UnixNano(), r.To.UnixNano(), w.day.Unix()/86400,
			r.Octets, r.Packets, r.varianceKiB2, covered, tx.Now.UnixNano(), corrects)
		if err != nil {
			return fmt.Errorf("write usage record %s: %w", r.ID, err)
		}
	}
	return nil
}
