package netflow_test

import (
	"encoding/json"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"hostmeter/collector/netflow"
	. "hostmeter/collector/netflow/netflowtest"
)

// hourly is an exporter in a test that counts hours. Template 256 is told and used as the test says; of 300 it
// is told every hour, so that its session is heard.
type hourly struct {
	t       *testing.T
	decoder *netflow.Decoder
	hour    int
	number  uint32
}

func newHourly(t *testing.T) *hourly { return &hourly{t: t, decoder: newDecoder()} }

func (h *hourly) send(from netip.AddrPort, sets ...[]byte) (records int) {
	h.t.Helper()
	r, err := h.decoder.Decode(nil, from, received.Add(time.Duration(h.hour)*time.Hour), V9(h.number, 1, 1, seconds, sets...))
	if err != nil {
		h.t.Fatal(err)
	}
	h.number++
	return len(r)
}

// pass lets hours pass in which the session is heard.
func (h *hourly) pass(hours int) {
	h.t.Helper()
	for range hours {
		h.hour++
		h.send(from, Template9(300, basic...))
	}
}

// killed goes on with a new decoder that has the old one's state, through a file.
func (h *hourly) killed() {
	h.t.Helper()
	state := throughFile(h.t, h.decoder.State())
	h.decoder = newDecoder()
	h.decoder.RestoreState(state, received.Add(time.Duration(h.hour)*time.Hour))
}

// knows tells whether data of template 256 is read. Asking is no use of it: it is asked of a copy.
func (h *hourly) knows() bool {
	h.t.Helper()
	for _, dom := range h.decoder.State().Domains {
		for _, ses := range dom.Sessions {
			for _, template := range ses.Templates {
				if template.ID == 256 {
					return true
				}
			}
		}
	}
	return false
}

func (h *hourly) want(what string, known bool) {
	h.t.Helper()
	if h.knows() != known {
		h.t.Errorf("%s: template is known: %v, want %v", what, !known, known)
	}
}

var (
	told = Template9(256, basic...)
	used = Set(256, flow(1, 1))
)

func TestTemplateThatIsToldOnceLastsThirtyDaysUnused(t *testing.T) {
	h := newHourly(t)
	h.send(from, told)
	h.pass(719)
	h.want("719 hours unused", true)
	h.send(from, used)
	h.pass(719)
	h.want("719 hours after it was used", true)
	h.pass(1)
	h.want("720 hours after it was used", false)
	if n := h.decoder.Stats().TemplatesExpired; n != 1 {
		t.Errorf("%d templates expired, want 1", n)
	}
	if n := h.send(from, used); n != 0 || h.decoder.Stats().HeldSets != 1 {
		t.Errorf("%d records of a template that is forgotten, %d sets held", n, h.decoder.Stats().HeldSets)
	}
	if n := h.send(from, told); n != 1 {
		t.Errorf("%d records when it is told again, want what waited", n)
	}
}

// An exporter that begins anew now and then, and tells then, does not count as one that refreshes.
func TestTemplateThatIsToldAtEachStartIsKept(t *testing.T) {
	h := newHourly(t)
	h.send(from, told)
	h.send(from, told) // an upgrade starts it twice
	h.pass(1)
	h.send(from, told)
	h.pass(700)
	h.want("700 hours unused", true)
}

func TestTemplateThatIsNoLongerRefreshed(t *testing.T) {
	f := func(every, tellings, keeps int) {
		t.Helper()
		h := newHourly(t)
		h.send(from, told)
		for range tellings {
			h.pass(every)
			h.send(from, told)
		}
		h.pass(keeps - 1)
		h.want("before its time", true)
		h.pass(1)
		h.want("at its time", false)
	}
	f(1, 24, 24)    // hourly, a day long
	f(1, 23, 720)   // not yet known to refresh
	f(6, 30, 24)    // three times 6 hours are less than the least
	f(24, 24, 72)   // daily
	f(700, 24, 720) // never longer than one that is told once
}

