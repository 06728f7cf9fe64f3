package tally

// rangeBits: what is noted of so many cells in a row (two to this power) is added up together, because what
// they add up to stays in the processor's cache meanwhile.
const rangeBits = 7

// note writes an observation down, of the cell with a number.
func (t *Table) note(number uint32, o *observation) {
	if len(t.notes) >= t.config.Notes {
		t.settle()
	}
	if len(t.notes) == cap(t.notes) {
		t.notes = append(t.notes, note{})
	} else {
		t.notes = t.notes[:len(t.notes)+1]
	}
	n := &t.notes[len(t.notes)-1]
	n.observation, n.cell = *o, number
}

// settle adds all notes up.
func (t *Table) settle() {
	for _, n := range t.partition() {
		t.trafficOf(&t.cells[n.cell]).add(t, &n.observation)
	}
	t.notes = t.notes[:0]
}

// settleBusy adds up the notes of busy cells.
func (t *Table) settleBusy() {
	kept := t.notes[:0]
	for i := range t.notes {
		n := &t.notes[i]
		if c := &t.cells[n.cell]; c.busy {
			t.trafficOf(c).add(t, &n.observation)
		} else {
			kept = append(kept, *n)
		}
	}
	t.notes = kept
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
