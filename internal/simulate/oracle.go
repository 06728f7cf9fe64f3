package simulate

import (
	"encoding/csv"
	"fmt"
	"io"
	"math/big"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"hostmeter/schemas"
)

// Row is one line of the month's report, its fields as text. Quantities are exact and have no
// trailing zeros; the amount has two digits. TrueOctets is no column: it is the billable octets that
// truly crossed the wire, of which BillableOctets is what the exporters told: sampled, and short by
// what was lost on the way or never stated by an exporter that was silent.
type Row struct {
	Customer, Service, Plan, PeriodFrom, PeriodTo, TimeZone, Direction        string
	InOctets, OutOctets, BillableOctets                                       string
	Quota, Unit, Used, Excess, BilledQuantity, UnitPrice, Currency, AmountVAT string
	Kind, RuleFrom                                                            string

	TrueOctets  schemas.Octets
	InternalIn  schemas.Octets
	InternalOut schemas.Octets
	Sampled     bool // at least one of the meters is behind a sampling exporter
}

// Columns are those of the month's report.
const Columns = "customer,service,plan,period_from,period_to,time_zone,direction,in_octets,out_octets,billable_octets," +
	"standard_error_octets,coverage,quota,unit,used,excess,billed_quantity,unit_price,currency,amount_ex_vat,kind,rule_from,statement,revision"

// WriteCSV writes rows with the columns of the month's report. What the oracle does not compute
// (standard error, coverage, statement, revision) is left empty.
func WriteCSV(w io.Writer, rows []Row) error {
	out := csv.NewWriter(w)
	_ = out.Write(strings.Split(Columns, ",")) // Flush and Error tell
	for _, r := range rows {
		_ = out.Write([]string{
			r.Customer, r.Service, r.Plan, r.PeriodFrom, r.PeriodTo, r.TimeZone, r.Direction, r.InOctets, r.OutOctets, r.BillableOctets,
			"", "", r.Quota, r.Unit, r.Used, r.Excess, r.BilledQuantity, r.UnitPrice, r.Currency, r.AmountVAT, r.Kind, r.RuleFrom, "", "",
		})
	}
	out.Flush()
	return out.Error()
}

// Report bills the periods that end in a month ("2026-10") by what a perfect collector has seen,
// ordered by customer, service and period. A period ends in the month of its last day.
//
// It is written apart from the rating that it judges: its own walk over periods, its own sums, its own
// arithmetic in rational numbers.
func (b *Books) Report(month string) ([]Row, error) {
	return b.bill(month, func(f Figures) schemas.Octets { return f.Seen })
}

// ReportTrue bills what truly crossed the wire: what would be charged if nothing were sampled or lost.
func (b *Books) ReportTrue(month string) ([]Row, error) {
	return b.bill(month, func(f Figures) schemas.Octets { return f.True })
}

func (b *Books) bill(month string, pick func(Figures) schemas.Octets) ([]Row, error) {
	p := b.provider
	first, err := time.ParseInLocation("2006-01", month, p.zone)
	if err != nil {
		return nil, fmt.Errorf("month %q: want YYYY-MM", month)
	}
	var rows []Row
	for _, s := range p.services {
		for _, span := range s.periods(p.zone, first.AddDate(0, 1, 0)) {
			if lastDay := span[1].AddDate(0, 0, -1); lastDay.Before(first) {
				continue
			}
			rows = append(rows, b.row(s, span[0], span[1], pick))
		}
	}
	slices.SortStableFunc(rows, func(a, b Row) int {
		return strings.Compare(a.Customer+"\x00"+a.Service, b.Customer+"\x00"+b.Service)
	})
	return rows, nil
}

// periods walks from the month in which a service was opened to a time, and returns the periods that
// end by then. The calendar is walked in days, so that no clock change can matter.
func (s *service) periods(zone *time.Location, until time.Time) [][2]time.Time {
	day := s.opened.In(zone).Day()
	if s.plan.period == "calendar" {
		day = 1
	}
	year, month := s.opened.In(zone).Year(), s.opened.In(zone).Month()
	var spans [][2]time.Time
	for from := boundary(year, month, day, zone); ; month++ {
		to := boundary(year, month+1, day, zone)
		if to.After(until) {
			return spans
		}
		spans = append(spans, [2]time.Time{from, to})
		from = to
	}
}

// boundary is the midnight of a day in a month that may be too short for it, or beyond December.
func boundary(year int, month time.Month, day int, zone *time.Location) time.Time {
	last := time.Date(year, month+1, 0, 0, 0, 0, 0, zone).Day()
	return time.Date(year, month, min(day, last), 0, 0, 0, 0, zone)
}

// row bills one service for one period.
func (b *Books) row(s *service, from, to time.Time, pick func(Figures) schemas.Octets) Row {
	r := Row{
		Customer: s.customer.id, Service: s.id, Plan: s.plan.name,
		PeriodFrom: from.Format(time.RFC3339), PeriodTo: to.Format(time.RFC3339), TimeZone: zoneName,
		Direction: s.plan.direction, Currency: s.currency, RuleFrom: "plan",
	}
	var in, out schemas.Octets
	for _, e := range b.provider.exporters {
		for _, m := range e.meters {
			if b.add(s, m, from, to, pick, &in, &out, &r) {
				r.Sampled = r.Sampled || e.SamplingRate > 1
			}
		}
	}
	used := in + out
	switch s.plan.direction {
	case "in":
		used = in
	case "out":
		used = out
	}
	r.InOctets, r.OutOctets, r.BillableOctets = number(uint64(in)), number(uint64(out)), number(uint64(used))
	b.charge(s, from, uint64(used), &r)
	return r
}

