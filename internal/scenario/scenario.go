// Package scenario reads the files in which a billing clerk writes down which usage, under which
// contract, is charged how. Whoever bills, or judges billing, can be held to the same files.
//
// It knows the form of the files and no rule of billing: the terms are text in the import format, the
// expected lines are text as the report has them. aggregator/rating/testdata/scenarios has the files,
// and docs/reference/scenarios.md says how to write one.
package scenario

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/shopspring/decimal"
)

// SlotLength is the grain of usage.
const SlotLength = 5 * time.Minute

// Scenario is one case.
type Scenario struct {
	Name string
	// Terms are import files in YAML, to be imported one after the other.
	Terms []string
	Usage []Usage
	// Unobserved are the spans in which the exporters of all services were not observed.
	Unobserved []Span
	Lines      []Line
}

// Usage is what a service used in each slot of [From, Until).
type Usage struct {
	Service     string
	Class       string // "external" where the file says nothing
	From, Until time.Time
	In, Out     uint64 // octets a slot
	// InError and OutError are standard errors in octets, of each slot's estimate.
	InError, OutError uint64
}

// Span is [From, Until).
type Span struct{ From, Until time.Time }

// Line is what the report is to say of one period of a service. What is empty is not compared.
type Line struct {
	Service  string `yaml:"service"`
	From     string `yaml:"from"` // the period's first day
	Until    string `yaml:"until"`
	Kind     string `yaml:"kind"`
	Quota    string `yaml:"quota"`    // "10 TB"
	Used     string `yaml:"used"`     // "10.5 TB"
	Excess   string `yaml:"excess"`   // "0.5 TB"
	Free     string `yaml:"free"`     // "1 in, 2 out" octets of classes that do not count
	Excluded string `yaml:"excluded"` // the same, by a decision
	// Estimated is in octets, where a lower bound is charged.
	Estimated string `yaml:"estimated"`
	Grace     string `yaml:"grace"`  // "1 TB"
	Billed    string `yaml:"billed"` // "1 TB"
	Price     string `yaml:"price"`  // "60.00"
	Amount    string `yaml:"amount"` // "60.00 GBP"
	Slots     string `yaml:"slots"`  // "8640, 12 missing"
	Hold      string `yaml:"hold"`   // a part of it
	// RuleFrom is the strongest level that made the charge.
	RuleFrom string `yaml:"rule_from"`
	// Pool is "p1, 3 services, 12 TB of 10 TB, 2 TB billed, 120.00 GBP": all that the pool used, its quota and
	// its charge. Share is "6000000000000 of 12000000000000 octets": the service's use of the pool's.
	Pool  string `yaml:"pool"`
	Share string `yaml:"share"`
	// Rules must be among those of the line, each as "quota=10 TB (plan)".
	Rules []string `yaml:"rules"`
}

// Differences compares what a biller says with what the line wants.
func (l Line) Differences(got Line) []string {
	var differences []string
	f := func(name, got, want string) {
		if want != "" && got != want {
			differences = append(differences, fmt.Sprintf("%s is %q, want %q", name, got, want))
		}
	}
	f("from", got.From, l.From)
	f("until", got.Until, l.Until)
	f("kind", got.Kind, l.Kind)
	f("quota", got.Quota, l.Quota)
	f("used", got.Used, l.Used)
	f("excess", got.Excess, l.Excess)
	f("free", got.Free, l.Free)
	f("excluded", got.Excluded, l.Excluded)
	f("estimated", got.Estimated, l.Estimated)
	f("grace", got.Grace, l.Grace)
	f("billed", got.Billed, l.Billed)
	f("price", got.Price, l.Price)
	f("amount", got.Amount, l.Amount)
	f("slots", got.Slots, l.Slots)
	f("rule_from", got.RuleFrom, l.RuleFrom)
	f("pool", got.Pool, l.Pool)
	f("share", got.Share, l.Share)
	if !strings.Contains(got.Hold, l.Hold) || l.Hold == "" && got.Hold != "" {
		differences = append(differences, fmt.Sprintf("hold is %q, want %q", got.Hold, l.Hold))
	}
	for _, rule := range l.Rules {
		if !slices.Contains(got.Rules, rule) {
			differences = append(differences, fmt.Sprintf("no rule %q in %q", rule, got.Rules))
		}
	}
	return differences
}

// ReadFolder reads the scenarios of all YAML files of a folder, which has one at least.
func ReadFolder(dir string) (all []Scenario, err error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("no scenarios in %s", dir)
	}
	for _, file := range files {
		text, failed := os.ReadFile(file)
		if failed != nil {
			return nil, failed
		}
		list, failed := Read(filepath.Base(file), text)
		if failed != nil {
			return nil, failed
		}
		all = append(all, list...)
	}
	return all, err
}

