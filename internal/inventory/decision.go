package inventory

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/shopspring/decimal"

	"hostmeter/aggregator/rating"
	"hostmeter/internal/audit"
	"hostmeter/internal/store"
)

// decideRevoke takes another decision back.
const decideRevoke rating.DecisionKind = "revoke"

// Decision is what a person has decided about a service. It is never changed; another one may revoke it.
type Decision struct {
	rating.Decision
	Service string `json:"service"`
	Revokes string `json:"revokes"`
	// RecordedVersion is the version of the inventory that brought it.
	RecordedVersion int64 `json:"recorded_version"`
}

func parseDecisionKind(text string) (rating.DecisionKind, error) {
	switch k := rating.DecisionKind(text); k {
	case rating.DecideExclude, rating.DecideEstimate, rating.DecideLowerBound, rating.DecideIgnore, rating.DecideZero, rating.DecideRelease, rating.DecideWaive, rating.DecideCredit, decideRevoke:
		return k, nil
	}
	if k, err := rating.ParseChoice(text); err == nil {
		return k, nil
	}
	return "", fmt.Errorf("%q: want exclude, estimate, lower_bound, ignore, zero, release, waive, credit, upgrade, throttle, disconnect, nothing or revoke", text)
}

func parseSides(text string) (rating.Direction, error) {
	switch d := rating.Direction(text); d {
	case rating.In, rating.Out, rating.Sum:
		return d, nil
	}
	return "", fmt.Errorf("%q: want in, out or sum", text)
}

// parseWaived reads an amount above zero.
func parseWaived(text string) (decimal.Decimal, error) {
	d, err := rating.ParseDecimal(text)
	if err == nil && !d.IsPositive() {
		err = fmt.Errorf("%q: want an amount above 0", text)
	}
	return d, err
}

func formatWaived(d decimal.Decimal) string {
	if d.IsZero() {
		return ""
	}
	return d.String()
}

func readDecision(f *fields) Decision {
	d := Decision{
		Decision: rating.Decision{
			ID:        read(f, "id", parseID),
			Kind:      read(f, "decision", parseDecisionKind),
			From:      read(f, "from", parseTime),
			Until:     read(f, "until", parseTime),
			Direction: read(f, "direction", parseSides),
			Amount:    read(f, "amount", parseWaived),
			Beyond:    read(f, "beyond", parseWaived),
			By:        read(f, "by", parseText),
			Reason:    read(f, "reason", parseText),
		},
		Service: read(f, "service", parseID),
		Revokes: read(f, "revokes", parseID),
	}
	if len(f.errs) > 0 {
		return d
	}
	wantFrom, wantUntil := d.Kind != decideRevoke, d.Kind == rating.DecideExclude
	switch {
	case d.From.IsZero() == wantFrom:
		f.fail("from", fmt.Errorf("a decision to %s %s", d.Kind, map[bool]string{true: "needs one", false: "has none"}[wantFrom]))
	case d.Until.IsZero() == wantUntil:
		f.fail("until", fmt.Errorf("a decision to %s %s", d.Kind, map[bool]string{true: "needs one", false: "has none"}[wantUntil]))
	case (d.Revokes == "") == (d.Kind == decideRevoke):
		f.fail("revokes", errors.New("goes with a decision to revoke, and with no other"))
	case d.Direction != "" && d.Kind != rating.DecideExclude:
		f.fail("direction", errors.New("goes with a decision to exclude, and with no other"))
	case !d.Amount.IsZero() && d.Kind != rating.DecideWaive:
		f.fail("amount", errors.New("goes with a decision to waive, and with no other"))
	case !d.Beyond.IsZero() && d.Amount.IsZero():
		f.fail("beyond", errors.New("goes with an amount: how much is waived of what is charged beyond it"))
	case wantUntil && !d.From.Before(d.Until):
		f.fail("until", fmt.Errorf("%s is not after from", formatTime(d.Until)))
	case wantUntil && (!SlotAfter(d.From).Equal(d.From) || !SlotAfter(d.Until).Equal(d.Until)):
		f.fail("from", errors.New("an exclusion begins and ends at multiples of five minutes"))
	}
	if d.Kind == rating.DecideExclude && d.Direction == "" {
		d.Direction = rating.Sum
	}
	return d
}

func (d Decision) row() []string {
	return []string{d.ID, d.Service, string(d.Kind), formatTime(d.From), formatTime(d.Until), string(d.Direction), formatWaived(d.Amount), formatWaived(d.Beyond), d.Revokes, d.By, d.Reason}
}

