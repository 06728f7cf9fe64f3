package rule

import (
	"math/bits"
	"time"
)

// Slots is a trailing window of equal cells, two bits each: observed, beyond. It is what a condition
// has live, where every metric comes in cells of one length.
type Slots struct {
	cell           time.Duration
	window, recent int // in cells
	newest         int64
	started        bool
	observed       []uint64 // ring of window bits; the bit of cell i is i mod window
	beyond         []uint64
	// Sums over the window and over its newest `recent` cells.
	observedAll, beyondAll       int
	observedRecent, beyondRecent int
}

// NewSlots returns the empty window of a rule over cells of a length.
func NewSlots(r *Rule, cell time.Duration) Slots {
	window, recent := r.Cells(cell)
	words := (window + 63) / 64
	both := make([]uint64, 2*words)
	return Slots{cell: cell, window: window, recent: recent, observed: both[:words:words], beyond: both[words:]}
}

// Newest returns the newest cell; ok is false before the first.
func (s *Slots) Newest() (cell int64, ok bool) { return s.newest, s.started }

// CellLength returns the length of a cell.
func (s *Slots) CellLength() time.Duration { return s.cell }

// Push closes the cell after the newest. Cells in between that nobody told of are not observed. A cell
// that is not newer than the newest corrects it, as Correct.
func (s *Slots) Push(cell int64, observed, beyond bool) {
	if s.started && cell <= s.newest {
		s.Correct(cell, observed, beyond)
		return
	}
	if !s.started || cell-s.newest >= int64(s.window) {
		s.reset()
		s.started, s.newest = true, cell-1
	}
	for s.newest < cell {
		s.slide()
	}
	s.set(cell, observed, beyond)
}

// Correct changes a cell that has been closed; one that has left the window changes nothing.
func (s *Slots) Correct(cell int64, observed, beyond bool) {
	if !s.started || cell > s.newest || s.newest-cell >= int64(s.window) {
		return
	}
	s.set(cell, observed, beyond)
}

// Get returns the bits of a cell; both are false outside of the window.
func (s *Slots) Get(cell int64) (observed, beyond bool) {
	if !s.started || cell > s.newest || s.newest-cell >= int64(s.window) {
		return false, false
	}
	word, bit := s.place(cell)
	return s.observed[word]&bit != 0, s.beyond[word]&bit != 0
}

// Shares returns what the window and its recent part hold.
func (s *Slots) Shares() (main, recent Share) {
	of := func(observed, beyond, length int) Share {
		return Share{Observed: time.Duration(observed) * s.cell, Beyond: time.Duration(beyond) * s.cell, Length: time.Duration(length) * s.cell}
	}
	return of(s.observedAll, s.beyondAll, s.window), of(s.observedRecent, s.beyondRecent, s.recent)
}

// Text draws the window, the oldest cell first: '#' beyond, '.' observed and not beyond, '?' not
// observed.
func (s *Slots) Text() string {
	out := make([]byte, 0, s.window)
	for cell := s.newest - int64(s.window) + 1; s.started && cell <= s.newest; cell++ {
		switch observed, beyond := s.Get(cell); {
		case beyond:
			out = append(out, '#')
		case observed:
			out = append(out, '.')
		default:
			out = append(out, '?')
		}
	}
	return string(out)
}

// Idle says that no cell of the window is observed.
func (s *Slots) Idle() bool { return s.observedAll == 0 }

func (s *Slots) reset() {
	clear(s.observed)
	clear(s.beyond)
	s.observedAll, s.beyondAll, s.observedRecent, s.beyondRecent = 0, 0, 0, 0
}

// slide goes on by one cell: the oldest leaves the window, and one leaves the recent part.
func (s *Slots) slide() {
	s.countRecent(s.newest-int64(s.recent)+1, -1)
	word, bit := s.place(s.newest - int64(s.window) + 1)
	s.add(s.observed[word]&bit != 0, s.beyond[word]&bit != 0, -1, false)
	put(&s.observed[word], bit, false)
	put(&s.beyond[word], bit, false)
	s.newest++
}

func (s *Slots) set(cell int64, observed, beyond bool) {
	recent := s.newest-cell < int64(s.recent)
	word, bit := s.place(cell)
	s.add(s.observed[word]&bit != 0, s.beyond[word]&bit != 0, -1, recent)
	beyond = beyond && observed
	put(&s.observed[word], bit, observed)
	put(&s.beyond[word], bit, beyond)
	s.add(observed, beyond, 1, recent)
}

// countRecent adds a cell's bits to the sums of the recent part only.
func (s *Slots) countRecent(cell int64, sign int) {
	observed, beyond := s.Get(cell)
	if observed {
		s.observedRecent += sign
	}
	if beyond {
		s.beyondRecent += sign
	}
}

func (s *Slots) add(observed, beyond bool, sign int, recent bool) {
	if observed {
		s.observedAll += sign
		if recent {
			s.observedRecent += sign
		}
	}
	if beyond {
		s.beyondAll += sign
		if recent {
			s.beyondRecent += sign
		}
	}
}

func (s *Slots) place(cell int64) (word int, bit uint64) {
	i := cell % int64(s.window)
	if i < 0 {
		i += int64(s.window)
	}
	return int(i >> 6), 1 << (i & 63)
}

func put(word *uint64, bit uint64, on bool) {
	if on {
		*word |= bit
	} else {
		*word &^= bit
	}
}

// recount makes the sums from the bits, after they were read.
func (s *Slots) recount() {
	s.observedAll, s.beyondAll, s.observedRecent, s.beyondRecent = 0, 0, 0, 0
	for i := range s.observed {
		s.observedAll += bits.OnesCount64(s.observed[i])
		s.beyondAll += bits.OnesCount64(s.beyond[i])
	}
	for cell := s.newest - int64(s.recent) + 1; s.started && cell <= s.newest; cell++ {
		s.countRecent(cell, 1)
	}
}