func TestTemplateInUseNeedsNoRefresh(t *testing.T) {
	h := newHourly(t)
	h.send(from, told)
	for range 30 {
		h.pass(1)
		h.send(from, told)
	}
	for range 100 {
		h.pass(20)
		if h.send(from, used) != 1 {
			t.Fatalf("hour %d: data is not read", h.hour)
		}
	}
	h = newHourly(t) // by another port that has no template of its own
	h.send(from, told)
	for range 5 {
		h.pass(700)
		if h.send(other, used) != 1 {
			t.Fatalf("hour %d: data of another port is not read", h.hour)
		}
	}
}

// Silence and a clock that is set do not age a template.
func TestTemplateAgesOnlyWhileItsSessionIsHeard(t *testing.T) {
	h := newHourly(t)
	h.send(from, told)
	h.hour += 24 * 400
	h.pass(10)
	h.hour -= 24 * 800
	h.pass(10)
	h.want("after 20 hours of data in years", true)
	h.decoder.Expire(received.Add(24 * 4000 * time.Hour))
	h.want("after a silence", true)
}

func TestTemplateAgeIsInTheState(t *testing.T) {
	h := newHourly(t)
	h.send(from, told)
	h.pass(700)
	h.killed()
	h.pass(19)
	h.want("719 hours unused, with a kill", true)
	h.pass(1)
	h.want("720 hours unused, with a kill", false)

	h = newHourly(t)
	h.send(from, told)
	for range 24 {
		h.pass(1)
		h.send(from, told)
	}
	h.killed()
	h.pass(23)
	h.want("23 hours after the last refresh, with a kill", true)
	h.pass(1)
	h.want("24 hours after the last refresh, with a kill", false)
}

// TestAgeIsSavedInTime: a state that is saved whenever Revision moves never makes a template that is used
// look much older than it is, and is written again at least once in 24 hours that the exporter is heard.
func TestAgeIsSavedInTime(t *testing.T) {
	h := newHourly(t)
	h.send(from, told)
	h.pass(700)
	before := h.decoder.Revision()
	h.send(from, used)
	if h.decoder.Revision() == before {
		t.Error("a use after 700 hours is not worth saving")
	}
	before = h.decoder.Revision()
	for range 23 {
		h.send(from, used)
	}
	if h.decoder.Revision() != before {
		t.Error("a use after no time is worth saving")
	}
	h.pass(24)
	if h.decoder.Revision() == before {
		t.Error("nothing was worth saving in 24 hours")
	}
	before = h.decoder.Revision()
	h.pass(700)
	h.want("after 724 hours", false)
	if h.decoder.Revision() == before {
		t.Error("an expired template is not worth saving")
	}
}

func TestFieldsAsText(t *testing.T) {
	fields := netflow.FieldsState{{ID: 8, Length: 4}, {ID: 1, Length: 65535, Enterprise: 29305}, {ID: 32767, Length: 0, Enterprise: 1<<32 - 1}}
	text, err := json.Marshal(fields)
	if err != nil || string(text) != `"8/4 29305:1/65535 4294967295:32767/0"` {
		t.Fatalf("%s, %v", text, err)
	}
	for _, in := range []string{string(text), `[{"id":8,"length":4},{"id":1,"length":65535,"enterprise":29305},{"id":32767,"length":0,"enterprise":4294967295}]`} {
		var back netflow.FieldsState
		if err := json.Unmarshal([]byte(in), &back); err != nil || !reflect.DeepEqual(back, fields) {
			t.Errorf("%s: %v, %v", in, back, err)
		}
	}
	for _, wrong := range []string{`"8"`, `"8/x"`, `"65536/4"`, `"8/65536"`, `"4294967296:8/4"`, `"x:8/4"`, `"-1/4"`, `7`, `[7]`} {
		var back netflow.FieldsState
		if err := json.Unmarshal([]byte(wrong), &back); err == nil {
			t.Errorf("%s is read as %v", wrong, back)
		} else if strings.Contains(wrong, "/x") && !strings.Contains(err.Error(), `field "8/x" of a template`) {
			t.Errorf("%s: %v", wrong, err)
		}
	}
}
