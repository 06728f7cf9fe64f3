package inventory

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"hostmeter/internal/audit"
	"hostmeter/internal/store"
)

// Row is one row to add or to change, as texts: Section is "customers", "services", "plans",
// "prices", "prefixes", "pools", "pool_members", "changes", "decisions",
// "ownership" or "provider", Cells are by the columns of the import format. A
// row says everything about its key: a cell that is absent or empty is not set.
type Row struct {
	Section string
	Cells   map[string]string
	// Where names the row in errors: "import.yaml:12", "services.csv:3", "services[0]".
	Where string
	// CellsAt names single cells, where they stand elsewhere than the row.
	CellsAt map[string]string
}

func (r Row) at(column string) string {
	if where, ok := r.CellsAt[column]; ok {
		return where
	}
	return r.Where
}

// Fault is one thing that is wrong with an import or a change.
type Fault struct {
	Where string `json:"where"`
	Text  string `json:"text"`
}

// InvalidError says everything that is wrong. Nothing has been written.
type InvalidError struct{ Faults []Fault }

func (e *InvalidError) Error() string {
	lines := make([]string, len(e.Faults))
	for i, fault := range e.Faults {
		lines[i] = fault.Where + ": " + fault.Text
	}
	return strings.Join(lines, "\n")
}

// Edit is one row that was, or would be, added or changed.
type Edit struct {
	Kind   string      `json:"kind"` // "service"
	Key    string      `json:"key"`
	Added  bool        `json:"added"`
	Fields []FieldEdit `json:"fields,omitempty"` // of a changed row
}

// FieldEdit is one cell of a changed row.
type FieldEdit struct {
	Column string `json:"column"`
	Old    string `json:"old"`
	New    string `json:"new"`
}

// String writes "+ service s1" or "~ plan dedicated-10: quota 10 TB -> 20 TB".
func (e Edit) String() string {
	name := strings.TrimSpace(e.Kind + " " + e.Key)
	if e.Added {
		return "+ " + name
	}
	parts := make([]string, len(e.Fields))
	for i, field := range e.Fields {
		parts[i] = fmt.Sprintf("%s %s -> %s", field.Column, orNone(field.Old), orNone(field.New))
	}
	return "~ " + name + ": " + strings.Join(parts, ", ")
}

func orNone(text string) string {
	if text == "" {
		return "(none)"
	}
	return text
}

// Difference is what a change did, or would do.
type Difference struct {
	DryRun    bool   `json:"dry_run"`
	Added     int    `json:"added"`
	Changed   int    `json:"changed"`
	Unchanged int    `json:"unchanged"`
	Edits     []Edit `json:"edits"`
	// Nameless are the customers that were erased and that the rows still name: their names are not taken.
	Nameless []string `json:"nameless,omitempty"`
}

// Lines returns the edits, and what was not taken, as a person reads them.
func (d Difference) Lines() []string {
	lines := make([]string, 0, len(d.Edits)+len(d.Nameless))
	for _, edit := range d.Edits {
		lines = append(lines, edit.String())
	}
	for _, customer := range d.Nameless {
		lines = append(lines, "! customer "+customer+": was erased; its name and e-mail address are not taken: take them out of the file")
	}
	return lines
}

// conflictRetries is how often a change is tried again that lost against another one.
const conflictRetries = 5

// Put adds and changes rows, all or nothing. What is there already, and the same, stays as it is: a
// second call with the same rows writes nothing. With dryRun nothing is written at all.
//
// Errors: *InvalidError, store's.
func (inv *Inventory) Put(ctx context.Context, rows []Row, dryRun bool) (Difference, error) {
	return inv.put(ctx, "", rows, nil, dryRun)
}

// PutBy is Put, with who does it in the audit log.
func (inv *Inventory) PutBy(ctx context.Context, by string, rows []Row) (Difference, error) {
	return inv.put(ctx, by, rows, nil, false)
}

func (inv *Inventory) put(ctx context.Context, by string, rows []Row, faults []Fault, dryRun bool) (difference Difference, err error) {
	for range conflictRetries {
		run := inv.db.Update
		if dryRun {
			run = inv.db.View
		}
		err = run(ctx, func(tx *store.Tx) error {
			difference, err = inv.putRows(ctx, tx, by, rows, faults, dryRun)
			return err
		})
		if !store.IsConflict(err) {
			break
		}
	}
	if err != nil {
		return Difference{}, err
	}
	difference.DryRun = dryRun
	return difference, nil
}

