package rule

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"time"
)

// ErrState is returned for bytes that are no state of this rule and cell length.
var ErrState = errors.New("not a state of this condition")

const stateVersion = 1

// Condition is a rule at work live: its window and its machine.
type Condition struct {
	Slots   Slots
	Machine Machine
}

// NewCondition returns a condition that has seen nothing.
func NewCondition(r *Rule, cell time.Duration) *Condition {
	return &Condition{Slots: NewSlots(r, cell)}
}

// Close closes a cell and steps to its end. fresh is whether the cell was observed.
func (c *Condition) Close(r *Rule, cell int64, observed, beyond bool) Events {
	c.Slots.Push(cell, observed, beyond)
	return c.Step(r, observed)
}

// Correct changes a closed cell and steps again at the newest cell's end.
func (c *Condition) Correct(r *Rule, cell int64, observed, beyond bool) Events {
	c.Slots.Correct(cell, observed, beyond)
	return c.Step(r, true)
}

// Step steps the machine to the end of the newest cell, after cells were pushed or corrected.
func (c *Condition) Step(r *Rule, fresh bool) Events {
	main, recent := c.Slots.Shares()
	return c.Machine.Step(r, c.At(), fresh, main, recent)
}

// At is the end of the newest cell.
func (c *Condition) At() time.Time {
	return time.Unix(0, (c.Slots.newest+1)*int64(c.Slots.cell)).UTC()
}

// Print is a fingerprint of what a stored state depends on: a rule that changed in these starts anew.
func (r *Rule) Print(cell time.Duration) uint64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "%s %s %d %v %v %s %s %s", r.Name, r.Metric, r.Side, r.Value, r.Baseline, r.For, r.Clear.Over, cell)
	if r.Baseline != nil {
		fmt.Fprintf(h, " %v", *r.Baseline)
	}
	return h.Sum64()
}

// Append appends the condition's state to dst. print is the rule's Print.
//
// Layout: version, fingerprint of the rule (8), flags, state, HoldFrom, Began, newest cell (8 each,
// little-endian), then the observed and the beyond bits as runs: uvarint lengths of runs of equal
// bits, the first run being of zeros, from the oldest cell of the window on.
func (c *Condition) Append(dst []byte, print uint64) []byte {
	dst = append(dst, stateVersion)
	dst = binary.LittleEndian.AppendUint64(dst, print)
	var flags byte
	for i, on := range []bool{c.Slots.started, c.Machine.Holding, c.Machine.Open, c.Machine.Learned} {
		if on {
			flags |= 1 << i
		}
	}
	dst = append(dst, flags, byte(c.Machine.State))
	for _, v := range []int64{nanos(c.Machine.HoldFrom), nanos(c.Machine.Began), c.Slots.newest} {
		dst = binary.LittleEndian.AppendUint64(dst, uint64(v))
	}
	for _, which := range []int{0, 1} {
		dst = c.Slots.appendRuns(dst, which)
	}
	return dst
}

// ReadCondition reads what Append wrote.
//
// Errors: ErrState, also where the rule's metric, threshold or window is another now.
func ReadCondition(r *Rule, cell time.Duration, text []byte) (*Condition, error) {
	const head = 1 + 8 + 2 + 24
	if len(text) < head || text[0] != stateVersion || binary.LittleEndian.Uint64(text[1:]) != r.Print(cell) || text[10] > byte(Recovering) {
		return nil, ErrState
	}
	c := NewCondition(r, cell)
	flags := text[9]
	c.Slots.started, c.Machine.Holding = flags&1 != 0, flags&2 != 0
	c.Machine.Open, c.Machine.Learned = flags&4 != 0, flags&8 != 0
	c.Machine.State = State(text[10])
	at := func(i int) int64 { return int64(binary.LittleEndian.Uint64(text[11+8*i:])) }
	c.Machine.HoldFrom, c.Machine.Began, c.Slots.newest = unix(at(0)), unix(at(1)), at(2)
	rest := text[head:]
	var err error
	for _, which := range []int{0, 1} {
		if rest, err = c.Slots.readRuns(rest, which); err != nil {
			return nil, err
		}
	}
	if len(rest) != 0 {
		return nil, ErrState
	}
	c.Slots.recount()
	return c, nil
}

func (s *Slots) bits(which int) []uint64 {
	if which == 0 {
		return s.observed
	}
	return s.beyond
}

func (s *Slots) appendRuns(dst []byte, which int) []byte {
	words := s.bits(which)
	on, run := false, uint64(0)
	word, bit := s.place(s.newest + 1) // the oldest cell of the ring is where the next one will be
	for left := s.window; left > 0; {
		if bit == 1 && left >= 64 && (word+1)*64 <= s.window && (on && words[word] == ^uint64(0) || !on && words[word] == 0) {
			run, left, word = run+64, left-64, word+1 // a word of nothing else, as most are
		} else {
			if (words[word]&bit != 0) != on {
				dst = binary.AppendUvarint(dst, run)
				on, run = !on, 0
			}
			run, left, bit = run+1, left-1, bit<<1
			if bit == 0 {
				word, bit = word+1, 1
			}
		}
		if word*64 >= s.window || word == s.window/64 && bit == 1<<(s.window&63) {
			word, bit = 0, 1
		}
	}
	return binary.AppendUvarint(dst, run)
}

func (s *Slots) readRuns(text []byte, which int) ([]byte, error) {
	words := s.bits(which)
	on := false
	for done := int64(0); done < int64(s.window); on = !on {
		run, n := binary.Uvarint(text)
		if n <= 0 || run > uint64(int64(s.window)-done) || run == 0 && done > 0 {
			return nil, ErrState
		}
		text = text[n:]
		for range run {
			word, bit := s.place(s.newest - int64(s.window) + 1 + done)
			put(&words[word], bit, on)
			done++
		}
	}
	return text, nil
}

func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func unix(ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns).UTC()
}
