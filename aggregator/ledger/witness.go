package ledger

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"hostmeter/aggregator/reconcile"
	"hostmeter/internal/inventory"
	"hostmeter/internal/store"
	"hostmeter/schemas"
)

// ReconcileConfig says how what bills is compared with its witnesses, and what becomes of a line that is
// outside. It is under `ledger.reconcile`.
type ReconcileConfig struct {
	// Action is hold, or report: then it is shown, and nothing is held.
	Action string `yaml:"action"`
	// InternalBooked says that exporters book traffic between local addresses. Those of mode border do
	// not: what witnesses have more than the addresses is no mismatch then.
	InternalBooked     bool `yaml:"internal_booked"`
	reconcile.Settings `yaml:",inline"`
}

// The actions.
const (
	ReconcileHold   = "hold"
	ReconcileReport = "report"
)

// DefaultReconcileConfig returns the settings of an empty file.
func DefaultReconcileConfig() ReconcileConfig {
	return ReconcileConfig{Action: ReconcileHold, InternalBooked: true, Settings: reconcile.DefaultSettings()}
}

// Validate names the key that is wrong.
func (c ReconcileConfig) Validate() error {
	if c.Action != ReconcileHold && c.Action != ReconcileReport {
		return fmt.Errorf("action: %q: want hold or report", c.Action)
	}
	return c.Settings.Validate()
}

// comparedKinds are the kinds of meters that see the same traffic, in the order in which they are shown.
var comparedKinds = []schemas.MeterKind{schemas.KindAddress, schemas.KindVNIC, schemas.KindPort}

// witnesses are what all kinds of meters of a target counted, by UTC day.
type witnesses struct {
	*target
	owned [][]inventory.Ownership // that touch the period, by comparedKinds
	days  [][]counted             // by day since the period's first, and by comparedKinds; nil where nothing is to be compared
}

// counted is what the meters of one kind counted in a day; there says that they did at all.
type counted struct {
	in, out reconcile.Amount
	there   bool
}

func newWitnesses(t *target, owned []inventory.Ownership) *witnesses {
	w := &witnesses{target: t, owned: make([][]inventory.Ownership, len(comparedKinds))}
	kinds := 0
	for _, o := range owned {
		at := slices.Index(comparedKinds, comparedKind(o.Key))
		if at < 0 || !o.From.Before(t.period.To) || !o.Until.IsZero() && !o.Until.After(t.period.From) {
			continue
		}
		if len(w.owned[at]) == 0 {
			kinds++
		}
		w.owned[at] = append(w.owned[at], o)
	}
	if kinds > 1 {
		w.days = make([][]counted, w.day(t.period.To.Add(SlotLength))+1)
	}
	return w
}

// comparedKind is the kind of the meters that a key owns: a guest's are its vNICs.
func comparedKind(key schemas.MeterID) schemas.MeterKind {
	if kind := key.Kind(); kind != schemas.KindGuest {
		return kind
	}
	return schemas.KindVNIC
}

// day is the number of a UTC day, from the period's first.
func (w *witnesses) day(at time.Time) int {
	return int(dayOf(at).Sub(dayOf(w.period.From)) / (24 * time.Hour))
}

// add adds a part of any kind of meter. What flow records tell at a port are sources that are not local: no address
// has them.
func (w *witnesses) add(p part) {
	kind := p.meter.Kind()
	at := slices.Index(comparedKinds, kind)
	if w.days == nil || at < 0 {
		return
	}
	cells := &w.days[w.day(p.from)]
	if *cells == nil {
		*cells = make([]counted, len(comparedKinds))
	}
	c := &(*cells)[at]
	switch {
	case kind == schemas.KindAddress:
	case p.class != schemas.ClassPort:
		(*cells)[0].out.Unbooked += uint64(p.out.Octets) // comparedKinds[0] is address
		return
	}
	c.there = true
	addAmount(&c.in, p.in)
	addAmount(&c.out, p.out)
}

func addAmount(into *reconcile.Amount, u Usage) {
	into.Octets += uint64(u.Octets)
	into.Packets += uint64(u.Packets)
	into.VarianceKiB2 += u.VarianceKiB2
}

// wants says whether a meter has a part in what is compared.
func (w *witnesses) wants(meter schemas.MeterID) bool {
	return w.days != nil && slices.Contains(comparedKinds, meter.Kind())
}

// comparing is what judging days needs beside what was counted.
type comparing struct {
	cfg    ReconcileConfig
	owners *inventory.Snapshot
	sealed time.Time
	known  *coverages
	hosts  map[string]string // exporter of a guest's host, by UUID
}

// comparedDay is one day of a target, judged.
type comparedDay struct {
	day time.Time
	reconcile.Day
	reconcile.Result
}

// judge compares the days of a target that are sealed.
func (c *comparing) judge(ctx context.Context, tx *store.Tx, w *witnesses) ([]comparedDay, error) {
	var list []comparedDay
	from, to := inventory.SlotAfter(w.period.From), inventory.SlotAfter(w.period.To)
	for at := dayOf(from); at.Before(to); at = at.Add(24 * time.Hour) {
		begin, end := later(at, from), earlier(at.Add(24*time.Hour), to)
		if end.After(c.sealed) {
			break
		}
		day := w.alone()
		if w.days != nil {
			var err error
			if day, err = c.dayOf(ctx, tx, w, begin, end); err != nil {
				return nil, err
			}
		}
		list = append(list, comparedDay{at, day, reconcile.Compare(day, c.cfg.Settings)})
	}
	return list, nil
}

