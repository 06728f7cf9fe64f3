package export

import (
	"context"

	"hostmeter/aggregator/export/cloudevents"
	"hostmeter/aggregator/export/whmcs"
	"hostmeter/aggregator/ledger"
)

// Planned is one thing that would be sent.
type Planned struct {
	Receiver string `json:"receiver"`
	Subject  string `json:"subject"` // the charge's name, or "usage-records/17"
	// Charge and Request are set for charges, Event for events. A charge without a request is not
	// sent, and Note says why.
	Charge  *Charge            `json:"charge,omitempty"`
	Request *whmcs.Request     `json:"request,omitempty"`
	Event   *cloudevents.Event `json:"event,omitempty"`
	Note    string             `json:"note,omitempty"`
}

// Plan returns what would be sent: all charges that are not settled, and the first so many events of each
// feed. It asks no receiver and writes nothing.
func (h *Handover) Plan(ctx context.Context, events int) (list []Planned, err error) {
	if h.biller != nil {
		if list, err = h.biller.plan(ctx); err != nil {
			return nil, err
		}
	}
	for _, p := range h.pushers {
		for _, feed := range p.cfg.feeds() {
			from, err := h.journal.cursor(ctx, p.cfg.Name, feed)
			if err != nil {
				return nil, err
			}
			messages, err := p.read(ctx, feed, from, events)
			if err != nil {
				return nil, err
			}
			for _, m := range messages {
				list = append(list, Planned{Receiver: p.cfg.Name, Subject: subjectOf(feed, m.seq), Event: &m.event})
			}
		}
	}
	return list, nil
}

const waitsForApproval = `waits for approval: "hostmeter approval list"`

func (b *biller) plan(ctx context.Context) (list []Planned, err error) {
	charges, err := b.journal.charges(ctx, "receiver = ? AND state IN ('pending', 'intended', 'parked') ORDER BY number", receiverWHMCS)
	if err != nil {
		return nil, err
	}
	from, err := b.journal.cursor(ctx, receiverWHMCS, Statements)
	if err != nil {
		return nil, err
	}
	fresh, _, err := b.fresh(ctx, from, int(^uint(0)>>1))
	if err != nil {
		return nil, err
	}
	restored, err := b.journal.restores(ctx)
	if err != nil {
		return nil, err
	}
	for i := range fresh {
		if n := len(restored); n > 0 {
			fresh[i].doubt(restored[n-1].At, b.clock.Now())
		}
	}
	for _, c := range append(charges, fresh...) {
		planned := Planned{Receiver: receiverWHMCS, Subject: c.Key, Charge: &c, Note: c.LastError}
		switch c.State {
		case Empty:
			continue
		case Pending:
			if c.Approval == ledger.ApprovalRefused {
				continue
			}
			if c.Approval == ledger.ApprovalWaiting {
				planned.Note = waitsForApproval
				break
			}
			charge, err := c.forWHMCS()
			if err != nil {
				return nil, err
			}
			if planned.Note, err = b.waived(ctx, c); err != nil {
				return nil, err
			}
			if planned.Note != "" {
				break
			}
			planned.Note = c.LastError
			request, err := b.client.Build(charge)
			if err != nil {
				planned.Note = err.Error()
				break
			}
			planned.Request = &request
			if c.Doubted {
				planned.Note = "the ledger was restored: it is looked for first"
			}
			if now := b.clock.Now(); c.NextAt.After(now) {
				planned.Note = "not before " + c.NextAt.Format("2006-01-02T15:04:05Z07:00")
			}
		case Intended:
			planned.Note = "a request was made, and what became of it is looked for"
		}
		list = append(list, planned)
	}
	return list, nil
}
