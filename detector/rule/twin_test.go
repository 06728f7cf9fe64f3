package rule_test

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"hostmeter/detector/rule"
)

// twin keeps every cell for ever and counts anew at each question.
type twin struct {
	cells  map[int64][2]bool
	newest int64
}

func (w *twin) shares(window, recent int, cell time.Duration) (main, late rule.Share) {
	count := func(n int) rule.Share {
		s := rule.Share{Length: time.Duration(n) * cell}
		for i := w.newest - int64(n) + 1; i <= w.newest; i++ {
			if w.cells[i][0] {
				s.Observed += cell
				if w.cells[i][1] {
					s.Beyond += cell
				}
			}
		}
		return s
	}
	return count(window), count(recent)
}

func drawRule(t *rapid.T) *rule.Rule {
	r := &rule.Rule{Name: "r", Metric: rule.CPURatio, Value: 0.5, Each: rule.EachGuest, Severity: "warning",
		For:      time.Duration(rapid.IntRange(1, 150).Draw(t, "cells")) * time.Minute,
		AtLeast:  rapid.Float64Range(0.01, 1).Draw(t, "at_least"),
		Coverage: rapid.Float64Range(0.01, 1).Draw(t, "coverage")}
	r.Clear.BelowShare = r.AtLeast * rapid.Float64Range(0.01, 1).Draw(t, "below_share")
	r.Clear.Over = time.Duration(rapid.IntRange(1, int(r.For/time.Minute)).Draw(t, "over")) * time.Minute
	return r
}

// TestSlotsAgainstTwin pushes, skips and corrects cells, and stores and reads the state in between.
func TestSlotsAgainstTwin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := drawRule(t)
		window, recent := r.Cells(time.Minute)
		c := rule.NewCondition(r, time.Minute)
		w := &twin{cells: map[int64][2]bool{}, newest: rapid.Int64Range(-300, 300).Draw(t, "first") - 1}
		for range rapid.IntRange(1, 300).Draw(t, "steps") {
			observed, beyond := rapid.Bool().Draw(t, "observed"), rapid.Bool().Draw(t, "beyond")
			switch rapid.IntRange(0, 9).Draw(t, "what") {
			case 0: // some cells are told of by nobody
				w.newest += rapid.Int64Range(0, 200).Draw(t, "gap")
			case 1: // a correction
				if newest, started := c.Slots.Newest(); started {
					index := newest - rapid.Int64Range(0, 160).Draw(t, "back")
					c.Slots.Correct(index, observed, beyond)
					if newest-index < int64(window) {
						w.cells[index] = [2]bool{observed, beyond}
					}
					w.newest = newest
				}
			case 2:
				again, err := rule.ReadCondition(r, time.Minute, c.Append(nil, r.Print(time.Minute)))
				if err != nil {
					t.Fatal(err)
				}
				c = again
			}
			w.newest++
			w.cells[w.newest] = [2]bool{observed, beyond}
			c.Slots.Push(w.newest, observed, beyond)
			wantMain, wantRecent := w.shares(window, recent, time.Minute)
			main, late := c.Slots.Shares()
			if main != wantMain || late != wantRecent {
				t.Fatalf("window %d, recent %d: %+v %+v, want %+v %+v", window, recent, main, late, wantMain, wantRecent)
			}
		}
	})
}

// TestSamplesAgainstTwin compares the queue of samples with sums made anew over all of them.
func TestSamplesAgainstTwin(t *testing.T) {
	type sample struct {
		at, held time.Duration
		beyond   bool
	}
	rapid.Check(t, func(t *rapid.T) {
		r := drawRule(t)
		s := rule.NewSamples(r)
		var all []sample
		at := time.Duration(0)
		for range rapid.IntRange(1, 300).Draw(t, "samples") {
			at += time.Duration(rapid.IntRange(0, 1200).Draw(t, "after")) * time.Second
			x := sample{at, time.Duration(rapid.IntRange(0, 300).Draw(t, "held")) * time.Second, rapid.Bool().Draw(t, "beyond")}
			all = append(all, x)
			s.Push(time.Unix(0, int64(at)), x.held, x.beyond)
			sum := func(length time.Duration) rule.Share {
				out := rule.Share{Length: length}
				for _, x := range all {
					if x.at > at-length {
						out.Observed += x.held
						if x.beyond {
							out.Beyond += x.held
						}
					}
				}
				return out
			}
			main, late := s.Shares()
			if main != sum(r.For) || late != sum(r.Clear.Over) {
				t.Fatalf("%+v %+v, want %+v %+v", main, late, sum(r.For), sum(r.Clear.Over))
			}
		}
	})
}

// TestSlotsAndSamplesAgree: cells of equal length pushed as samples bring the same events.
func TestSlotsAndSamplesAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := drawRule(t)
		c, s := rule.NewCondition(r, time.Minute), rule.NewSamples(r)
		var m rule.Machine
		bias := rapid.IntRange(0, 10).Draw(t, "bias")
		for i := range int64(rapid.IntRange(1, 500).Draw(t, "cells")) {
			observed := rapid.IntRange(0, 9).Draw(t, "observed") > 0
			beyond := rapid.IntRange(0, 9).Draw(t, "beyond") < bias
			live := c.Close(r, i, observed, beyond)
			if !observed {
				continue // a stored series has no sample then; what becomes unknown shows live only
			}
			at := time.Unix(0, (i+1)*int64(time.Minute)).UTC()
			s.Push(at, time.Minute, beyond)
			main, late := s.Shares()
			stored := m.Step(r, at, true, main, late)
			if live&^rule.Moved != stored&^rule.Moved || c.Machine.Began != m.Began || c.Machine.Open != m.Open {
				t.Fatalf("cell %d: live %b, stored %b", i, live, stored)
			}
		}
	})
}

// FuzzReadCondition: no bytes make it panic, and what it accepts it writes back to the same meaning.
func FuzzReadCondition(f *testing.F) {
	r := &rule.Rule{Name: "r", Metric: rule.CPURatio, For: 100 * time.Minute, Clear: rule.Clear{Over: 10 * time.Minute}}
	c := rule.NewCondition(r, time.Minute)
	f.Add(c.Append(nil, r.Print(time.Minute)))
	for i := range int64(170) {
		c.Close(r, i, i%7 > 0, i%3 > 0)
	}
	f.Add(c.Append(nil, r.Print(time.Minute)))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := rule.ReadCondition(r, time.Minute, text)
		if err != nil {
			return
		}
		again, err := rule.ReadCondition(r, time.Minute, c.Append(nil, r.Print(time.Minute)))
		if err != nil || again.Slots.Text() != c.Slots.Text() || again.Machine != c.Machine {
			t.Fatalf("written and read back it is another: %v", err)
		}
		c.Close(r, math.MaxInt32, true, true)
	})
}
