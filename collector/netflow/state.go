package netflow

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// State is what an exporter told a decoder once and may not tell again for a long time: templates,
// sampling rates, boot times. It holds plain values of its own, to be written to a file and given to
// RestoreState of a new decoder. What waits for a template, running totals and sequence numbers
// (Positions) are not in it.
type State struct {
	Domains []DomainState `json:"domains"`
	// RepeatsTotals says that the exporter tells running totals of a flow more than once: those of flows
	// that began before RestoreState are then only where differences begin.
	RepeatsTotals bool `json:"repeats_totals,omitempty"`
}

// DomainState is what was told of one observation domain.
type DomainState struct {
	Version uint16 `json:"version"` // 9 or 10, of the datagrams
	ID      uint32 `json:"id"`
	// SystemInit is the exporter's boot time in milliseconds since the Unix epoch (160), 0 unknown.
	SystemInit uint64         `json:"system_init,omitempty"`
	Sessions   []SessionState `json:"sessions,omitempty"`
	Rates      []RateState    `json:"rates,omitempty"`
}

// SessionState holds the templates that came from one UDP port.
type SessionState struct {
	Port      uint16          `json:"port"`
	Templates []TemplateState `json:"templates"`
}

// TemplateState is a template as the wire gave it. The first Scopes fields are the scope of an option
// template.
type TemplateState struct {
	ID      uint16      `json:"id"`
	Options bool        `json:"options,omitempty"`
	Scopes  int         `json:"scopes,omitempty"`
	Fields  FieldsState `json:"fields"`
	// Idle is for how many hours in which its session was heard it was neither used nor told. Tellings is
	// in how many hours it was told again, Refresh the most hours between two of them.
	Idle     int `json:"idle_hours,omitempty"`
	Tellings int `json:"tellings,omitempty"`
	Refresh  int `json:"refresh_hours,omitempty"`
}

// FieldState is a field of a template: number, octets (65535: told in each record), enterprise.
type FieldState struct {
	ID         uint16 `json:"id"`
	Length     uint16 `json:"length"`
	Enterprise uint32 `json:"enterprise,omitempty"`
}

// FieldsState are a template's fields. Their text is NUMBER/OCTETS, with an enterprise
// ENTERPRISE:NUMBER/OCTETS, apart by spaces: there may be a hundred thousand of them. A list of
// objects, as earlier versions wrote, is read as well.
type FieldsState []FieldState

// MarshalJSON writes the text.
func (fields FieldsState) MarshalJSON() ([]byte, error) {
	b := make([]byte, 0, 2+8*len(fields))
	b = append(b, '"')
	for i, f := range fields {
		if i > 0 {
			b = append(b, ' ')
		}
		if f.Enterprise != 0 {
			b = append(strconv.AppendUint(b, uint64(f.Enterprise), 10), ':')
		}
		b = append(strconv.AppendUint(b, uint64(f.ID), 10), '/')
		b = strconv.AppendUint(b, uint64(f.Length), 10)
	}
	return append(b, '"'), nil
}

// UnmarshalJSON reads the text or a list of objects.
func (fields *FieldsState) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '[' {
		return json.Unmarshal(b, (*[]FieldState)(fields))
	}
	var text string
	if err := json.Unmarshal(b, &text); err != nil {
		return err
	}
	*fields = nil
	for part := range strings.FieldsSeq(text) {
		f, err := parseField(part)
		if err != nil {
			return err
		}
		*fields = append(*fields, f)
	}
	return nil
}

func parseField(text string) (f FieldState, err error) {
	rest := text
	var enterprise, id, length uint64
	if before, after, has := strings.Cut(rest, ":"); has {
		rest = after
		enterprise, err = strconv.ParseUint(before, 10, 32)
	}
	number, octets, _ := strings.Cut(rest, "/")
	if err == nil {
		id, err = strconv.ParseUint(number, 10, 16)
	}
	if err == nil {
		length, err = strconv.ParseUint(octets, 10, 16)
	}
	if err != nil {
		return f, fmt.Errorf("field %q of a template: %w", text, err)
	}
	return FieldState{uint16(id), uint16(length), uint32(enterprise)}, nil
}

// RateState is a sampling rate that option data told for a scope.
type RateState struct {
	Scope       string `json:"scope"` // "system", "sampler", "interface" or "other"
	ID          uint64 `json:"id,omitempty"`
	Numerator   uint32 `json:"numerator"`
	Denominator uint32 `json:"denominator"`
}

