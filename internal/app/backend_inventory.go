package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"hostmeter/aggregator/rating"
	"hostmeter/internal/httpapi"
	"hostmeter/internal/inventory"
)

// inventoryDesk joins the API to the inventory. Both have the columns of the import format, so that
// rows go over as texts.
type inventoryDesk struct{ *Desk }

func (d inventoryDesk) Customers(ctx context.Context) ([]httpapi.Customer, error) {
	return fromSnapshot(ctx, d, func(s *inventory.Snapshot) []inventory.Customer { return s.Customers() }, func(c inventory.Customer) httpapi.Customer {
		return httpapi.Customer{ID: c.ID, Name: c.Name, Email: c.Email, Reseller: optionalText(c.Reseller), RateBought: optionalText(c.RateBought.String())}
	})
}

func (d inventoryDesk) Services(ctx context.Context) ([]httpapi.Service, error) {
	return fromSnapshot(ctx, d, func(s *inventory.Snapshot) []inventory.Service { return s.Services() }, func(s inventory.Service) httpapi.Service {
		return httpapi.Service{
			ID: s.ID, Customer: s.Customer, Plan: s.Plan, Place: s.Place, Currency: s.Currency,
			Opened: s.Opened.String(), Closed: optionalText(dateText(s.Closed)),
			CommittedUntil: optionalText(dateText(s.CommittedUntil)), Rules: rulesToAPI(s.Rules),
		}
	})
}

func (d inventoryDesk) Pools(ctx context.Context) ([]httpapi.Pool, error) {
	return fromSnapshot(ctx, d, func(s *inventory.Snapshot) []inventory.Pool { return s.Pools() }, func(p inventory.Pool) httpapi.Pool {
		return httpapi.Pool{
			Pool: p.ID, Customer: p.Customer, Plan: p.Plan, Place: p.Place, Currency: p.Currency,
			Opened: p.Opened.String(), CommittedUntil: optionalText(dateText(p.CommittedUntil)), Rules: rulesToAPI(p.Rules),
		}
	})
}

func (d inventoryDesk) PoolMembers(ctx context.Context) ([]httpapi.PoolMember, error) {
	return fromSnapshot(ctx, d, func(s *inventory.Snapshot) []inventory.PoolMember { return s.PoolMembers() }, func(m inventory.PoolMember) httpapi.PoolMember {
		return httpapi.PoolMember{Service: m.Service, Pool: m.Pool, From: m.From.String(), Until: optionalText(dateText(m.Until))}
	})
}

func (d inventoryDesk) Plans(ctx context.Context) ([]httpapi.Plan, error) {
	return fromSnapshot(ctx, d, func(s *inventory.Snapshot) []inventory.Plan { return s.Plans() }, func(p inventory.Plan) httpapi.Plan {
		return httpapi.Plan{Name: p.Name, Class: p.Class, Rules: rulesToAPI(p.Rules)}
	})
}

func (d inventoryDesk) Prices(ctx context.Context) ([]httpapi.Price, error) {
	return fromSnapshot(ctx, d, func(s *inventory.Snapshot) []rating.Price { return s.Prices() }, func(p rating.Price) httpapi.Price {
		return httpapi.Price{
			SKU: p.SKU, Place: p.Place, Currency: p.Currency, From: p.From.String(), Noticed: p.Noticed.String(),
			Per: string(p.Per), Begun: p.Begun, Amount: p.Amount.String(),
		}
	})
}

func (d inventoryDesk) Prefixes(ctx context.Context) ([]httpapi.Prefix, error) {
	return fromSnapshot(ctx, d, func(s *inventory.Snapshot) []inventory.Prefix { return s.Prefixes() }, func(p inventory.Prefix) httpapi.Prefix {
		return httpapi.Prefix{Prefix: p.Prefix.String(), Exporters: p.Exporters}
	})
}

func (d inventoryDesk) Ownership(ctx context.Context) ([]httpapi.Ownership, error) {
	return fromSnapshot(ctx, d, func(s *inventory.Snapshot) []inventory.Ownership { return s.Ownerships() }, func(o inventory.Ownership) httpapi.Ownership {
		out := httpapi.Ownership{Service: o.Service, Key: string(o.Key), From: o.From.UTC().Format(time.RFC3339)}
		if !o.Until.IsZero() {
			out.Until = optionalText(o.Until.UTC().Format(time.RFC3339))
		}
		return out
	})
}

func (d inventoryDesk) Changes(ctx context.Context) ([]httpapi.Change, error) {
	return fromSnapshot(ctx, d, func(s *inventory.Snapshot) []inventory.ContractChange { return s.Changes() }, func(c inventory.ContractChange) httpapi.Change {
		return httpapi.Change{Service: c.Service, At: c.At.UTC().Format(time.RFC3339Nano), Plan: c.Plan, Quota: c.Quota.String()}
	})
}

