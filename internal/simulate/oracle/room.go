package oracle

import (
	"math/big"
	"time"
)

// Periods returns the periods of a service that a ledger would close until now.
func (w *World) Periods(s *Service, now time.Time) []Period { return w.periods(s, now) }

// Room is how many octets may be used in a period on top of what was, without a charge; nil where there is no limit, or
// where it cannot be said of a rate.
func (w *World) Room(s *Service, p Period) *big.Int {
	b := w.measured(s, p)
	if b.quota.unlimited || b.contract.isPercentile() {
		return nil
	}
	room := new(big.Rat).Sub(b.line, b.used)
	return new(big.Int).Quo(room.Num(), room.Denom())
}

// Side says which directions count in a period: more of one alone makes more to charge.
func (w *World) Side(s *Service, p Period) (in, out bool) {
	b := w.measured(s, p)
	switch b.contract.text("direction") {
	case "in":
		return true, false
	case "out":
		return false, true
	case "max":
		more := b.total.in.Cmp(b.total.out) >= 0
		return more, !more
	}
	return true, true
}

// CountsAt says whether a meter is a service's at a time, and nothing excludes it.
func (w *World) CountsAt(s *Service, meter string, at time.Time) bool {
	at = at.UTC().Truncate(slotLength)
	excludedIn, excludedOut := excludedAt(s.inForce(), at)
	return w.Usage[meter] != nil && !excludedIn && !excludedOut && ownerAt(w.ownershipsOf(meter), at) == s.ID
}

// OwnerAt returns the service that owns a meter in the slot that begins at a time; empty where none does.
func (w *World) OwnerAt(meter string, at time.Time) string { return ownerAt(w.ownershipsOf(meter), at) }

// Covers says whether a key may own a meter.
func Covers(key, meter string) bool {
	around, ok1 := prefixOf(key)
	inside, ok2 := prefixOf(meter)
	if !ok1 || !ok2 {
		return key == meter
	}
	return around.Bits() <= inside.Bits() && around.Contains(inside.Addr())
}