// add adds to in and out what a meter used while the service owned it. It says whether it ever did.
func (b *Books) add(s *service, m *meter, from, to time.Time, pick func(Figures) schemas.Octets, in, out *schemas.Octets, r *Row) bool {
	owned := false
	bounds := b.provider.ownershipBounds(from, to)
	for i, at := range bounds[:len(bounds)-1] {
		if b.provider.ownerAt(m.prefix, at) != s {
			continue
		}
		owned = true
		external := m.book.Sum(schemas.ClassExternal, at, bounds[i+1])
		internal := m.book.Sum(schemas.ClassInternal, at, bounds[i+1])
		*in += pick(external.In)
		*out += pick(external.Out)
		if s.plan.direction != "out" {
			r.TrueOctets += external.In.True
		}
		if s.plan.direction != "in" {
			r.TrueOctets += external.Out.True
		}
		r.InternalIn += pick(internal.In)
		r.InternalOut += pick(internal.Out)
	}
	return owned
}

// ownershipBounds cuts a period where any ownership begins or ends to count: between two of the
// returned times every meter has one owner.
func (p *Provider) ownershipBounds(from, to time.Time) []time.Time {
	bounds := []time.Time{from.UTC(), to.UTC()}
	for _, o := range p.owners {
		for _, change := range []time.Time{o.from, o.until} {
			if at := slotAfter(change); at.After(from) && at.Before(to) {
				bounds = append(bounds, at.UTC())
			}
		}
	}
	slices.SortFunc(bounds, time.Time.Compare)
	return slices.Compact(bounds)
}

// ownerAt returns who owns an address, or assigned prefix, in the slot that begins at a time: the
// longest key that holds it. A change within a slot counts from the next.
func (p *Provider) ownerAt(prefix netip.Prefix, at time.Time) *service {
	var owner *service
	bits := -1
	for i := range p.owners {
		o := &p.owners[i]
		if o.prefix.Bits() <= bits || o.prefix.Bits() > prefix.Bits() || !o.prefix.Contains(prefix.Addr()) {
			continue
		}
		if at.Before(slotAfter(o.from)) || (!o.until.IsZero() && !at.Before(slotAfter(o.until))) {
			continue
		}
		owner, bits = o.service, o.prefix.Bits()
	}
	return owner
}

// charge fills in quota, excess and money.
func (b *Books) charge(s *service, from time.Time, used uint64, r *Row) {
	quota := s.plan.quota
	text := s.plan.quotaText
	if s.quota != 0 {
		quota, text, r.RuleFrom = s.quota, s.quotaText, "contract"
	}
	_, r.Unit, _ = strings.Cut(text, " ")
	unit := map[string]uint64{"GB": gigabyte, "TB": terabyte}[r.Unit]
	r.Quota, r.Used = ratio(quota, unit), ratio(used, unit)
	price := priceAt(s, from)
	r.UnitPrice, r.Kind, r.Excess, r.BilledQuantity, r.AmountVAT = trimmed(price.amount), "none", "0", "0", "0.00"
	if used <= quota {
		return
	}
	excess := used - quota
	r.Kind, r.Excess = "overage", ratio(excess, unit)
	if price.begun {
		excess = (excess + s.plan.block - 1) / s.plan.block * s.plan.block
	}
	r.BilledQuantity = ratio(excess, price.unit)
	amount, _ := new(big.Rat).SetString(price.amount)
	amount.Mul(amount, new(big.Rat).SetFrac(new(big.Int).SetUint64(excess), new(big.Int).SetUint64(price.unit)))
	r.AmountVAT = pence(amount)
}

// priceAt is the newest price whose date is not after the period's first day.
func priceAt(s *service, from time.Time) price {
	var found price
	for _, r := range prices {
		if r.place == s.place && r.currency == s.currency && r.from <= from.Format(time.DateOnly) && r.from >= found.from {
			found = r
		}
	}
	return found
}

// ratio writes octets in a unit of 10^n octets, exactly, without zeros at the end.
func ratio(octets, unit uint64) string {
	return trimmed(new(big.Rat).SetFrac(new(big.Int).SetUint64(octets), new(big.Int).SetUint64(unit)).FloatString(12))
}

func trimmed(text string) string {
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	return text
}

// pence rounds to two digits, a half to the even one.
func pence(amount *big.Rat) string {
	hundredths := new(big.Rat).Mul(amount, big.NewRat(200, 1)) // in half pence
	half := new(big.Int).Quo(hundredths.Num(), hundredths.Denom())
	exact := hundredths.IsInt()
	whole := new(big.Int).Rsh(half, 1)
	if half.Bit(0) == 1 && (!exact || whole.Bit(0) == 1) {
		whole.Add(whole, big.NewInt(1))
	}
	quotient, rest := new(big.Int).QuoRem(whole, big.NewInt(100), new(big.Int))
	return fmt.Sprintf("%s.%02d", quotient, rest.Int64())
}

func number(n uint64) string { return strconv.FormatUint(n, 10) }
