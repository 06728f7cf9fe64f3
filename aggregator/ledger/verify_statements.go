package ledger

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

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

// statements computes every statement again from what it names, its bookings, observations, owners, contract and price, and
// holds the result to it octet by octet: what the service used, what its pool used, and the slots that were missing. The
// share of coverage is taken from it: what an exporter lost is told by the hour of receipt, and may have become more.
func (v *verifier) statements(ctx context.Context, tx *store.Tx) error {
	r := &recomputing{verifier: v, told: map[string]toldRows{}, members: map[poolPeriod]map[string]Statement{}}
	var group []Statement // of one closing: they name the same
	flush := func() error {
		if len(group) == 0 {
			return nil
		}
		err := r.recompute(ctx, tx, group)
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
		if len(group) > 0 && (!group[0].Body.sameBooks(s.Body) || hasPeriod(group, s)) {
			if err := flush(); err != nil {
				return err
			}
		}
		group = append(group, s)
	}
	return flush()
}

// recomputing goes through the statements in their order.
type recomputing struct {
	*verifier
	told map[string]toldRows // the revisions so far, by statement
	// members are the last statements of those who were in a pool's period together, by service.
	members map[poolPeriod]map[string]Statement
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

func (r *recomputing) recompute(ctx context.Context, tx *store.Tx, group []Statement) error {
	first := group[0]
	owners, err := inventory.OwnersAt(ctx, tx, first.Body.InventoryVersion)
	if err != nil {
		return err
	}
	targets, err := r.targets(group)
	if err != nil {
		return err
	}
	var over time.Time // every period was, when it was closed
	for _, t := range targets {
		over = later(over, t.period.To)
	}
	found, err := gather(ctx, tx, gathering{owners: owners, targets: targets, now: over, through: &first.Body.Booking, observed: first.Body.Observation})
	if err != nil {
		return err
	}
	pools := map[poolPeriod]bool{} // that were looked at
	for i, s := range group {
		name := s.Body.Row.Statement
		if err := r.compare(s, found.accounts[i], r.told[name]); err != nil {
			r.find("statements", "statement number %d (%s) cannot be computed again: %v", s.Number, name, err)
		}
		r.told[name] = r.told[name].and(s.Body.Row)
		if pool := found.accounts[i].pool; pool != nil && !pools[poolPeriodOfStatement(s)] {
			pools[poolPeriodOfStatement(s)] = true
			if err := r.comparePool(group, s, pool); err != nil {
				return err
			}
		}
	}
	return nil
}

// toldRows are what a statement charged at first, and the sum of all of its revisions.
type toldRows struct {
	revisions int
	first     charged
	sum       statements.Row
}

func (t toldRows) and(row statements.Row) toldRows {
	if t.revisions == 0 {
		t.first = chargedOf(row)
	}
	t.revisions++
	t.sum = plus(t.sum, row)
	return t
}

// targets returns those of a group's statements, in their order, and behind them the members of their pools that the
// closing had nothing to say about.
func (r *recomputing) targets(group []Statement) ([]*target, error) {
	var targets []*target
	add := func(s Statement, pool *rating.Contract) error {
		contract, err := thaw(s.Body.Contract)
		if err != nil {
			return fmt.Errorf("statement number %d: %w", s.Number, err)
		}
		if pool != nil {
			contract.Pool = pool // decisions about the pool are those of the closing
		}
		targets = append(targets, &target{contract: contract, period: s.Body.Period, whole: s.Body.RatingVersion < 3})
		return nil
	}
	speaks := map[string]bool{} // services of which the group has a statement
	pools := map[poolPeriod]*rating.Contract{}
	for _, s := range group {
		if err := add(s, nil); err != nil {
			return nil, err
		}
		contract := targets[len(targets)-1].contract
		if contract.Pool == nil {
			continue
		}
		key := poolPeriodOfStatement(s)
		if r.members[key] == nil {
			r.members[key] = map[string]Statement{}
		}
		r.members[key][contract.Service] = s
		pools[key], speaks[fmt.Sprint(key, contract.Service)] = contract.Pool, true
	}
	for key, pool := range pools {
		for service, s := range r.members[key] {
			if !speaks[fmt.Sprint(key, service)] {
				if err := add(s, pool); err != nil {
					return nil, err
				}
			}
		}
	}
	return targets, nil
}

// comparePool holds what the statements of a group say that a pool used to what all of its members make.
func (r *recomputing) comparePool(group []Statement, first Statement, pool *rating.Account) error {
	key := poolPeriodOfStatement(first)
	usage, err := pool.Usage()
	if err != nil {
		return err
	}
	for _, s := range group {
		if s.Body.Contract.Pool == nil || s.Body.PoolUsage == nil || poolPeriodOfStatement(s) != key { // the law of pools names one that says nothing
			continue
		}
		same, err := sameUsage(s.Body, *s.Body.PoolUsage, usage)
		if err != nil {
			return fmt.Errorf("statement number %d: %w", s.Number, err)
		}
		if !same {
			r.find("statements", "statement number %d (%s) says that pool %s used %s, and what it was computed from makes %s",
				s.Number, s.Body.Row.Statement, key.pool, usedText(*s.Body.PoolUsage), usedText(usage))
		}
	}
	return nil
}

// sameUsage says whether what a statement says was used is what was computed, but for what witnesses said of it, and the
// band, of then.
func sameUsage(body StatementBody, told, computed rating.Usage) (bool, error) {
	return equalJSON(asTold(body, told, computed), told)
}

// asTold takes into what was computed what a statement alone knows.
func asTold(body StatementBody, told, computed rating.Usage) rating.Usage {
	computed.Disputed = told.Disputed
	if body.saysMissing() && countsOtherwise(computed, &told) {
		computed.Percentile = told.Percentile
	}
	return computed
}

func usedText(u rating.Usage) string {
	text := fmt.Sprintf("%d octets in and %d out", u.InOctets, u.OutOctets)
	if p := u.Percentile; p != nil {
		text += fmt.Sprintf(", %d bit/s in %d slots of which %d are missing", p.BitsPerSecond, p.Slots, p.Missing)
	}
	return text
}

// compare holds a statement to its account; before are its earlier revisions.
func (r *recomputing) compare(s Statement, a *account, before toldRows) error {
	want := s.Body
	var prices []rating.Price
	if want.Price != nil {
		prices = []rating.Price{*want.Price}
	}
	if a.err != nil {
		return a.err
	}
	usage := asTold(want, want.Usage, a.usage)
	if a.coverage = want.Row.Coverage; want.saysMissing() {
		a.missing = want.Row.Missing
	}
	if want.Contract.Pool != nil { // the law of pools holds its row to what all members used
		same, err := equalJSON(usage, want.Usage)
		if err == nil && !same {
			r.find("statements", "statement number %d (%s) says that the service used %s, and what it was computed from makes %s",
				s.Number, want.Row.Statement, usedText(want.Usage), usedText(usage))
		}
		return err
	}
	charge, err := rating.Rate(a.contract, a.period, usage, prices)
	if err != nil {
		return err
	}
	row := a.row(charge, usage)
	uncredited := want.Uncredited
	if want.Row.Revision > 1 {
		held, _ := heldBack([]compared{compare(row, before.sum, before.first)})
		row = minus(row, before.sum)
		row.Kind = rating.KindAdjustment
		row, uncredited = asWithheld(row, held[0], want)
	}
	row.Statement, row.Revision = want.Row.Statement, want.Row.Revision
	if want.RatingVersion < rating.Version { // which had other words for the same charge
		row.Rules = want.Row.Rules
	}
	got := want
	got.Row, got.Usage, got.Uncredited = row, usage, uncredited
	same, err := equalJSON(got, want)
	if err == nil && !same {
		r.find("statements", "statement number %d (%s) says %s, and what it was computed from makes %s", s.Number, want.Row.Statement, said(want.Row), said(row))
	}
	return err
}

// equalJSON says whether two values are written alike: what is kept has been written and read.
func equalJSON(a, b any) (bool, error) {
	textOfA, err1 := json.Marshal(a)
	textOfB, err2 := json.Marshal(b)
	return bytes.Equal(textOfA, textOfB), errors.Join(err1, err2)
}

func said(row statements.Row) string {
	text := fmt.Sprintf("%d octets in, %d out, excess %s %s, %s %s", row.InOctets, row.OutOctets, row.Excess, row.Unit, row.AmountExVAT, row.Currency)
	if row.Slots > 0 {
		text += fmt.Sprintf(", %d bit/s in %d slots of which %d are missing", row.BitsPerSecond, row.Slots, row.SlotsMissing)
	}
	return text
}