// checkDecision holds a decision to what it is about.
func (c *change) checkDecision(d Decision) {
	fault := func(column, format string, args ...any) {
		c.faultIn(&kindDecision, d.ID, column, format, args...)
	}
	of, ok := c.firstTerms(d.Service)
	if !ok {
		fault("service", "%q is neither a service nor a pool", d.Service)
		return
	}
	if err := c.checkNotPooled(d, of); err != nil {
		fault("service", "%v", err)
		return
	}
	percentile := of.Direction.Value.IsPercentile()
	switch d.Kind {
	case decideRevoke:
		if other, ok := c.decisions.rows[d.Revokes]; !ok || other.Service != d.Service || other.Kind == decideRevoke {
			fault("revokes", "%q is no decision about service %s that can be revoked", d.Revokes, d.Service)
		}
	case rating.DecideLowerBound, rating.DecideEstimate:
		if percentile {
			fault("decision", "service %s counts a percentile: %v", d.Service, rating.ErrPercentileError)
		}
	case rating.DecideIgnore, rating.DecideZero:
		if !percentile {
			fault("decision", "service %s counts octets, and no slots that could be missing", d.Service)
		}
	}
}

// checkNameless refuses a decision that names a customer whose statements keep it, and its hash, for good.
func (c *change) checkNameless(row Row, id string) {
	d := c.decisions.rows[id]
	for _, customer := range c.customersOf(d.Service) {
		for column, text := range map[string]string{"by": d.By, "reason": d.Reason} {
			if customer.namedIn(text) {
				c.fault(row.at(column), "%s: it names the customer, and statements keep it for good: write %s instead", column, customer.ID)
			}
		}
	}
}

// customersOf returns the customer of a service, or those of a pool and of all that were ever in it.
func (c *change) customersOf(id string) []Customer {
	ids := []string{c.services.rows[id].Customer, c.pools.rows[id].Customer}
	for _, m := range c.members.rows {
		if m.Pool == id {
			ids = append(ids, c.services.rows[m.Service].Customer)
		}
	}
	slices.Sort(ids)
	var list []Customer
	for _, id := range slices.Compact(ids) {
		if customer, ok := c.customers.rows[id]; ok {
			list = append(list, customer)
		}
	}
	return list
}

// checkCredits refuses new decisions to credit a period that is not over, or is over for too long. Periods are those that
// were closed, and for others those that will be: also one that is cut, as its service entered or left a pool in it.
func (c *change) checkCredits() {
	var credits []Decision
	for _, e := range c.edits {
		if e.kind != &kindDecision {
			continue
		}
		if d := c.decisions.rows[e.kind.keyOf(e.new)]; d.Kind == rating.DecideCredit {
			credits = append(credits, d)
		}
	}
	if len(credits) == 0 {
		return
	}
	snapshot, err := newSnapshot(0, c.state)
	if err != nil {
		return // it is said elsewhere
	}
	for _, d := range credits {
		contract, period, err := snapshot.PeriodAt(d.Service, d.From)
		if err != nil {
			continue // it is said elsewhere
		}
		closed, known := c.closedPeriods[d.ID]
		if known {
			period = closed
		}
		zone := contract.Schedule.Zone
		if !known && (!period.To.After(contract.Opened.In(zone)) || !contract.Closed.IsZero() && !period.From.Before(contract.Closed.In(zone))) {
			c.faultIn(&kindDecision, d.ID, "from", "no period of %s contains it: it was opened on %s%s", d.Service, contract.Opened, closedText(contract.Closed))
			continue
		}
		c.checkCredit(d, period, zone)
	}
}

func closedText(day rating.Date) string {
	if day.IsZero() {
		return ""
	}
	return fmt.Sprintf(" and closed on %s", day)
}

func (c *change) checkCredit(d Decision, period rating.Period, zone *time.Location) {
	window := c.provider.ClaimWindow.Or(rating.DefaultClaimWindow)
	switch ends, _ := window.Ends(period, zone); {
	case c.now.Before(period.To):
		c.faultIn(&kindDecision, d.ID, "from", "the period that contains it ends on %s: there is nothing to credit yet", rating.DateOf(period.To.In(zone)))
	case window.Over(period, zone, c.now):
		c.faultIn(&kindDecision, d.ID, "from", "the period that contains it could be credited until %s: no claim is made %s after a period (provider: claim_window)", ends, window)
	}
}

