package series

import (
	"maps"
	"math"
	"math/bits"
	"strconv"
	"strings"
	"time"

	"github.com/influxdata/influxdb-client-go/v2/api/write"

	"hostmeter/internal/stream"
	"hostmeter/schemas"
)

// How long a minute stays open behind the newest one of the slowest shard of its collector, and behind
// the newest of all: a shard of which nothing comes any more does not hold memory for ever.
const (
	openMinutes    = 30
	openMinutesMax = 12 * 60
)

// table is a measurement: its fields and, with them, what a values holds.
type table struct {
	name   string
	fields []string
}

// The measurements are described in docs/reference/series.md.
var (
	serviceTraffic = &table{"service_traffic", []string{"in_octets", "out_octets", "in_packets", "out_packets", "in_flows", "out_flows"}}
	guestTraffic   = &table{"guest_traffic", []string{"in_octets", "out_octets", "in_packets", "out_packets", "in_flows", "out_flows"}}
	guestCPU       = &table{"guest_cpu", []string{"cpu_nanoseconds", "capacity_nanoseconds", "steal_nanoseconds"}}
)

// values are the fields of a point, in the order of its table.
type values [6]uint64

// nobody stands for the service and customer of what nobody owned.
const nobody = "none"

type watermarks stream.Watermarks

// key is a point's identity. A tag that its table does not have is empty, and not written.
type key struct {
	table                                     *table
	minute                                    int64
	collector, service, customer, class, late string
	guest, host, mac                          string
}

// minutes are the open minutes and their sums. Every point is of one collector, so that each has its
// own window: one that comes back after hours closes nobody's minutes, and finds its own open.
type minutes struct {
	sums    map[key]*values
	dirty   map[key]bool
	windows map[string]*window // by collector
}

// window is one collector's open minutes.
type window struct {
	// reached is the minute that each of the shards has come to.
	reached map[uint32]int64
	shards  uint32
	closed  int64 // minutes below are closed
	// position is behind the last batch that was added; begin says, for each open minute, where it was
	// when the minute was first seen.
	position watermarks
	begin    map[int64]watermarks
	// done is how far minutes were added when the last ones were closed: what was taken until then
	// stands in them.
	done watermarks
	// seen is how far any run has read and may have written points. Until that is read again the open
	// minutes lack a part of what stands at the server.
	seen watermarks
}

// newMinutes goes on from what an earlier run saved, by collector.
func newMinutes(states map[string]saved) *minutes {
	m := &minutes{sums: map[key]*values{}, dirty: map[key]bool{}, windows: map[string]*window{}}
	for collector, s := range states {
		w := m.window(collector)
		w.position, w.done, w.seen, w.closed = s.position, s.done, s.seen, s.closed
	}
	return m
}

func (m *minutes) window(collector string) *window {
	w := m.windows[collector]
	if w == nil {
		w = &window{
			reached: map[uint32]int64{}, position: watermarks{}, begin: map[int64]watermarks{},
			done: watermarks{}, seen: watermarks{},
		}
		m.windows[collector] = w
	}
	return w
}

// positions are where to read on.
func (m *minutes) positions() stream.Watermarks {
	all := stream.Watermarks{}
	for _, w := range m.windows {
		maps.Copy(all, w.position)
	}
	return all
}

// skip goes on behind a gap of the log.
func (m *minutes) skip(gap *stream.GapError) { m.window(gap.Key.Collector).position[gap.Key] = gap.To }

// add adds one batch to its minutes. A batch that was added before changes nothing.
func (m *minutes) add(b *schemas.Batch, owner Owner) {
	id, w := stream.KeyOf(b), m.window(b.GetCollector())
	if b.GetIndex() <= w.position[id] {
		return
	}
	a := adder{minutes: m, window: w, batch: b, id: id, owner: owner}
	for _, t := range b.GetTallies() {
		a.tally(t)
	}
	for _, g := range b.GetGuests() {
		a.guest(g)
	}
	w.position[id] = b.GetIndex()
	w.shards = max(w.shards, b.GetShards())
	w.reached[id.Shard] = max(w.reached[id.Shard], b.GetReceivedTo()/int64(time.Minute))
}

// adder adds one batch.
type adder struct {
	minutes *minutes
	window  *window
	batch   *schemas.Batch
	id      stream.Key
	owner   Owner
}

// owned begins the key of what a meter had in a minute.
func (a *adder) owned(t *table, meter schemas.MeterID, minute int64) key {
	k := key{table: t, minute: minute, collector: a.batch.GetCollector(), service: nobody, customer: nobody}
	if a.owner == nil {
		return k
	}
	if service, customer := a.owner(meter, time.Unix(60*minute, 0).UTC()); service != "" {
		k.service, k.customer = service, customer
	}
	return k
}

