package tally

// rangeBits: what is noted of so many cells in a row (two to this power) is added up together, because what
// they add up to stays in the processor's cache meanwhile.
const rangeBits = 7

// note writes down what an entry adds to the cell with a number.
func (t *Table) note(number uint32, x *entry) {
	if len(t.notes) >= t.config.Notes {
		t.settle()
	}
	if len(t.notes) == cap(t.notes) {
		t.notes = append(t.notes, note{})
	} else {
		t.notes = t.notes[:len(t.notes)+1]
	}
	n := &t.notes[len(t.notes)-1]
	*n = x.note
	n.cell = number
	if !n.has(isIPv4) {
		n.remote = uint32(len(t.remotes))
		t.remotes = append(t.remotes, x.other)
	}
}

// remote is the other end of a note.
func (t *Table) remote(n *note) number {
	if n.has(isIPv4) {
		return number{0, uint64(n.remote)}
	}
	return t.remotes[n.remote]
}

// forgetNotes begins anew once all notes are added up.
func (t *Table) forgetNotes() { t.notes, t.remotes = t.notes[:0], t.remotes[:0] }

// settle adds all notes up.
func (t *Table) settle() {
	sorted := t.partition()
	for i := range sorted {
		n := &sorted[i]
		t.trafficOf(&t.cells[n.cell]).add(t, n)
	}
	t.forgetNotes()
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
	t.notes = kept
	if len(kept) == 0 || len(t.remotes) >= 2*t.config.Notes {
		t.settle()
	}
}

// partition returns the notes in order of their ranges of cells, those of one range as they came. It reads
// and writes memory in few streams, where adding to the cells in the order of arrival would wait for
// most of its reads.
func (t *Table) partition() []note {
	if cap(t.sorted) < len(t.notes) {
		t.sorted = make([]note, cap(t.notes))
	}
	sorted := t.sorted[:len(t.notes)]
	ranges := len(t.cells)>>rangeBits + 1
	if cap(t.ends) < ranges {
		t.ends = make([]uint32, 2*ranges)
	}
	ends := t.ends[:ranges]
	clear(ends)
	for i := range t.notes {
		ends[t.notes[i].cell>>rangeBits]++
	}
	from := uint32(0)
	for i, n := range ends {
		ends[i] = from
		from += n
	}
	for i := range t.notes {
		at := &ends[t.notes[i].cell>>rangeBits]
		sorted[*at] = t.notes[i]
		*at++
	}
	return sorted
}
