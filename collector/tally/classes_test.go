package tally

import (
	"net/netip"
	"testing"

	"hostmeter/schemas"
)

// TestClassesByTheRemoteEnd books both ways of each class, of nested prefixes the longest one's.
func TestClassesByTheRemoteEnd(t *testing.T) {
	config := DefaultConfig()
	config.Local, config.Assigned = prefixesOf("10.0.0.0/8", "2001:db8::/32"), prefixesOf("2001:db8:1::/48")
	config.Classes = []Class{{Name: "backup", Remote: prefixesOf("198.51.100.0/24", "2001:db9::/32")}, {Name: "peering", Remote: prefixesOf("198.51.0.0/16")}}
	table := New(config)
	e := exporter(table, ModeSingle)
	for i, ends := range [][2]string{
		{"10.0.0.1", "198.51.100.7"}, {"198.51.100.7", "10.0.0.1"}, // backup, out and in
		{"10.0.0.1", "198.51.7.7"},                 // peering
		{"10.0.0.1", "203.0.113.1"},                // external
		{"10.0.0.1", "10.0.0.2"},                   // internal, at both ends
		{"2001:db8:1::1", "2001:db9::1"},           // backup
		{"::ffff:10.0.0.3", "::ffff:198.51.100.1"}, // backup
	} {
		table.AddAll(e, []schemas.FlowRecord{*record(ends[0], ends[1], 1000<<i, 1)}, received)
	}
	equal(t, "octets", octetsByMeter(table.flushed(true), config.Classes...), map[string][2]uint64{
		"address:10.0.0.1 backup": {2000, 1000}, "address:10.0.0.1 external": {0, 8000}, "address:10.0.0.1 internal": {0, 16000}, "address:10.0.0.1 peering": {0, 4000},
		"address:10.0.0.2 internal": {16000, 0}, "address:10.0.0.3 backup": {0, 64000}, "address:2001:db8:1::/48 backup": {0, 32000},
	})
}

// TestEachClassHasItsNumber has as many classes as there may be.
func TestEachClassHasItsNumber(t *testing.T) {
	var classes []Class
	for i := range ClassesMost {
		classes = append(classes, Class{Name: string(rune('a' + i)), Remote: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, byte(i), 0}), 24)}})
	}
	table := newClassTable(classes)
	seen := map[uint8]bool{classExternal: true, classInternal: true, classPort: true}
	for i := range ClassesMost {
		n := numberOf(netip.AddrFrom4([4]byte{192, 0, byte(i), 9}))
		class := table.of(&end{address: n, is: isKnown | isIPv4})
		if seen[class] || class >= 1<<kindShift {
			t.Fatalf("class %d is number %d", i, class)
		}
		seen[class] = true
	}
}
