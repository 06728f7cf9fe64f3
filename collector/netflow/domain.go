package netflow

import (
	"slices"
	"time"

	"hostmeter/collector/netflow/sequence"
)

// domainKey names an observation domain of the exporter: the source id of v9, the engine of v5.
type domainKey struct {
	version uint16
	id      uint32
}

// domain is what is known of one observation domain.
type domain struct {
	key        domainKey
	sessions   []*session
	rates      rates
	systemInit uint64 // milliseconds since the Unix epoch, 0 unknown (160)
	seen       time.Time
}

// session is what came from one UDP port of the exporter (RFC 7011 section 8: templates belong to
// their transport session).
type session struct {
	port      uint16
	sequence  sequence.Stream
	templates map[uint16]*template
	fields    int
	seen      time.Time
}

type template struct {
	program *program
	seen    time.Time
}

// domainOf returns a domain, made anew where there is room; one that was not heard of for a long
// time gives way. ok is false where all are alive.
func (d *Decoder) domainOf(key domainKey, at time.Time) (dom *domain, ok bool) {
	if dom = d.domains[key]; dom != nil {
		dom.seen = at
		return dom, true
	}
	if len(d.domains) >= d.limits.Domains && !d.forgetDomain(at) {
		return nil, false
	}
	dom = &domain{key: key, seen: at}
	d.domains[key] = dom
	if key.id == 0 {
		d.whole[key.version&1] = dom
	}
	return dom, true
}

func (d *Decoder) forgetDomain(at time.Time) bool {
	var oldest *domain
	for _, dom := range d.domains {
		if oldest == nil || dom.seen.Before(oldest.seen) {
			oldest = dom
		}
	}
	if oldest == nil || at.Sub(oldest.seen) < d.limits.HeldAge {
		return false
	}
	delete(d.domains, oldest.key)
	if oldest.key.id == 0 {
		d.whole[oldest.key.version&1] = nil
	}
	d.revision++
	return true
}

// sessionOf returns the session of a port, made anew where needed; the one that was silent longest
// gives way.
func (d *Decoder) sessionOf(dom *domain, port uint16, at time.Time) *session {
	for _, s := range dom.sessions {
		if s.port == port {
			s.seen = at
			return s
		}
	}
	s := &session{port: port, templates: make(map[uint16]*template), seen: at}
	if len(dom.sessions) < d.limits.SessionsPerDomain {
		dom.sessions = append(dom.sessions, s)
		return s
	}
	oldest := 0
	for i, other := range dom.sessions {
		if other.seen.Before(dom.sessions[oldest].seen) {
			oldest = i
		}
	}
	dom.sessions[oldest] = s
	d.revision++
	return s
}

// liveFor is how long after its last datagram a session's templates can contradict another's.
const liveFor = 10 * time.Minute

// find returns the program for data that a port sent: the session's own, else the one that the other
// ports of the domain agree on; nil where there is none, or two layouts are alive at the time at.
func (dom *domain) find(port, id uint16, at time.Time) *program {
	var found *program
	agreed := true
	for _, s := range dom.sessions {
		switch t := s.templates[id]; {
		case t == nil:
		case s.port == port:
			return t.program
		case found == nil:
			found = t.program
		case !same(found, t.program):
			agreed = false
		}
	}
	if agreed {
		return found
	}
	return dom.findLive(id, at)
}

// findLive leaves out sessions that ended: an exporter that began anew uses other ports.
func (dom *domain) findLive(id uint16, at time.Time) (found *program) {
	for _, s := range dom.sessions {
		switch t := s.templates[id]; {
		case t == nil || at.Sub(s.seen) > liveFor:
		case found == nil:
			found = t.program
		case !same(found, t.program):
			return nil
		}
	}
	return found
}

func same(a, b *program) bool {
	return a == b || a.options == b.options && slices.Equal(a.fields, b.fields)
}

// forget takes a template out of a session.
func (d *Decoder) forget(s *session, id uint16) bool {
	t := s.templates[id]
	if t == nil {
		return false
	}
	d.revision++
	s.fields -= len(t.program.fields)
	delete(s.templates, id)
	return true
}

// room makes sure that a template of so many fields fits, by forgetting templates that were not
// refreshed or used for a long time. It says false where all are alive.
func (d *Decoder) room(s *session, fields int, at time.Time) bool {
	for len(s.templates) >= d.limits.TemplatesPerDomain || s.fields+fields > d.limits.FieldsPerDomain {
		var oldest uint16
		var seen time.Time
		for id, t := range s.templates {
			if seen.IsZero() || t.seen.Before(seen) {
				oldest, seen = id, t.seen
			}
		}
		if len(s.templates) == 0 || at.Sub(seen) < d.limits.HeldAge {
			return false
		}
		d.forget(s, oldest)
	}
	return true
}