// tally adds an address to its service and a vNIC to its guest; ports are witnesses of the same traffic.
func (a *adder) tally(t *schemas.Tally) {
	meter := schemas.MeterID(t.GetMeter())
	var k key
	switch meter.Kind() {
	case schemas.KindAddress:
		k = a.owned(serviceTraffic, meter, t.GetMinute())
	case schemas.KindVNIC:
		k = a.owned(guestTraffic, meter, t.GetMinute())
		k.guest, k.mac, _ = strings.Cut(strings.TrimPrefix(t.GetMeter(), string(schemas.KindVNIC)+":"), "/")
	default:
		return
	}
	k.class = schemas.ClassExternal
	if int(t.GetClass()) < len(a.batch.GetClasses()) {
		k.class = a.batch.GetClasses()[t.GetClass()]
	}
	in, out := t.GetIn(), t.GetOut()
	a.put(k, values{in.GetOctets(), out.GetOctets(), in.GetPackets(), out.GetPackets(), in.GetFlows(), out.GetFlows()})
}

// guest divides a difference between two readings over the minutes that it spans, in integers that
// add up.
func (a *adder) guest(g *schemas.GuestUsage) {
	const minute = int64(time.Minute)
	if g.GetTo() <= g.GetFrom() || g.GetFrom() < 0 {
		return
	}
	length := uint64(g.GetTo() - g.GetFrom())
	whole := values{g.GetCpuNanoseconds(), g.GetCapacityNanoseconds(), g.GetStealNanoseconds()}
	var told values
	for at := g.GetFrom(); at < g.GetTo(); {
		end := min((at/minute+1)*minute, g.GetTo())
		var part values
		for i := range whole {
			through := portion(whole[i], uint64(end-g.GetFrom()), length)
			part[i], told[i] = through-told[i], through
		}
		k := a.owned(guestCPU, schemas.GuestMeter(g.GetGuest()), at/minute)
		k.guest, k.host = g.GetGuest(), g.GetHost()
		a.put(k, part)
		at = end
	}
}

// portion returns n*part/whole, rounded down; part is at most whole.
func portion(n, part, whole uint64) uint64 {
	high, low := bits.Mul64(n, part)
	quotient, _ := bits.Div64(high, low, whole)
	return quotient
}

func (a *adder) put(k key, v values) {
	w := a.window
	if k.minute < w.closed {
		if a.batch.GetIndex() <= w.done[a.id] {
			return // it was in the minute when that was closed
		}
		k.late = a.id.String() + "/" + strconv.FormatUint(a.batch.GetIndex(), 10)
	} else if _, open := w.begin[k.minute]; !open {
		w.begin[k.minute] = maps.Clone(w.position)
	}
	sum, ok := a.minutes.sums[k]
	if !ok {
		sum = &values{}
		a.minutes.sums[k] = sum
	}
	for i := range v {
		sum[i] += v[i]
	}
	a.minutes.dirty[k] = true
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

// read returns what is to be saved before points are written.
func (m *minutes) read() map[string]saved {
	states := make(map[string]saved)
	for collector, w := range m.windows {
		if behind(w.position, w.seen) {
			continue
		}
		for id, index := range w.position {
			w.seen[id] = max(w.seen[id], index)
		}
		states[collector] = saved{seen: w.seen}
	}
	return states
}

// close closes old minutes and returns what a restart needs of the collectors whose minutes moved.
func (m *minutes) close() map[string]saved {
	states := make(map[string]saved)
	for collector, w := range m.windows {
		if s, moved := w.close(); moved {
			states[collector] = s
		}
	}
	if len(states) == 0 {
		return states
	}
	for k := range m.sums {
		if k.minute < m.windows[k.collector].closed {
			delete(m.sums, k)
		}
	}
	return states
}

func (w *window) close() (s saved, moved bool) {
	limit := w.limit()
	if limit <= w.closed {
		return saved{}, false
	}
	w.closed = limit
	safe := w.position
	for minute, begin := range w.begin {
		if minute < limit {
			delete(w.begin, minute)
			continue
		}
		// The minute that was seen first has the earliest position, whatever its number.
		if behind(begin, safe) {
			safe = begin
		}
	}
	for id, index := range w.position {
		w.done[id] = max(w.done[id], index)
	}
	return saved{position: safe, done: w.done, seen: w.seen, closed: limit}, true
}

// limit returns below which minutes may be closed: what lies openMinutes behind the slowest shard, when
// all shards have come as far as the runs before, and openMinutesMax behind the fastest in any case.
func (w *window) limit() int64 {
	slowest, fastest := int64(math.MaxInt64), int64(0)
	for _, minute := range w.reached {
		slowest, fastest = min(slowest, minute), max(fastest, minute)
	}
	limit := fastest - openMinutesMax
	if len(w.reached) >= int(w.shards) && len(w.reached) > 0 && behind(w.seen, w.position) {
		limit = max(limit, slowest-openMinutes)
	}
	return limit
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
	p := write.NewPointWithMeasurement(k.table.name).SetTime(time.Unix(60*k.minute, 0).UTC())
	for _, tag := range [...]struct{ name, value string }{
		{"class", k.class}, {"collector", k.collector}, {"customer", k.customer}, {"guest", k.guest}, {"host", k.host},
		{"late", k.late}, {"mac", k.mac}, {"service", k.service},
	} {
		if tag.value != "" {
			p.AddTag(tag.name, tag.value)
		}
	}
	for i, name := range k.table.fields {
		p.AddField(name, int64(min(v[i], math.MaxInt64)))
	}
	return p
}
