package tally

import "net/netip"

// classTable finds the class of a remote end.
type classTable struct {
	prefixes *prefixTable
	marks    []observed // by the index of a prefix
}

// newClassTable returns nil where there are no classes.
func newClassTable(classes []Class) *classTable {
	if len(classes) == 0 {
		return nil
	}
	var prefixes []netip.Prefix
	marks := map[netip.Prefix]observed{}
	for i, class := range classes {
		for _, p := range class.Remote {
			prefixes = append(prefixes, p)
			marks[unmapped(p)] = observed(i+1) << classShift
		}
	}
	t := &classTable{prefixes: newPrefixTable(prefixes)}
	for _, p := range t.prefixes.prefixes {
		t.marks = append(t.marks, marks[p])
	}
	return t
}

// of returns the mark of a remote end's class, or 0.
func (t *classTable) of(remote *end) observed {
	if !remote.valid {
		return 0
	}
	if i := t.prefixes.find(remote.address, remote.v4); i >= 0 {
		return t.marks[i]
	}
	return 0
}
