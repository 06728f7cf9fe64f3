// Package backtest runs rules over a stored series: what would have held, and what a person would have
// been told.
//
// It uses the conditions' own code (package rule): the same shares, the same machine. A stored series
// keeps its own rhythm, so here a cell is a sample, and it stands for the time since the previous one;
// live, where every cell has one length, it is a slot. See docs/decisions/0004-backtest-slots.md.
package backtest

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"hostmeter/detector/baseline"
	"hostmeter/detector/rule"
)

// Kinds of results.
const (
	KindCondition = "condition" // the condition held, without hysteresis
	KindIncident  = "incident"  // what a person would have been told
)

// Result is one interval. To is nil where it had not ended with the series. Share and Coverage are
// those of the window at From.
type Result struct {
	Rule     string     `json:"rule"`
	Meter    string     `json:"meter"`
	Kind     string     `json:"kind"`
	From     time.Time  `json:"from"`
	To       *time.Time `json:"to"`
	Share    float64    `json:"share"`
	Coverage float64    `json:"coverage"`
}

// Options of a run; the zero value is the default.
type Options struct {
	// MaxHold is the longest time that a sample stands for; 0: 300 s.
	MaxHold time.Duration
	// Notice is told of what was left out: rules whose metric the series does not have. Optional.
	Notice func(text string)
}

// Run runs rules over the series file at path and emits the results sorted by (rule, meter, from,
// kind), when all has been read.
//
// Memory is that of the windows where each meter's rows are in order of time, else of the whole series.
// Errors: ErrSeries, those of the file, emit's.
func Run(rules []rule.Rule, path string, opts Options, emit func(Result) error) error {
	if opts.MaxHold <= 0 {
		opts.MaxHold = 300 * time.Second
	}
	r, err := pass(rules, path, opts, false)
	if errors.Is(err, errUnordered) {
		r, err = pass(rules, path, opts, true)
	}
	if err != nil {
		return err
	}
	for _, result := range r.results() {
		if err := emit(result); err != nil {
			return err
		}
	}
	return nil
}

// errUnordered: a row is older than one before it, of the same meter.
var errUnordered = errors.New("rows are not in order of time")

type run struct {
	rules   []rule.Rule
	columns []string // metrics, then cpu_capacity
	metric  []int    // of each rule, its column
	usable  []bool   // of each rule, whether the series has its column
	opts    Options
	meters  map[string]*meter
}

