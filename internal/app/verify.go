package app

import (
	"context"
	"fmt"

	"hostmeter/internal/doctor"
)

// checkLedger looks for what was set aside and for gaps.
func (d *Desk) checkLedger(ctx context.Context) []doctor.Finding {
	var out []doctor.Finding
	refused, err := d.ledger.RefusedBatches(ctx)
	if err != nil {
		return []doctor.Finding{{Level: doctor.Fault, Text: err.Error()}}
	}
	for _, r := range refused {
		out = append(out, doctor.Finding{Level: doctor.Fault, Text: fmt.Sprintf("batch %s/%d was set aside: %s", r.Key, r.Index, r.Reason),
			Hint: "keep it, and report it as a fault of hostmeter"})
	}
	gaps, err := d.ledger.Gaps(ctx)
	if err != nil {
		return []doctor.Finding{{Level: doctor.Fault, Text: err.Error()}}
	}
	for _, g := range gaps {
		out = append(out, doctor.Finding{Level: doctor.Warning, Text: fmt.Sprintf("batches %d to %d of %s are lost", g.From, g.To, g.Key),
			Hint: "usage of that time is missing; was the log's disk full or replaced?"})
	}
	if len(out) == 0 {
		out = []doctor.Finding{{Level: doctor.Good, Text: "no batch was set aside, and none is lost"}}
	}
	return out
}
