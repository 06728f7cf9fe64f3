package app

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"hostmeter/aggregator"
	"hostmeter/aggregator/export"
	"hostmeter/aggregator/ledger"
	"hostmeter/aggregator/series"
	"hostmeter/aggregator/statement"
	"hostmeter/detector"
	"hostmeter/detector/notify"
	"hostmeter/schemas"
)

// openAggregator joins the ledger, what is done after sealing, the hand-over to billing systems, and the
// series sink to the log.
func (a *App) openAggregator(ctx context.Context) error {
	var err error
	a.aggregator, err = aggregator.New(a.cfg.Aggregator, aggregator.Deps{
		Ledger: a.desk.ledger, Source: a.source, Clock: a.clock, Logger: a.logger, Metrics: a.registry,
		AfterSeal: a.afterSeal,
	})
	if err != nil {
		return err
	}
	if err := a.lookForPutBack(ctx); err != nil {
		return err
	}
	if err := a.desk.notices.Attach(a.logger, a.registry); err != nil {
		return err
	}
	if a.cfg.Handover.Enabled() {
		a.handover, err = export.New(a.cfg.Handover, export.Deps{
			DB: a.desk.db, Ledger: a.desk.ledger, Clock: a.clock, Logger: a.logger, Metrics: a.registry, OpenPeriods: a.desk.openPeriods,
			Notices: a.desk.notices,
		})
		if err != nil {
			return err
		}
	}
	if a.cfg.Series.InfluxDB == nil {
		return nil
	}
	a.series, err = series.New(a.cfg.Series, series.Deps{
		DB: a.desk.db, Source: a.source, Clock: a.clock, Logger: a.logger, Metrics: a.registry, Owners: a.desk.drawnOwners,
		Standby: a.parts != All, Home: filepath.Join(a.cfg.Data, "series"), // as for the detector
	})
	return err
}

// afterSeal tells billing systems what was sealed, closes the periods that are due, and takes what has reached its
// age. What cannot be closed or adjusted is logged when it is first met: it is tried again each minute.
func (a *App) afterSeal(ctx context.Context) error {
	if err := a.rememberBooked(ctx); err != nil {
		return err
	}
	closed, err := a.desk.afterSeal(ctx)
	if err != nil {
		return err
	}
	met := make(map[statement.Problem]bool, len(closed.Problems))
	for _, p := range closed.Problems {
		met[p] = true
		if !a.unclosed[p] {
			a.logger.Warn("period is not closed or not adjusted", "service", p.Service, "err", p.Text)
		}
	}
	a.unclosed = met
	if len(closed.Earlier) > 0 {
		a.logger.Warn(earlierText, "statements", closed.Earlier)
	}
	return a.pruneIfDue(ctx)
}

func (d *Desk) afterSeal(ctx context.Context) (ledger.Closed, error) {
	if _, err := d.ledger.EmitUsageRecords(ctx, d.inventory); err != nil {
		return ledger.Closed{}, fmt.Errorf("emit usage records: %w", err)
	}
	if err := d.notices.Settle(ctx); err != nil { // what nobody answered stands on the statement
		return ledger.Closed{}, fmt.Errorf("settle decisions: %w", err)
	}
	closed, err := d.ledger.CloseDue(ctx, d.inventory, d.clock.Now())
	if err != nil {
		return closed, fmt.Errorf("close periods: %w", err)
	}
	return closed, nil
}

// owners reads who owns what, and who sold to whom, as it is now.
func (d *Desk) owners(ctx context.Context) (detector.Owner, error) {
	snapshot, err := d.inventory.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	return func(meter schemas.MeterID, at time.Time) (service, customer, reseller string) {
		service, customer = ownerOf(snapshot, meter, at)
		c, _ := snapshot.CustomerByID(customer)
		return service, customer, c.Reseller
	}, nil
}

// drawnOwners is owners for the series, which know no resellers.
func (d *Desk) drawnOwners(ctx context.Context) (series.Owner, error) {
	snapshot, err := d.inventory.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	return func(meter schemas.MeterID, at time.Time) (service, customer string) {
		return ownerOf(snapshot, meter, at)
	}, nil
}

func (a *App) openDetector(context.Context) error {
	var err error
	a.sender, err = notify.New(a.cfg.Notify, notify.Deps{DB: a.desk.db, Clock: a.clock, Logger: a.logger, Metrics: a.registry,
		ReadTo: func() time.Time { return a.detector.ReadTo() }}) // the detector is there before anything is sent
	if err != nil {
		return err
	}
	a.detector, err = detector.New(a.cfg.Detector, detector.Deps{
		DB: a.desk.db, Source: a.source, Clock: a.clock, Logger: a.logger, Metrics: a.registry,
		Owners: a.desk.owners, Receivers: a.cfg.Notify.Receivers(),
		// In one process with the collector there can be no other. Who is not active sends nothing.
		Standby: a.parts != All, Home: filepath.Join(a.cfg.Data, "detector"), WhileActive: a.sender.Run,
	})
	if err != nil {
		return wrong(fmt.Errorf("detector.rules: %w", err), "docs/reference/rules.md lists the keys")
	}
	return nil
}
