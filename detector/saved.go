package detector

import (
	"encoding/json"
	"slices"
	"time"

	"hostmeter/detector/baseline"
	"hostmeter/detector/rule"
)

// savedClosed is the column closed of detector_state. Lanes and rules are found again by what they are,
// so that a changed rules file keeps the state of every rule that did not change.
type savedClosed struct {
	Each  rule.Each   `json:"each"`
	Shard uint32      `json:"shard"`
	Lanes []savedLane `json:"lanes"`
}

// savedOpen is the column open: what is not closed yet, and receive lanes altogether.
type savedOpen struct {
	Exporters []savedTold `json:"exporters"`
	LastTold  int64       `json:"last"`
	Lanes     []savedLane `json:"lanes"`
}

type savedTold struct {
	Exporter string `json:"e"`
	At       int64  `json:"at"`
}

type savedLane struct {
	Cell       int64                     `json:"cell"`
	Receive    bool                      `json:"receive,omitempty"`
	Guest      bool                      `json:"guest,omitempty"`
	Started    bool                      `json:"started,omitempty"`
	Next       int64                     `json:"next,omitempty"`
	Columns    []string                  `json:"columns,omitempty"`
	Sketches   []rule.Metric             `json:"sketches,omitempty"`
	Cells      []savedCell               `json:"cells,omitempty"`
	Kept       []byte                    `json:"kept,omitempty"`
	Conditions map[string]savedCondition `json:"conditions,omitempty"`
}

type savedCell struct {
	Index    int64      `json:"i"`
	Sums     []float64  `json:"s"`
	Sketches []distinct `json:"d,omitempty"`
}

type savedCondition struct {
	State []byte `json:"state"`
	Model []byte `json:"model,omitempty"`
}

// savedProgress is the column exporters of detector_lease.
type savedProgress struct {
	Exporters  map[string]map[int64]uint64         `json:"exporters"` // minutes observed
	Collectors map[string]map[uint32]savedShardRow `json:"collectors"`
}

type savedShardRow struct {
	Received int64                   `json:"received"`
	Through  map[string]savedThrough `json:"through"`
	Gaps     [][2]int64              `json:"gaps,omitempty"`
}

type savedThrough struct {
	At     int64 `json:"at"`
	Silent bool  `json:"silent,omitempty"`
}

func (d *Detector) encodeClosed(s *subject) ([]byte, error) {
	row := savedClosed{Each: s.each, Shard: s.shard}
	for i := range s.lanes {
		if ls := &s.lanes[i]; !ls.lane.receive {
			lane := ls.lane.saved()
			lane.Columns, lane.Sketches, lane.Kept = ls.lane.columns, ls.lane.sketchs, ls.kept.encode(len(ls.lane.columns))
			lane.Conditions = ls.encodeConditions()
			row.Lanes = append(row.Lanes, lane)
		}
	}
	return json.Marshal(row)
}

func (d *Detector) encodeOpen(s *subject) ([]byte, error) {
	row := savedOpen{LastTold: s.lastTold}
	for _, t := range s.exporters {
		row.Exporters = append(row.Exporters, savedTold{d.progress.names[t.exporter], t.at})
	}
	for i := range s.lanes {
		ls := &s.lanes[i]
		lane := ls.lane.saved()
		lane.Started, lane.Next, lane.Columns, lane.Sketches = ls.started, ls.next, ls.lane.columns, ls.lane.sketchs
		for _, c := range ls.cells {
			lane.Cells = append(lane.Cells, savedCell{c.index, c.sums, c.sketches})
		}
		if ls.lane.receive {
			lane.Conditions = ls.encodeConditions()
		}
		row.Lanes = append(row.Lanes, lane)
	}
	return json.Marshal(row)
}

func (l *lane) saved() savedLane {
	return savedLane{Cell: l.cell, Receive: l.receive, Guest: l.guest}
}

func (ls *laneState) encodeConditions() map[string]savedCondition {
	out := make(map[string]savedCondition, len(ls.conditions))
	for k, c := range ls.conditions {
		saved := savedCondition{State: c.Append(nil, ls.lane.prints[k])}
		if ls.models[k] != nil {
			saved.Model = ls.models[k].Append(nil)
		}
		out[ls.lane.rules[k].Name] = saved
	}
	return out
}

