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
	// hours counts the hours in which it was heard, begun the last of them at hourAt.
	hours  int
	hourAt time.Time
}

// template is a program in a session. Its times are hours of the session.
type template struct {
	program  *program
	seen     time.Time // told or used
	used     int       // hour in which it was last told or used
	told     int       // hour in which it was last told
	tellings int       // in different hours, behind the first
	refresh  int       // most hours between two of them
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
			if at.Sub(s.hourAt).Abs() >= time.Hour {
				d.age(s, at)
			}
			return s
		}
	}
	s := &session{port: port, templates: make(map[uint16]*template), seen: at, hourAt: at}
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

// savedHours is how many hours a session is heard until the state is worth saving although nothing new was
// told: what is used stays young in it.
const savedHours = 24

// age begins an hour of a session, and forgets the templates that it no longer uses. Hours in which it says
// nothing do not count, nor by how far a clock was set.
func (d *Decoder) age(s *session, at time.Time) {
	s.hours++
	s.hourAt = at
	for id, t := range s.templates {
		if s.hours-t.used >= d.lifeOf(t) {
			d.forget(s, id)
			d.stats.TemplatesExpired++
		}
	}
	if s.hours%savedHours == 0 && len(s.templates) > 0 {
		d.revision++
	}
}

// lifeOf is for how many hours of its session a template stays unused.
func (d *Decoder) lifeOf(t *template) int {
	if t.tellings < d.limits.RefreshedHours {
		return d.limits.TemplateHours // as far as is known it is told when the exporter begins
	}
	return min(max(3*t.refresh, d.limits.RefreshedHours), d.limits.TemplateHours)
}

// refreshed notes that a template was told again.
func (t *template) refreshed(hour int) {
	if since := hour - t.told; since > 0 {
		t.tellings++
		t.told, t.refresh = hour, max(t.refresh, since)
	}
}

// use notes that a template reads data, or was told again.
func (d *Decoder) use(s *session, t *template, at time.Time) *program {
	t.seen = at
	if s.hours-t.used >= savedHours {
		d.revision++ // a saved state would let it go too early
	}
	t.used = s.hours
	return t.program
}

// liveFor is how long after its last datagram a session's templates can contradict another's.
const liveFor = 10 * time.Minute

// find returns the program for data that a port sent: the session's own, else the one that the other
// ports of the domain agree on; nil where there is none, or two layouts are alive at the time at.
func (d *Decoder) find(dom *domain, port, id uint16, at time.Time) *program {
	var found *template
	var of *session
	agreed := true
	for _, s := range dom.sessions {
		switch t := s.templates[id]; {
		case t == nil:
		case s.port == port:
			return d.use(s, t, at)
		case found == nil:
			found, of = t, s
		case !same(found.program, t.program):
			agreed = false
		}
	}
	if !agreed {
		found, of = dom.findLive(id, at)
	}
	if found == nil {
		return nil
	}
	return d.use(of, found, at)
}

// findLive leaves out sessions that ended: an exporter that began anew uses other ports.
func (dom *domain) findLive(id uint16, at time.Time) (found *template, of *session) {
	for _, s := range dom.sessions {
		switch t := s.templates[id]; {
		case t == nil || at.Sub(s.seen) > liveFor:
		case found == nil:
			found, of = t, s
		case !same(found.program, t.program):
			return nil, nil
		}
	}
	return found, of
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
