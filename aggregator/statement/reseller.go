package statement

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/shopspring/decimal"

	"hostmeter/aggregator/rating"
)

// Resellers is the roll-up of a calendar month in the provider's zone: what each reseller's customers used
// together, against the rate that it has bought. It charges nothing; amounts are those of the month's report.
type Resellers struct {
	Month    string    `json:"month"` // "2026-10"
	Provider string    `json:"provider"`
	TimeZone string    `json:"time_zone"`
	From     time.Time `json:"from"`
	To       time.Time `json:"to"`
	// Provisional says that the month is not over, or hours of it are not sealed.
	Provisional bool       `json:"provisional"`
	Resellers   []Reseller `json:"resellers"` // by id
}

// Reseller is one reseller and everybody that it sells to, itself and its customers' customers among them.
type Reseller struct {
	Reseller string `json:"reseller"`
	// RateBought and the 95th percentile Used are in Unit. Without a rate bought, Unit is Mbit/s and RateBought nil.
	RateBought *decimal.Decimal `json:"rate_bought"`
	Unit       rating.Unit      `json:"unit"`
	Used       decimal.Decimal  `json:"used"`
	Excess     decimal.Decimal  `json:"excess"`
	Over       bool             `json:"over"` // more was used than bought
	// Percentile is of the sum of all services, slot by slot: the greater direction.
	Percentile rating.Percentile `json:"percentile"`
	InOctets   int64             `json:"in_octets"`
	OutOctets  int64             `json:"out_octets"`
	Totals     []Total           `json:"totals"`
	Services   []ResoldService   `json:"services"` // by customer and service
}

// ResoldService is what one service of a reseller's customer used in the month, of what counts, and what the
// month's report charges for it.
type ResoldService struct {
	Customer  string  `json:"customer"`
	Service   string  `json:"service"`
	Plan      string  `json:"plan"`
	InOctets  int64   `json:"in_octets"`
	OutOctets int64   `json:"out_octets"`
	Totals    []Total `json:"totals"`
}

// WriteResellersJSON writes the roll-up as one JSON object. Lists are never null.
func WriteResellersJSON(w io.Writer, r Resellers) error {
	r.Resellers = slices.Clone(list(r.Resellers))
	for i := range r.Resellers {
		one := &r.Resellers[i]
		one.Totals, one.Services = list(one.Totals), slices.Clone(list(one.Services))
		for j := range one.Services {
			one.Services[j].Totals = list(one.Services[j].Totals)
		}
	}
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(r); err != nil {
		return fmt.Errorf("write resellers of %s: %w", r.Month, err)
	}
	return nil
}

// resellerColumns of the roll-up: add at the end, change nothing.
const resellerColumns = "level,reseller,customer,service,plan,from,to,time_zone,in_octets,out_octets,rate_bought,used,unit,excess,over,bits_per_second,side,slots,slots_missing,amount_ex_vat"

// WriteResellersCSV writes a line for each reseller, and below it one for each of its customers and services,
// which level tells. What belongs to the reseller alone is empty on the others. An amount is "120.00 GBP", with
// "; " between those of several currencies.
func WriteResellersCSV(w io.Writer, r Resellers) error {
	out := csv.NewWriter(w)
	lines := [][]string{strings.Split(resellerColumns, ",")}
	for _, one := range r.Resellers {
		lines = append(lines, r.lines(one)...)
	}
	if err := out.WriteAll(lines); err != nil {
		return fmt.Errorf("write resellers of %s: %w", r.Month, err)
	}
	return nil
}

func (r Resellers) lines(one Reseller) [][]string {
	line := func(level, customer, service, plan string, in, out int64, rate []string, totals []Total) []string {
		return slices.Concat([]string{level, text(one.Reseller), text(customer), text(service), text(plan), r.From.Format(time.RFC3339), r.To.Format(time.RFC3339),
			text(r.TimeZone), integer(in), integer(out)}, rate, []string{totalsText(totals)})
	}
	bought := ""
	if one.RateBought != nil {
		bought = one.RateBought.String()
	}
	p := one.Percentile
	lines := [][]string{line("reseller", "", "", "", one.InOctets, one.OutOctets, []string{bought, one.Used.String(), string(one.Unit), one.Excess.String(), strconv.FormatBool(one.Over),
		integer(p.BitsPerSecond), string(p.Side), strconv.Itoa(p.Slots), strconv.Itoa(p.Missing)}, one.Totals)}
	none := make([]string, 9)
	for _, group := range one.Customers() {
		lines = append(lines, line("customer", group.Customer, "", "", group.InOctets, group.OutOctets, none, group.Totals))
		for _, s := range one.Services {
			if s.Customer == group.Customer {
				lines = append(lines, line("service", s.Customer, s.Service, s.Plan, s.InOctets, s.OutOctets, none, s.Totals))
			}
		}
	}
	return lines
}

// Customers adds up the services of each customer, in order.
func (one Reseller) Customers() []ResoldService {
	var groups []ResoldService
	for _, s := range one.Services {
		if n := len(groups); n == 0 || groups[n-1].Customer != s.Customer {
			groups = append(groups, ResoldService{Customer: s.Customer})
		}
		group := &groups[len(groups)-1]
		group.InOctets, group.OutOctets = group.InOctets+s.InOctets, group.OutOctets+s.OutOctets
		group.Totals = AddTotals(group.Totals, s.Totals)
	}
	return groups
}

// AddTotals adds up amounts by currency.
func AddTotals(a, b []Total) []Total {
	rows := make([]Row, 0, len(a)+len(b))
	for _, t := range slices.Concat(a, b) {
		rows = append(rows, Row{Currency: t.Currency, AmountExVAT: t.AmountExVAT})
	}
	return Totals(rows)
}

func totalsText(totals []Total) string {
	texts := make([]string, len(totals))
	for i, t := range totals {
		texts[i] = Money(t.AmountExVAT, t.Currency) + " " + t.Currency
	}
	return strings.Join(texts, "; ")
}