// readClosedPeriods returns the closed periods that rows decide to credit, by the decisions' ids, from the ledger's table.
func readClosedPeriods(ctx context.Context, tx *store.Tx, rows []Row) (map[string]rating.Period, error) {
	periods := map[string]rating.Period{}
	for _, row := range rows {
		at, err := parseTime(row.Cells["from"])
		if row.Section != kindDecision.section || row.Cells["decision"] != string(rating.DecideCredit) || err != nil {
			continue
		}
		var from, to int64
		err = tx.QueryRow(ctx, `SELECT period_from, period_to FROM statement WHERE service = ? AND period_from <= ? AND period_to > ? ORDER BY number LIMIT 1`,
			row.Cells["service"], at.UnixNano(), at.UnixNano()).Scan(&from, &to)
		switch {
		case err == nil:
			periods[row.Cells["id"]] = rating.Period{From: timeOf(from), To: timeOf(to)}
		case !errors.Is(err, sql.ErrNoRows):
			return nil, fmt.Errorf("read the closed periods: %w", err)
		}
	}
	return periods, nil
}

// inForce returns the decisions about each service that are not revoked, in the order in which they were made.
func (s *state) inForce() map[string][]rating.Decision {
	revoked := map[string]bool{}
	list := s.decisions.sorted()
	for _, d := range list {
		revoked[d.Revokes] = true
	}
	slices.SortStableFunc(list, func(a, b Decision) int { return int(min(max(a.RecordedVersion-b.RecordedVersion, -1), 1)) })
	by := map[string][]rating.Decision{}
	for _, d := range list {
		if d.Kind != decideRevoke && !revoked[d.ID] {
			by[d.Service] = append(by[d.Service], d.Decision)
		}
	}
	return by
}

func writeDecision(ctx context.Context, tx *store.Tx, version int64, e edit) error {
	args := make([]any, 0, len(e.new)+2)
	for _, cell := range e.new {
		args = append(args, cell)
	}
	columns := e.kind.table()
	f := &fields{get: cellOf(e.kind, e.new)}
	d := readDecision(f)
	if len(f.errs) > 0 {
		return f.errs[0].err
	}
	err := audit.Add(ctx, tx, audit.Event{Actor: d.By, Action: "decide " + string(d.Kind), Subject: d.Service, Reason: d.ID + ": " + d.Reason})
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `INSERT INTO decision (`+strings.Join(columns, ", ")+`, recorded_at, recorded_version) VALUES (?`+
		strings.Repeat(", ?", len(columns)+1)+`)`, append(args, tx.Now.UnixNano(), version)...)
	return err
}

// loadDecisions reads the decisions with the versions that brought them.
func loadDecisions(ctx context.Context, tx *store.Tx, t *table[Decision]) error {
	if err := loadTable(ctx, tx, t); err != nil {
		return err
	}
	rows, err := tx.Query(ctx, `SELECT id, recorded_version FROM decision`)
	if err != nil {
		return fmt.Errorf("read decisions: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		var version int64
		if err := rows.Scan(&id, &version); err != nil {
			return fmt.Errorf("read decisions: %w", err)
		}
		d := t.rows[id]
		d.RecordedVersion = version
		t.rows[id] = d
	}
	return rows.Err()
}

// DecidedSpan is a span of a service about which something was decided, or is no longer.
type DecidedSpan struct {
	Service  string
	From, To time.Time
}

// DecidedSpans returns the spans of the decisions that were recorded by versions in (after, through]. It is
// asked by whoever has told charges before.
func (s *Snapshot) DecidedSpans(after, through int64) []DecidedSpan {
	return s.decidedSpans(func(d Decision) bool { return d.RecordedVersion > after && d.RecordedVersion <= through })
}

// DecidedBetween returns the spans of the decisions that a state of the inventory has and another has not.
func DecidedBetween(before, after *Snapshot) []DecidedSpan {
	return after.decidedSpans(func(d Decision) bool {
		_, known := before.decisionByID[d.ID]
		return !known
	})
}

func (s *Snapshot) decidedSpans(keep func(Decision) bool) []DecidedSpan {
	var spans []DecidedSpan
	for _, d := range s.decisions {
		if !keep(d) {
			continue
		}
		about := d
		if d.Kind == decideRevoke {
			about = s.decisionByID[d.Revokes]
		}
		to := about.Until
		if to.IsZero() {
			to = about.From.Add(1)
		}
		spans = append(spans, DecidedSpan{Service: d.Service, From: about.From, To: to})
	}
	return spans
}

// Decisions returns all decisions by id, the revoked ones too. It is only read.
func (s *Snapshot) Decisions() []Decision { return s.decisions }

// DecisionByID returns a decision, also one that is revoked.
func (s *Snapshot) DecisionByID(id string) (Decision, bool) {
	d, ok := s.decisionByID[id]
	return d, ok
}

// DecisionsOn returns the decisions about a service that are in force, in the order in which they were made.
func (s *Snapshot) DecisionsOn(service string) []rating.Decision { return s.decided[service] }
