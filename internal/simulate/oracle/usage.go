package oracle

import (
	"math/big"
	"net/netip"
	"strings"
	"time"
)

// Usage is what one meter carried: hours by class, each by number since the epoch.
type Usage struct{ Classes map[string]map[int64]*Hour }

// Hour is octets by slot, in and out, and the variance of each direction's estimate in KiB squared.
type Hour struct {
	In, Out                 [12]uint64
	InVariance, OutVariance uint64
}

// Add adds octets to the slot of a time.
func (u *Usage) Add(class string, at time.Time, in, out, inVariance, outVariance uint64) {
	if u.Classes == nil {
		u.Classes = map[string]map[int64]*Hour{}
	}
	if u.Classes[class] == nil {
		u.Classes[class] = map[int64]*Hour{}
	}
	number := at.Unix() / 3600
	h := u.Classes[class][number]
	if h == nil {
		h = &Hour{}
		u.Classes[class][number] = h
	}
	slot := at.Unix() / 300 % 12
	h.In[slot] += in
	h.Out[slot] += out
	h.InVariance += inVariance
	h.OutVariance += outVariance
}

// varianceOf is the part of an hour's variance that a slot has: variance divides by octets, and what is left of a
// division goes to the slots behind.
func varianceOf(octets [12]uint64, variance uint64, slot int64) *big.Int {
	if variance == 0 {
		return new(big.Int)
	}
	upTo := func(end int64) *big.Int {
		total, part := new(big.Int), new(big.Int)
		for i, n := range octets {
			total.Add(total, new(big.Int).SetUint64(n))
			if int64(i) < end {
				part.Add(part, new(big.Int).SetUint64(n))
			}
		}
		if total.Sign() == 0 {
			return total
		}
		part.Mul(part, new(big.Int).SetUint64(variance))
		return part.Quo(part, total)
	}
	whole := upTo(slot + 1)
	return whole.Sub(whole, upTo(slot))
}

// sums are what a service used in a period.
type sums struct {
	in, out                 *big.Int // of the classes that count
	inVariance, outVariance *big.Int // KiB squared
	freeIn, freeOut         *big.Int
	excludedIn, excludedOut *big.Int
	slots                   []slot // where a percentile counts
	slotsFrom               time.Time
}

// slot is five minutes of all of a service's meters.
type slot struct {
	in, out                 *big.Int
	missing                 bool
	inExcluded, outExcluded bool
}

// add walks over every slot of every meter that may be the service's.
func (w *World) add(s *Service, c contract, p Period) sums {
	total := sums{
		in: new(big.Int), out: new(big.Int), inVariance: new(big.Int), outVariance: new(big.Int), freeIn: new(big.Int), freeOut: new(big.Int),
		excludedIn: new(big.Int), excludedOut: new(big.Int),
	}
	decisions := s.inForce()
	if c.isPercentile() {
		total.slots, total.slotsFrom = w.slotsOf(s, c, p, decisions)
	}
	for meter, usage := range w.Usage {
		owned := w.ownershipsOf(meter)
		if kindOf(meter) != c.text("bills") || !mentions(owned, s.ID) {
			continue
		}
		for class, hours := range usage.Classes {
			for number, hour := range hours {
				for i := range int64(12) {
					at := time.Unix(number*3600+i*300, 0).UTC()
					if p.contains(at) && ownerAt(owned, at) == s.ID {
						total.cell(c, class, hour, i, at, decisions)
					}
				}
			}
		}
	}
	return total
}

// cell adds one slot of one class of one meter.
func (t *sums) cell(c contract, class string, hour *Hour, i int64, at time.Time, decisions []Decision) {
	in, out := new(big.Int).SetUint64(hour.In[i]), new(big.Int).SetUint64(hour.Out[i])
	if !c.counts(class) {
		if c.text("bills") == "address" {
			t.freeIn.Add(t.freeIn, in)
			t.freeOut.Add(t.freeOut, out)
		}
		return
	}
	excludedIn, excludedOut := excludedAt(decisions, at)
	if excludedIn {
		t.excludedIn.Add(t.excludedIn, in)
	} else {
		t.in.Add(t.in, in)
		t.inVariance.Add(t.inVariance, varianceOf(hour.In, hour.InVariance, i))
	}
	if excludedOut {
		t.excludedOut.Add(t.excludedOut, out)
	} else {
		t.out.Add(t.out, out)
		t.outVariance.Add(t.outVariance, varianceOf(hour.Out, hour.OutVariance, i))
	}
	n := int(at.Sub(t.slotsFrom) / slotLength)
	if t.slots == nil || at.Before(t.slotsFrom) || n >= len(t.slots) {
		return
	}
	if !excludedIn {
		t.slots[n].in.Add(t.slots[n].in, in)
	}
	if !excludedOut {
		t.slots[n].out.Add(t.slots[n].out, out)
	}
}

// counts says whether a class is held against the quota.
func (c contract) counts(class string) bool {
	switch {
	case c.text("bills") != "address":
		return class == "port" // a counter's own
	case class == "internal":
		return c.text("internal") == "true"
	case class == "port":
		return false
	}
	for _, free := range strings.Fields(c.text("free")) {
		if free == class {
			return false
		}
	}
	return true
}

