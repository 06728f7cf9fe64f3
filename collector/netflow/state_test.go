package netflow_test

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"hostmeter/collector/netflow"
	. "hostmeter/collector/netflow/netflowtest"
	"hostmeter/schemas"
)

// throughFile is a state as it comes back from a file.
func throughFile(t *testing.T, state netflow.State) (back netflow.State) {
	t.Helper()
	text, err := json.Marshal(state)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	return back
}

// TestStateIsAllThatDecodingNeeds sends templates, options and boot time to one decoder and the data to
// another that has its state.
func TestStateIsAllThatDecodingNeeds(t *testing.T) {
	told := [][]byte{
		V9(0, 1, 1, seconds, Template9(256, append([]Field{{ID: 48, Length: 2}}, basic...)...),
			Options9(300, []Field{{ID: 1, Length: 4}}, []Field{{ID: 48, Length: 1}, {ID: 50, Length: 4}}), Set(300, U32(0), U8(7), U32(512))),
		IPFIX(0, 9, seconds, TemplateIPFIX(256, Field{ID: 8, Length: 4}, Field{ID: 22, Length: 4}, Field{ID: 21, Length: 4}, Field{ID: 371, Length: Variable},
			Field{ID: 1, Length: 3, PEN: 29305}, Field{ID: 1, Length: 5})),
		IPFIX(0, 9, seconds, OptionsIPFIX(301, 1, Field{ID: 144, Length: 4}, Field{ID: 160, Length: 8}, Field{ID: 305, Length: 4}, Field{ID: 306, Length: 4}),
			Set(301, U32(1), U64((seconds-3600)*1000), U32(2), U32(5))),
	}
	data := [][]byte{
		V9(1, 1, 1, seconds, Set(256, U16(7), flow(100, 2)), Set(300, U32(0), U8(8), U32(64))),
		IPFIX(1, 9, seconds, Set(256, Address("192.0.2.9"), U32(3_540_000), U32(3_590_000), U8(2), []byte("ab"), []byte{0, 1, 0}, []byte{0, 0, 0, 2, 0})),
	}
	whole, first := newDecoder(), newDecoder()
	decode(t, whole, from, told...)
	decode(t, first, from, told...)
	state := throughFile(t, first.State())
	second := newDecoder()
	second.RestoreState(state, received)
	if s := second.Stats(); *s != (netflow.Stats{}) {
		t.Errorf("restoring was counted: %+v", s)
	}
	if !reflect.DeepEqual(second.State(), state) {
		t.Errorf("got  %+v\nwant %+v", second.State(), state)
	}
	got, want := decode(t, second, from, data...), decode(t, whole, from, data...)
	if len(want) != 2 || !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if want[0].SamplingNumerator != 512 || want[1].SamplingNumerator != 7 || want[1].SamplingDenominator != 2 || want[1].FlowStart != (seconds-60)*1e9 {
		t.Errorf("%+v", want)
	}
	if n, _, ok := second.SamplingFor(1, 8, 0); !ok || n != 64 {
		t.Errorf("options are not read after a restore: %d", n)
	}
}

// TestTotalsAcrossARestart: an exporter that repeats totals is not counted from 0 again; one that tells each
// flow once is counted whole.
func TestTotalsAcrossARestart(t *testing.T) {
	fields := []Field{{ID: 8, Length: 4}, {ID: 85, Length: 8}, {ID: 150, Length: 4}, {ID: 151, Length: 4}}
	at := func(flow, start, end uint32, total uint64) []byte {
		return IPFIX(0, 1, seconds, Set(256, U32(flow), U64(total), U32(seconds+start), U32(seconds+end)))
	}
	f := func(name string, want uint64, before, after [][]byte) {
		t.Helper()
		first, second := newDecoder(), newDecoder()
		octets := octetsOf(decode(t, first, from, append([][]byte{IPFIX(0, 1, seconds, TemplateIPFIX(256, fields...))}, before...)...))
		second.RestoreState(throughFile(t, first.State()), time.Unix(seconds+150, 0))
		octets += octetsOf(decode(t, second, from, after...))
		if octets != want {
			t.Errorf("%s: %d octets, want %d", name, octets, want)
		}
	}
	f("repeated", 5000+500, [][]byte{at(1, 0, 60, 1000), at(1, 0, 120, 5000)}, [][]byte{at(1, 0, 180, 6000), at(1, 0, 240, 6500)})
	f("repeated, and a flow that begins later", 5000+70, [][]byte{at(1, 0, 60, 1000), at(1, 0, 120, 5000)}, [][]byte{at(2, 160, 180, 70)})
	f("told once each", 1000+6000, [][]byte{at(1, 0, 60, 1000)}, [][]byte{at(2, 0, 180, 6000)})
}

