// Package rules holds the rules that are shipped: the terms that hosting providers sell under.
package rules

import _ "embed" // the rules are a file that an operator can copy and change

// Default is a rules file.
//
//go:embed default.yaml
var Default []byte
