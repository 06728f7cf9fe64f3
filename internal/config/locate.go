package config

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// locate adds line and key to an error of a value's own UnmarshalText, which knows neither: they are
// those of the value without which the error is another one or none. It decodes the text once for
// each value; it is called for a file that is refused.
func locate(text []byte, into any, err error) error {
	file, parseErr := parser.ParseBytes(text, 0)
	if parseErr != nil || len(file.Docs) == 0 {
		return err
	}
	body := file.Docs[0].Body
	decode := func() error {
		return yaml.NodeToValue(body, reflect.New(reflect.TypeOf(into).Elem()).Interface(), strictly...)
	}
	for _, slot := range scalars(body) {
		value := *slot
		*slot = ast.Null(value.GetToken())
		without := decode()
		*slot = value
		if without == nil || without.Error() != err.Error() {
			key := strings.TrimPrefix(value.GetPath(), "$.")
			return fmt.Errorf("[%d:%d] %s: %w", value.GetToken().Position.Line, value.GetToken().Position.Column, key, err)
		}
	}
	return err
}

// scalars are the places in a document that hold a value which is neither a map nor a list.
func scalars(node ast.Node) []*ast.Node {
	var slots []*ast.Node
	visit := func(slot *ast.Node) {
		switch (*slot).(type) {
		case *ast.MappingNode, *ast.MappingValueNode, *ast.SequenceNode:
			slots = append(slots, scalars(*slot)...)
		default:
			slots = append(slots, slot)
		}
	}
	switch n := node.(type) {
	case *ast.MappingNode:
		for _, value := range n.Values {
			visit(&value.Value)
		}
	case *ast.MappingValueNode:
		visit(&n.Value)
	case *ast.SequenceNode:
		for i := range n.Values {
			visit(&n.Values[i])
		}
	}
	return slots
}
