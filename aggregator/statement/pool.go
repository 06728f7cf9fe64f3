package statement

import (
	"fmt"
	"strconv"

	"github.com/shopspring/decimal"

	"hostmeter/aggregator/rating"
)

// poolColumns are those of the pool that a row's service was in, and its share of it; all are empty where it
// was in none.
const poolColumns = "pool,pool_customer,pool_members,share_octets,pool_octets,pool_quota,pool_used,pool_excess,pool_billed_quantity,pool_amount_ex_vat"

func (r Row) poolCells() []string {
	p := r.Pool
	if p == nil {
		return make([]string, 10)
	}
	quota := p.Quota.String()
	if p.Unlimited {
		quota = ""
	}
	return []string{text(p.Pool), text(p.Customer), strconv.Itoa(p.Members), integer(p.Octets), integer(p.OfOctets), quota,
		p.Used.String(), p.Excess.String(), p.BilledQuantity.String(), Money(p.AmountExVAT, p.Currency)}
}

// poolNote says in the table of charges whose share a row has.
func (r Row) poolNote() string {
	if r.Pool == nil {
		return ""
	}
	return fmt.Sprintf("in pool %s: %s of %s\u00a0%s", r.Pool.Pool, shareText(r.Pool), quantityWords(r.Pool.Used), r.Unit)
}

// poolSentence tells the share of a pool's charge in words. used and amount are of all revisions.
func (e Evidence) poolSentence(used, amount decimal.Decimal) string {
	row, p := e.Rows[0], e.Last().Pool
	unit := "\u00a0" + string(p.Unit)
	so := map[bool]string{true: " so far", false: ""}[row.Provisional]
	text := fmt.Sprintf("%s%s used%s, in pool %s, of which %s used %s%s together", quantityWords(used), unit, so, p.Pool, plural(int64(p.Members), "service", "services"), quantityWords(p.Used), unit)
	switch {
	case p.Unlimited:
		return text + "; the pool is unmetered."
	case p.Used.LessThanOrEqual(p.Quota):
		return text + fmt.Sprintf(" of a quota of %s%s: within the quota.", quantityWords(p.Quota), unit)
	}
	text += fmt.Sprintf(" of a quota of %s%s: %s%s over", quantityWords(p.Quota), unit, quantityWords(p.Used.Sub(p.Quota)), unit)
	if e.Last().Hold != "" {
		return text + "; held: " + e.Last().Hold + "."
	}
	if p.BilledQuantity.IsZero() {
		return text + ", and nothing to charge."
	}
	text += fmt.Sprintf(", billed as %s\u00a0%s at %s = %s; the share of this service, %s, is %s", quantityWords(p.BilledQuantity), row.PriceUnit,
		priceWords(row.UnitPrice, row.Currency), moneyWords(p.AmountExVAT, p.Currency), shareText(p), moneyWords(amount, row.Currency))
	if row.Kind == rating.KindWaived {
		text += ", waived"
	}
	if len(e.Rows) > 1 {
		text += fmt.Sprintf(", after %s", plural(int64(len(e.Rows)-1), "adjustment", "adjustments"))
	}
	return text + "."
}

// shareText is a use as a share of the pool's.
func shareText(p *rating.PoolShare) string {
	if p.OfOctets == 0 {
		return "0\u00a0%"
	}
	share := decimal.NewFromInt(p.Octets).Shift(2).DivRound(decimal.NewFromInt(p.OfOctets), 2)
	return share.String() + "\u00a0%"
}

// poolPairs say how a pool's charge is shared.
func (e Evidence) poolPairs() []pair {
	p := e.Last().Pool
	if p == nil {
		return nil
	}
	return []pair{
		{"Pool", fmt.Sprintf("%s of customer %s, %s; nothing is charged but by the pool's contract", p.Pool, p.Customer, plural(int64(p.Members), "service", "services"))},
		{"Share", fmt.Sprintf("%s of %s octets; what the pool is charged is shared in this proportion, rounded down to the smallest unit, and what is left by that goes to those that lost most", grouped(integer(p.Octets)), grouped(integer(p.OfOctets)))},
	}
}

// quotaLevel is where the quota was found that the usage was held against.
func (e Evidence) quotaLevel() rating.Level {
	for _, rule := range e.Last().Rules {
		if rule.Name == "quota" && e.Last().Pool != nil {
			return rule.Level
		}
	}
	return e.Contract.Quota.Level
}
