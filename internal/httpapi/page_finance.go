package httpapi

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/shopspring/decimal"

	"hostmeter/internal/auth"
)

// financeView is the finance page: one month, one line a service.
type financeView struct {
	Month          Month
	Months         []Month
	Current        bool
	At             time.Time
	Rows           []financeRow
	InOctets       uint64
	OutOctets      uint64
	Over, WillOver int
	Expected       []string // expected overage, one a currency
	Charged        bool     // every period is closed: Expected was charged
	Lowest         *float64 // coverage
	Unowned        Unowned
	Units          []string // what the units mean
	Sort           string
	Credits        []Credit // that wait for a person
	Unapproved     []Unapproved
}

func (v financeView) title() string { return "Finance " + v.Month.Title() }

// financeRow is a service with what the page computes of it.
type financeRow struct {
	ServiceSummary
	From, To     string // the period's bounds, and shorter:
	Span, Left   string
	Costs, Whole bool // an overage above zero; coverage of 100 %
	UsedText     string
	QuotaText    string
	ForecastText string
	// ForecastRange and ExceedsText are empty where nothing is forecast; the latter also where it will not exceed.
	ForecastRange string
	ExceedsText   string
	OverageText   string
	Share         float64 // used of quota; 0 where unmetered
	Bar           bar
	Level         string // "", near, over
}

// bar is a quota bar in per cent of its width.
type bar struct {
	Used, Forecast, Quota float64
	Metered               bool
}

// monthsWith returns the months that can be chosen, the latest first, with month among them.
func (s *Server) monthsWith(ctx context.Context, month Month, now time.Time) ([]Month, error) {
	months, err := s.deps.Backend.Summary.Months(ctx, now)
	if err == nil && !slices.Contains(months, month) {
		months = append([]Month{month}, months...)
		slices.SortFunc(months, func(a, b Month) int { return cmp.Compare(b, a) })
	}
	return months, err
}

func (s *Server) pageFinance(w http.ResponseWriter, r *http.Request, who auth.Identity) error {
	if s.deps.Backend.Summary == nil {
		return unavailable("the summary")
	}
	now := s.deps.Clock.Now()
	p := readParams(r, s.zone, "month", "sort")
	current := MonthOf(now, s.zone)
	month := p.month("month", current)
	order := p.choice("sort", "quota", "quota", "service", "customer", "usage", "overage", "coverage")
	if err := p.error(); err != nil {
		return err
	}
	summary, err := s.deps.Backend.Summary.Summary(r.Context(), month, now)
	if err != nil {
		return err
	}
	months, err := s.monthsWith(r.Context(), month, now)
	if err != nil {
		return err
	}
	view := newFinanceView(summary, order)
	view.Months, view.Current = months, month == current
	if s.deps.Backend.Approvals != nil {
		if view.Unapproved, err = s.deps.Backend.Approvals.Unapproved(r.Context()); err != nil {
			return err
		}
	}
	if s.deps.Backend.Credits != nil {
		if view.Credits, err = s.deps.Backend.Credits.Credits(r.Context()); err != nil {
			return err
		}
	}
	s.render(w, r, http.StatusOK, "finance", who, view)
	return nil
}

func newFinanceView(summary Summary, order string) financeView {
	view := financeView{Month: summary.Month, At: summary.At, Unowned: summary.Unowned, Sort: order, Charged: len(summary.Services) > 0}
	expected := map[string]decimal.Decimal{}
	units := map[string]bool{}
	for _, service := range summary.Services {
		row := newFinanceRow(service, summary.At)
		view.Rows = append(view.Rows, row)
		view.InOctets += service.InOctets
		view.OutOctets += service.OutOctets
		view.Charged = view.Charged && (service.State == "closed" || service.State == "corrected")
		units[service.Unit] = true
		switch row.Level {
		case "over":
			view.Over++
		case "near":
			view.WillOver++
		}
		if service.Overage != nil && service.Overage.Sign() != 0 {
			expected[service.Currency] = expected[service.Currency].Add(*service.Overage)
		}
		if service.Coverage != nil && (view.Lowest == nil || *service.Coverage < *view.Lowest) {
			view.Lowest = service.Coverage
		}
	}
	for currency, amount := range expected {
		view.Expected = append(view.Expected, moneyText(&amount, currency))
	}
	slices.Sort(view.Expected)
	for unit := range units {
		if base := unitBases[unit]; base != "" {
			view.Units = append(view.Units, base)
		}
	}
	slices.Sort(view.Units)
	slices.SortStableFunc(view.Rows, financeOrder(order))
	return view
}