func (d *Detector) decode(id string, closedText, openText []byte) (*subject, error) {
	var closed savedClosed
	if err := json.Unmarshal(closedText, &closed); err != nil {
		return nil, err
	}
	var open savedOpen
	if err := json.Unmarshal(openText, &open); err != nil {
		return nil, err
	}
	lanes := d.lanes[closed.Each]
	if len(lanes) == 0 {
		return nil, nil // no rule looks at it any more
	}
	s := newSubject(id, closed.Each, 1, lanes)
	s.dirty, s.closed = false, false
	s.shard, s.lastTold = closed.Shard, open.LastTold
	for _, t := range open.Exporters {
		s.exporters = append(s.exporters, told{d.progress.id(t.Exporter), t.At})
	}
	for i := range s.lanes {
		for _, saved := range closed.Lanes {
			if s.lanes[i].lane.is(saved) {
				s.lanes[i].restoreClosed(saved)
			}
		}
		for _, saved := range open.Lanes {
			if s.lanes[i].lane.is(saved) {
				s.lanes[i].restoreOpen(saved)
			}
		}
	}
	return s, nil
}

func (l *lane) is(saved savedLane) bool {
	return l.cell == saved.Cell && l.receive == saved.Receive && l.guest == saved.Guest
}

func (ls *laneState) restoreOpen(saved savedLane) {
	ls.started, ls.next = saved.Started, saved.Next
	if slices.Equal(saved.Columns, ls.lane.columns) && slices.Equal(saved.Sketches, ls.lane.sketchs) {
		for _, c := range saved.Cells {
			ls.cells = append(ls.cells, cell{c.Index, c.Sums, c.Sketches})
		}
	}
	ls.restoreConditions(saved)
}

func (ls *laneState) restoreClosed(saved savedLane) {
	if slices.Equal(saved.Columns, ls.lane.columns) {
		ls.kept = readKept(saved.Kept, len(ls.lane.columns))
	}
	ls.restoreConditions(saved)
}

func (ls *laneState) restoreConditions(saved savedLane) {
	for k, r := range ls.lane.rules {
		of := saved.Conditions[r.Name]
		if condition, err := rule.ReadCondition(r, time.Duration(ls.lane.cell), of.State); err == nil {
			ls.conditions[k] = condition
		}
		if model, err := baseline.Read(of.Model); err == nil && ls.models[k] != nil {
			ls.models[k] = model
		}
	}
}

func (p *progress) encode() ([]byte, error) {
	out := savedProgress{map[string]map[int64]uint64{}, map[string]map[uint32]savedShardRow{}}
	for id, name := range p.names {
		out.Exporters[name] = p.minutes[id]
	}
	for name, c := range p.collectors {
		out.Collectors[name] = map[uint32]savedShardRow{}
		for index, s := range c.shards {
			row := savedShardRow{Received: s.received, Through: map[string]savedThrough{}}
			for id, t := range s.through {
				row.Through[p.names[id]] = savedThrough{t.at, t.silent}
			}
			for _, g := range s.gaps {
				row.Gaps = append(row.Gaps, [2]int64{g.from, g.to})
			}
			if s.gapOpen {
				row.Gaps = append(row.Gaps, [2]int64{s.gapFrom, s.received})
			}
			out.Collectors[name][index] = row
		}
	}
	return json.Marshal(out)
}

func (p *progress) decode(text []byte) error {
	if len(text) == 0 {
		return nil
	}
	var in savedProgress
	if err := json.Unmarshal(text, &in); err != nil {
		return err
	}
	for name, minutes := range in.Exporters {
		p.minutes[p.id(name)] = minutes
	}
	for name, shards := range in.Collectors {
		for index, row := range shards {
			_, s := p.shard(name, index)
			s.received = row.Received
			for exporter, t := range row.Through {
				s.through[p.id(exporter)] = through{t.At, t.Silent}
			}
			for _, g := range row.Gaps {
				s.gaps = append(s.gaps, span{g[0], g[1]})
			}
		}
	}
	return nil
}
