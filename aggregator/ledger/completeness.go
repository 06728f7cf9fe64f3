package ledger

import (
	"context"
	"fmt"
	"slices"
	"time"

	"hostmeter/aggregator/rating"
	statements "hostmeter/aggregator/statement" // in this package a statement is also one of SQL
	"hostmeter/internal/inventory"
	"hostmeter/internal/store"
)

// completeness returns how complete each exporter was in a month, until now: those that told something in it,
// and those that accounted for a prefix, which may have been silent throughout. Minutes are expected of these while they
// accounted for one, and of the others in all of the month.
func completeness(ctx context.Context, tx *store.Tx, owners *inventory.Snapshot, month rating.Period, now time.Time) ([]statements.Completeness, error) {
	list := []statements.Completeness{}
	to := earlier(month.To, now)
	if !month.From.Before(to) {
		return list, nil
	}
	expected := owners.Accounted(month.From, to)
	accounting := map[string]bool{}
	for _, a := range expected {
		accounting[a.Exporter] = true
	}
	found := map[string]*statements.Completeness{}
	err := accounts(ctx, tx, "", month.From.UTC().Truncate(time.Hour), to, func(a Account) error {
		c := found[a.Exporter]
		if c == nil {
			c = &statements.Completeness{}
			found[a.Exporter] = c
			if !accounting[a.Exporter] {
				expected = append(expected, inventory.Accounting{Exporter: a.Exporter, From: month.From, Until: to})
			}
		}
		if !slices.Contains(c.Protocols, a.Protocol) {
			c.Protocols = append(c.Protocols, a.Protocol)
		}
		c.OctetsOnce += a.OctetsOnce
		c.OctetsBoth += a.OctetsBoth
		c.OctetsTransit += a.OctetsTransit
		c.OctetsUncounted += a.OctetsUncounted
		c.Held = addCounts(c.Held, a.Held)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("completeness: %w", err)
	}
	err = eachExporter(joined(expected), func(spans []inventory.Accounting) error {
		name := spans[0].Exporter
		c := statements.Completeness{}
		if known := found[name]; known != nil {
			c = *known
			slices.Sort(c.Protocols)
		}
		read, err := readExporter(ctx, tx, spans, month.From, to, nil)
		if err != nil {
			return fmt.Errorf("completeness of %s: %w", name, err)
		}
		c.Exporter, c.Coverage, c.Gaps = read.exporter, read.share, read.gaps
		list = append(list, c)
		return nil
	})
	return list, err
}