// slotsOf cuts the part of a period in which the service was open into slots, and marks those that were not observed
// and those that are excluded.
func (w *World) slotsOf(s *Service, c contract, p Period, decisions []Decision) ([]slot, time.Time) {
	active := w.active(s, c, p)
	from := slotAfter(active.From)
	list := make([]slot, max(0, int(slotAfter(active.To).Sub(from)/slotLength)))
	for i := range list {
		at := from.Add(time.Duration(i) * slotLength)
		list[i].in, list[i].out = new(big.Int), new(big.Int)
		list[i].inExcluded, list[i].outExcluded = excludedAt(decisions, at)
	}
	for _, o := range w.Owned {
		if o.Service != s.ID || kindOf(o.Key) != c.text("bills") {
			continue
		}
		for _, gap := range w.Unobserved {
			if !w.accounts(gap.Exporter, o.Key) {
				continue
			}
			for i := range list {
				at := from.Add(time.Duration(i) * slotLength)
				if o.activeAt(at) && gap.From.Before(at.Add(slotLength)) && at.Before(gap.Until) {
					list[i].missing = true
				}
			}
		}
	}
	return list, from
}

// accounts says whether an exporter accounts for a key: it is one of those of the longest prefix around it.
func (w *World) accounts(exporter, key string) bool {
	prefix, ok := prefixOf(key)
	if !ok {
		return false
	}
	longest, found := -1, false
	for _, candidate := range w.Prefixes {
		local := netip.MustParsePrefix(candidate.Prefix)
		if local.Bits() > prefix.Bits() || local.Bits() <= longest || !local.Contains(prefix.Addr()) {
			continue
		}
		longest, found = local.Bits(), false
		for _, name := range candidate.Exporters {
			found = found || name == exporter
		}
	}
	return found
}

func kindOf(meter string) string {
	kind, _, _ := strings.Cut(meter, ":")
	return kind
}

// prefixOf reads the prefix of an address's key.
func prefixOf(key string) (netip.Prefix, bool) {
	text, ok := strings.CutPrefix(key, "address:")
	if !ok {
		return netip.Prefix{}, false
	}
	if strings.Contains(text, "/") {
		return netip.MustParsePrefix(text), true
	}
	address := netip.MustParseAddr(text)
	return netip.PrefixFrom(address, address.BitLen()), true
}

// ownershipsOf returns what may own a meter, the longest keys first.
func (w *World) ownershipsOf(meter string) []Ownership {
	var list []Ownership
	prefix, ok := prefixOf(meter)
	if !ok {
		for _, o := range w.Owned {
			if o.Key == meter {
				list = append(list, w.inLife(o))
			}
		}
		return list
	}
	for bits := prefix.Bits(); bits >= 0; bits-- {
		for _, o := range w.Owned {
			key, ok := prefixOf(o.Key)
			if ok && key.Bits() == bits && key.Contains(prefix.Addr()) {
				list = append(list, w.inLife(o))
			}
		}
	}
	return list
}

// inLife is what of an ownership lies in the days on which its service was open.
func (w *World) inLife(o Ownership) Ownership {
	for _, s := range w.Services {
		if s.ID != o.Service {
			continue
		}
		c := w.contractOf(s, s.Plan, s.Settings)
		o.From = later(o.From, c.midnight(s.Opened).In(time.UTC))
		if s.Closed == "" {
			continue
		}
		if closed := c.midnight(s.Closed).In(time.UTC); o.Until.IsZero() || closed.Before(o.Until) {
			o.Until = closed
		}
	}
	return o
}

func mentions(owned []Ownership, service string) bool {
	for _, o := range owned {
		if o.Service == service {
			return true
		}
	}
	return false
}

func ownerAt(owned []Ownership, at time.Time) string {
	for _, o := range owned {
		if o.activeAt(at) {
			return o.Service
		}
	}
	return ""
}

// activeAt says whether an ownership counts in the slot that begins at a time: a change within a slot counts from the
// next one.
func (o Ownership) activeAt(at time.Time) bool {
	return !at.Before(slotAfter(o.From)) && (o.Until.IsZero() || at.Before(slotAfter(o.Until)))
}

// slotAfter is the first beginning of a slot that is not before a time.
func slotAfter(at time.Time) time.Time {
	seconds := at.Unix()
	if at.Nanosecond() > 0 {
		seconds++
	}
	return time.Unix((seconds+299)/300*300, 0).UTC()
}

// inForce returns the decisions that were not revoked.
func (s *Service) inForce() []Decision {
	revoked := map[string]bool{}
	for _, d := range s.Decisions {
		revoked[d.Revokes] = true
	}
	var list []Decision
	for _, d := range s.Decisions {
		if d.Kind != "revoke" && !revoked[d.ID] {
			list = append(list, d)
		}
	}
	return list
}

func excludedAt(decisions []Decision, at time.Time) (in, out bool) {
	for _, d := range decisions {
		if d.Kind == "exclude" && !at.Before(d.From) && at.Before(d.Until) {
			in = in || d.Direction != "out"
			out = out || d.Direction != "in"
		}
	}
	return in, out
}
