package rating

import (
	"time"

	"github.com/shopspring/decimal"
)

// Burst says how much of the time above a rate is used up that a percentile leaves out, while its period is open. Counts are
// of five-minute slots without those that a decision excludes.
type Burst struct {
	Slots   int `json:"slots"`         // that are over and were observed
	Missing int `json:"slots_missing"` // that are over and were not
	Above   int `json:"slots_above"`   // of Slots, above the rate
	// Allowed is how many of the whole period's slots may lie above the rate: 5 %, rounded down.
	Allowed int `json:"slots_allowed"`
}

// IsCertain says that the period's percentile lies above the rate whatever comes: more slots are above it than may be.
func (b Burst) IsCertain() bool { return b.Above > b.Allowed }

// burstSlotsMin is how many slots have to be observed before a percentile so far says something about the period's: a week,
// which has every day of it.
const burstSlotsMin = int(7 * 24 * time.Hour / SlotLength)

// IsKnown says whether the percentile so far is worth telling: a week was observed, or the result is certain.
func (b Burst) IsKnown() bool { return b.Slots >= burstSlotsMin || b.IsCertain() }

// Burst compares the slots of one side of a percentile (Percentile.Side) with a rate in bit/s.
func (a *Account) Burst(side Direction, rate decimal.Decimal) Burst {
	active := a.contract.Active(a.period)
	total, b := slotsBetween(SlotAfter(active.From), SlotAfter(active.To)), Burst{}
	for _, slot := range a.slots {
		switch {
		case slot.excluded(side):
			total--
		case slot.Missing:
			b.Missing++
		default:
			b.Slots++
			if decimal.NewFromInt(bitsPerSecond(slot.octets(side))).GreaterThan(rate) {
				b.Above++
			}
		}
	}
	b.Allowed = max(total, 0) * 5 / 100
	return b
}