func TestRevision(t *testing.T) {
	d := newDecoder()
	f := func(name string, news bool, datagram []byte) {
		t.Helper()
		before, state := d.Revision(), d.State()
		decode(t, d, from, datagram)
		if d.Revision() != before != news || reflect.DeepEqual(state, d.State()) == news {
			t.Errorf("%s: revision %d to %d, state %+v to %+v", name, before, d.Revision(), state, d.State())
		}
	}
	template, options := TemplateIPFIX(256, basic...), OptionsIPFIX(300, 1, Field{ID: 302, Length: 4}, Field{ID: 34, Length: 4}, Field{ID: 160, Length: 8})
	m := func(sets ...[]byte) []byte { return IPFIX(0, 1, seconds, sets...) }
	f("data", false, m(Set(256, flow(1, 1))))
	f("a template", true, m(template))
	f("a refresh", false, m(template))
	f("more data", false, m(Set(256, flow(1, 1))))
	f("another layout", true, m(TemplateIPFIX(256, basic[0], basic[2])))
	f("an option template", true, m(options))
	f("a rate", true, m(Set(300, U32(1), U32(100), U64(5))))
	f("the same rate", false, m(Set(300, U32(1), U32(100), U64(5))))
	f("another rate", true, m(Set(300, U32(1), U32(200), U64(5))))
	f("another boot time", true, m(Set(300, U32(1), U32(200), U64(6))))
	f("a template that is refused", false, m(TemplateIPFIX(260, Field{ID: 1, Length: 0})))
	f("a withdrawal", true, m(Set(2, U16(256), U16(0))))
	f("once more", false, m(Set(2, U16(256), U16(0))))
	f("a withdrawal of all options", true, m(Set(3, U16(3), U16(0))))
}

func TestRestoreStateKeepsToLimits(t *testing.T) {
	flood := newDecoder()
	for domain := range uint32(20) {
		for port := range uint16(5) {
			decode(t, flood, nextPorts(port), V9(0, domain, 1, seconds, Template9(256, basic...), Template9(257, basic...),
				Options9(300, []Field{{ID: 2, Length: 4}}, []Field{{ID: 34, Length: 4}}), Set(300, U32(3), U32(100), U32(4), U32(200), U32(5), U32(300))))
		}
	}
	limits := netflow.Limits{TemplatesPerDomain: 2, FieldsPerTemplate: 100, FieldsPerDomain: 100, FieldsTotal: 40, Domains: 7, SessionsPerDomain: 3,
		HeldOctets: 1000, HeldAge: time.Minute, Samplers: 2, RunningFlows: 10}
	d := netflow.NewDecoder(limits)
	d.RestoreState(flood.State(), received)
	state := d.State()
	fields := 0
	for _, dom := range state.Domains {
		if len(dom.Sessions) > 3 || len(dom.Rates) > 2 {
			t.Errorf("domain %d: %d sessions, %d rates", dom.ID, len(dom.Sessions), len(dom.Rates))
		}
		for _, s := range dom.Sessions {
			for _, template := range s.Templates {
				fields += len(template.Fields)
			}
		}
	}
	if len(state.Domains) != 7 || fields > 40 || fields < 30 {
		t.Errorf("%d domains, %d fields", len(state.Domains), fields)
	}
}

func TestRestoreStatePassesNonsenseOver(t *testing.T) {
	d := newDecoder()
	d.RestoreState(netflow.State{Domains: []netflow.DomainState{
		{Version: 5, ID: 1, SystemInit: 1},
		{Version: 9, ID: 2, Rates: []netflow.RateState{{Scope: "moon", Numerator: 2, Denominator: 1}, {Scope: "system", Numerator: 1}, {Scope: "system"}}},
		{Version: 10, ID: 3, Sessions: []netflow.SessionState{{Port: 1, Templates: []netflow.TemplateState{
			{ID: 255, Fields: []netflow.FieldState{{ID: 1, Length: 4}}}, {ID: 256}, {ID: 257, Fields: []netflow.FieldState{{ID: 1}}},
		}}}},
	}}, received)
	if s := d.State(); len(s.Domains) != 0 {
		t.Errorf("%+v", s)
	}
}

// TestStateCarriesOn cuts a random stream of templates and data at a random place: what comes behind it
// reads the same with the state as without the cut.
func TestStateCarriesOn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		whole := newDecoder()
		cut := rapid.IntRange(0, 10).Draw(t, "cut")
		var after *netflow.Decoder
		var got, want []schemas.FlowRecord
		for i := range 12 {
			domain, id := rapid.Uint32Range(1, 2).Draw(t, "domain"), rapid.Uint16Range(256, 257).Draw(t, "id")
			body := Set(id, flow(rapid.Uint32Range(1, 99).Draw(t, "octets"), 1))
			switch rapid.IntRange(0, 4).Draw(t, "kind") {
			case 0:
				body = Template9(id, rapid.Permutation(basic).Draw(t, "fields")...)
			case 1:
				body = append(Options9(300, []Field{{ID: 2, Length: 4}}, []Field{{ID: 34, Length: 4}}),
					Set(300, U32(0), U32(rapid.Uint32Range(1, 3).Draw(t, "rate")))...)
			}
			port := nextPorts(rapid.Uint16Range(0, 2).Draw(t, "port"))
			datagram := V9(uint32(i), domain, 1, seconds, body)
			if i == cut {
				after = newDecoder()
				after.RestoreState(whole.State(), received)
				whole.Expire(received.Add(time.Hour)) // what waited is gone with the process
				want = nil
			}
			want, _ = whole.Decode(want, port, received, datagram)
			if after != nil {
				got, _ = after.Decode(got, port, received, datagram)
			}
		}
		if after != nil && !reflect.DeepEqual(got, want) {
			t.Fatalf("got  %+v\nwant %+v", got, want)
		}
	})
}
