package app

import (
	"context"
	"errors"
	"net/http"

	"hostmeter/internal/httpapi"
	"hostmeter/internal/telemetry"
)

// openServer joins the API and the pages to the store, and to the collector where it runs here.
func (a *App) openServer(ctx context.Context) error {
	zone, err := a.desk.zone(ctx)
	if err != nil {
		return err
	}
	snapshot, err := a.desk.inventory.Snapshot(ctx)
	if err != nil {
		return err
	}
	provider := snapshot.Provider.Name
	if provider == "" {
		provider = a.cfg.Provider.Name
	}
	a.server, err = httpapi.New(a.cfg.HTTP, httpapi.Deps{
		Backend: a.backend(), Auth: a.desk.keeper, Clock: a.clock, Logger: a.logger,
		Registry: a.registry, Metrics: telemetry.MetricsHandler(a.registry),
		Zone: zone, Provider: provider, Version: telemetry.Version, Notice: a.notice,
	})
	if err != nil {
		return wrong(err, "correct the key in the configuration")
	}
	if err := a.server.Open(ctx); err != nil {
		return &HintError{Err: err, Hint: "another program listens there: set http.listen to another address (demo: --listen)"}
	}
	return nil
}

func (a *App) backend() httpapi.Backend {
	d := a.desk
	return httpapi.Backend{
		Usage: usageReader{d}, Records: d.ledger, Reports: reporter{d}, Summary: summarizer{d}, Checks: checker{d}, Addresses: addressDesk{d},
		Incidents: incidentDesk{d}, Inventory: inventoryDesk{d}, Eraser: eraser{d}, Credits: creditDesk{d}, Approvals: approvalDesk{d}, Preview: previewer{d}, AuditLog: eraser{d}, Exporters: exporterWatcher{d, a.collector}, Meters: meterReader{d}, Notices: noticeDesk{d},
		Readiness: a.readiness, OwnerNames: d.customerNames, Reload: a.reloader(),
	}
}

// reloader answers a request of the API; nil where nothing can be read again.
func (a *App) reloader() func(context.Context) error {
	if a.reload == nil {
		return nil
	}
	return func(ctx context.Context) error {
		err := a.reload(ctx)
		var hinted *HintError
		if errors.As(err, &hinted) {
			return &httpapi.InvalidError{Message: hinted.Error(), Hint: hinted.Hint}
		}
		return err
	}
}

// readiness says whether this process can do its work: the store answers. Anybody may ask, as often as they like: it
// reads one row and changes nothing.
func (a *App) readiness(ctx context.Context) error { return a.desk.db.Answers(ctx) }

// healthHandler answers that the process runs.
func (a *App) healthHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte("ok\n"))
	})
}

// customerNames are the names beside the identifiers of customers.
func (d *Desk) customerNames(ctx context.Context) (httpapi.Names, error) {
	snapshot, err := d.inventory.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	names := httpapi.Names{}
	for _, c := range snapshot.Customers() {
		names[c.ID] = c.Name
	}
	return names, nil
}
