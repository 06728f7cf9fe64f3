package tally

import (
	"time"

	"hostmeter/schemas"
)

// Touch brings the cells into cache that records will most likely be added to, and changes nothing.
// The searches of many records wait for memory together here, while those of Add, with all that Add
// does between them, wait one after the other. Call it with the records of a datagram before they
// are added.
func (t *Table) Touch(e *Exporter, records []schemas.FlowRecord, receivedAt time.Time) {
	if e.last == nil || len(t.index.slots) == 0 {
		return
	}
	t.touching = t.touching[:0]
	mask := uint32(len(t.index.slots) - 1)
	received := receivedAt.UnixNano()
	for i := range records {
		rec := &records[i]
		at := rec.FlowEnd
		if at == 0 {
			at = received
		}
		key := cellKey{group: e.last.id, minute: int32(floorMinute(at))}
		if from := t.end(rec.Source); from.local() {
			key = t.meter(key, &from)
			t.touching = append(t.touching, uint32(key.hash())&mask)
		}
		if to := t.end(rec.Destination); to.local() {
			key = t.meter(key, &to)
			t.touching = append(t.touching, uint32(key.hash())&mask)
		}
	}
	// Loops of a few instructions, so that many of their reads are under way at a time.
	for i, place := range t.touching {
		t.touching[i] = t.index.slots[place].cell
	}
	var sum uint64
	for _, entry := range t.touching {
		if entry != 0 {
			sum += t.cells[entry-1].octets
		}
	}
	t.touched = sum // so that the compiler does not leave it out
}
