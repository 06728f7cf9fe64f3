package app

import (
	"context"

	"hostmeter/aggregator/ledger"
	"hostmeter/aggregator/statement"
	"hostmeter/internal/httpapi"
	"hostmeter/internal/inventory"
)

// previewer joins the API to the preview of a closing.
type previewer struct{ *Desk }

// Preview returns what the next closing would do if files were imported before.
func (d previewer) Preview(ctx context.Context, files []httpapi.ImportFile) (httpapi.Preview, error) {
	preview, err := d.preview(ctx, files)
	if err != nil {
		return httpapi.Preview{}, inventoryFault(err)
	}
	out := httpapi.Preview{Statements: previewRows(preview.Statements), Adjustments: previewRows(preview.Adjustments)}
	for _, p := range preview.Problems {
		out.Problems = append(out.Problems, p.Service+": "+p.Text)
	}
	return out, nil
}

func (d previewer) preview(ctx context.Context, files []httpapi.ImportFile) (ledger.Preview, error) {
	if len(files) == 0 {
		return d.ledger.Preview(ctx, d.inventory, d.clock.Now())
	}
	list := make([]inventory.File, len(files))
	for i, f := range files {
		list[i] = inventory.File{Name: f.Name, Text: f.Text}
	}
	before, asked, err := d.inventory.PreviewImport(ctx, list)
	if err != nil {
		return ledger.Preview{}, err
	}
	return d.ledger.PreviewChange(ctx, before, asked, d.clock.Now())
}

func previewRows(rows []statement.Row) []httpapi.PreviewRow {
	out := make([]httpapi.PreviewRow, len(rows))
	for i, r := range rows {
		out[i] = httpapi.PreviewRow{
			Statement: r.Statement, Revision: r.Revision, Customer: r.Customer, Service: r.Service, PeriodFrom: r.PeriodFrom.UTC(), PeriodTo: r.PeriodTo.UTC(),
			InOctets: r.InOctets, OutOctets: r.OutOctets, Amount: statement.Money(r.AmountExVAT, r.Currency), Currency: r.Currency,
		}
	}
	return out
}
