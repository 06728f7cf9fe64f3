package inventory

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sort"
	"time"

	"hostmeter/aggregator/rating"
	"hostmeter/internal/store"
	"hostmeter/schemas"
)

// ErrUnknown is returned for an id that the inventory does not have.
var ErrUnknown = errors.New("not in the inventory")

// Interval is a span in which one service owned a meter, through Key. From and To are multiples of
// Slot, or the bounds that were asked for.
type Interval struct {
	From, To time.Time
	Service  string
	Key      schemas.MeterID
}

// Snapshot is the inventory at one version. It never changes and is safe for concurrent use.
type Snapshot struct {
	// Version counts the writing transactions that the snapshot has seen.
	Version  int64
	Provider Provider

	customers map[string]Customer
	plans     map[string]Plan
	services  map[string]Service
	pools     map[string]Pool
	members   map[string][]PoolMember // by service, in the order of time
	ordered   []Service               // by id
	prices    []rating.Price
	prefixes  []Prefix
	accounted []accounted // the longest prefix first
	ownership []Ownership
	changes   []ContractChange
	decisions []Decision // by id
	contracts map[string][]terms
	owners    map[schemas.MeterID][]Interval // by key; ordered by From; To is zero where open
	decided   map[string][]rating.Decision   // in force, by service
	bits4     []int                          // lengths of the keys that are prefixes, longest first
	bits6     []int

	decisionByID map[string]Decision
}

