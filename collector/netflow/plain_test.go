package netflow

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"hostmeter/schemas"
)

// TestPlainTwin holds what is made of plain records against what the general way makes of them.
func TestPlainTwin(t *testing.T) {
	plainIDs := []uint16{1, 2, 4, 6, 7, 8, 10, 11, 12, 14, 21, 22, 27, 28, 61, 150, 151, 152, 153, 180, 182, 5, 9, 13, 40_000}
	met := 0
	rapid.Check(t, func(t *rapid.T) {
		version := rapid.SampledFrom([]uint16{9, 10}).Draw(t, "version")
		var fields []field
		for range rapid.IntRange(1, 18).Draw(t, "fields") {
			f := field{id: rapid.SampledFrom(plainIDs).Draw(t, "id")}
			switch f.id {
			case 8, 12:
				f.length = 4
			case 27, 28:
				f.length = 16
			default:
				f.length = rapid.SampledFrom([]uint16{1, 2, 3, 4, 8, 8, 9}).Draw(t, "length")
			}
			fields = append(fields, f)
		}
		p, _, ok := compile(fields, false, version)
		if !ok || p.plain == nil {
			return
		}
		met++
		body := rapid.SliceOfN(rapid.Byte(), 3*p.stride, 4*p.stride-1).Draw(t, "body")
		h := &header{version: version, exportedAt: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC).UnixNano(), uptime: rapid.Uint32().Draw(t, "uptime")}
		decode := func(p *program) []schemas.FlowRecord {
			d := NewDecoder(DefaultLimits())
			dom, _ := d.domainOf(domainKey{version, 7}, time.Time{})
			dom.systemInit = 1_700_000_000_000
			dom.rates.set(scope{scopeInterface, 3}, rate{100, 1}, 10)
			out, n := d.dataSet(nil, dom, p, h, body)
			if n != 3 || len(out) != 3 {
				t.Fatalf("%d records", n)
			}
			return out
		}
		general := *p
		general.plain = nil
		if got, want := decode(p), decode(&general); !slices.Equal(got, want) {
			t.Fatalf("fields %v\ngot  %+v\nwant %+v", fields, got, want)
		}
	})
	if met == 0 {
		t.Fatal("no template was plain")
	}
}
