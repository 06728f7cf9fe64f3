package simulate

import (
	"math/big"
	"testing"
	"time"

	"pgregory.net/rapid"

	"hostmeter/schemas"
)

// TestSpread: the parts of a flow are those of the definition, in numbers without bounds, and add up.
func TestSpread(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := flow{start: rapid.Int64Range(1_790_000_000_000, 1_790_001_000_000).Draw(t, "start")}
		f.end = f.start + rapid.Int64Range(0, 1_000_000).Draw(t, "length")
		octets := rapid.Uint64Range(0, 1<<60).Draw(t, "octets")
		const slot = int64(SlotLength / time.Millisecond)
		until := func(at int64) uint64 {
			switch {
			case at <= f.start:
				return 0
			case at >= f.end:
				return octets
			}
			n := new(big.Int).Mul(new(big.Int).SetUint64(octets), big.NewInt(at-f.start))
			return n.Quo(n, big.NewInt(f.end-f.start)).Uint64()
		}
		sum, parts := uint64(0), int64(0)
		(&Books{}).spread(&f, octets, func(s int64, part uint64, _ bool) {
			if want := until((s+1)*slot) - until(s*slot); part != want && f.end > f.start {
				t.Fatalf("slot %d has %d, want %d", s, part, want)
			}
			sum += part
			parts++
		})
		if sum != octets || parts != max(f.end-1, f.start)/slot-f.start/slot+1 {
			t.Fatalf("%d octets in %d slots, of %d from %d to %d", sum, parts, octets, f.start, f.end)
		}
	})
}

// TestOwnerAt: the longest key counts, and a change counts from the next slot.
func TestOwnerAt(t *testing.T) {
	p := days(1, 35)
	h := p.Highlights()
	w := p.world()
	f := func(address string, at time.Time, want string) {
		t.Helper()
		if got := w.OwnerAt("address:"+address, at); got != want {
			t.Errorf("%s belongs at %s to %q, want %q", address, at, got, want)
		}
	}
	handed := h.HandoverAddress.String()
	f(handed, h.HandoverAt.Add(-17*time.Minute), h.HandoverFrom)
	f(handed, h.HandoverAt.Truncate(SlotLength), h.HandoverFrom) // 03:15
	f(handed, slotAfter(h.HandoverAt), h.HandoverTo)             // 03:20
	block, inside := p.nth(borderSampled, "dedicated-10", 0).id, p.nth(borderSampled, "vps-2", 0).id
	f("198.51.100.195", p.end, block)
	f("198.51.100.196", p.end, inside)
	f("198.51.100.197", p.end, block)
	f(h.UnownedAddress.String(), p.end, "")
	f("2001:db8:7::1", p.end, p.serviceOf(p.meterByKey(t, "address:2001:db8:7::/48")).id)
	f("2001:db8::1", p.end, "")
}

func (p *Provider) meterByKey(t *testing.T, id schemas.MeterID) *meter {
	t.Helper()
	for _, e := range p.exporters {
		for _, m := range e.meters {
			if m.id == id {
				return m
			}
		}
	}
	t.Fatalf("no meter %s", id)
	return nil
}
