package rule

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// ErrRules is wrapped by everything that is wrong with a rules file.
var ErrRules = errors.New("rules file is wrong")

const maxText = 1 << 20

// ResellerRate is the rule of incidents that no detector watches: they are about a reseller's month, and opened and resolved by who
// reads the ledger.
const ResellerRate = "reseller_rate"

var namePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// Parse reads a rules file: YAML with the key `rules`, a list of rules.
//
// Errors: ErrRules, with the line and the key of the first thing that is wrong, as
// "line 4: rules[0].at_least: 1.5 is not in (0, 1]".
func Parse(text []byte) (rules []Rule, err error) {
	if len(text) > maxText {
		return nil, fmt.Errorf("%w: longer than %d bytes", ErrRules, maxText)
	}
	defer func() { // the YAML library is not ours: what it panics at is a wrong file
		if fault := recover(); fault != nil {
			rules, err = nil, fmt.Errorf("%w: cannot be read as YAML: %v", ErrRules, fault)
		}
	}()
	file, err := parser.ParseBytes(text, 0)
	if err != nil {
		return nil, fmt.Errorf("%w: %s", ErrRules, strings.TrimSpace(err.Error()))
	}
	rules, err = rulesOf(file)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRules, err)
	}
	return rules, nil
}

func rulesOf(file *ast.File) ([]Rule, error) {
	var root ast.Node
	for _, doc := range file.Docs {
		if doc.Body == nil || doc.Body.Type() == ast.CommentGroupType {
			continue
		}
		if root != nil {
			return nil, at(doc.Body, "", "a second document after ---: the rules are one document")
		}
		root = doc.Body
	}
	if root == nil {
		return nil, errors.New("line 1: rules: missing")
	}
	var list *ast.SequenceNode
	err := fields(root, "", func(key, path string, value ast.Node) error {
		if key != "rules" {
			return at(value, path, "unknown key")
		}
		var ok bool
		if list, ok = value.(*ast.SequenceNode); !ok {
			return at(value, path, "want a list of rules")
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if list == nil {
		return nil, at(root, "rules", "missing")
	}
	rules := make([]Rule, 0, len(list.Values))
	for i, node := range list.Values {
		path := fmt.Sprintf("rules[%d]", i)
		r, err := ruleOf(node, path)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(rules, func(other Rule) bool { return other.Name == r.Name }) {
			return nil, at(node, path+".name", "%q is the name of an earlier rule", r.Name)
		}
		rules = append(rules, r)
	}
	return rules, nil
}

// ruleOf reads one rule; what a file leaves out gets the defaults that are written in
// docs/reference/rules.md.
func ruleOf(node ast.Node, path string) (Rule, error) {
	r := Rule{AtLeast: 1, Coverage: 0.8, Severity: "warning"}
	given := map[string]bool{}
	err := fields(node, path, func(key, path string, value ast.Node) (err error) {
		given[key] = true
		switch key {
		case "name":
			err = r.readName(value, path)
		case "metric":
			err = r.readMetric(value, path)
		case "above", "below":
			if key == "below" {
				r.Side = Below
			}
			r.Value, err = number(value, path, 0, math.MaxFloat64)
		case "baseline":
			r.Baseline, err = baselineOf(value, path)
		case "for":
			r.For, err = duration(value, path)
		case "at_least":
			r.AtLeast, err = share(value, path)
		case "coverage":
			r.Coverage, err = share(value, path)
		case "clear":
			r.Clear, err = clearOf(value, path)
		case "severity":
			r.Severity, err = oneOf(value, path, "info", "warning", "critical")
		case "each":
			err = r.readEach(value, path)
		default:
			err = at(value, path, "unknown key")
		}
		return err
	})
	if err != nil {
		return Rule{}, err
	}
	return r, r.finish(node, path, given)
}

// finish fills in what depends on other keys and checks what needs several of them.
func (r *Rule) finish(node ast.Node, path string, given map[string]bool) error {
	for _, key := range []string{"name", "metric", "for", "each"} {
		if !given[key] {
			return at(node, path+"."+key, "missing")
		}
	}
	thresholds := 0
	for _, key := range []string{"above", "below", "baseline"} {
		if given[key] {
			thresholds++
		}
	}
	if thresholds != 1 {
		return at(node, path, "want exactly one of above, below and baseline, got %d", thresholds)
	}
	if r.Metric.OfGuest() && r.Each != EachGuest && !r.Each.Owned() {
		return at(node, path+".each", "%s is a metric of guests, %s has none", r.Metric, r.Each)
	}
	if !r.Metric.OfGuest() && r.Each == EachGuest {
		return at(node, path+".each", "%s is a metric of traffic: want address, port, vnic, service, customer or reseller", r.Metric)
	}
	if r.Clear.Over == 0 {
		r.Clear.Over = max(r.For/12, min(r.For, time.Minute))
	}
	if r.Clear.BelowShare == 0 {
		r.Clear.BelowShare = min(0.8, r.AtLeast)
	}
	if r.Clear.Over > r.For {
		return at(node, path+".clear.over", "%s is longer than for (%s)", r.Clear.Over, r.For)
	}
	if r.Clear.BelowShare > r.AtLeast {
		return at(node, path+".clear.below_share", "%v is more than at_least (%v): it would end at once", r.Clear.BelowShare, r.AtLeast)
	}
	return nil
}

func (r *Rule) readName(node ast.Node, path string) (err error) {
	r.Name, err = scalar(node, path)
	if err == nil && !namePattern.MatchString(r.Name) {
		err = at(node, path, "%q: want at most 64 letters, digits, '.', '_' and '-'", r.Name)
	}
	if err == nil && r.Name == ResellerRate {
		err = at(node, path, "%q is that of the incidents about resellers: want another name", r.Name)
	}
	return err
}

func (r *Rule) readMetric(node ast.Node, path string) error {
	text, err := scalar(node, path)
	r.Metric = Metric(text)
	if err == nil && !r.Metric.Known() {
		err = at(node, path, "%q is no metric; see docs/reference/rules.md for the list", text)
	}
	return err
}

func (r *Rule) readEach(node ast.Node, path string) error {
	names := make([]string, len(eachAll))
	for i, each := range eachAll {
		names[i] = string(each)
	}
	text, err := oneOf(node, path, names...)
	r.Each = Each(text)
	return err
}

func baselineOf(node ast.Node, path string) (*Baseline, error) {
	b := &Baseline{Quantile: 0.975, Factor: 1.3}
	err := fields(node, path, func(key, path string, value ast.Node) (err error) {
		switch key {
		case "quantile":
			b.Quantile, err = number(value, path, 0, 1)
		case "factor":
			b.Factor, err = number(value, path, 0, 1e6)
		case "floor":
			b.Floor, err = number(value, path, 0, math.MaxFloat64)
		default:
			err = at(value, path, "unknown key")
		}
		return err
	})
	return b, err
}

func clearOf(node ast.Node, path string) (Clear, error) {
	var c Clear
	err := fields(node, path, func(key, path string, value ast.Node) (err error) {
		switch key {
		case "below_share":
			c.BelowShare, err = share(value, path)
		case "over":
			c.Over, err = duration(value, path)
		default:
			err = at(value, path, "unknown key")
		}
		return err
	})
	return c, err
}

// fields calls f for each key of a mapping, once each.
func fields(node ast.Node, path string, f func(key, path string, value ast.Node) error) error {
	var values []*ast.MappingValueNode
	switch n := node.(type) {
	case *ast.MappingNode:
		values = n.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{n}
	default:
		return at(node, path, "want keys and values")
	}
	seen := map[string]bool{}
	for _, v := range values {
		key := v.Key.GetToken().Value
		inner := key
		if path != "" {
			inner = path + "." + key
		}
		if seen[key] {
			return at(v.Key, inner, "is there twice")
		}
		seen[key] = true
		if err := f(key, inner, v.Value); err != nil {
			return err
		}
	}
	return nil
}

func scalar(node ast.Node, path string) (string, error) {
	switch n := node.(type) {
	case *ast.StringNode:
		return n.Value, nil
	case *ast.IntegerNode, *ast.FloatNode:
		return node.GetToken().Value, nil
	}
	return "", at(node, path, "want a single value")
}

func number(node ast.Node, path string, least, most float64) (float64, error) {
	text, err := scalar(node, path)
	if err != nil {
		return 0, err
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(f) || f < least || f > most {
		if most == math.MaxFloat64 {
			return 0, at(node, path, "%q is not a number of at least %v", text, least)
		}
		return 0, at(node, path, "%q is not a number from %v to %v", text, least, most)
	}
	return f, nil
}

func share(node ast.Node, path string) (float64, error) {
	f, err := number(node, path, 0, 1)
	if err == nil && f == 0 {
		err = at(node, path, "0 is not in (0, 1]")
	}
	return f, err
}

// duration reads Go's durations, and whole days as "3d".
func duration(node ast.Node, path string) (time.Duration, error) {
	text, err := scalar(node, path)
	if err != nil {
		return 0, err
	}
	d, err := time.ParseDuration(text)
	if days, found := strings.CutSuffix(text, "d"); found {
		var n int64
		n, err = strconv.ParseInt(days, 10, 16)
		d = time.Duration(n) * 24 * time.Hour
	}
	if err != nil || d < time.Second || d > maxWindow {
		return 0, at(node, path, "%q: want a duration from 1s to %s, as 90s, 6h or 3d", text, maxWindow)
	}
	return d, nil
}

// maxWindow bounds the memory of a condition.
const maxWindow = 35 * 24 * time.Hour

func oneOf(node ast.Node, path string, words ...string) (string, error) {
	text, err := scalar(node, path)
	if err == nil && !slices.Contains(words, text) {
		err = at(node, path, "%q: want one of %s", text, strings.Join(words, ", "))
	}
	return text, err
}

// at says where something is wrong.
func at(node ast.Node, path, format string, args ...any) error {
	line := 1
	if node != nil && node.GetToken() != nil && node.GetToken().Position != nil {
		line = node.GetToken().Position.Line
	}
	text := fmt.Sprintf(format, args...)
	if path == "" {
		return fmt.Errorf("line %d: %s", line, text)
	}
	return fmt.Errorf("line %d: %s: %s", line, path, text)
}