// changed returns the stored inventory on its way to what rows make of it. Errors: *InvalidError, store's.
func (inv *Inventory) changed(ctx context.Context, tx *store.Tx, rows []Row, faults []Fault) (*change, error) {
	s, err := load(ctx, tx)
	if err != nil {
		return nil, fmt.Errorf("read inventory: %w", err)
	}
	if slices.ContainsFunc(rows, func(row Row) bool { return row.Section == kindChange.section || row.Section == kindMember.section }) {
		if s.closedTo, err = readClosedTo(ctx, tx); err != nil {
			return nil, err
		}
	}
	s.classes = inv.classes
	if s.closedPeriods, err = readClosedPeriods(ctx, tx, rows); err != nil {
		return nil, err
	}
	c, err := changeOf(s, rows, faults, tx.Now)
	if err != nil || !slices.ContainsFunc(c.edits, func(e edit) bool { return e.kind == &kindPrefix }) {
		return c, err
	}
	past, err := readPast(ctx, tx)
	if err != nil {
		return nil, err
	}
	return c, c.account(past)
}

func (inv *Inventory) putRows(ctx context.Context, tx *store.Tx, by string, rows []Row, faults []Fault, dryRun bool) (Difference, error) {
	c, err := inv.changed(ctx, tx, rows, faults)
	if err != nil {
		return Difference{}, err
	}
	difference := c.difference()
	if dryRun || len(difference.Edits) == 0 {
		return difference, nil
	}
	if err := c.write(ctx, tx); err != nil || by == "" {
		return difference, err
	}
	return difference, c.note(ctx, tx, by, difference)
}

// changeOf puts rows into a state. Errors: *InvalidError.
func changeOf(s *state, rows []Row, faults []Fault, now time.Time) (*change, error) {
	c := &change{state: s, now: now, faults: slices.Clone(faults), where: map[string]Row{}, zones: map[string]*time.Location{}}
	for _, k := range kinds {
		for _, row := range rows {
			if row.Section == k.section {
				c.add(k, row)
			}
		}
	}
	for _, row := range rows {
		if kindOf(row.Section) == nil {
			c.fault(row.Where, "%q: want %s", row.Section, sections())
		}
	}
	c.endOwnerships()
	c.check()
	if len(c.faults) > 0 {
		return nil, &InvalidError{Faults: c.faults}
	}
	return c, nil
}

// sections names all sections of an import.
func sections() string {
	names := Sections()
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " or " + names[last]
}

func kindOf(section string) *kind {
	for _, k := range kinds {
		if k.section == section {
			return k
		}
	}
	return nil
}

// change is a state on its way to another one.
type change struct {
	*state
	now       time.Time
	faults    []Fault
	where     map[string]Row // by section and key: the row of this change that has it
	edits     []edit
	unchanged int
	nameless  []string

	accountings []accounted               // of the prefixes that are edited
	zones       map[string]*time.Location // by name
}

// edit is a row to write. old is nil for one that is added.
type edit struct {
	kind     *kind
	old, new []string
}

func (c *change) fault(where, format string, args ...any) {
	c.faults = append(c.faults, Fault{Where: where, Text: fmt.Sprintf(format, args...)})
}

// add reads one row into the state, or says what is wrong with it.
func (c *change) add(k *kind, row Row) {
	before := len(c.faults)
	for column := range row.Cells {
		if !slices.Contains(k.columns, column) {
			c.fault(row.at(column), "%s: not a column of %s (want %s)", column, k.section, strings.Join(k.columns, ", "))
		}
	}
	for _, column := range k.required {
		if row.Cells[column] == "" {
			c.fault(row.at(column), "%s: missing", column)
		}
	}
	if k == &kindCustomer {
		row = c.withoutErased(row)
	}
	f := &fields{get: func(column string) string { return row.Cells[column] }}
	if len(c.faults) > before {
		f.errs = append(f.errs, columnError{}) // parse what is there, and put nothing
	}
	old, text := c.put(k, f)
	for _, e := range f.errs {
		if e.err != nil {
			c.fault(row.at(e.column), "%s: %v", e.column, e.err)
		}
	}
	if len(f.errs) > 0 {
		return
	}
	id := k.section + " " + k.keyOf(text)
	if first, twice := c.where[id]; twice {
		c.fault(row.Where, "%s %s: is at %s already", k.name, k.keyOf(text), first.Where)
		return
	}
	c.where[id] = row
	if slices.Equal(old, text) {
		c.unchanged++
		return
	}
	c.checkFree(row)
	if k == &kindDecision && old != nil {
		c.fault(row.Where, "decision %s is made and is not changed: revoke it by another one", k.keyOf(text))
	}
	if k == &kindDecision {
		c.checkNameless(row, k.keyOf(text))
	}
	if (k == &kindCustomer || k == &kindService || k == &kindPool) && old == nil && strings.Contains(text[0], "@") {
		c.fault(row.at("id"), "id: %q is an e-mail address: statements keep it for good, so write a number or a word that names nobody", text[0])
	}
	if k == &kindPrice {
		c.checkPriceVersion(row, k.keyOf(text), old == nil)
	}
	if k == &kindChange {
		c.checkChangeTime(row, k.keyOf(text))
	}
	if k == &kindMember {
		c.checkMemberTime(row, old, c.members.rows[k.keyOf(text)])
	}
	c.edits = append(c.edits, edit{kind: k, old: old, new: text})
}

