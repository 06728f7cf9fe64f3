package tally

import "math/bits"

// notesPerRange: notes are looked at in order of the places that their cells have in the index, in ranges of
// about so many. What is read and written of the index, the cells and what they add up to stays in the processor's
// cache meanwhile, where adding in the order of arrival would wait for memory most of the time.
const notesPerRange = 512

// note writes down what a part of a way adds to one end of it. Its meter is the caller's to set.
func (t *Table) note(w *way, p *part, out bool) *note {
	if len(t.notes) >= t.config.Notes {
		t.settle()
	}
	if len(t.notes) == cap(t.notes) {
		t.notes = append(t.notes, note{})
	} else {
		t.notes = t.notes[:len(t.notes)+1]
	}
	n := &t.notes[len(t.notes)-1]
	if remote := n.observe(w, p, out); !n.has(isIPv4) {
		n.remote = t.numberAt(remote)
	}
	return n
}

// numberAt keeps an address that is too long for a note, and returns where it stands.
func (t *Table) numberAt(address number) uint32 {
	t.numbers = append(t.numbers, address)
	return uint32(len(t.numbers) - 1)
}

// remote is the other end of a note.
func (t *Table) remote(n *note) number {
	if n.has(isIPv4) {
		return number{0, uint64(n.remote)}
	}
	return t.numbers[n.remote]
}

// keyOf is the key of the cell of a note that was not looked for.
func (t *Table) keyOf(n *note) cellKey {
	key := cellKey{
		meter: number{0, uint64(n.cell)}, group: n.group, minute: n.minute,
		class: classExternal, kind: meterKind(n.is >> kindShift), both: n.has(isBoth),
	}
	switch {
	case n.has(isInternal):
		key.class = classInternal
	case n.has(classMask):
		key.class = classPort + uint8(n.is&classMask>>classShift)
	}
	if key.kind == meterIPv6 {
		key.meter = t.numbers[n.cell]
	}
	return key
}

// forgetNotes begins anew once all notes are added up.
func (t *Table) forgetNotes() { t.notes, t.numbers, t.found = t.notes[:0], t.numbers[:0], 0 }

// findCells finds the cells of the notes that came since the last call, and counts what they carry there. each,
// if it is not nil, is given the notes of one range after the other, and the table keeps none of them in their order.
func (t *Table) findCells(each func([]note)) {
	fresh := t.notes[t.found:]
	t.found = len(t.notes)
	if len(fresh) == 0 {
		return
	}
	t.index.reserve(len(fresh))
	ranges, rangeBits := t.rangesOf(fresh), bits.Len(uint(len(fresh)/notesPerRange))
	if rangeBits > 0 {
		for i := range fresh {
			key := t.keyOf(&fresh[i])
			ranges[i] = uint32(key.hash()) >> (32 - rangeBits)
		}
	}
	sorted, ends := t.order(fresh, ranges, 1<<rangeBits)
	from := uint32(0)
	for _, end := range ends {
		notes := sorted[from:end]
		from = end
		for i := range notes {
			t.findCell(&notes[i])
		}
		if each != nil && len(notes) > 0 {
			each(notes)
		}
	}
	if each == nil {
		copy(fresh, sorted)
	}
}

// findCell finds the cell of a note.
func (t *Table) findCell(n *note) {
	g := t.groups[n.group]
	key := t.keyOf(n)
	n.cell = t.cellOf(&key, key.hash(), g)
	c := &t.cells[n.cell]
	c.octets += n.octets
	if c.octets >= g.busy && !c.busy && !key.both {
		c.busy = true
		t.busy = append(t.busy, n.cell)
	}
}

// settle adds all notes up.
func (t *Table) settle() {
	if t.found == 0 {
		t.findCells(t.addUp)
	} else {
		t.findCells(nil)
		t.addUp(t.byCell())
	}
	t.forgetNotes()
}

// addUp adds up notes whose cells were found.
func (t *Table) addUp(notes []note) {
	for i := range notes {
		n := &notes[i]
		t.trafficOf(&t.cells[n.cell]).add(t, n)
	}
}

// settleBusy adds up the notes of busy cells.
func (t *Table) settleBusy() {
	kept := t.notes[:0]
	for i := range t.notes {
		n := &t.notes[i]
		if c := &t.cells[n.cell]; c.busy {
			t.trafficOf(c).add(t, n)
		} else {
			kept = append(kept, *n)
		}
	}
	t.notes, t.found = kept, len(kept)
	if len(kept) == 0 || len(t.numbers) >= 2*t.config.Notes {
		t.settle()
	}
}

// cellsBits: notes are put in order by so many cells in a row (two to this power).
const cellsBits = 7

// byCell returns all notes, whose cells were found, in order of ranges of cells.
func (t *Table) byCell() []note {
	ranges := t.rangesOf(t.notes)
	for i := range t.notes {
		ranges[i] = t.notes[i].cell >> cellsBits
	}
	sorted, _ := t.order(t.notes, ranges, len(t.cells)>>cellsBits+1)
	return sorted
}

// rangesOf has room for the range of each note.
func (t *Table) rangesOf(notes []note) []uint32 {
	if cap(t.ranges) < len(notes) {
		t.ranges = make([]uint32, cap(t.notes))
	}
	return t.ranges[:len(notes)]
}

// order returns notes in order of their ranges, of which there are count, those of one range as they came, and
// where each range ends. It reads and writes memory in few streams. What it returns is valid until the next call.
func (t *Table) order(notes []note, ranges []uint32, count int) (sorted []note, ends []uint32) {
	if cap(t.ends) < count {
		t.ends = make([]uint32, 2*count)
	}
	ends = t.ends[:count]
	if count == 1 {
		ends[0] = uint32(len(notes))
		return notes, ends
	}
	if cap(t.spare) < len(notes) {
		t.spare = make([]note, cap(t.notes))
	}
	clear(ends)
	for _, r := range ranges {
		ends[r]++
	}
	from := uint32(0)
	for i, n := range ends {
		ends[i] = from
		from += n
	}
	sorted = t.spare[:len(notes)]
	for i, r := range ranges {
		sorted[ends[r]] = notes[i]
		ends[r]++
	}
	return sorted, ends
}
