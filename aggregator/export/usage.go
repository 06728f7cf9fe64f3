package export

import (
	"context"
	"errors"
	"fmt"

	"github.com/shopspring/decimal"

	"hostmeter/aggregator/export/whmcs"
	"hostmeter/aggregator/statement"
)

// show writes what open periods have used so far to the products of WHMCS, from time to time. There is no
// journal: the whole value is written, and a repeat changes nothing.
//
// Errors: WHMCS did not answer as it should. A product that is not as it should be is told of, and the
// others are written.
func (b *biller) show(ctx context.Context) error {
	now := b.clock.Now()
	if len(b.cfg.Usage.Products) == 0 || b.open == nil || now.Sub(b.shownAt) < b.cfg.Usage.Every {
		return nil
	}
	rows, err := b.open(ctx)
	if err != nil {
		return fmt.Errorf("read the open periods: %w", err)
	}
	for _, row := range rows {
		if _, ok := b.cfg.Usage.Products[row.Service]; !ok || row.Unit.Octets() == 0 {
			continue // a quota that is no amount has no place there
		}
		if err := b.hold(ctx); err != nil {
			return err
		}
		err := b.client.ShowUsage(ctx, usageOf(row))
		switch {
		case err == nil:
			b.metrics.count(receiverWHMCS, "shown")
		case errors.Is(err, whmcs.ErrUnit), errors.Is(err, whmcs.ErrUnfit), errors.Is(err, whmcs.ErrRefused):
			b.metrics.count(receiverWHMCS, "not shown")
			b.logger.Error("usage is not shown", "receiver", receiverWHMCS, "service", row.Service, "err", err)
		default:
			return fmt.Errorf("show the usage of %s: %w", row.Service, err)
		}
	}
	b.shownAt = now
	return nil
}

func usageOf(row statement.Row) whmcs.Usage {
	return whmcs.Usage{
		Service: row.Service, Customer: row.Customer, Currency: row.Currency, Octets: max(row.BillableOctets, 0),
		QuotaOctets: row.Quota.Mul(decimal.NewFromInt(row.Unit.Octets())), Unlimited: row.Unlimited,
	}
}
