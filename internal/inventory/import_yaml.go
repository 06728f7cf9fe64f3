package inventory

import (
	"fmt"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// maxBrackets bounds how deep an import file may nest. The format needs 4; a parser that recurses
// needs a bound.
const maxBrackets = 16

// readYAML walks the syntax tree instead of decoding it: a cell's text is what was written (a price
// of 60.00 stays 60.00), and each knows its line.
func readYAML(file File) (rows []Row, faults []Fault) {
	if depth := nesting(file.Text); depth > maxBrackets {
		return nil, []Fault{{Where: file.Name, Text: fmt.Sprintf("brackets nest %d deep, want at most %d", depth, maxBrackets)}}
	}
	tree, err := parser.ParseBytes(file.Text, 0)
	if err != nil {
		return nil, []Fault{{Where: file.Name, Text: strings.TrimSpace(err.Error())}}
	}
	y := &yamlFile{name: file.Name}
	for i, document := range tree.Docs {
		switch {
		case document.Body == nil:
		case i > 0:
			y.fault(document.Body, "a second document after ---: an import is one document")
		default:
			y.document(document.Body)
		}
	}
	return y.rows, y.faults
}

// nesting returns how deep flow brackets nest, counted without regard to quotes: at least the truth.
func nesting(text []byte) (deepest int) {
	depth := 0
	for _, b := range text {
		switch b {
		case '[', '{':
			depth++
			deepest = max(deepest, depth)
		case ']', '}':
			depth--
		}
	}
	return deepest
}

type yamlFile struct {
	name   string
	rows   []Row
	faults []Fault
}

func (y *yamlFile) at(node ast.Node) string {
	if token := node.GetToken(); token != nil && token.Position != nil {
		return fmt.Sprintf("%s:%d", y.name, token.Position.Line)
	}
	return y.name
}

func (y *yamlFile) fault(node ast.Node, format string, args ...any) {
	y.faults = append(y.faults, Fault{Where: y.at(node), Text: fmt.Sprintf(format, args...)})
}

// pairs returns the keys and values of a mapping.
func (y *yamlFile) pairs(node ast.Node, what string) []*ast.MappingValueNode {
	switch n := node.(type) {
	case *ast.MappingNode:
		return n.Values
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}
	case *ast.NullNode:
		return nil
	}
	y.fault(node, "%s: want keys and values", what)
	return nil
}

func (y *yamlFile) document(body ast.Node) {
	if group, ok := body.(*ast.CommentGroupNode); ok && group != nil {
		return // nothing but comments
	}
	for _, section := range y.pairs(body, "import file") {
		name := scalarKey(section)
		k := kindOf(name)
		if k == nil {
			y.fault(section.Key, "%q: want %s", name, sections())
			continue
		}
		if k == &kindProvider {
			y.row(k, section.Value)
			continue
		}
		switch list := section.Value.(type) {
		case *ast.SequenceNode:
			for _, item := range list.Values {
				y.row(k, item)
			}
		case *ast.NullNode:
		default:
			y.fault(section.Value, "%s: want a list", name)
		}
	}
}

func (y *yamlFile) row(k *kind, node ast.Node) {
	row := Row{Section: k.section, Where: y.at(node), Cells: map[string]string{}, CellsAt: map[string]string{}}
	pairs := y.pairs(node, k.name)
	if len(pairs) == 0 {
		return
	}
	row.Where = y.at(pairs[0].Key)
	for _, pair := range pairs {
		column := scalarKey(pair)
		if _, twice := row.Cells[column]; twice {
			y.fault(pair.Key, "%s: is there twice", column)
		}
		text, ok := cellText(pair.Value)
		if !ok {
			y.fault(pair.Value, "%s: want one value", column)
			continue
		}
		row.Cells[column], row.CellsAt[column] = text, y.at(pair.Key)
	}
	y.rows = append(y.rows, row)
}

func scalarKey(pair *ast.MappingValueNode) string {
	if token := pair.Key.GetToken(); token != nil {
		return token.Value
	}
	return ""
}

// cellText returns the text of a value as it was written; a list of values is joined by spaces.
func cellText(node ast.Node) (string, bool) {
	switch n := node.(type) {
	case *ast.NullNode:
		return "", true
	case *ast.StringNode:
		return n.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return n.GetToken().Value, true
	case *ast.SequenceNode:
		texts := make([]string, 0, len(n.Values))
		for _, value := range n.Values {
			if _, nested := value.(*ast.SequenceNode); nested {
				return "", false
			}
			text, ok := cellText(value)
			if !ok || strings.ContainsAny(text, " ,;") {
				return "", false
			}
			texts = append(texts, text)
		}
		return strings.Join(texts, " "), true
	}
	return "", false
}
