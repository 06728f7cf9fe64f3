package rule

import "time"

// State of a condition.
type State uint8

// The states. Learning: not yet seen for long enough. Unknown: seen, but not enough lately; an open
// incident stays open. Recovering: an incident is open, and its condition no longer holds, but not yet
// by the share that ends it.
const (
	Learning State = iota
	Clearly
	Pending
	Firing
	Unknown
	Recovering
)

var stateNames = [...]string{"learning", "clear", "pending", "firing", "unknown", "recovering"}

func (s State) String() string { return stateNames[s] }

// Share is what a window holds.
type Share struct{ Observed, Beyond, Length time.Duration }

// Of is the share of the observed time that was beyond the threshold; 0 where nothing was observed.
func (s Share) Of() float64 {
	if s.Observed <= 0 {
		return 0
	}
	return float64(s.Beyond) / float64(s.Observed)
}

// Coverage is the share of the window that was observed.
func (s Share) Coverage() float64 { return float64(s.Observed) / float64(s.Length) }

func (s Share) covered(least float64) bool {
	return s.Observed > 0 && float64(s.Observed) >= least*float64(s.Length)
}

func (s Share) reaches(least float64) bool { return float64(s.Beyond) >= least*float64(s.Observed) }

// Events are what a step brought about; several can come together.
type Events uint8

// The events.
const (
	Began   Events = 1 << iota // the condition began to hold
	Ended                      // the condition no longer holds
	Opened                     // an incident is to be opened
	Resolve                    // the incident is to be resolved
	Moved                      // the state is another
)

// Machine is the state of one condition. The zero value has seen nothing.
type Machine struct {
	State State
	// Holding: the condition holds, without hysteresis, since HoldFrom.
	Holding  bool
	HoldFrom time.Time
	// Open: an incident is open; Began is the begin of its condition, which is part of its id. It
	// stays after the incident is resolved.
	Open  bool
	Began time.Time
	// Learned: the window has been covered once.
	Learned bool
}

// Step goes on to a time. main and recent are the shares of the rule's window and of its clear.over;
// fresh says that there is a new observation at this time: without one nothing begins and nothing
// ends, but what is known can become unknown.
func (m *Machine) Step(r *Rule, at time.Time, fresh bool, main, recent Share) Events {
	var events Events
	covered := main.covered(r.Coverage)
	m.Learned = m.Learned || covered
	if fresh {
		events |= m.hold(covered && main.reaches(r.AtLeast), at)
		events |= m.incident(r, at, recent)
	}
	if state := m.state(r, covered, recent); state != m.State {
		m.State = state
		events |= Moved
	}
	return events
}

func (m *Machine) hold(holds bool, at time.Time) Events {
	switch {
	case holds && !m.Holding:
		m.Holding, m.HoldFrom = true, at
		return Began
	case !holds && m.Holding:
		m.Holding = false
		return Ended
	}
	return 0
}

func (m *Machine) incident(r *Rule, at time.Time, recent Share) Events {
	switch {
	case m.Holding && !m.Open && !m.HoldFrom.Equal(m.Began):
		m.Open, m.Began = true, m.HoldFrom
		return Opened
	case m.Open && !m.Holding && recent.covered(r.Coverage) && !recent.reaches(r.Clear.BelowShare):
		m.Open = false
		return Resolve
	}
	return 0
}

func (m *Machine) state(r *Rule, covered bool, recent Share) State {
	recently := recent.covered(r.Coverage)
	switch {
	case m.Open && !recently:
		return Unknown
	case m.Open && m.Holding:
		return Firing
	case m.Open:
		return Recovering
	case !m.Learned:
		return Learning
	case !covered || !recently:
		return Unknown
	case recent.reaches(r.AtLeast):
		return Pending
	}
	return Clearly
}

// CloseByHand notes that a person has resolved the incident. It does not open again before the
// condition has ended and begun anew.
func (m *Machine) CloseByHand() { m.Open = false }
