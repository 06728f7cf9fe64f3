package ledger

import (
	"context"
	"fmt"
	"slices"

	"hostmeter/aggregator/rating"
	statements "hostmeter/aggregator/statement" // in this package a statement is also one of SQL
	"hostmeter/internal/store"
)

// pools computes the share of every pool's member again, from the usage, the contracts and the price that the
// statements of all its members name, and holds each statement to it octet by octet. The usage that
// statements name is held to the pool's, which the law of statements computes again.
func (v *verifier) pools(ctx context.Context, tx *store.Tx) error {
	var closings poolClosings
	known := map[poolPeriod]poolStatements{}
	check := func(list [][]Statement) error {
		for _, closing := range list {
			key := poolPeriodOfStatement(closing[0])
			if known[key] == nil {
				known[key] = poolStatements{}
			}
			if err := v.shares(known[key], closing); err != nil {
				return err
			}
		}
		return nil
	}
	state, err := readState(ctx, tx)
	if err != nil {
		return err
	}
	err = readStatements(ctx, tx, StatementQuery{}, func(s Statement) error {
		if err := check(closings.before(s)); err != nil {
			return err
		}
		if s.Body.Contract.Pool != nil && s.Body.Period.From.Unix() >= keptFrom(state.slotsPruned) {
			closings.add(s)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return check(closings.list)
}

// poolClosings gathers the statements that were computed from the same books, by the pool's period: they are written
// together, with those of others between them.
type poolClosings struct {
	list [][]Statement // each of one pool's period
	at   map[poolPeriod]int
}

// before returns what is whole when a statement comes: all where that was computed from other books.
func (c *poolClosings) before(s Statement) (whole [][]Statement) {
	if len(c.list) > 0 && !c.list[0][0].Body.sameBooks(s.Body) {
		whole = c.list
		*c = poolClosings{}
	}
	return whole
}

// add adds a statement of a pool's member. Where that has one there already, it begins another closing.
func (c *poolClosings) add(s Statement) {
	key := poolPeriodOfStatement(s)
	i, known := c.at[key]
	if !known || hasService(c.list[i], s.Body.Contract.Service) {
		i = len(c.list)
		c.list = append(c.list, nil)
		if c.at == nil {
			c.at = map[poolPeriod]int{}
		}
		c.at[key] = i
	}
	c.list[i] = append(c.list[i], s)
}

func hasService(closing []Statement, service string) bool {
	return slices.ContainsFunc(closing, func(s Statement) bool { return s.Body.Contract.Service == service })
}

// poolStatements are the last statements of a pool's members in one of its periods, with the revisions before, by service.
type poolStatements map[string]struct {
	last   Statement
	before toldRows
}

func poolPeriodOfStatement(s Statement) poolPeriod {
	return poolPeriod{s.Body.Contract.Pool.Service, s.Body.Period.From.UnixNano()}
}

// shares compares the statements of one closing with what they and the others' last ones make.
func (v *verifier) shares(known poolStatements, closing []Statement) error {
	for _, s := range closing {
		name := s.Body.Contract.Service
		k := known[name]
		if k.last.Number != 0 {
			k.before = k.before.and(k.last.Body.Row)
		}
		k.last = s
		known[name] = k
	}
	first := closing[0].Body
	pool := first.Contract.Pool.Service
	if first.PoolUsage == nil {
		v.find("pools", "statement number %d (%s) does not say what pool %s used", closing[0].Number, first.Row.Statement, pool)
		return nil
	}
	contract, err := thaw(first.Contract)
	if err != nil {
		return fmt.Errorf("statement number %d: %w", closing[0].Number, err)
	}
	var members []rating.Member
	at := map[string]int{}
	var in, out uint64
	for name, k := range known {
		member, err := thaw(k.last.Body.Contract)
		if err != nil {
			return fmt.Errorf("statement number %d: %w", k.last.Number, err)
		}
		member.Pool = contract.Pool // decisions about the pool are those of this closing
		at[name] = len(members)
		members = append(members, rating.Member{Contract: member, Usage: k.last.Body.Usage})
		in, out = in+k.last.Body.Usage.InOctets, out+k.last.Body.Usage.OutOctets
	}
	if in != first.PoolUsage.InOctets || out != first.PoolUsage.OutOctets {
		v.find("pools", "the members of pool %s used %d octets in and %d out by their statements, the pool %d and %d by statement number %d",
			pool, in, out, first.PoolUsage.InOctets, first.PoolUsage.OutOctets, closing[0].Number)
	}
	var prices []rating.Price
	if first.Price != nil {
		prices = []rating.Price{*first.Price}
	}
	charged, err := rating.RatePool(first.Period, *first.PoolUsage, members, prices)
	if err != nil {
		v.find("pools", "statement number %d (%s) cannot be computed again: %v", closing[0].Number, first.Row.Statement, err)
		return nil
	}
	rows, differences := make([]statements.Row, len(members)), make([]compared, len(members))
	for name, k := range known {
		m, i := members[at[name]], at[name]
		a := &account{target: &target{contract: m.Contract, period: k.last.Body.Period}, coverage: k.last.Body.Row.Coverage, missing: k.last.Body.Row.Missing}
		rows[i] = a.row(charged.Shares[i], m.Usage)
		told := k.before
		if !slices.ContainsFunc(closing, func(s Statement) bool { return s.Number == k.last.Number }) {
			told = told.and(k.last.Body.Row)
		}
		differences[i] = compare(rows[i], told.sum, told.first)
	}
	held, _ := heldBack(differences)
	for _, s := range closing {
		name := s.Body.Contract.Service
		if err := v.compareShare(s, rows[at[name]], known[name].before.sum, held[at[name]]); err != nil {
			return err
		}
	}
	return nil
}

func (v *verifier) compareShare(s Statement, got, before statements.Row, held charged) error {
	want, uncredited := s.Body.Row, s.Body.Uncredited
	if want.Revision > 1 {
		got = minus(got, before)
		got.Kind = rating.KindAdjustment
		got, uncredited = asWithheld(got, held, s.Body)
	}
	got.Statement, got.Revision = want.Statement, want.Revision
	if s.Body.RatingVersion < rating.Version { // which had other words for the same charge
		got.Rules = want.Rules
	}
	same, err := equalJSON(got, want)
	if err != nil {
		return fmt.Errorf("statement number %d: %w", s.Number, err)
	}
	if !same || !uncredited.Equal(s.Body.Uncredited) {
		v.find("pools", "statement number %d (%s) says excess %s %s, %s %s; the members' usage and contracts make %s %s, %s %s", s.Number, want.Statement,
			want.Excess, want.Unit, want.AmountExVAT, want.Currency, got.Excess, got.Unit, got.AmountExVAT, got.Currency)
	}
	return nil
}
