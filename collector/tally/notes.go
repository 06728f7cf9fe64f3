package tally

// notesLow is how many bits of a cell's number the second pass of a sort looks at.
const notesLow = 7

// note writes down what a part of a way adds to one end of it.
func (t *Table) note(key cellKey, g *group, w *way, p *part, out bool) {
	number := t.cellOf(&key, g)
	if len(t.notes) >= t.config.Notes {
		t.settle()
	}
	if len(t.notes) == cap(t.notes) {
		t.notes = append(t.notes, note{})
	} else {
		t.notes = t.notes[:len(t.notes)+1]
	}
	n := &t.notes[len(t.notes)-1]
	n.observe(w, p, out)
	n.cell = number
	c := &t.cells[number]
	c.octets += p.octets
	if c.octets >= g.busy && !c.busy && !key.both {
		c.busy = true
		t.busy = append(t.busy, number)
	}
}

// settle adds all notes up.
func (t *Table) settle() {
	t.sort()
	for rest := t.notes; len(rest) > 0; {
		number := rest[0].cell
		x := t.trafficOf(&t.cells[number])
		for len(rest) > 0 && rest[0].cell == number {
			x.add(t, &rest[0].observation)
			rest = rest[1:]
		}
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

// sort puts the notes in order of their cells, those of one cell as they came: first by the high bits
// of the cell's number, then by the low ones. Each pass reads and writes memory in few streams, where
// adding to the cells in the order of arrival would wait for most of its reads.
func (t *Table) sort() {
	if cap(t.sorted) < len(t.notes) {
		t.sorted = make([]note, cap(t.notes))
	}
	t.sorted = t.sorted[:len(t.notes)]
	parts := len(t.cells)>>notesLow + 1
	if cap(t.ends) < parts {
		t.ends = make([]uint32, 2*parts)
	}
	ends := t.ends[:parts]
	clear(ends)
	for i := range t.notes {
		ends[t.notes[i].cell>>notesLow]++
	}
	from := uint32(0)
	for i, n := range ends {
		ends[i] = from
		from += n
	}
	for i := range t.notes {
		at := &ends[t.notes[i].cell>>notesLow]
		t.sorted[*at] = t.notes[i]
		*at++
	}
	from = 0
	for _, to := range ends {
		sortLow(t.notes[from:to], t.sorted[from:to])
		from = to
	}
}

// sortLow puts notes whose cells differ in the low bits alone from one slice into another, in order.
func sortLow(into, notes []note) {
	var at [1<<notesLow + 1]uint32
	for i := range notes {
		at[notes[i].cell&(1<<notesLow-1)+1]++
	}
	for i := range len(at) - 1 {
		at[i+1] += at[i]
	}
	for i := range notes {
		place := &at[notes[i].cell&(1<<notesLow-1)]
		into[*place] = notes[i]
		*place++
	}
}
