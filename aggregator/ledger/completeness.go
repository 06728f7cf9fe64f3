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
// and those that account for a prefix, which may have been silent throughout.
func completeness(ctx context.Context, tx *store.Tx, owners *inventory.Snapshot, month rating.Period, now time.Time) ([]statements.Completeness, error) {
	list := []statements.Completeness{}
	to := earlier(month.To, now)
	if !month.From.Before(to) {
		return list, nil
	}
	var names []string
	for _, p := range owners.Prefixes() {
		names = append(names, p.Exporters...)
	}
	found := map[string]*statements.Completeness{}
	err := accounts(ctx, tx, "", month.From.UTC().Truncate(time.Hour), to, func(a Account) error {
		c := found[a.Exporter]
		if c == nil {
			c = &statements.Completeness{}
			found[a.Exporter] = c
			names = append(names, a.Exporter)
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
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		c := statements.Completeness{}
		if known := found[name]; known != nil {
			c = *known
			slices.Sort(c.Protocols)
		}
		read, err := readExporter(ctx, tx, name, month.From, to)
		if err != nil {
			return nil, fmt.Errorf("completeness of %s: %w", name, err)
		}
		c.Exporter, c.Coverage, c.Gaps = read.exporter, read.share, read.gaps
		list = append(list, c)
	}
	return list, nil
}
