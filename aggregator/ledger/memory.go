package ledger

import (
	"context"
	"fmt"
	"math"

	"hostmeter/internal/store"
	"hostmeter/internal/stream"
)

// tableID is a table of rows by (hour, part, key).
type tableID uint8

const (
	usageTable tableID = iota
	guestTable
)

// maxSums is the greatest number of sums in a row.
const maxSums = 8

// table describes where rows of one kind are kept. The first two sums are those that the slots add up
// to, in that order.
type table struct {
	name    string   // of the rows
	late    string   // of the entries after the hour is sealed
	counter string   // in ledger_state, of the last number of a late entry
	keys    []string // beside hour and part: the text of the key, and the class where there is one
	sums    []string
}

var tables = [...]table{
	usageTable: {
		name: "usage_hour", late: "late_entry", counter: "booking",
		keys: []string{"meter", "class"},
		sums: []string{
			"in_octets", "out_octets", "in_packets", "out_packets",
			"in_flows", "out_flows", "in_variance_kib2", "out_variance_kib2",
		},
	},
	guestTable: {
		name: "guest_hour", late: "late_guest", counter: "guest_booking",
		keys: []string{"guest"},
		sums: []string{"cpu_nanoseconds", "capacity_nanoseconds", "steal_nanoseconds"},
	},
}

// memory is what the owner of some parts keeps between transactions: what it knows to be in the store.
// Whatever it is not sure of is forgotten, by making it anew.
type memory struct {
	parts    uint32            // 0: not known
	versions map[uint32]int64  // of the parts, as of the last transaction
	marks    stream.Watermarks // of sequences that this ledger has booked
	pages    map[pageKey]*page
	rows     int    // in all pages
	tick     uint64 // counts transactions, for choosing what to evict
	classes  []string
	classIDs map[string]uint32
}

// page holds all rows of an hour and part that are in the store.
type page struct {
	key  pageKey
	rows map[rowKey]*row
	used uint64
}

type pageKey struct {
	table tableID
	part  uint32
	hour  int64
}

// rowKey is a meter and the number of its class in memory.classes, or a guest and 0.
type rowKey struct {
	meter string
	class uint32
}

// row is one row of a table. A row whose sums are all 0 and that is not stored is never written.
type row struct {
	page   *page
	key    rowKey
	sums   [maxSums]int64
	slots  slots
	stored bool // the store has an older or equal form of it
	dirty  bool // it is in booking.dirty
}

// delta is what is added to a row: the first two sums go into the slot too.
type delta struct {
	key   rowKey
	table tableID
	hour  int64
	slot  int
	sums  [maxSums]int64
}

// add adds d, or nothing where a sum would not fit.
func (r *row) add(d *delta) bool {
	for i, v := range d.sums {
		if r.sums[i] > math.MaxInt64-v {
			return false
		}
	}
	for i, v := range d.sums {
		r.sums[i] += v
	}
	r.slots[0][d.slot] += uint64(d.sums[0])
	r.slots[1][d.slot] += uint64(d.sums[1])
	return true
}

// take undoes add.
func (r *row) take(d *delta) {
	for i, v := range d.sums {
		r.sums[i] -= v
	}
	r.slots[0][d.slot] -= uint64(d.sums[0])
	r.slots[1][d.slot] -= uint64(d.sums[1])
}

func (r *row) isZero() bool { return r.sums == [maxSums]int64{} }

func (m *memory) forget() {
	*m = memory{
		versions: make(map[uint32]int64),
		marks:    make(stream.Watermarks),
		pages:    make(map[pageKey]*page),
		classIDs: make(map[string]uint32),
	}
}

// classID returns the number of a class, giving it one at the first time.
func (m *memory) classID(class string) uint32 {
	id, known := m.classIDs[class]
	if !known {
		id = uint32(len(m.classes))
		m.classes = append(m.classes, class)
		m.classIDs[class] = id
	}
	return id
}

// drop takes a page out of memory.
func (m *memory) drop(p *page) {
	m.rows -= len(p.rows)
	delete(m.pages, p.key)
}

// dropStale drops the pages of parts whose version is not the one that was seen last, and takes over
// the versions.
func (m *memory) dropStale(versions map[uint32]int64) {
	for _, p := range m.pages {
		if m.versions[p.key.part] != versions[p.key.part] {
			m.drop(p)
		}
	}
	m.versions = versions
}

// evict drops the pages that were not used for longest until at most limit rows are left, and those of
// sealed hours. It is called between transactions: no row is dirty.
func (m *memory) evict(limit int, frontier int64) {
	for _, p := range m.pages {
		if p.key.hour < frontier {
			m.drop(p)
		}
	}
	for m.rows > limit {
		var oldest *page
		for _, p := range m.pages {
			if len(p.rows) > 0 && (oldest == nil || p.used < oldest.used) {
				oldest = p
			}
		}
		m.drop(oldest)
	}
}

// loadPage returns the page of key, from memory or from the store.
func (m *memory) loadPage(ctx context.Context, tx *store.Tx, key pageKey) (*page, error) {
	if p, ok := m.pages[key]; ok {
		p.used = m.tick
		return p, nil
	}
	t := &tables[key.table]
	p := &page{key: key, rows: make(map[rowKey]*row), used: m.tick}
	query := "SELECT " + columns(t.keys, t.sums) + ", slots FROM " + t.name + " WHERE hour = ? AND part = ?"
	rows, err := tx.Query(ctx, query, key.hour, int64(key.part))
	if err != nil {
		return nil, fmt.Errorf("read the rows of hour %d, part %d: %w", key.hour, key.part, err)
	}
	defer rows.Close()
	var class string
	var packed []byte
	for rows.Next() {
		r := &row{page: p, stored: true}
		into := []any{&r.key.meter}
		if key.table == usageTable {
			into = append(into, &class)
		}
		for i := range t.sums {
			into = append(into, &r.sums[i])
		}
		if err := rows.Scan(append(into, &packed)...); err != nil {
			return nil, err
		}
		if r.slots, err = unpackSlots(packed); err != nil {
			return nil, fmt.Errorf("%s: %s in hour %d: %w", t.name, r.key.meter, key.hour, err)
		}
		if key.table == usageTable {
			r.key.class = m.classID(class)
		}
		p.rows[r.key] = r
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	m.pages[key] = p
	m.rows += len(p.rows)
	return p, nil
}
