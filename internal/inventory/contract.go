package inventory

import (
	"fmt"
	"strings"
	"time"

	"hostmeter/aggregator/rating"
	"hostmeter/schemas"
)

// resolve makes the contract of a service: each setting is the service's own, else its plan's, else
// the provider's. zones remembers what was loaded.
func resolve(provider Provider, plan Plan, service Service, zones map[string]*time.Location) (rating.Contract, error) {
	own, planned, standard := service.Rules, plan.Rules, provider.Rules
	contract := rating.Contract{
		Service:      service.ID,
		Customer:     service.Customer,
		Plan:         service.Plan,
		Direction:    strongest(own.Direction, planned.Direction, standard.Direction, defaultDirection),
		Quota:        quantity(own.Quota, planned.Quota, standard.Quota),
		Block:        quantity(own.Block, planned.Block, standard.Block),
		Grace:        grace(own.Grace, planned.Grace, standard.Grace),
		BillInternal: switchOf(own.Internal, planned.Internal, standard.Internal),
		Missing:      strongest(own.Missing, planned.Missing, standard.Missing, defaultMissing),
		Free:         strongest(own.Free, planned.Free, standard.Free, ""),
		Partial:      strongest(own.Partial, planned.Partial, standard.Partial, defaultPartial),
		Sampled:      strongest(own.Sampled, planned.Sampled, standard.Sampled, defaultSampled),
		SKU:          strongest(own.SKU, planned.SKU, standard.SKU, defaultSKU),
		Place:        rating.Setting[string]{Value: service.Place, Level: rating.FromContract},
		Currency:     strongest(service.Currency, "", provider.Currency, ""),
		Zone:         strongest(own.TimeZone, planned.TimeZone, standard.TimeZone, defaultZone),
		Period:       strongest(own.Period, planned.Period, standard.Period, defaultPeriod),
		Rounding:     strongest("", "", provider.Rounding, defaultRounding),
		Opened:       service.Opened,
		Closed:       service.Closed,
		Notices: rating.NoticeTerms{
			At:       strongest(own.NoticeAt, planned.NoticeAt, standard.NoticeAt, defaultNoticeAt),
			Forecast: strongest(own.NoticeForecast, planned.NoticeForecast, standard.NoticeForecast, defaultNoticeForecast),
			Spike:    spike(own.NoticeSpike, planned.NoticeSpike, standard.NoticeSpike),
			Decide:   strongest(own.DecideWithin, planned.DecideWithin, standard.DecideWithin, defaultDecideWithin),
		},
	}
	bills := strongest(own.Bills, planned.Bills, standard.Bills, defaultBills)
	contract.Bills = rating.Setting[string]{Value: string(bills.Value), Level: bills.Level}
	zone, err := loadZone(zones, contract.Zone.Value)
	if err != nil {
		return rating.Contract{}, err
	}
	contract.Schedule = rating.Schedule{Kind: contract.Period.Value, Anchor: service.Opened, Zone: zone}
	return contract, nil
}

// NoticeAt returns the shares of an allowance that are told where no contract says anything: the provider's.
func (s *Snapshot) NoticeAt() rating.Thresholds {
	return strongest(rating.Thresholds{}, rating.Thresholds{}, s.Provider.NoticeAt, defaultNoticeAt).Value
}

func strongest[T comparable](own, planned, standard, fallback T) rating.Setting[T] {
	var none T
	switch {
	case own != none:
		return rating.Setting[T]{Value: own, Level: rating.FromContract}
	case planned != none:
		return rating.Setting[T]{Value: planned, Level: rating.FromPlan}
	case standard != none:
		return rating.Setting[T]{Value: standard, Level: rating.FromProvider}
	}
	return rating.Setting[T]{Value: fallback, Level: rating.FromProvider}
}

// stated is strongest for values that cannot be compared; set says whether one is set at all.
func stated[T any](own, planned, standard T, set func(T) bool) rating.Setting[T] {
	switch {
	case set(own):
		return rating.Setting[T]{Value: own, Level: rating.FromContract}
	case set(planned):
		return rating.Setting[T]{Value: planned, Level: rating.FromPlan}
	}
	return rating.Setting[T]{Value: standard, Level: rating.FromProvider}
}

func quantity(own, planned, standard rating.Quantity) rating.Setting[rating.Quantity] {
	return stated(own, planned, standard, func(q rating.Quantity) bool { return q.Unit != "" })
}

func grace(own, planned, standard rating.Grace) rating.Setting[rating.Grace] {
	return stated(own, planned, standard, func(g rating.Grace) bool { return g.As != "" })
}

func spike(own, planned, standard rating.Spike) rating.Setting[rating.Spike] {
	set := func(s rating.Spike) bool { return s.None || s.Told() }
	if !set(standard) {
		standard = defaultNoticeSpike
	}
	return stated(own, planned, standard, set)
}

func switchOf(own, planned, standard *bool) rating.Setting[bool] {
	found := strongest(own, planned, standard, nil)
	return rating.Setting[bool]{Value: found.Value != nil && *found.Value, Level: found.Level}
}

func loadZone(zones map[string]*time.Location, name string) (*time.Location, error) {
	if zone, ok := zones[name]; ok {
		return zone, nil
	}
	zone, err := time.LoadLocation(name)
	if err != nil || name == "" || name == "Local" {
		return nil, fmt.Errorf("time_zone %q: not in the time zone database", name)
	}
	zones[name] = zone
	return zone, nil
}

// guestOf returns the guest that a vNIC belongs to.
func guestOf(meter schemas.MeterID) (schemas.MeterID, bool) {
	rest, ok := strings.CutPrefix(string(meter), "vnic:")
	if !ok {
		return "", false
	}
	uuid, _, ok := strings.Cut(rest, "/")
	return schemas.GuestMeter(uuid), ok
}

// exporterOf returns the exporter of a port.
func exporterOf(meter schemas.MeterID) (string, bool) {
	rest, ok := strings.CutPrefix(string(meter), "port:")
	if !ok {
		return "", false
	}
	at := strings.LastIndex(rest, "/")
	if at < 0 {
		return "", false
	}
	return rest[:at], true
}
