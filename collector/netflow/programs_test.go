package netflow

import "testing"

func TestProgramsAreSharedByLayout(t *testing.T) {
	var p Programs
	layout := []field{{id: 8, length: 4}, {id: 1, length: 4}}
	first, _, ok := p.of(layout, false, 9)
	if !ok {
		t.Fatal("refused")
	}
	layout[0].length = 4 // a buffer that is used again
	if again, _, _ := p.of([]field{{id: 8, length: 4}, {id: 1, length: 4}}, false, 9); again != first {
		t.Error("an equal layout was compiled again")
	}
	for name, other := range map[string]func() (*program, Reason, bool){
		"version": func() (*program, Reason, bool) { return p.of(layout, false, 10) },
		"options": func() (*program, Reason, bool) { return p.of(layout, true, 9) },
		"length": func() (*program, Reason, bool) {
			return p.of([]field{{id: 8, length: 4}, {id: 1, length: 8}}, false, 9)
		},
		"enterprise": func() (*program, Reason, bool) {
			return p.of([]field{{id: 8, length: 4}, {id: 1, length: 4, enterprise: 9}}, false, 9)
		},
		"scope": func() (*program, Reason, bool) {
			return p.of([]field{{id: 8, length: 4, scope: true}, {id: 1, length: 4}}, true, 9)
		},
	} {
		if got, _, ok := other(); !ok || got == first {
			t.Errorf("%s: ok %v, the same program %v", name, ok, got == first)
		}
	}
	if _, _, ok := p.of([]field{{id: 8}}, false, 9); ok {
		t.Error("a layout of no octets was taken")
	}
	for i := range 2 * programsMost {
		p.of([]field{{id: uint16(i), length: 4}}, false, 9)
	}
	if n := len(p.known); n > programsMost {
		t.Errorf("%d programs are remembered", n)
	}
}
