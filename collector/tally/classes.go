package tally

import "net/netip"

// classTable finds the class of a remote end.
type classTable struct {
	prefixes *prefixTable
	classes  []uint8 // by the index of a prefix
}

// newClassTable returns nil where there are no classes.
func newClassTable(classes []Class) *classTable {
	if len(classes) == 0 {
		return nil
	}
	var prefixes []netip.Prefix
	numbers := map[netip.Prefix]uint8{}
	for i, class := range classes {
		for _, p := range class.Remote {
			prefixes = append(prefixes, p)
			numbers[unmapped(p)] = classPort + 1 + uint8(i)
		}
	}
	t := &classTable{prefixes: newPrefixTable(prefixes)}
	for _, p := range t.prefixes.prefixes {
		t.classes = append(t.classes, numbers[p])
	}
	return t
}

// of returns the class of a remote end.
func (t *classTable) of(remote *end) uint8 {
	if remote.is&isKnown == 0 {
		return classExternal
	}
	if i := t.prefixes.find(remote.address, remote.is&isIPv4 != 0); i >= 0 {
		return t.classes[i]
	}
	return classExternal
}