// pass reads the series once: in order, or all of it, sorted, where the rows are in no order.
func pass(rules []rule.Rule, path string, opts Options, sorted bool) (*run, error) {
	file, err := openSeries(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	r := newRun(rules, opts)
	rows, err := newReader(file, r.columns)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	r.checkColumns(rows.position, !sorted)
	for {
		name, at, err := rows.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		m := r.meters[string(name)]
		if m == nil {
			m = r.addMeter(string(name))
		}
		if sorted {
			m.keep(at, rows.values)
		} else if err := m.take(r, at, rows.values); err != nil {
			return nil, err
		}
	}
	for _, m := range r.meters {
		if err := m.finish(r); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func newRun(rules []rule.Rule, opts Options) *run {
	r := &run{rules: rules, opts: opts, meters: map[string]*meter{}, metric: make([]int, len(rules)), usable: make([]bool, len(rules))}
	for i := range rules {
		name := string(rules[i].Metric)
		at := slices.Index(r.columns, name)
		if at < 0 {
			at = len(r.columns)
			r.columns = append(r.columns, name)
		}
		r.metric[i] = at
	}
	r.columns = append(r.columns, string(rule.CPUCapacity))
	return r
}

func (r *run) checkColumns(position []int, tell bool) {
	for i := range r.rules {
		r.usable[i] = position[r.metric[i]] >= 0
		if !r.usable[i] && tell && r.opts.Notice != nil {
			r.opts.Notice(fmt.Sprintf("rule %s is left out: the series has no column %s", r.rules[i].Name, r.rules[i].Metric))
		}
	}
}

// meter is one meter's run.
type meter struct {
	name       string
	conditions []*condition // nil where the rule does not apply
	at         time.Time    // of the row in values, which waits for others of the same time
	values     []float64
	waiting    bool
	kept       []row
}

type row struct {
	at     time.Time
	values []float64
}

func (r *run) addMeter(name string) *meter {
	name = strings.Clone(name)
	m := &meter{name: name, conditions: make([]*condition, len(r.rules)), values: make([]float64, len(r.columns))}
	for i := range r.rules {
		if r.usable[i] && applies(&r.rules[i], name) {
			m.conditions[i] = newCondition(&r.rules[i])
		}
	}
	r.meters[name] = m
	return m
}

// applies says whether a rule is for such a meter. A name without one of hostmeter's kinds is taken for
// whatever the rule is for.
func applies(r *rule.Rule, meter string) bool {
	kind, _, found := strings.Cut(meter, ":")
	switch each := rule.Each(kind); each {
	case rule.EachGuest, rule.EachAddress, rule.EachPort, rule.EachVNIC, rule.EachService, rule.EachCustomer, rule.EachReseller:
		return !found || each == r.Each
	}
	return true
}

func (m *meter) keep(at time.Time, values []float64) {
	m.kept = append(m.kept, row{at, slices.Clone(values)})
}

// take takes a row. Of rows with an equal time the highest value of each column counts; a row whose
// cpu_capacity is 0 is of a guest that was switched off, and does not count.
func (m *meter) take(r *run, at time.Time, values []float64) error {
	if values[len(values)-1] == 0 {
		return nil
	}
	if m.waiting && at.Equal(m.at) {
		for i, v := range values {
			if !(v <= m.values[i]) && !math.IsNaN(v) { // also where there was none
				m.values[i] = v
			}
		}
		return nil
	}
	if m.waiting {
		if at.Before(m.at) {
			return errUnordered
		}
		m.evaluate(r)
	}
	m.at, m.waiting = at, true
	copy(m.values, values)
	return nil
}

func (m *meter) finish(r *run) error {
	slices.SortStableFunc(m.kept, func(a, b row) int { return a.at.Compare(b.at) })
	for _, row := range m.kept {
		if err := m.take(r, row.at, row.values); err != nil {
			return err
		}
	}
	m.kept = nil
	if m.waiting {
		m.evaluate(r)
		m.waiting = false
	}
	return nil
}

func (m *meter) evaluate(r *run) {
	for i, c := range m.conditions {
		if c == nil {
			continue
		}
		if value := m.values[r.metric[i]]; !math.IsNaN(value) {
			c.observe(&r.rules[i], m.at, value, r.opts.MaxHold)
		}
	}
}

// condition is one rule on one meter.
type condition struct {
	window  *rule.Samples
	machine rule.Machine
	model   *baseline.Model
	last    time.Time
	found   []Result // without rule and meter
	open    [2]int   // position in found + 1 of the open condition and incident
}

func newCondition(r *rule.Rule) *condition {
	c := &condition{window: rule.NewSamples(r)}
	if r.Baseline != nil {
		c.model = &baseline.Model{}
	}
	return c
}

func (c *condition) observe(r *rule.Rule, at time.Time, value float64, maxHold time.Duration) {
	held := maxHold
	if !c.last.IsZero() {
		held = min(held, at.Sub(c.last))
	}
	c.last = at
	threshold := r.Value
	if c.model != nil {
		var known bool
		threshold, known = c.model.Threshold(at, r.Baseline.Quantile, r.Baseline.Factor, r.Baseline.Floor)
		if !known || !r.Beyond(value, threshold) {
			c.model.Learn(at, value)
		}
		if !known {
			return
		}
	}
	c.window.Push(at, held, r.Beyond(value, threshold))
	main, recent := c.window.Shares()
	events := c.machine.Step(r, at, true, main, recent)
	if events&rule.Began != 0 {
		c.begin(0, KindCondition, at, main)
	}
	if events&rule.Ended != 0 {
		c.end(0, at)
	}
	if events&rule.Opened != 0 {
		c.begin(1, KindIncident, c.machine.Began, main)
	}
	if events&rule.Resolve != 0 {
		c.end(1, at)
	}
}

func (c *condition) begin(which int, kind string, at time.Time, main rule.Share) {
	c.found = append(c.found, Result{Kind: kind, From: at, Share: main.Of(), Coverage: main.Coverage()})
	c.open[which] = len(c.found)
}

func (c *condition) end(which int, at time.Time) {
	c.found[c.open[which]-1].To = &at
	c.open[which] = 0
}

func (r *run) results() []Result {
	var out []Result
	for _, m := range r.meters {
		for i, c := range m.conditions {
			if c == nil {
				continue
			}
			for _, result := range c.found {
				result.Rule, result.Meter = r.rules[i].Name, m.name
				out = append(out, result)
			}
		}
	}
	slices.SortFunc(out, func(a, b Result) int {
		return cmp.Or(cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Meter, b.Meter), a.From.Compare(b.From), cmp.Compare(a.Kind, b.Kind))
	})
	return out
}