var scopeTexts = [...]string{scopeSystem: "system", scopeSampler: "sampler", scopeInterface: "interface", scopeOther: "other"}

// Revision grows whenever State would tell something new: a caller that saves the state looks whether it
// differs from that of its last save.
func (d *Decoder) Revision() uint64 { return d.revision }

// State returns what the decoder was told. Equal knowledge gives equal values, in order of domain,
// port, template and scope.
func (d *Decoder) State() State {
	out := State{RepeatsTotals: d.running.repeats}
	for key, dom := range d.domains {
		s := DomainState{Version: key.version, ID: key.id, SystemInit: dom.systemInit, Rates: dom.rates.state()}
		for _, ses := range dom.sessions {
			if len(ses.templates) > 0 {
				s.Sessions = append(s.Sessions, ses.state())
			}
		}
		if s.SystemInit == 0 && len(s.Sessions)+len(s.Rates) == 0 {
			continue
		}
		slices.SortFunc(s.Sessions, func(a, b SessionState) int { return cmp.Compare(a.Port, b.Port) })
		out.Domains = append(out.Domains, s)
	}
	slices.SortFunc(out.Domains, func(a, b DomainState) int {
		return cmp.Or(cmp.Compare(a.Version, b.Version), cmp.Compare(a.ID, b.ID))
	})
	return out
}

func (s *session) state() SessionState {
	out := SessionState{Port: s.port, Templates: make([]TemplateState, 0, len(s.templates))}
	for _, id := range slices.Sorted(maps.Keys(s.templates)) {
		told := s.templates[id]
		p := told.program
		t := TemplateState{ID: id, Options: p.options, Idle: s.hours - told.used, Tellings: told.tellings, Refresh: told.refresh}
		t.Fields = make(FieldsState, 0, len(p.fields))
		for _, f := range p.fields {
			if f.scope {
				t.Scopes++
			}
			t.Fields = append(t.Fields, FieldState{f.id, f.length, f.enterprise})
		}
		out.Templates = append(out.Templates, t)
	}
	return out
}

func (r *rates) state() []RateState {
	var out []RateState
	for s, told := range r.told {
		out = append(out, RateState{scopeTexts[s.kind], s.id, told.numerator, told.denominator})
	}
	slices.SortFunc(out, func(a, b RateState) int {
		return cmp.Or(cmp.Compare(a.Scope, b.Scope), cmp.Compare(a.ID, b.ID))
	})
	return out
}

// RestoreState gives a new decoder the knowledge of an earlier one, as if it had been told at the time
// at. It is held to Limits as anything from the wire is; what does not fit or cannot be is passed
// over, and nothing is counted in Stats. A template that the exporter sends anew replaces the one
// restored.
func (d *Decoder) RestoreState(state State, at time.Time) {
	stats := d.stats
	for _, s := range state.Domains {
		if s.Version != 9 && s.Version != 10 {
			continue
		}
		dom, ok := d.domainOf(domainKey{s.Version, s.ID}, at)
		if !ok {
			continue
		}
		dom.systemInit = s.SystemInit
		for _, r := range s.Rates {
			kind := slices.Index(scopeTexts[:], r.Scope)
			told := reduced(uint64(r.Numerator), uint64(r.Denominator))
			if kind >= 0 && told != (rate{}) {
				dom.rates.set(scope{scopeKind(kind), r.ID}, told, d.limits.Samplers)
			}
		}
		for _, saved := range s.Sessions {
			ses := d.sessionOf(dom, saved.Port, at)
			for _, t := range saved.Templates {
				d.restoreTemplate(dom, ses, t, at)
			}
		}
	}
	d.stats = stats
	d.running.repeats, d.running.resumed = state.RepeatsTotals, at.UnixNano()
	d.revision++
	d.generation++
}

func (d *Decoder) restoreTemplate(dom *domain, ses *session, t TemplateState, at time.Time) {
	if t.ID < 256 {
		return
	}
	fields := make([]field, len(t.Fields))
	for i, f := range t.Fields {
		fields[i] = field{id: f.ID, length: f.Length, enterprise: f.Enterprise, scope: i < t.Scopes}
	}
	// Nothing can wait for it yet in a new decoder, so no record comes out.
	d.define(nil, dom, ses, &header{version: dom.key.version, receivedAt: at}, t.ID, fields, t.Options)
	if made := ses.templates[t.ID]; made != nil {
		made.used, made.told = ses.hours-max(t.Idle, 0), ses.hours-max(t.Idle, 0)
		made.tellings, made.refresh = max(t.Tellings, 0), max(t.Refresh, 0)
	}
}