// Snapshot returns the inventory as it is now. It is read again only after a change.
func (inv *Inventory) Snapshot(ctx context.Context) (*Snapshot, error) {
	var snapshot *Snapshot
	err := inv.db.View(ctx, func(tx *store.Tx) error {
		version, err := readVersion(ctx, tx)
		if err != nil {
			return err
		}
		inv.mu.Lock()
		snapshot = inv.cached
		inv.mu.Unlock()
		if snapshot != nil && snapshot.Version == version {
			return nil
		}
		state, err := load(ctx, tx)
		if err != nil {
			return err
		}
		snapshot, err = newSnapshot(version, state)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read inventory: %w", err)
	}
	inv.mu.Lock()
	defer inv.mu.Unlock()
	if inv.cached == nil || inv.cached.Version <= snapshot.Version {
		inv.cached = snapshot
	}
	return snapshot, nil
}

func newSnapshot(version int64, s *state) (*Snapshot, error) {
	snapshot := &Snapshot{
		Version:   version,
		Provider:  s.provider,
		customers: s.customers.rows,
		plans:     s.plans.rows,
		services:  s.services.rows,
		pools:     s.pools.rows,
		members:   s.membersByService(),
		prices:    s.prices.sorted(),
		prefixes:  s.prefixes.sorted(),
		accounted: byLength(s.accounting),
		ownership: s.ownership.sorted(),
		changes:   s.changes.sorted(),
		decisions: s.decisions.sorted(),
		decided:   s.inForce(),

		decisionByID: s.decisions.rows,
		ordered:      s.services.sorted(),
		contracts:    make(map[string][]terms, len(s.services.rows)),
		owners:       make(map[schemas.MeterID][]Interval, len(s.ownership.rows)),
	}
	zones := map[string]*time.Location{}
	changes := s.changesByService()
	keep := func(what, id string, history []terms, fault *changeFault) error {
		if fault != nil {
			return fmt.Errorf("%s %s: %s: %w", what, id, fault.column, fault.err)
		}
		for i := range history {
			history[i].contract.Decisions = snapshot.decided[id]
		}
		snapshot.contracts[id] = history
		return nil
	}
	for _, service := range snapshot.ordered {
		history, fault := s.history(service, changes[service.ID], zones)
		if err := keep("service", service.ID, history, fault); err != nil {
			return nil, err
		}
	}
	for _, pool := range snapshot.pools {
		history, fault := s.poolHistory(pool, changes[pool.ID], zones)
		if err := keep("pool", pool.ID, history, fault); err != nil {
			return nil, err
		}
	}
	for _, o := range snapshot.ownership {
		if o = snapshot.within(o); !o.Until.IsZero() && !o.From.Before(o.Until) {
			continue
		}
		interval := Interval{From: SlotAfter(o.From), Service: o.Service, Key: o.Key}
		if !o.Until.IsZero() {
			interval.To = SlotAfter(o.Until)
		}
		snapshot.owners[o.Key] = append(snapshot.owners[o.Key], interval)
	}
	for key, intervals := range snapshot.owners {
		sort.Slice(intervals, func(i, j int) bool { return intervals[i].From.Before(intervals[j].From) })
		if prefix, ok := key.Prefix(); ok {
			snapshot.addLength(prefix)
		}
	}
	return snapshot, nil
}

// within cuts an ownership to the time in which its service was open, where the service is known.
func (s *Snapshot) within(o Ownership) Ownership {
	if history := s.contracts[o.Service]; len(history) > 0 {
		return o.within(history[0].contract)
	}
	return o
}

func (s *Snapshot) addLength(prefix netip.Prefix) {
	lengths := &s.bits6
	if prefix.Addr().Is4() {
		lengths = &s.bits4
	}
	at, found := slices.BinarySearchFunc(*lengths, prefix.Bits(), func(a, b int) int { return b - a })
	if !found {
		*lengths = slices.Insert(*lengths, at, prefix.Bits())
	}
}

// SlotAfter returns the first slot boundary that is not before at: the instant at which a change
// that is true from at takes effect.
func SlotAfter(at time.Time) time.Time {
	return rating.SlotAfter(at)
}

// keysOf returns the keys under which a meter may be owned, the strongest first: for an address all
// prefixes around it by length, for a vNIC itself and then its guest.
func (s *Snapshot) keysOf(meter schemas.MeterID) []schemas.MeterID {
	prefix, ok := meter.Prefix()
	if !ok {
		if guest, ok := guestOf(meter); ok {
			return []schemas.MeterID{meter, guest}
		}
		return []schemas.MeterID{meter}
	}
	lengths := s.bits6
	if prefix.Addr().Is4() {
		lengths = s.bits4
	}
	var keys []schemas.MeterID
	for _, bits := range lengths {
		if bits > prefix.Bits() {
			continue
		}
		if around, err := prefix.Addr().Prefix(bits); err == nil {
			keys = append(keys, schemas.PrefixMeter(around))
		}
	}
	return keys
}

// OwnerAt returns the service that owned a meter at an instant; ok is false where none did.
func (s *Snapshot) OwnerAt(meter schemas.MeterID, at time.Time) (service string, ok bool) {
	for _, key := range s.keysOf(meter) {
		if interval, ok := activeAt(s.owners[key], at); ok {
			return interval.Service, true
		}
	}
	return "", false
}

func activeAt(intervals []Interval, at time.Time) (Interval, bool) {
	i := sort.Search(len(intervals), func(i int) bool { return intervals[i].From.After(at) })
	if i == 0 {
		return Interval{}, false
	}
	last := intervals[i-1]
	return last, last.To.IsZero() || at.Before(last.To)
}

// Intervals returns who owned a meter in [from, to), in order of time and without overlap. Spans
// that nobody owned are left out.
func (s *Snapshot) Intervals(meter schemas.MeterID, from, to time.Time) []Interval {
	var candidates [][]Interval
	cuts := []time.Time{from, to}
	for _, key := range s.keysOf(meter) {
		clipped := clip(s.owners[key], from, to)
		if len(clipped) == 0 {
			continue
		}
		candidates = append(candidates, clipped)
		for _, interval := range clipped {
			cuts = append(cuts, interval.From, interval.To)
		}
	}
	if len(candidates) == 1 {
		return candidates[0]
	}
	slices.SortFunc(cuts, time.Time.Compare)
	var owned []Interval
	for i := 0; i+1 < len(cuts); i++ {
		if cuts[i].Equal(cuts[i+1]) {
			continue
		}
		for _, intervals := range candidates {
			if active, ok := activeAt(intervals, cuts[i]); ok {
				owned = appendInterval(owned, Interval{From: cuts[i], To: cuts[i+1], Service: active.Service, Key: active.Key})
				break
			}
		}
	}
	return owned
}

func clip(intervals []Interval, from, to time.Time) []Interval {
	var clipped []Interval
	for _, interval := range intervals {
		if interval.From.Before(from) {
			interval.From = from
		}
		if interval.To.IsZero() || interval.To.After(to) {
			interval.To = to
		}
		if interval.From.Before(interval.To) {
			clipped = append(clipped, interval)
		}
	}
	return clipped
}

// appendInterval joins what touches and is the same.
func appendInterval(intervals []Interval, next Interval) []Interval {
	if n := len(intervals); n > 0 {
		last := &intervals[n-1]
		if last.To.Equal(next.From) && last.Service == next.Service && last.Key == next.Key {
			last.To = next.To
			return intervals
		}
	}
	return append(intervals, next)
}

// ServiceByID returns a service.
func (s *Snapshot) ServiceByID(id string) (Service, bool) {
	service, ok := s.services[id]
	return service, ok
}

// CustomerByID returns a customer.
func (s *Snapshot) CustomerByID(id string) (Customer, bool) {
	customer, ok := s.customers[id]
	return customer, ok
}

// SellsTo says whether reseller is the customer itself, or a reseller above it.
func (s *Snapshot) SellsTo(reseller, customer string) bool {
	return sellsTo(s.customers, reseller, customer)
}

// Named says whether the name of a customer may be kept: it was not erased.
func (s *Snapshot) Named(customer string) bool { return s.customers[customer].Erased.IsZero() }

// Services returns all services by id. The slice is the snapshot's own: it is only read.
func (s *Snapshot) Services() []Service { return s.ordered }

// Prices returns all price versions. The slice is the snapshot's own: it is only read.
func (s *Snapshot) Prices() []rating.Price { return s.prices }

// Prefixes returns all prefixes with the exporters that account for them now. It is only read.
func (s *Snapshot) Prefixes() []Prefix { return s.prefixes }

// Contract returns the contract of a service, or a pool, in force at an instant, with the quotas that follow: what a
// period is charged by is the contract at its first instant. A plan or a service that is imported with
// other settings has them at all times, so in its open periods too; a ContractChange has them from an
// instant on. Closed statements keep theirs.
//
// Errors: ErrUnknown.
func (s *Snapshot) Contract(service string, at time.Time) (rating.Contract, error) {
	history, ok := s.contracts[service]
	if !ok {
		return rating.Contract{}, fmt.Errorf("service %q: %w", service, ErrUnknown)
	}
	i := len(history) - 1
	for i > 0 && history[i].from.After(at) {
		i--
	}
	return history[i].contract, nil
}

// Ordered returns the contract of a service that the changes ordered until an instant make in the end: one that
// waits, as a downgrade does, counts as if it were in force.
//
// Errors: ErrUnknown.
func (s *Snapshot) Ordered(service string, until time.Time) (rating.Contract, error) {
	known, ok := s.services[service]
	if !ok {
		return rating.Contract{}, fmt.Errorf("service %q: %w", service, ErrUnknown)
	}
	var changes []ContractChange
	for _, change := range s.changes {
		if change.Service == service && !change.At.After(until) {
			changes = append(changes, change)
		}
	}
	slices.SortFunc(changes, func(a, b ContractChange) int { return a.At.Compare(b.At) })
	part := &state{provider: s.Provider, plans: &table[Plan]{rows: s.plans}}
	history, fault := part.history(known, changes, map[string]*time.Location{})
	if fault != nil {
		return rating.Contract{}, fmt.Errorf("service %s: %s: %w", service, fault.column, fault.err)
	}
	return history[len(history)-1].contract, nil
}

// Changes returns what was ordered for running services, by service and time.
func (s *Snapshot) Changes() []ContractChange { return s.changes }

// Customers returns all customers by id.
func (s *Snapshot) Customers() []Customer { return byKey(s.customers) }

// Plans returns all plans by name.
func (s *Snapshot) Plans() []Plan { return byKey(s.plans) }

// PlanByName returns a plan.
func (s *Snapshot) PlanByName(name string) (Plan, bool) {
	plan, ok := s.plans[name]
	return plan, ok
}

// Ownerships returns all of ownership, by key and time, as it was recorded: not cut to slots. It is
// only read.
func (s *Snapshot) Ownerships() []Ownership { return s.ownership }

func byKey[T any](rows map[string]T) []T {
	values := make([]T, 0, len(rows))
	for _, key := range slices.Sorted(maps.Keys(rows)) {
		values = append(values, rows[key])
	}
	return values
}
