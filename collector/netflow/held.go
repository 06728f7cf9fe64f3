package netflow

import (
	"slices"
	"time"

	"hostmeter/schemas"
)

// heldSet is a data set that came before its template, with what its datagram's header said.
type heldSet struct {
	key    heldKey
	port   uint16
	header header
	body   []byte
	at     time.Time
	done   bool
}

type heldKey struct {
	domain domainKey
	set    uint16
}

// holding keeps data sets until their template comes, the oldest first to go.
type holding struct {
	queue  []*heldSet // oldest first; done ones are passed over
	byKey  map[heldKey][]*heldSet
	octets int
	live   int // of queue
}

// heldOverhead is about what a held set takes beside its octets.
const heldOverhead = 160

// hold keeps a data set for later, and makes room by dropping the oldest.
func (d *Decoder) hold(key heldKey, port uint16, h header, body []byte, at time.Time) {
	cost := len(body) + heldOverhead
	if cost > d.limits.HeldOctets {
		d.stats.Dropped[DroppedHeldFull]++
		return
	}
	for d.held.octets+cost > d.limits.HeldOctets {
		d.dropOldest(DroppedHeldFull)
	}
	if d.held.byKey == nil {
		d.held.byKey = make(map[heldKey][]*heldSet)
	}
	s := &heldSet{key: key, port: port, header: h, body: append([]byte(nil), body...), at: at}
	if len(d.held.queue) > 2*d.held.live+64 {
		d.held.queue = slices.DeleteFunc(d.held.queue, func(s *heldSet) bool { return s.done })
	}
	d.held.queue = append(d.held.queue, s)
	d.held.live++
	d.held.byKey[key] = append(d.held.byKey[key], s)
	d.held.octets += cost
	d.stats.HeldSets++
	d.stats.HeldOctets += int64(len(body))
}

// release ends the waiting of a set.
func (d *Decoder) release(s *heldSet) {
	s.done = true
	d.held.octets -= len(s.body) + heldOverhead
	d.stats.HeldSets--
	d.stats.HeldOctets -= int64(len(s.body))
	s.body = nil
	d.held.live--
}

func (d *Decoder) dropOldest(why Reason) {
	for len(d.held.queue) > 0 {
		s := d.held.queue[0]
		d.held.queue[0] = nil
		d.held.queue = d.held.queue[1:]
		if s.done {
			continue
		}
		d.release(s)
		d.stats.Dropped[why]++
		if rest := d.held.byKey[s.key][1:]; len(rest) > 0 { // the oldest of its key too
			d.held.byKey[s.key] = rest
		} else {
			delete(d.held.byKey, s.key)
		}
		return
	}
}

// Expire drops and counts held data sets that are older than Limits.HeldAge at the time at.
func (d *Decoder) Expire(at time.Time) {
	for len(d.held.queue) > 0 {
		s := d.held.queue[0]
		if !s.done && at.Sub(s.at) < d.limits.HeldAge {
			return
		}
		if s.done {
			d.held.queue[0] = nil
			d.held.queue = d.held.queue[1:]
			continue
		}
		d.dropOldest(DroppedHeldExpired)
	}
}

// unhold decodes the sets that waited for a template that has come at the time at, the oldest first.
func (d *Decoder) unhold(dst []schemas.FlowRecord, dom *domain, id uint16, at time.Time) []schemas.FlowRecord {
	key := heldKey{dom.key, id}
	waiting := d.held.byKey[key]
	if len(waiting) == 0 {
		return dst
	}
	still := waiting[:0]
	port, p := waiting[0].port, d.find(dom, waiting[0].port, id, at)
	for _, s := range waiting {
		if s.port != port { // thousands may wait: look once for those of a port in a row
			port, p = s.port, d.find(dom, s.port, id, at)
		}
		if p == nil {
			still = append(still, s)
			continue
		}
		dst, _ = d.dataSet(dst, dom, p, &s.header, s.body)
		d.release(s)
	}
	if len(still) == 0 {
		delete(d.held.byKey, key)
	} else {
		d.held.byKey[key] = still
	}
	return dst
}