// Read reads a file. Errors name the scenario.
func Read(name string, text []byte) ([]Scenario, error) {
	var file struct {
		Terms     any `yaml:"terms"`
		Scenarios []struct {
			Name  string `yaml:"name"`
			Terms any    `yaml:"terms"`
			Usage []struct {
				Service  string `yaml:"service"`
				Class    string `yaml:"class"`
				At       string `yaml:"at"`
				From     string `yaml:"from"`
				Until    string `yaml:"until"`
				In       string `yaml:"in"`
				Out      string `yaml:"out"`
				InError  string `yaml:"in_error"`
				OutError string `yaml:"out_error"`
			} `yaml:"usage"`
			Unobserved []struct {
				From  string `yaml:"from"`
				Until string `yaml:"until"`
			} `yaml:"unobserved"`
			Lines []Line `yaml:"lines"`
		} `yaml:"scenarios"`
	}
	if err := yaml.NewDecoder(bytes.NewReader(text), yaml.Strict()).Decode(&file); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	var list []Scenario
	for _, f := range file.Scenarios {
		s := Scenario{Name: f.Name, Lines: f.Lines}
		p := parser{}
		for _, terms := range []any{file.Terms, f.Terms} {
			if terms != nil {
				s.Terms = append(s.Terms, p.terms(terms))
			}
		}
		for _, u := range f.Usage {
			from, until := p.span(u.At, u.From, u.Until)
			if u.Class == "" {
				u.Class = "external"
			}
			s.Usage = append(s.Usage, Usage{Service: u.Service, Class: u.Class, From: from, Until: until, In: p.octets(u.In), Out: p.octets(u.Out),
				InError: p.octets(u.InError), OutError: p.octets(u.OutError)})
		}
		for _, u := range f.Unobserved {
			from, until := p.span("", u.From, u.Until)
			s.Unobserved = append(s.Unobserved, Span{From: from, Until: until})
		}
		if len(s.Lines) == 0 {
			p.fail("expects no line")
		}
		for _, line := range s.Lines {
			if line.Service == "" || line.From == "" || line.Kind == "" || line.Amount == "" {
				p.fail("a line needs service, from, kind and amount: %+v", line)
			}
		}
		if p.err != nil {
			return nil, fmt.Errorf("%s: scenario %q: %w", name, f.Name, p.err)
		}
		list = append(list, s)
	}
	return list, nil
}

// parser gathers errors.
type parser struct{ err error }

func (p *parser) fail(format string, args ...any) {
	p.err = errors.Join(p.err, fmt.Errorf(format, args...))
}

func (p *parser) terms(value any) string {
	text, err := yaml.Marshal(value)
	if err != nil {
		p.fail("terms: %w", err)
	}
	return string(text)
}

// span reads times as 2026-05-03T12:00Z, on slot boundaries.
func (p *parser) span(at, from, until string) (time.Time, time.Time) {
	read := func(text string) time.Time {
		t, err := time.Parse("2006-01-02T15:04Z", text)
		if err != nil || !t.Equal(t.Truncate(SlotLength)) {
			p.fail("time %q: want 2026-05-03T12:00Z, a multiple of five minutes", text)
		}
		return t
	}
	if at != "" {
		return read(at), read(at).Add(SlotLength)
	}
	return read(from), read(until)
}

// units are how many octets one is; of a rate, in a slot.
var units = map[string]int64{"octet": 1, "octets": 1, "GB": 1e9, "TB": 1e12, "GiB": 1 << 30, "TiB": 1 << 40,
	"Mbit/s": 1e6 * 300 / 8, "Gbit/s": 1e9 * 300 / 8}

// octets reads "10 TB + 1 octet", or the octets of a slot at a rate, "200 Mbit/s".
func (p *parser) octets(text string) uint64 {
	if text == "" {
		return 0
	}
	sum := decimal.Zero
	for _, part := range strings.Split(text, " + ") {
		number, unit, _ := strings.Cut(part, " ")
		n, err := decimal.NewFromString(strings.ReplaceAll(number, ",", ""))
		size, known := units[unit]
		if err != nil || !known {
			p.fail("amount %q: want a number and a unit, as 10 TB + 1 octet", text)
			return 0
		}
		sum = sum.Add(n.Mul(decimal.NewFromInt(size)))
	}
	if !sum.IsInteger() || sum.IsNegative() || sum.GreaterThan(decimal.NewFromInt(math.MaxInt64)) {
		p.fail("amount %q: %s octets are no whole number of 63 bits", text, sum)
		return 0
	}
	return uint64(sum.IntPart())
}