// withoutErased takes the name out of a row about a customer that was erased: a file that is imported each night
// still has it, and neither brings it back nor is refused for it.
func (c *change) withoutErased(row Row) Row {
	id := row.Cells["id"]
	if c.customers.rows[id].Erased.IsZero() || row.Cells["name"] == "" && row.Cells["email"] == "" {
		return row
	}
	c.nameless = append(c.nameless, id)
	row.Cells = maps.Clone(row.Cells)
	delete(row.Cells, "name")
	delete(row.Cells, "email")
	return row
}

// put reads a row of any kind into its table and returns its former and its new text; nothing is put
// where f has errors.
func (c *change) put(k *kind, f *fields) (old, text []string) {
	switch k {
	case &kindProvider:
		provider := readProvider(f)
		if len(f.errs) > 0 {
			return nil, nil
		}
		if c.hasProvider {
			old = c.provider.row()
		}
		c.hasProvider, c.provider = true, provider
		return old, provider.row()
	case &kindPrefix:
		return c.prefixes.put(f)
	case &kindPrice:
		return c.prices.put(f)
	case &kindPlan:
		return c.plans.put(f)
	case &kindCustomer:
		return c.putCustomer(f)
	case &kindService:
		return c.services.put(f)
	case &kindPool:
		return c.pools.put(f)
	case &kindMember:
		return c.members.put(f)
	case &kindChange:
		return c.changes.put(f)
	case &kindDecision:
		return c.decisions.put(f)
	}
	return c.putOwnership(f)
}

// putOwnership ends what is put with its service: a file that is imported each night need not say so.
func (c *change) putOwnership(f *fields) (old, text []string) {
	if old, text = c.ownership.put(f); text != nil {
		key := kindOwnership.keyOf(text)
		ended := c.endWithService(c.ownership.rows[key])
		c.ownership.rows[key], text = ended, ended.row()
	}
	return old, text
}

// putCustomer keeps what no row says: that the customer was erased.
func (c *change) putCustomer(f *fields) (old, text []string) {
	erased := c.customers.rows[f.get("id")].Erased
	if old, text = c.customers.put(f); text != nil {
		customer := c.customers.rows[text[0]]
		customer.Erased = erased
		c.customers.rows[text[0]] = customer
	}
	return old, text
}

func (t *table[T]) put(f *fields) (old, text []string) {
	value := t.read(f)
	if len(f.errs) > 0 {
		return nil, nil
	}
	text = t.row(value)
	key := t.kind.keyOf(text)
	if before, ok := t.rows[key]; ok {
		old = t.row(before)
	}
	t.rows[key] = value
	return old, text
}

func (c *change) difference() Difference {
	d := Difference{Unchanged: c.unchanged, Edits: []Edit{}, Nameless: c.nameless}
	for _, e := range c.edits {
		shown := Edit{Kind: e.kind.name, Key: e.kind.keyOf(e.new), Added: e.old == nil}
		if shown.Added {
			d.Added++
		} else {
			d.Changed++
			for i, column := range e.kind.columns {
				if e.old[i] != e.new[i] {
					shown.Fields = append(shown.Fields, FieldEdit{Column: column, Old: e.old[i], New: e.new[i]})
				}
			}
		}
		d.Edits = append(d.Edits, shown)
	}
	return d
}

