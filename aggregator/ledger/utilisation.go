package ledger

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"hostmeter/aggregator/rating"
	statements "hostmeter/aggregator/statement" // in this package a statement is also one of SQL
	"hostmeter/aggregator/utilisation"
	"hostmeter/internal/inventory"
	"hostmeter/internal/store"
	"hostmeter/schemas"
)

// Errors of a notice about addresses.
var (
	ErrNotAssigned  = errors.New("is not assigned to this service now")
	ErrNoticeNotDue = errors.New("no notice is due")
)

// Utilisation tells of each IPv4 prefix that a service has at now how many of its addresses have sent since they
// were assigned, and where that stands by the terms. Rows are by customer, service and prefix. Ownership is as it is
// known now, also where it was recorded late. Days are those of the provider's zone.
func (l *Ledger) Utilisation(ctx context.Context, inv *inventory.Inventory, terms utilisation.Terms, now time.Time) (rows []statements.Utilised, err error) {
	owners, err := inv.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	err = l.db.View(ctx, func(tx *store.Tx) error {
		rows, err = utilisationOf(ctx, tx, owners, terms, now)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("address utilisation: %w", err)
	}
	return rows, nil
}

// GiveNotice records that the customer of a prefix was told. It is about all that the service was given together with
// the prefix, which is returned as it stands then. Errors: ErrNotAssigned; ErrNoticeNotDue where the days are not over on
// that day, enough is used, or notice was given already. Nothing is recorded then.
func (l *Ledger) GiveNotice(ctx context.Context, inv *inventory.Inventory, terms utilisation.Terms, n inventory.AddressNotice, now time.Time) (statements.Utilised, error) {
	var told statements.Utilised
	owners, err := inv.Snapshot(ctx)
	if err != nil {
		return told, err
	}
	find := func(rows []statements.Utilised) int {
		return slices.IndexFunc(rows, func(r statements.Utilised) bool { return r.Service == n.Service && r.Prefix == n.Prefix })
	}
	err = l.db.Update(ctx, func(tx *store.Tx) error {
		rows, err := utilisationOf(ctx, tx, owners, terms, now)
		if err != nil {
			return err
		}
		at := find(rows)
		if at < 0 {
			return fmt.Errorf("%s: %w", n.Prefix, ErrNotAssigned)
		}
		zone, err := loadZone(zoneOf(owners))
		if err != nil {
			return err
		}
		row, today := rows[at], rating.DateOf(now.In(zone))
		refuse := func(format string, args ...any) error {
			return fmt.Errorf("%s: %w: "+format, append([]any{n.Prefix, ErrNoticeNotDue}, args...)...)
		}
		switch {
		case row.Notice != nil:
			return refuse("it was given on %s by %s", row.Notice.On, row.Notice.By)
		case row.State == utilisation.Satisfied:
			return refuse("%d of %d addresses are used, %d are needed", row.AssignmentUsed, row.AssignmentAddresses, row.Needed)
		case n.On.Compare(rating.DateOf(row.Deadline)) < 0:
			return refuse("its days last until %s", row.Deadline.Format(time.RFC3339))
		case n.On.Compare(today) > 0:
			return refuse("%s is not yet", n.On)
		}
		if err := inventory.AddAddressNotice(ctx, tx, n); err != nil {
			return err
		}
		if rows, err = utilisationOf(ctx, tx, owners, terms, now); err == nil {
			told = rows[find(rows)]
		}
		return err
	})
	return told, err
}

// assigned is a prefix that a service has now.
type assigned struct {
	key       schemas.MeterID
	service   string
	prefix    netip.Prefix
	at        time.Time // as it was recorded
	effective time.Time // the slot from which on usage follows it
	addresses int64
	used      int64
}

func utilisationOf(ctx context.Context, tx *store.Tx, owners *inventory.Snapshot, terms utilisation.Terms, now time.Time) ([]statements.Utilised, error) {
	zone, err := loadZone(zoneOf(owners))
	if err != nil {
		return nil, err
	}
	list := assignedNow(owners, now)
	if err := countUsed(ctx, tx, owners, list, now); err != nil {
		return nil, err
	}
	notices, err := inventory.AddressNotices(ctx, tx)
	if err != nil {
		return nil, err
	}
	type group struct {
		service string
		at      int64
	}
	judged, total := map[group]utilisation.Judgement{}, map[string]int64{}
	assignments := map[group]*utilisation.Assignment{}
	for _, a := range list {
		g := group{a.service, a.at.UnixNano()}
		if assignments[g] == nil {
			assignments[g] = &utilisation.Assignment{At: a.at}
		}
		assignments[g].Prefixes = append(assignments[g].Prefixes, utilisation.Prefix{Prefix: a.prefix, Addresses: a.addresses, Used: a.used})
		total[a.service] += a.addresses
		for _, n := range notices { // the first one since
			if n.Service == a.service && n.Prefix == a.prefix && n.On.Compare(rating.DateOf(a.at.In(zone))) >= 0 && assignments[g].Notice == nil {
				assignments[g].Notice = &utilisation.Notice{On: n.On, By: n.By, Reason: n.Reason}
			}
		}
	}
	for g, a := range assignments {
		judged[g] = terms.Judge(*a, zone, now)
	}
	rows := []statements.Utilised{}
	for _, a := range list {
		g := group{a.service, a.at.UnixNano()}
		j := judged[g]
		service, _ := owners.ServiceByID(a.service)
		row := statements.Utilised{Customer: service.Customer, Service: a.service, Prefix: a.prefix, AssignedAt: a.at.In(zone), Addresses: a.addresses, Used: a.used,
			AssignmentAddresses: j.Addresses, Needed: j.Needed, AssignmentUsed: j.Used, Deadline: j.Deadline, State: j.State,
			ServiceAddresses: total[a.service], Beyond: terms.Beyond(total[a.service])}
		if n := assignments[g].Notice; n != nil {
			row.Notice = &statements.UtilisedNotice{On: n.On, By: n.By, Reason: n.Reason, RevocableFrom: j.RevocableFrom}
		}
		rows = append(rows, row)
	}
	slices.SortFunc(rows, func(a, b statements.Utilised) int {
		return cmp.Or(strings.Compare(a.Customer, b.Customer), strings.Compare(a.Service, b.Service), a.Prefix.Addr().Compare(b.Prefix.Addr()), b.Prefix.Bits()-a.Prefix.Bits())
	})
	return rows, nil
}

// assignedNow returns the IPv4 prefixes that services have at now, with the addresses in them that no longer prefix has.
// Ownership that was only written down anew, as when it was ended and went on, counts from its beginning.
func assignedNow(owners *inventory.Snapshot, now time.Time) []*assigned {
	var list []*assigned
	var last inventory.Ownership // of the same key, going on without a gap: Ownerships are by key and time
	var since time.Time
	for _, o := range owners.Ownerships() {
		if o.Key != last.Key || o.Service != last.Service || last.Until.IsZero() || !inventory.SlotAfter(last.Until).Equal(inventory.SlotAfter(o.From)) {
			since = o.From
		}
		last = o
		prefix, ok := o.Key.Prefix()
		begun, over := !inventory.SlotAfter(o.From).After(now), !o.Until.IsZero() && !inventory.SlotAfter(o.Until).After(now)
		if ok && prefix.Addr().Is4() && begun && !over {
			list = append(list, &assigned{key: o.Key, service: o.Service, prefix: prefix, at: since, effective: inventory.SlotAfter(since), addresses: int64(1) << (32 - prefix.Bits())})
		}
	}
	slices.SortFunc(list, func(a, b *assigned) int {
		return cmp.Or(a.prefix.Addr().Compare(b.prefix.Addr()), a.prefix.Bits()-b.prefix.Bits())
	})
	var around []*assigned // the prefixes that hold the one at hand, the longest last
	for _, a := range list {
		for len(around) > 0 && !around[len(around)-1].prefix.Contains(a.prefix.Addr()) {
			around = around[:len(around)-1]
		}
		if n := len(around); n > 0 {
			around[n-1].addresses -= int64(1) << (32 - a.prefix.Bits())
		}
		around = append(around, a)
	}
	return list
}

// countUsed counts the addresses that have sent while they were what they are now. The last day on which an address has sent
// settles almost all: only where that day is no later than the one on which it came is it read by slots.
func countUsed(ctx context.Context, tx *store.Tx, owners *inventory.Snapshot, list []*assigned, now time.Time) error {
	by := map[schemas.MeterID]*assigned{}
	var earliest time.Time
	for _, a := range list {
		by[a.key] = a
		if earliest.IsZero() || a.effective.Before(earliest) {
			earliest = a.effective
		}
	}
	if len(list) == 0 {
		return nil
	}
	last, err := lastSent(ctx, tx, earliest, now)
	if err != nil {
		return err
	}
	for _, meter := range slices.Sorted(maps.Keys(last)) {
		spans := owners.Intervals(meter, earliest, now.Add(SlotLength).Truncate(SlotLength))
		if len(spans) == 0 {
			continue
		}
		final := spans[len(spans)-1]
		a := by[final.Key]
		if a == nil || a.service != final.Service || final.To.Before(now.Truncate(SlotLength)) || last[meter].Before(dayOf(a.effective)) {
			continue
		}
		sent := last[meter].After(dayOf(final.From))
		if !sent {
			if sent, err = hasSent(ctx, tx, spans, a, meter, now); err != nil {
				return err
			}
		}
		if sent {
			a.used++
		}
	}
	return nil
}

// lastSent returns the last UTC day on which each single IPv4 address has sent, of those since a time.
func lastSent(ctx context.Context, tx *store.Tx, since, now time.Time) (map[schemas.MeterID]time.Time, error) {
	s, err := readState(ctx, tx)
	if err != nil {
		return nil, err
	}
	first, end := dayBounds(dayOf(since), now)
	derived := min(max(first, s.daysThrough), end)
	rows, err := tx.Query(ctx, `SELECT meter, MAX(day) FROM (
			SELECT meter, day FROM usage_day WHERE day >= ? AND day < ? AND out_octets > 0 AND meter LIKE 'address:%'
			UNION ALL SELECT meter, hour / 24 AS day FROM usage_hour WHERE hour >= ? AND hour < ? AND out_octets > 0 AND meter LIKE 'address:%'
			UNION ALL SELECT meter, hour / 24 AS day FROM late_entry WHERE hour >= ? AND hour < ? AND out_octets > 0 AND meter LIKE 'address:%'
		) AS sent GROUP BY meter`, first, derived, hourOfDay(derived), hourOfDay(end), hourOfDay(first), hourOfDay(end))
	if err != nil {
		return nil, fmt.Errorf("read who has sent: %w", err)
	}
	defer rows.Close()
	last := map[schemas.MeterID]time.Time{}
	for rows.Next() {
		var meter schemas.MeterID
		var day int64
		if err := rows.Scan(&meter, &day); err != nil {
			return nil, fmt.Errorf("read who has sent: %w", err)
		}
		if prefix, ok := meter.Prefix(); ok && prefix.IsSingleIP() && prefix.Addr().Is4() {
			last[meter] = dayTime(day)
		}
	}
	return last, rows.Err()
}

// hasSent reads an address slot by slot: whether it has sent in a span in which it was a's.
func hasSent(ctx context.Context, tx *store.Tx, spans []inventory.Interval, a *assigned, meter schemas.MeterID, now time.Time) (sent bool, err error) {
	q := Query{From: dayOf(a.effective), To: now.UTC().Add(time.Hour), Meter: meter}
	err = rows(ctx, tx, q, func(row UsageRow) error {
		for i, octets := range row.Out.Slots {
			at := row.Hour.Add(time.Duration(i) * SlotLength)
			if octets == 0 || at.Before(a.effective) {
				continue
			}
			for _, span := range spans {
				sent = sent || span.Key == a.key && span.Service == a.service && !at.Before(span.From) && at.Before(span.To)
			}
		}
		return nil
	})
	return sent, err
}