func (d inventoryDesk) Decisions(ctx context.Context) ([]httpapi.Decision, error) {
	return fromSnapshot(ctx, d, func(s *inventory.Snapshot) []inventory.Decision { return s.Decisions() }, decisionToAPI)
}

func decisionToAPI(d inventory.Decision) httpapi.Decision {
	cells := d.Cells()
	return httpapi.Decision{
		ID: d.ID, Service: d.Service, Decision: string(d.Kind), From: timeText(d.From), Until: timeText(d.Until),
		Direction: cells["direction"], Amount: cells["amount"], Beyond: cells["beyond"], Revokes: d.Revokes, By: d.By, Reason: d.Reason,
	}
}

func timeText(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return at.UTC().Format(time.RFC3339Nano)
}

func fromSnapshot[T, U any](ctx context.Context, d inventoryDesk, list func(*inventory.Snapshot) []T, convert func(T) U) ([]U, error) {
	snapshot, err := d.inventory.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	rows := list(snapshot)
	out := make([]U, len(rows))
	for i, row := range rows {
		out[i] = convert(row)
	}
	return out, nil
}

func rulesToAPI(r inventory.Rules) httpapi.Rules {
	return httpapi.Rules{
		Quota: r.Quota.String(), Direction: string(r.Direction), Period: string(r.Period), Block: r.Block.String(),
		SKU: r.SKU, Bills: string(r.Bills), Internal: r.Internal, Free: r.Free, Partial: string(r.Partial), Sampled: string(r.Sampled), Grace: r.Grace.String(), Missing: string(r.Missing), TimeZone: r.TimeZone,
		NoticeAt: r.NoticeAt.String(), NoticeForecast: r.NoticeForecast.String(), NoticeSpike: r.NoticeSpike.String(), DecideWithin: r.DecideWithin.String(),
	}
}

func optionalText(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

func dateText(d rating.Date) string {
	if d.IsZero() {
		return ""
	}
	return d.String()
}

// Put adds or changes the rows of a change, all or nothing.
func (d inventoryDesk) Put(ctx context.Context, change httpapi.InventoryChange, by httpapi.Actor) (httpapi.Difference, error) {
	text, err := json.Marshal(change)
	if err != nil {
		return httpapi.Difference{}, err
	}
	var sections map[string][]map[string]any
	if err := json.Unmarshal(text, &sections); err != nil {
		return httpapi.Difference{}, err
	}
	var rows []inventory.Row
	for section, list := range sections {
		for i, row := range list {
			rows = append(rows, inventory.Row{Section: section, Cells: cells(row), Where: fmt.Sprintf("%s[%d]", section, i)})
		}
	}
	difference, err := d.inventory.PutBy(ctx, string(by), rows)
	return differenceToAPI(difference), inventoryFault(err)
}

// cells turns a row of JSON into the texts of the import format.
func cells(row map[string]any) map[string]string {
	out := make(map[string]string, len(row))
	for column, value := range row {
		switch v := value.(type) {
		case string:
			out[column] = v
		case bool:
			out[column] = strconv.FormatBool(v)
		case []any:
			parts := make([]string, len(v))
			for i, part := range v {
				parts[i] = fmt.Sprint(part)
			}
			out[column] = strings.Join(parts, " ")
		}
	}
	return out
}

// Import reads files of the import format, all or nothing.
func (d inventoryDesk) Import(ctx context.Context, files []httpapi.ImportFile, dryRun bool, by httpapi.Actor) (httpapi.Difference, error) {
	list := make([]inventory.File, len(files))
	for i, f := range files {
		list[i] = inventory.File{Name: f.Name, Text: f.Text}
	}
	difference, err := d.inventory.ImportBy(ctx, string(by), list, dryRun)
	return differenceToAPI(difference), inventoryFault(err)
}

func differenceToAPI(d inventory.Difference) httpapi.Difference {
	return httpapi.Difference{DryRun: d.DryRun, Added: d.Added, Changed: d.Changed, Unchanged: d.Unchanged, Lines: d.Lines()}
}

// inventoryFault gives the inventory's errors the API's meaning.
func inventoryFault(err error) error {
	var invalid *inventory.InvalidError
	if !errors.As(err, &invalid) {
		return err
	}
	out := &httpapi.InvalidError{Message: fmt.Sprintf("%d things are wrong; nothing was changed", len(invalid.Faults)), Hint: "correct the lines and send it again"}
	for _, f := range invalid.Faults {
		out.Lines = append(out.Lines, f.Where+": "+f.Text)
	}
	return out
}