// alone is a day of a service that has meters of one kind at most: they have no witness, and are not added up.
func (w *witnesses) alone() reconcile.Day {
	day := reconcile.Day{Bills: schemas.MeterKind(w.contract.Bills.Value)}
	for i, kind := range comparedKinds {
		if len(w.owned[i]) == 0 {
			day.Missing = append(day.Missing, reconcile.Missing{Kind: kind, Reason: noneOwned})
		}
	}
	return day
}

// noneOwned is why most kinds are missing.
const noneOwned = "none is the service's"

// dayOf gathers the figures of a day, and the reasons for those that are missing.
func (c *comparing) dayOf(ctx context.Context, tx *store.Tx, w *witnesses, from, to time.Time) (reconcile.Day, error) {
	day := reconcile.Day{Bills: schemas.MeterKind(w.contract.Bills.Value)}
	for i, kind := range comparedKinds {
		var sums counted
		if w.days != nil && w.days[w.day(from)] != nil {
			sums = w.days[w.day(from)][i]
		}
		observed, missing, err := c.observed(ctx, tx, w.owned[i], from, to)
		if err != nil {
			return day, err
		}
		if missing == "" && !sums.there && (kind != schemas.KindAddress || observed == 0) {
			missing = "nothing was read of it"
		}
		if missing != "" {
			day.Missing = append(day.Missing, reconcile.Missing{Kind: kind, Reason: missing})
			continue
		}
		f := reconcile.Figure{Kind: kind, In: sums.in, Out: sums.out, ObservedPPM: observed}
		if kind == schemas.KindAddress && !c.cfg.InternalBooked {
			f.In.Unbooked, f.Out.Unbooked = unbounded, unbounded
		}
		day.Figures = append(day.Figures, f)
	}
	return day, nil
}

// unbounded octets are more than any day has.
const unbounded = 1 << 62

// observed says which part of a span was observed of what a service owned of one kind, in parts per million; 0 where
// nothing tells. missing says why it cannot be compared.
func (c *comparing) observed(ctx context.Context, tx *store.Tx, owned []inventory.Ownership, from, to time.Time) (ppm uint64, missing string, err error) {
	var expected []inventory.Accounting
	there := false
	for _, o := range owned {
		begin, end := inventory.SlotAfter(o.From), inventory.SlotAfter(o.Until)
		if !begin.Before(to) || !o.Until.IsZero() && !end.After(from) {
			continue
		}
		if begin.After(from) || !o.Until.IsZero() && end.Before(to) {
			return 0, fmt.Sprintf("%s changed hands on that day", o.Key), nil
		}
		there = true
		expected = append(expected, c.sourcesOf(o.Key, from, to)...)
	}
	if !there {
		return 0, noneOwned, nil
	}
	coverage, err := c.known.of(ctx, tx, expected)
	if err != nil || coverage.Share < 0 {
		return 0, "", err
	}
	ppm = uint64(coverage.Share * reconcile.Whole)
	if ppm*100 < c.cfg.ObservedPercentMin*reconcile.Whole {
		missing = fmt.Sprintf("its sources were observed %d.%02d %% of the day", ppm/10_000, ppm%10_000/100)
	}
	return ppm, missing, nil
}

// sourcesOf returns the exporters that tell of a key in [from, to): for a vNIC the host of its guest, as far as it is known.
func (c *comparing) sourcesOf(key schemas.MeterID, from, to time.Time) []inventory.Accounting {
	if comparedKind(key) != schemas.KindVNIC {
		return c.owners.ExportersOf(key, from, to)
	}
	_, rest, _ := strings.Cut(string(key), ":")
	uuid, _, _ := strings.Cut(rest, "/")
	if host := c.hosts[uuid]; host != "" {
		return []inventory.Accounting{{Exporter: host, From: from, Until: to}}
	}
	return nil
}

func newComparing(ctx context.Context, tx *store.Tx, cfg ReconcileConfig, owners *inventory.Snapshot, known *coverages) (*comparing, error) {
	c := &comparing{cfg: cfg, owners: owners, known: known, hosts: map[string]string{}}
	var err error
	if c.sealed, _, err = sealedThrough(ctx, tx); err != nil {
		return nil, err
	}
	rows, err := tx.Query(ctx, `SELECT guest, host FROM guest`)
	if err != nil {
		return nil, fmt.Errorf("read guests: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var guest, host string
		if err := rows.Scan(&guest, &host); err != nil {
			return nil, fmt.Errorf("read guests: %w", err)
		}
		c.hosts[guest] = "libvirt/" + host
	}
	return c, rows.Err()
}

// dispute says what is outside; empty where nothing is.
func dispute(days []comparedDay) string {
	compared, outside := 0, 0
	var first comparedDay
	for _, d := range days {
		if d.Verdict != reconcile.NotCompared {
			compared++
		}
		if d.Verdict == reconcile.Outside {
			if outside == 0 {
				first = d
			}
			outside++
		}
	}
	if outside == 0 {
		return ""
	}
	return fmt.Sprintf("%d of %d days compared are outside what the witnesses allow, the first %s (%s)", outside, compared, first.day.Format(time.DateOnly), first.Reason)
}
