package series

import (
	"context"
	"maps"
	"math/bits"
	"strconv"
	"time"

	"github.com/influxdata/influxdb-client-go/v2/api/write"

	"hostmeter/internal/stream"
	"hostmeter/schemas"
)

// Measurements, with their tags and fields (all fields are 64-bit signed integers):
//
//	service_traffic  service, customer, class   in_octets, out_octets, in_packets, out_packets
//	guest_cpu        guest, host                cpu_nanoseconds, capacity_nanoseconds, steal_nanoseconds
//
// What nobody owned has the service and the customer "none". A point stands at the beginning of its
// minute. What comes for a minute that is closed has a point of its own, with the tag `late`.
const (
	measurementTraffic = "service_traffic"
	measurementCPU     = "guest_cpu"
	nobody             = "none"
)

// openMinutes is how long a minute stays open behind the newest one that was seen.
const openMinutes = 30

type watermarks stream.Watermarks

func (w watermarks) clone() stream.Watermarks { return maps.Clone(stream.Watermarks(w)) }

// key is a point's identity.
type key struct {
	measurement        string
	name, owner, class string // service, customer, class; or guest, host
	minute             int64
	late               string // the batch, where it came late
}

// values are the fields of a point, in the order of its measurement.
type values [4]uint64

// minutes are the open minutes and their sums.
type minutes struct {
	sums   map[key]*values
	dirty  map[key]bool
	newest int64
	closed int64 // minutes below are closed
	// position is behind the last batch that was added; begin says, for each open minute, where it was
	// when the minute was first seen.
	position watermarks
	begin    map[int64]watermarks
	// done is how far an earlier run had come: what it took stands in the closed minutes.
	done watermarks
}

// newMinutes goes on from what an earlier run saved.
func newMinutes(s saved) *minutes {
	return &minutes{
		sums: map[key]*values{}, dirty: map[key]bool{}, begin: map[int64]watermarks{},
		position: s.position, done: s.done, closed: s.closed,
	}
}

// skip goes on behind a gap of the log.
func (m *minutes) skip(gap *stream.GapError) { m.position[gap.Key] = gap.To }

// add adds one batch to its minutes.
func (m *minutes) add(ctx context.Context, b *schemas.Batch, owner func(context.Context, schemas.MeterID, time.Time) (string, string)) {
	id := stream.KeyOf(b)
	if b.GetIndex() <= m.position[id] {
		return // seen before
	}
	for _, t := range b.GetTallies() {
		service, customer := "", ""
		meter := schemas.MeterID(t.GetMeter())
		if meter.Kind() != schemas.KindAddress {
			continue // the witnesses of the same traffic
		}
		if owner != nil {
			service, customer = owner(ctx, meter, time.Unix(60*t.GetMinute(), 0).UTC())
		}
		class := schemas.ClassExternal
		if int(t.GetClass()) < len(b.GetClasses()) {
			class = b.GetClasses()[t.GetClass()]
		}
		m.put(b, key{measurement: measurementTraffic, name: named(service), owner: named(customer), class: class, minute: t.GetMinute()},
			values{t.GetIn().GetOctets(), t.GetOut().GetOctets(), t.GetIn().GetPackets(), t.GetOut().GetPackets()})
	}
	for _, g := range b.GetGuests() {
		m.addGuest(b, g)
	}
	m.position[id] = b.GetIndex()
}

func named(text string) string {
	if text == "" {
		return nobody
	}
	return text
}

// addGuest divides a difference between two readings over the minutes that it spans, in integers that
// add up.
func (m *minutes) addGuest(b *schemas.Batch, g *schemas.GuestUsage) {
	const minute = int64(time.Minute)
	length := uint64(g.GetTo() - g.GetFrom())
	if g.GetTo() <= g.GetFrom() {
		return
	}
	whole := values{g.GetCpuNanoseconds(), g.GetCapacityNanoseconds(), g.GetStealNanoseconds()}
	var told values
	for at := g.GetFrom(); at < g.GetTo(); {
		end := min((at/minute+1)*minute, g.GetTo())
		var part values
		for i := range whole {
			through := portion(whole[i], uint64(end-g.GetFrom()), length)
			part[i], told[i] = through-told[i], through
		}
		m.put(b, key{measurement: measurementCPU, name: g.GetGuest(), owner: named(g.GetHost()), minute: at / minute}, part)
		at = end
	}
}

// portion returns n*part/whole, rounded down; part is at most whole.
func portion(n, part, whole uint64) uint64 {
	high, low := bits.Mul64(n, part)
	quotient, _ := bits.Div64(high, low, whole)
	return quotient
}

func (m *minutes) put(b *schemas.Batch, k key, v values) {
	if k.minute < m.closed {
		if b.GetIndex() <= m.done[stream.KeyOf(b)] {
			return // it was in the minute when that was closed
		}
		k.late = stream.KeyOf(b).String() + "/" + strconv.FormatUint(b.GetIndex(), 10)
	} else if _, open := m.begin[k.minute]; !open {
		m.begin[k.minute] = maps.Clone(m.position)
	}
	m.newest = max(m.newest, k.minute)
	sum, ok := m.sums[k]
	if !ok {
		sum = &values{}
		m.sums[k] = sum
	}
	for i := range v {
		sum[i] += v[i]
	}
	m.dirty[k] = true
}

// changed returns the points of what has grown since the last call.
func (m *minutes) changed() []*write.Point {
	points := make([]*write.Point, 0, len(m.dirty))
	for k := range m.dirty {
		points = append(points, k.point(m.sums[k]))
		if k.late != "" {
			delete(m.sums, k)
		}
	}
	clear(m.dirty)
	return points
}

// close closes old minutes and returns what a restart needs; moved is false where no minute was closed.
func (m *minutes) close() (s saved, moved bool) {
	limit := m.newest - openMinutes
	if limit <= m.closed {
		return saved{}, false
	}
	m.closed = limit
	for k := range m.sums {
		if k.minute < limit {
			delete(m.sums, k)
		}
	}
	oldest, safe := int64(-1), m.position
	for minute, begin := range m.begin {
		if minute < limit {
			delete(m.begin, minute)
			continue
		}
		// The minute that was seen first has the earliest position, whatever its number.
		if oldest < 0 || behind(begin, safe) {
			oldest, safe = minute, begin
		}
	}
	return saved{position: maps.Clone(safe), done: maps.Clone(m.position), closed: limit}, true
}

// behind says whether a is at or before b in every sequence. Positions are taken one after another, so
// that of two one always is.
func behind(a, b watermarks) bool {
	for id, index := range a {
		if index > b[id] {
			return false
		}
	}
	return true
}

func (k key) point(v *values) *write.Point {
	tags := map[string]string{"service": k.name, "customer": k.owner, "class": k.class}
	names := []string{"in_octets", "out_octets", "in_packets", "out_packets"}
	if k.measurement == measurementCPU {
		tags = map[string]string{"guest": k.name, "host": k.owner}
		names = []string{"cpu_nanoseconds", "capacity_nanoseconds", "steal_nanoseconds"}
	}
	if k.late != "" {
		tags["late"] = k.late
	}
	fields := make(map[string]any, len(names))
	for i, name := range names {
		fields[name] = int64(v[i])
	}
	return write.NewPoint(k.measurement, tags, fields, time.Unix(60*k.minute, 0).UTC())
}