func newFinanceRow(service ServiceSummary, at time.Time) financeRow {
	zone, err := time.LoadLocation(service.TimeZone)
	if err != nil {
		zone = time.UTC
	}
	row := financeRow{ServiceSummary: service, From: dateText(service.PeriodFrom, zone), To: dateText(service.PeriodTo, zone),
		Span:  spanText(service.PeriodFrom.In(zone), service.PeriodTo.In(zone)),
		Costs: service.Overage != nil && service.Overage.Sign() != 0, Whole: service.Coverage != nil && *service.Coverage >= 1,
		UsedText: usedText(service.Used, service.Unit), QuotaText: "unmetered", ForecastText: missing, OverageText: moneyText(service.Overage, service.Currency)}
	if service.Forecast != nil {
		row.ForecastText = usedText(*service.Forecast, service.Unit) + nbsp + service.Unit
	}
	if service.ForecastLow != nil && service.ForecastHigh != nil {
		row.ForecastRange = usedText(*service.ForecastLow, service.Unit) + "–" + usedText(*service.ForecastHigh, service.Unit)
	}
	if service.Exceeds != nil && *service.Exceeds >= 0.005 && *service.Exceeds < 1 {
		row.ExceedsText = "will exceed: " + probabilityText(service.Exceeds)
	}
	if left := service.PeriodTo.Sub(at); left > 0 && service.State == "open" {
		row.Left = agoText(left) + " left"
	}
	if service.Quota == nil {
		return row
	}
	row.QuotaText = quantityText(*service.Quota)
	quota := service.Quota.InexactFloat64()
	used, forecast := service.Used.InexactFloat64(), service.Used.InexactFloat64()
	if service.Forecast != nil {
		forecast = max(used, service.Forecast.InexactFloat64())
	}
	if quota > 0 {
		row.Share = used / quota
	}
	width := max(quota, min(forecast, 1.5*quota)) // what is far above the quota fills the bar
	if width > 0 {
		row.Bar = bar{Used: percent(used, width), Forecast: percent(forecast, width), Quota: percent(quota, width), Metered: true}
	}
	switch {
	case service.Used.GreaterThan(*service.Quota):
		row.Level = "over"
	case service.Forecast != nil && service.Forecast.GreaterThan(*service.Quota):
		row.Level = "near"
	}
	return row
}

func percent(part, whole float64) float64 { return min(100, 100*part/whole) }

// financeOrder sorts the rows; what is to be looked at first comes first.
func financeOrder(order string) func(a, b financeRow) int {
	byName := func(a, b financeRow) int {
		return cmp.Or(cmp.Compare(a.CustomerName, b.CustomerName), cmp.Compare(a.Service, b.Service))
	}
	level := map[string]int{"over": 0, "near": 1, "": 2}
	return func(a, b financeRow) int {
		switch order {
		case "service":
			return cmp.Compare(a.Service, b.Service)
		case "customer":
			return byName(a, b)
		case "usage":
			return cmp.Or(cmp.Compare(b.InOctets+b.OutOctets, a.InOctets+a.OutOctets), byName(a, b))
		case "overage":
			return cmp.Or(cmp.Compare(a.Currency, b.Currency), amountOf(b.Overage).Cmp(amountOf(a.Overage)), byName(a, b))
		case "coverage":
			return cmp.Or(cmp.Compare(valueOf(a.Coverage, 2), valueOf(b.Coverage, 2)), byName(a, b))
		}
		return cmp.Or(cmp.Compare(level[a.Level], level[b.Level]), cmp.Compare(b.Share, a.Share), byName(a, b))
	}
}

func amountOf(d *decimal.Decimal) decimal.Decimal {
	if d == nil {
		return decimal.Zero
	}
	return *d
}

func valueOf(v *float64, preset float64) float64 {
	if v == nil {
		return preset
	}
	return *v
}
