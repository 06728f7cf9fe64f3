package ledger

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/shopspring/decimal"

	"hostmeter/aggregator/rating"
	statements "hostmeter/aggregator/statement" // in this package a statement is also one of SQL
	"hostmeter/internal/inventory"
	"hostmeter/internal/store"
)

// chain checks that the statements are those that were written: their numbers, their hashes, and the columns that
// stand beside a body.
func (v *verifier) chain(ctx context.Context, tx *store.Tx) error {
	var last int64
	var previous string
	if err := tx.QueryRow(ctx, `SELECT pruned_number, pruned_hash FROM statement_head WHERE id = 1`).Scan(&last, &previous); err != nil {
		return fmt.Errorf("read the beginning of the chain: %w", err)
	}
	rows, err := tx.Query(ctx, `SELECT number, statement, revision, kind, customer, service, period_from, period_to, body, previous_hash, hash FROM statement ORDER BY number`)
	if err != nil {
		return fmt.Errorf("read statements: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var number, from, to int64
		var revision int
		var name, kind, customer, service, text, before, hash string
		if err := rows.Scan(&number, &name, &revision, &kind, &customer, &service, &from, &to, &text, &before, &hash); err != nil {
			return fmt.Errorf("read statements: %w", err)
		}
		if number != last+1 {
			v.find("chain", "statement number %d follows number %d: what was between is missing", number, last)
		}
		if before != previous {
			v.find("chain", "statement number %d (%s) names another hash before it than that of number %d", number, name, last)
		}
		if hash != chainHash(before, text) {
			v.find("chain", "statement number %d (%s): its hash is not that of what it says", number, name)
		}
		last, previous = number, hash
		body, err := readBody(text)
		if err != nil {
			v.find("chain", "statement number %d (%s) cannot be read: %v", number, name, err)
			continue
		}
		row := body.Row
		if row.Statement != name || row.Revision != revision || string(row.Kind) != kind || row.Customer != customer || row.Service != service ||
			body.Period.From.UnixNano() != from || body.Period.To.UnixNano() != to {
			v.find("chain", "statement number %d: its row says %s, revision %d (%s), of %s for %s; what was hashed says %s, revision %d (%s), of %s for %s, %s to %s",
				number, name, revision, kind, service, customer, row.Statement, row.Revision, row.Kind, row.Service, row.Customer,
				body.Period.From.Format(time.RFC3339), body.Period.To.Format(time.RFC3339))
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	head, err := readHead(ctx, tx)
	if err == nil && (head.number != last || head.hash != previous) {
		v.find("chain", "the last statement is number %d, and %d were written, or its hash is another one", last, head.number)
	}
	return err
}

// statements computes every statement again from what it names, its bookings, owners, contract and price, and holds
// the result to it octet by octet. What was known of the exporters' coverage then is taken from it: that is told by
// the hour of receipt, and may have become more.
func (v *verifier) statements(ctx context.Context, tx *store.Tx) error {
	told := map[string]statements.Row{}
	var group []Statement // of one closing: they name the same
	flush := func() error {
		err := v.recompute(ctx, tx, group, told)
		group = nil
		return err
	}
	// Read whole first: a query inside another one would need a second connection.
	state, err := readState(ctx, tx)
	if err != nil {
		return err
	}
	from := max(keptFrom(state.slotsPruned), v.firstDay*24*3600) // what retention has taken cannot be computed again
	var all []Statement
	err = readChain(ctx, tx, StatementQuery{}, func(s Statement, text string) (err error) {
		if s.Body, err = readBody(text); err == nil && s.Body.Period.From.Unix() >= from { // one that cannot be read is named already
			all = append(all, s)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, s := range all {
		if len(group) > 0 && (group[0].Body.Booking != s.Body.Booking || group[0].Body.InventoryVersion != s.Body.InventoryVersion || hasPeriod(group, s)) {
			if err := flush(); err != nil {
				return err
			}
		}
		group = append(group, s)
	}
	if len(group) == 0 {
		return nil
	}
	return flush()
}

// hasPeriod says whether a group has the period of a statement already: targets do not overlap.
func hasPeriod(group []Statement, s Statement) bool {
	for _, other := range group {
		if other.Body.Contract.Service == s.Body.Contract.Service && other.Body.Period.Overlaps(s.Body.Period.From, s.Body.Period.To) {
			return true
		}
	}
	return false
}

func (v *verifier) recompute(ctx context.Context, tx *store.Tx, group []Statement, told map[string]statements.Row) error {
	owners, err := inventory.OwnersAt(ctx, tx, group[0].Body.InventoryVersion)
	if err != nil {
		return err
	}
	targets := make([]*target, len(group))
	for i, s := range group {
		contract, err := thaw(s.Body.Contract)
		if err != nil {
			return fmt.Errorf("statement number %d: %w", s.Number, err)
		}
		targets[i] = &target{contract: contract, period: s.Body.Period}
	}
	booking := group[0].Body.Booking
	found, err := gather(ctx, tx, gathering{owners: owners, targets: targets, now: group[0].ClosedAt, through: &booking})
	if err != nil {
		return err
	}
	for i, s := range group {
		name := s.Body.Row.Statement
		if err := v.compare(s, found.accounts[i], told[name]); err != nil {
			v.find("statements", "statement number %d (%s) cannot be computed again: %v", s.Number, name, err)
		}
		told[name] = plus(told[name], s.Body.Row)
	}
	return nil
}

// compare holds a statement to its account; before is the sum of its earlier revisions.
func (v *verifier) compare(s Statement, a *account, before statements.Row) error {
	want := s.Body
	var prices []rating.Price
	if want.Price != nil {
		prices = []rating.Price{*want.Price}
	}
	usage := a.usage
	if a.err != nil {
		return a.err
	}
	usage.Disputed = want.Usage.Disputed // by the witnesses, and the band, of then
	if want.Usage.Percentile != nil && usage.Percentile != nil && usage.Percentile.Missing != want.Usage.Percentile.Missing {
		usage.Percentile = want.Usage.Percentile // slots are missing by the coverage of then
	}
	a.coverage, a.missing = want.Row.Coverage, want.Row.Missing
	if want.Contract.Pool != nil { // the law of pools holds its row to what all members used
		same, err := equalJSON(usage, want.Usage)
		if err == nil && !same {
			v.find("statements", "statement number %d (%s) says that the service used %d octets in and %d out, and what it was computed from makes %d and %d",
				s.Number, want.Row.Statement, want.Usage.InOctets, want.Usage.OutOctets, usage.InOctets, usage.OutOctets)
		}
		return err
	}
	charge, err := rating.Rate(a.contract, a.period, usage, prices)
	if err != nil {
		return err
	}
	row := a.row(charge, usage)
	if want.Row.Revision > 1 {
		row = minus(row, before)
		row.Kind = rating.KindAdjustment
		if !want.Uncredited.IsZero() && row.AmountExVAT.Neg().Equal(want.Uncredited) {
			row = asUngiven(row, want.Row)
		}
	}
	row.Statement, row.Revision = want.Row.Statement, want.Row.Revision
	got := want
	got.Row, got.Usage = row, usage
	same, err := equalJSON(got, want)
	if err == nil && !same {
		v.find("statements", "statement number %d (%s) says %s, and what it was computed from makes %s", s.Number, want.Row.Statement, said(want.Row), said(row))
	}
	return err
}

// equalJSON says whether two values are written alike: what is kept has been written and read.
func equalJSON(a, b any) (bool, error) {
	textOfA, err1 := json.Marshal(a)
	textOfB, err2 := json.Marshal(b)
	return bytes.Equal(textOfA, textOfB), errors.Join(err1, err2)
}

// asUngiven takes the amount out of a difference that was not given, with the rule that said so.
func asUngiven(row, told statements.Row) statements.Row {
	row.BilledQuantity, row.AmountExVAT = decimal.Zero, decimal.Zero
	if n := len(told.Rules); n > 0 {
		row.Rules = append(row.Rules[:len(row.Rules):len(row.Rules)], told.Rules[n-1])
	}
	return row
}

func said(row statements.Row) string {
	return fmt.Sprintf("%d octets in, %d out, excess %s %s, %s %s", row.InOctets, row.OutOctets, row.Excess, row.Unit, row.AmountExVAT, row.Currency)
}
