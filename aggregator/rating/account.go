package rating

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"time"
)

// Amount is octets and the variance of their estimate in KiB squared, as the ledger keeps it.
type Amount struct {
	Octets       uint64 `json:"octets"`
	VarianceKiB2 uint64 `json:"variance_kib2"`
}

// Part is usage of one class in a span that contains At and in which the contract has no cut. With a
// percentile it begins at At, and InSlots and OutSlots are the octets of its slots, which add up to In and Out;
// where they are nil it lies in one slot.
type Part struct {
	At                time.Time
	Class             string
	In, Out           Amount
	InSlots, OutSlots []uint64
}

// ClassUsage is what was used of one class, whether it counts or not, and whether it was excluded or not.
type ClassUsage struct {
	Class     string `json:"class"`
	InOctets  uint64 `json:"in_octets"`
	OutOctets uint64 `json:"out_octets"`
	Counted   bool   `json:"counted"` // the contract holds it against the quota
}

// Account adds up the usage of one service in one period, as its contract counts it. The order in
// which parts come, and how they are split, changes nothing.
type Account struct {
	contract Contract
	period   Period
	excluded exclusions
	usage    Usage
	classes  map[string]*ClassUsage
	first    time.Time // of slots
	slots    []Slot    // empty where no percentile counts
	overflow bool
}

// NewAccount returns an empty account of a period. until is the instant up to which the period is over:
// slots that end after it are not there yet.
func NewAccount(c Contract, p Period, until time.Time) *Account {
	c, _ = c.decided(p)
	a := &Account{contract: c, period: p, excluded: c.exclusions(), classes: map[string]*ClassUsage{}}
	if c.Direction.Value.IsPercentile() {
		active := c.Active(p)
		a.first = SlotAfter(active.From)
		end := SlotAfter(active.To)
		if until.Before(end) {
			end = until.UTC().Truncate(SlotLength)
		}
		a.slots = make([]Slot, max(0, int(end.Sub(a.first)/SlotLength)))
		for i := range a.slots {
			a.slots[i].InExcluded, a.slots[i].OutExcluded = a.excluded.at(a.first.Add(time.Duration(i) * SlotLength))
		}
	}
	return a
}

// Period returns the period that the account was made for.
func (a *Account) Period() Period { return a.period }

// Add adds a part.
func (a *Account) Add(p Part) {
	class := a.classes[p.Class]
	if class == nil {
		class = &ClassUsage{Class: p.Class, Counted: a.contract.Counts(p.Class)}
		a.classes[p.Class] = class
	}
	a.sum(&class.InOctets, p.In.Octets)
	a.sum(&class.OutOctets, p.Out.Octets)
	if !class.Counted {
		return
	}
	in, out := a.excluded.at(p.At)
	if in {
		a.sum(&a.usage.ExcludedInOctets, p.In.Octets)
		p.In, p.InSlots = Amount{}, nil
	}
	if out {
		a.sum(&a.usage.ExcludedOutOctets, p.Out.Octets)
		p.Out, p.OutSlots = Amount{}, nil
	}
	a.sum(&a.usage.InOctets, p.In.Octets)
	a.sum(&a.usage.OutOctets, p.Out.Octets)
	a.sum(&a.usage.InVarianceKiB2, p.In.VarianceKiB2)
	a.sum(&a.usage.OutVarianceKiB2, p.Out.VarianceKiB2)
	if len(a.slots) == 0 {
		return
	}
	if p.InSlots == nil && p.OutSlots == nil {
		p.InSlots, p.OutSlots = []uint64{p.In.Octets}, []uint64{p.Out.Octets}
	}
	first := slotsBetween(a.first, p.At)
	for i, octets := range p.InSlots {
		if slot := a.slot(first + i); slot != nil {
			a.sum(&slot.In, octets)
			a.bound(slot)
		}
	}
	for i, octets := range p.OutSlots {
		if slot := a.slot(first + i); slot != nil {
			a.sum(&slot.Out, octets)
			a.bound(slot)
		}
	}
}

// bound notes that both directions of a slot do not fit together.
func (a *Account) bound(s *Slot) {
	if sum := s.In + s.Out; sum < s.In || sum > math.MaxInt64 {
		a.overflow = true
	}
}

func (a *Account) sum(into *uint64, n uint64) {
	*into += n
	a.overflow = a.overflow || *into < n
}

// slot returns a slot of the period, or nil.
func (a *Account) slot(i int) *Slot {
	if i < 0 || i >= len(a.slots) {
		return nil
	}
	return &a.slots[i]
}

// slotsBetween counts the whole slots from a boundary to an instant, rounded down.
func slotsBetween(boundary, at time.Time) int {
	n, rest := at.Sub(boundary)/SlotLength, at.Sub(boundary)%SlotLength
	if rest < 0 {
		n--
	}
	return int(n)
}

// Miss says that in [from, to) something was not observed. Slots that share an instant with it are missing.
func (a *Account) Miss(from, to time.Time) {
	if from.Before(a.first) {
		from = a.first
	}
	for at := from.UTC().Truncate(SlotLength); at.Before(to); at = at.Add(SlotLength) {
		slot := a.slot(slotsBetween(a.first, at))
		if slot == nil {
			return
		}
		slot.Missing = true
	}
}

// Usage returns what was added up. Errors: ErrOverflow.
func (a *Account) Usage() (Usage, error) {
	if a.overflow {
		return Usage{}, fmt.Errorf("service %s: %w", a.contract.Service, ErrOverflow)
	}
	usage := a.usage
	for _, name := range slices.Sorted(maps.Keys(a.classes)) {
		usage.Classes = append(usage.Classes, *a.classes[name])
	}
	if a.contract.Direction.Value.IsPercentile() {
		p := Percentile95(a.slots, a.contract.Direction.Value, a.contract.Missing.Value)
		usage.Percentile = &p
	}
	return usage, nil
}
