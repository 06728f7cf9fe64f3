package inventory_test

import (
	"slices"
	"testing"
	"time"

	"hostmeter/internal/inventory"
)

// TestClosingAServiceEndsItsOwnership, says so, and a file that is imported each night and says nothing of it changes
// nothing again.
func TestClosingAServiceEndsItsOwnership(t *testing.T) {
	each(t, func(t *testing.T, inv *inventory.Inventory) {
		mustImport(t, inv, example(t)...)
		nightly := yaml("ownership: [{service: s1, key: \"address:192.0.2.77\", from: 2026-06-01T00:00:00Z}]\n")
		mustImport(t, inv, nightly)
		closing := yaml("services: [{id: s1, customer: c1, plan: dedicated-10, place: london, currency: GBP, opened: 2026-01-31, bills: address, closed: 2026-11-10}]\n")
		lines := mustImport(t, inv, closing).Lines()
		if !slices.Contains(lines, "~ ownership address:192.0.2.77 2026-06-01T00:00:00Z: until (none) -> 2026-11-10T00:00:00Z") || len(lines) != 4 {
			t.Fatalf("closing changed %q", lines)
		}
		if again := mustImport(t, inv, nightly, closing); len(again.Edits) != 0 {
			t.Fatalf("the next night changed %q", again.Lines())
		}
		if owner, ok := snapshot(t, inv).OwnerAt("address:192.0.2.77", time.Date(2026, 11, 10, 0, 0, 0, 0, time.UTC)); ok {
			t.Fatalf("%s owns it after its end", owner)
		}
	})
}