// RemoveOwnership takes back that anybody owned key from an instant on: it was never true. Where it
// was true and came to an end, Put its Until instead. Errors: ErrUnknown, store's.
func (inv *Inventory) RemoveOwnership(ctx context.Context, o Ownership) error {
	return inv.db.Update(ctx, func(tx *store.Tx) error {
		version, err := nextVersion(ctx, tx)
		if err != nil {
			return err
		}
		n, err := supersede(ctx, tx, version, string(o.Key), o.From)
		if err == nil && n == 0 {
			err = fmt.Errorf("ownership of %s from %s: %w", o.Key, formatTime(o.From), ErrUnknown)
		}
		return err
	})
}

// write stores the edits under a new version.
func (c *change) write(ctx context.Context, tx *store.Tx) error {
	version, err := nextVersion(ctx, tx)
	if err != nil {
		return err
	}
	for _, e := range c.edits {
		if err := writeEdit(ctx, tx, version, e); err != nil {
			return fmt.Errorf("write %s %s: %w", e.kind.name, e.kind.keyOf(e.new), err)
		}
	}
	return c.writeAccounting(ctx, tx)
}

// note writes who has changed the inventory, and each order, into the audit log.
func (c *change) note(ctx context.Context, tx *store.Tx, by string, d Difference) error {
	events := []audit.Event{{Actor: by, Action: "change inventory", Reason: fmt.Sprintf("%d rows added, %d changed", d.Added, d.Changed)}}
	for _, e := range c.edits {
		if e.kind == &kindChange {
			order := strings.TrimSpace("at " + e.new[1] + ": " + strings.TrimSpace(e.new[2]+" "+e.new[3]))
			events = append(events, audit.Event{Actor: by, Action: "order change", Subject: e.new[0], Reason: order})
		}
	}
	for _, event := range events {
		if err := audit.Add(ctx, tx, event); err != nil {
			return err
		}
	}
	return nil
}

func writeEdit(ctx context.Context, tx *store.Tx, version int64, e edit) error {
	columns := e.kind.table()
	switch e.kind {
	case &kindOwnership:
		return writeOwnership(ctx, tx, version, e)
	case &kindDecision:
		return writeDecision(ctx, tx, version, e)
	case &kindCustomer:
		return writeCustomer(ctx, tx, e)
	case &kindProvider:
		if _, err := tx.Exec(ctx, `DELETE FROM provider`); err != nil {
			return err
		}
	}
	args := make([]any, len(e.new))
	for i, cell := range e.new {
		args[i] = cell
	}
	query := `INSERT INTO ` + e.kind.name + ` (` + strings.Join(columns, ", ") + `) VALUES (?` + strings.Repeat(", ?", len(columns)-1) + `)`
	if e.kind.keys > 0 {
		sets := make([]string, 0, len(columns))
		for _, column := range columns[e.kind.keys:] {
			sets = append(sets, column+" = excluded."+column)
		}
		query += ` ON CONFLICT (` + strings.Join(columns[:e.kind.keys], ", ") + `) DO UPDATE SET ` + strings.Join(sets, ", ")
	}
	_, err := tx.Exec(ctx, query, args...)
	return err
}

func writeOwnership(ctx context.Context, tx *store.Tx, version int64, e edit) error {
	f := &fields{get: cellOf(e.kind, e.new)}
	o := readOwnership(f)
	if len(f.errs) > 0 {
		return f.errs[0].err
	}
	if e.old != nil {
		if _, err := supersede(ctx, tx, version, string(o.Key), o.From); err != nil {
			return err
		}
	}
	_, err := tx.Exec(ctx, `INSERT INTO ownership (meter_key, service, valid_from, valid_until, recorded_at, recorded_version,
		superseded_at, superseded_version) VALUES (?, ?, ?, ?, ?, ?, 0, 0)`,
		string(o.Key), o.Service, nanoseconds(o.From), nanoseconds(o.Until), tx.Now.UnixNano(), version)
	return err
}

func supersede(ctx context.Context, tx *store.Tx, version int64, key string, from time.Time) (int64, error) {
	return tx.Exec(ctx, `UPDATE ownership SET superseded_at = ?, superseded_version = ?
		WHERE meter_key = ? AND valid_from = ? AND superseded_version = 0`, tx.Now.UnixNano(), version, key, nanoseconds(from))
}

// nextVersion counts a writing transaction. The row that it changes makes writers follow each other.
func nextVersion(ctx context.Context, tx *store.Tx) (int64, error) {
	n, err := tx.Exec(ctx, `UPDATE inventory_state SET version = version + 1 WHERE id = 1`)
	if err == nil && n != 1 {
		err = errors.New("table inventory_state has no row")
	}
	if err != nil {
		return 0, err
	}
	return readVersion(ctx, tx)
}
