package ledger

import (
	"cmp"
	"context"
	"slices"
	"time"

	"hostmeter/internal/store"
	"hostmeter/schemas"
)

// slottedAccount is an account of a contract that counts slots, and the meters that have usage for it.
type slottedAccount struct {
	*account
	meters []schemas.MeterID
}

// note adds a meter. Rows come by meter, so that the last one is mostly the same.
func (s *slottedAccount) note(meter schemas.MeterID) {
	if n := len(s.meters); n == 0 || s.meters[n-1] != meter && !slices.Contains(s.meters, meter) {
		s.meters = append(s.meters, meter)
	}
}

// slotted bounds what is in memory: a month of slots is a fifth of a megabyte an account, and a query has a list of
// meters. Tests make them smaller.
var (
	slottedAccounts = 1000
	slottedMeters   = 500
)

// gatherSlots adds up accounts that count slots, group by group. Accounts whose meters lie near each other in the store
// are in one group; those of one pool may be in several.
func gatherSlots(ctx context.Context, tx *store.Tx, g gathering, accounts map[*target]*slottedAccount, coverage *covering, of pools) error {
	if len(accounts) == 0 {
		return nil
	}
	s, err := readState(ctx, tx)
	if err != nil {
		return err
	}
	parts := uint32(max(s.parts, 1))
	list := make([]*slottedAccount, 0, len(accounts))
	for _, account := range accounts {
		list = append(list, account)
	}
	place := func(a *slottedAccount) (part uint32, meter schemas.MeterID) {
		if len(a.meters) == 0 {
			return 0, ""
		}
		return schemas.ShardOf(string(a.meters[0]), parts), a.meters[0]
	}
	slices.SortFunc(list, func(x, y *slottedAccount) int {
		xPart, xMeter := place(x)
		yPart, yMeter := place(y)
		return cmp.Or(x.period.From.Compare(y.period.From), cmp.Compare(xPart, yPart), cmp.Compare(xMeter, yMeter), cmp.Compare(x.contract.Service, y.contract.Service))
	})
	for group := range slices.Chunk(list, slottedAccounts) {
		if err := gatherGroup(ctx, tx, g, group, parts); err != nil {
			return err
		}
		for _, account := range group {
			if err := coverage.cover(ctx, tx, account.account); err != nil {
				return err
			}
			account.finish(of, g)
		}
	}
	return nil
}

// gatherGroup opens the accounts of a group and adds up all hours of its meters.
func gatherGroup(ctx context.Context, tx *store.Tx, g gathering, group []*slottedAccount, parts uint32) error {
	byTarget := make(map[*target]*account, len(group))
	a := attribution{owners: g.owners, targets: map[string][]*target{}, charged: true}
	q := Query{From: group[0].period.From.Truncate(time.Hour), To: group[0].period.To, Through: g.through}
	byPart := make([][]schemas.MeterID, parts)
	for _, account := range group {
		account.open(g.now)
		t := account.target
		byTarget[t] = account.account
		a.targets[t.contract.Service] = append(a.targets[t.contract.Service], t)
		q.From, q.To = earlier(q.From, t.period.From.Truncate(time.Hour)), later(q.To, t.period.To)
		for _, meter := range account.meters {
			part := schemas.ShardOf(string(meter), parts)
			byPart[part] = append(byPart[part], meter)
		}
	}
	q.To = q.To.Add(time.Hour - 1).Truncate(time.Hour)
	a.add = func(p part) { byTarget[p.target].add(p) }
	segments := map[schemas.MeterID]*segmenter{}
	for part, meters := range byPart {
		slices.Sort(meters)
		for some := range slices.Chunk(slices.Compact(meters), slottedMeters) {
			err := whileReading(func(read func(UsageRow) error) error {
				return slotRows(ctx, tx, q, uint32(part), some, read)
			}, func(row *UsageRow) {
				s := segments[row.Meter]
				if s == nil {
					s = &segmenter{attribution: &a, from: q.From, to: q.To}
					segments[row.Meter] = s
				}
				s.give(*row, row.Hour.Add(time.Hour), true)
			})
			if err != nil {
				return err
			}
		}
		clear(segments)
	}
	return nil
}

// whileReading gives add the rows that read reads, in their order. It adds on one processor while it reads on another.
func whileReading(read func(func(UsageRow) error) error, add func(*UsageRow)) error {
	const some = 256
	full, empty := make(chan []UsageRow, 2), make(chan []UsageRow, 3)
	for range cap(empty) {
		empty <- make([]UsageRow, 0, some)
	}
	added := make(chan struct{})
	go func() {
		defer close(added)
		for rows := range full {
			for i := range rows {
				add(&rows[i])
			}
			empty <- rows[:0]
		}
	}()
	rows := <-empty
	err := read(func(row UsageRow) error {
		if rows = append(rows, row); len(rows) == some {
			full <- rows
			rows = <-empty
		}
		return nil
	})
	full <- rows
	close(full)
	<-added
	return err
}
