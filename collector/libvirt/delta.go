package libvirt

import (
	"maps"
	"math/bits"
	"slices"
	"strings"
	"time"

	"hostmeter/schemas"
)

// Host keeps the last reading of each guest of one hypervisor and makes differences of it and the
// next. It reads no clock, does no I/O and is not safe for concurrent use.
type Host struct {
	name   string
	polled time.Time // the last poll; zero before the first
	guests map[string]*guest
}

// Difference is what happened between two polls. Its slices belong to the caller.
type Difference struct {
	Guests []*schemas.GuestUsage
	VNICs  []VNICUsage
	// Readings and VNICReadings count what was looked at; First those that are a baseline only.
	Readings, VNICReadings, First uint64
	// Stopped counts guests seen running, then off: what they used in between is not known.
	Stopped uint64
	// Restarted counts guests whose counters began anew: they are counted from 0, and what the
	// guest used between its last reading and its end is not known.
	Restarted uint64
	// Resets counts vNICs whose counters fell without a restart, and counters that cannot be of a
	// guest as young as it seemed: a new baseline, and the difference is not known.
	Resets uint64
	// Unanswered counts running guests whose monitor did not answer; their next difference has it.
	Unanswered uint64
	// Disordered counts polls that were not after the one before, and were passed over.
	Disordered uint64
}

// VNICUsage is the difference between two readings of one virtual interface, in layer 2 octets.
type VNICUsage struct {
	Meter                 schemas.MeterID
	From, To              time.Time
	InOctets, InPackets   uint64
	OutOctets, OutPackets uint64
}

// guest is the last reading of one guest. cpu is of its last answered reading while it ran, steal of
// the last one that told it.
type guest struct {
	name    string
	state   schemas.GuestState
	at      time.Time // when state was seen
	vcpus   uint32
	process uint32 // 0: not told
	moving  bool

	cpuKnown, stealKnown bool
	cpu, steal           uint64
	cpuAt                time.Time
	offAt                time.Time // the last time it was seen off since cpuAt; zero if it was not

	absentSince time.Time // zero while the host lists it
	vnics       map[vnicKey]vnic
}

// vnicKey is not an index: with the first interface unplugged the others move down.
type vnicKey struct{ mac, target string }

type vnic struct {
	schemas.VNICReading
	at time.Time
}

const (
	// gapMost is the longest time between two readings that is bridged.
	gapMost = 30 * day
	day     = 24 * time.Hour
	// threadsMost is how many CPUs an emulator's own threads may keep busy beside the vCPUs.
	threadsMost = 64
)

// forgetAfter bounds what a host remembers of guests that left it, and of interfaces that were unplugged.
const forgetAfter = day

// NewHost returns a host of which nothing was read.
func NewHost(name string) *Host { return &Host{name: name, guests: map[string]*guest{}} }

// Polled is the time of the last poll; zero before the first.
func (h *Host) Polled() time.Time { return h.polled }

// Advance takes what a poll at the time at said, and returns the differences to the poll before. A
// guest that is not listed is off, or on another host: when it comes back it has a new process.
//
// A guest that is off or gone is told of once. While a guest moves, the host that it leaves counts
// it up to its pause, and the host that it comes to from the first reading of it running there:
// what a process counts while it receives the guest, the move and flooded frames, is not the guest's.
func (h *Host) Advance(at time.Time, readings []schemas.GuestReading) Difference {
	var d Difference
	if !at.After(h.polled) {
		d.Disordered++
		return d
	}
	listed := make(map[string]bool, len(readings))
	for i := range readings {
		r := &readings[i]
		id := strings.ToLower(r.UUID)
		if id == "" || listed[id] {
			continue
		}
		listed[id] = true
		d.Readings++
		d.VNICReadings += uint64(len(r.VNICs))
		g := h.guests[id]
		if g == nil || (g.moving || !g.offAt.IsZero() || g.replacedBy(r) || g.renumbered(r)) && (r.Moving || r.Arrived) {
			h.guests[id] = firstReading(r, at)
			d.First++
			continue
		}
		h.advanceGuest(&d, g, id, r, at)
	}
	h.polled = at
	h.markAbsent(&d, listed, at)
	return d
}

func (h *Host) markAbsent(d *Difference, listed map[string]bool, at time.Time) {
	for _, id := range slices.Sorted(maps.Keys(h.guests)) {
		g := h.guests[id]
		switch {
		case listed[id]:
			g.absentSince = time.Time{}
		case g.absentSince.IsZero():
			h.stop(d, g, id, schemas.GuestState_GUEST_STATE_OFF, at)
			g.absentSince, g.state, g.at, g.offAt = at, schemas.GuestState_GUEST_STATE_OFF, at, at
		case at.Sub(g.absentSince) > forgetAfter:
			delete(h.guests, id)
		default:
			g.at, g.offAt = at, at
		}
	}
}

// stop tells of a guest that was on and is not any more. What a daemon says of the CPU time of a
// guest that is off is its own.
func (h *Host) stop(d *Difference, g *guest, id string, state schemas.GuestState, at time.Time) {
	if !runs(g.state) {
		return
	}
	if !g.moving {
		d.Stopped++
	}
	if g.name == "" { // restored, and not listed since
		return
	}
	d.Guests = append(d.Guests, &schemas.GuestUsage{
		Guest: id, Host: h.name, Name: g.name, From: max(g.at.UnixNano(), at.Add(-gapMost).UnixNano()), To: at.UnixNano(),
		Vcpus: g.vcpus, State: state,
	})
}

func firstReading(r *schemas.GuestReading, at time.Time) *guest {
	g := &guest{
		name: nameOf(r), state: r.State, at: at, vcpus: r.VCPUs, process: r.Process, moving: r.Moving,
		vnics: map[vnicKey]vnic{},
	}
	if !runs(r.State) {
		g.offAt = at
	}
	if runs(r.State) && r.CPUKnown {
		g.cpuKnown, g.cpu, g.cpuAt = true, r.CPUNanoseconds, at
		g.stealKnown, g.steal = !r.StealUnknown, r.StealNanoseconds
	}
	for _, v := range r.VNICs {
		g.vnics[keyOf(v)] = vnic{v, at}
	}
	return g
}

// replacedBy says whether the reading of a guest that is on should be of another process than the
// one before.
func (g *guest) replacedBy(r *schemas.GuestReading) bool {
	told := r.Process != 0 && g.process != 0
	return runs(r.State) && r.CPUKnown && r.CPUNanoseconds > 0 && (!g.processMay(r) || !g.offAt.IsZero() && !told)
}

// renumbered says whether the reading is of a process of another number. One that comes by a migration may have had
// no CPU time yet.
func (g *guest) renumbered(r *schemas.GuestReading) bool {
	return runs(r.State) && r.Process != 0 && g.process != 0 && r.Process != g.process
}

// processMay says whether the reading may be of the same process. The number alone does not say it:
// numbers may begin anew with the daemon.
func (g *guest) processMay(r *schemas.GuestReading) bool {
	return !g.renumbered(r) && (!g.cpuKnown || r.CPUNanoseconds >= g.cpu)
}

func (h *Host) advanceGuest(d *Difference, g *guest, id string, r *schemas.GuestReading, at time.Time) {
	g.name = nameOf(r)
	var fresh bool // a process that began after the poll before
	freshSince := g.at
	if !g.offAt.IsZero() {
		freshSince = g.offAt
	}
	switch {
	case !runs(r.State):
		h.stop(d, g, id, r.State, at)
		g.offAt = at
	case !r.CPUKnown, r.CPUNanoseconds == 0 && (g.cpuKnown && g.cpu > 0 || !g.offAt.IsZero()):
		// No CPU time at all is told of a process that is just ending, or just beginning.
		d.Unanswered++
	default:
		fresh = h.advanceCPU(d, g, id, r, at)
	}
	for _, v := range r.VNICs {
		g.advanceVNIC(d, id, v, at, fresh, freshSince)
	}
	maps.DeleteFunc(g.vnics, func(_ vnicKey, v vnic) bool { return at.Sub(v.at) > forgetAfter && len(r.VNICs) > 0 })
	g.state, g.at, g.moving = r.State, at, r.Moving
	if r.VCPUs > 0 {
		g.vcpus = r.VCPUs
	}
}

// advanceCPU says whether the guest's process is a new one.
func (h *Host) advanceCPU(d *Difference, g *guest, id string, r *schemas.GuestReading, at time.Time) (fresh bool) {
	usage := &schemas.GuestUsage{
		Guest: id, Host: h.name, Name: g.name, To: at.UnixNano(),
		Vcpus: max(r.VCPUs, g.vcpus), State: r.State,
	}
	from, replaced := g.cpuAt, g.replacedBy(r)
	if !g.offAt.IsZero() {
		from = g.offAt
	}
	continues := g.cpuKnown && g.processMay(r) && at.Sub(g.cpuAt) <= gapMost && canHaveUsed(r.CPUNanoseconds-g.cpu, usage.Vcpus, at.Sub(g.cpuAt))
	switch {
	case replaced && !from.IsZero() && at.Sub(from) <= gapMost && young(r, at.Sub(from)):
		fresh = true
		d.Restarted++
		usage.CpuNanoseconds, usage.StealNanoseconds = r.CPUNanoseconds, r.StealNanoseconds
		usage.Vcpus = max(r.VCPUs, 1)
	case continues:
		from = g.cpuAt
		usage.CpuNanoseconds = r.CPUNanoseconds - g.cpu
		if g.stealKnown && !r.StealUnknown {
			usage.StealNanoseconds = r.StealNanoseconds - min(r.StealNanoseconds, g.steal)
		}
	case g.cpuKnown || replaced:
		d.Resets++
	default:
		d.First++ // it ran from the first, but only now its CPU time is known
	}
	if fresh || continues {
		usage.From = from.UnixNano()
		usage.CapacityNanoseconds = uint64(usage.Vcpus) * uint64(max(at.Sub(from), 0))
		d.Guests = append(d.Guests, usage)
	}
	if !r.StealUnknown {
		g.stealKnown, g.steal = true, r.StealNanoseconds
	} else if !continues {
		g.stealKnown, g.steal = fresh, 0
	}
	g.cpuKnown, g.cpu, g.cpuAt, g.offAt = true, r.CPUNanoseconds, at, time.Time{}
	switch {
	case fresh && r.Process == g.process, fresh && r.Process == 0:
		// A daemon lists its guests and only then looks at each: one that began in between stands under
		// no number, or under that of the process before, until the next poll.
		g.process = 0
	case r.Process != 0:
		g.process = r.Process
	}
	return fresh
}

func (g *guest) advanceVNIC(d *Difference, id string, v schemas.VNICReading, at time.Time, fresh bool, freshSince time.Time) {
	before, known := g.vnics[keyOf(v)]
	g.vnics[keyOf(v)] = vnic{v, at}
	usage := VNICUsage{Meter: schemas.VNICMeter(id, v.MAC), From: before.at, To: at}
	switch {
	case known && notBelow(v, before.VNICReading) && at.Sub(before.at) <= gapMost && possible(difference(v, before.VNICReading), at.Sub(before.at)):
		v = difference(v, before.VNICReading)
		usage.InOctets, usage.InPackets = v.InOctets, v.InPackets
		usage.OutOctets, usage.OutPackets = v.OutOctets, v.OutPackets
	case fresh && possible(v, at.Sub(freshSince)):
		usage.From = freshSince
		usage.InOctets, usage.InPackets = v.InOctets, v.InPackets
		usage.OutOctets, usage.OutPackets = v.OutOctets, v.OutPackets
	case known:
		d.Resets++
		return
	default:
		d.First++
		return
	}
	if usage.InOctets|usage.InPackets|usage.OutOctets|usage.OutPackets != 0 {
		d.VNICs = usage.appendDays(d.VNICs)
	}
}

// appendDays appends the difference to dst, cut into parts of a day at most, as long as one of a
// flow may be. The parts add up to it.
func (u VNICUsage) appendDays(dst []VNICUsage) []VNICUsage {
	from, whole := u.From, u.To.Sub(u.From)
	var before VNICUsage
	for at := from; ; at = at.Add(day) {
		end := at.Add(day)
		if !end.Before(u.To) {
			end = u.To
		}
		share := func(all uint64) uint64 {
			high, low := bits.Mul64(all, uint64(max(end.Sub(from), 0)))
			part, _ := bits.Div64(high, low, uint64(max(whole, 1)))
			return part
		}
		through := u
		if end != u.To {
			through = VNICUsage{
				InOctets: share(u.InOctets), InPackets: share(u.InPackets),
				OutOctets: share(u.OutOctets), OutPackets: share(u.OutPackets),
			}
		}
		dst = append(dst, VNICUsage{
			Meter: u.Meter, From: at, To: end,
			InOctets: through.InOctets - before.InOctets, InPackets: through.InPackets - before.InPackets,
			OutOctets: through.OutOctets - before.OutOctets, OutPackets: through.OutPackets - before.OutPackets,
		})
		if end == u.To {
			return dst
		}
		before = through
	}
}

func nameOf(r *schemas.GuestReading) string { return strings.ToValidUTF8(r.Name, "?") }

func keyOf(v schemas.VNICReading) vnicKey { return vnicKey{strings.ToLower(v.MAC), v.Target} }

func runs(s schemas.GuestState) bool {
	return s == schemas.GuestState_GUEST_STATE_RUNNING || s == schemas.GuestState_GUEST_STATE_PAUSED
}

func notBelow(v, before schemas.VNICReading) bool {
	return v.InOctets >= before.InOctets && v.InPackets >= before.InPackets &&
		v.OutOctets >= before.OutOctets && v.OutPackets >= before.OutPackets
}

func difference(v, before schemas.VNICReading) schemas.VNICReading {
	v.InOctets -= before.InOctets
	v.InPackets -= before.InPackets
	v.OutOctets -= before.OutOctets
	v.OutPackets -= before.OutPackets
	return v
}

// young says whether a process of at most this age can have used that much CPU: all its vCPUs, two
// more threads of the emulator's own, and two seconds for its start.
func young(r *schemas.GuestReading, age time.Duration) bool {
	return r.CPUNanoseconds <= uint64(max(r.VCPUs, 1)+2)*uint64(max(age, 0))+uint64(2*time.Second)
}

// canHaveUsed says whether vCPUs and an emulator's threads can have used that much CPU time.
func canHaveUsed(nanoseconds uint64, vcpus uint32, elapsed time.Duration) bool {
	return nanoseconds <= uint64(vcpus+threadsMost)*uint64(max(elapsed, 0))+uint64(10*time.Second)
}

// possible says whether an interface of 100 Gbit/s can have carried that much in that time.
func possible(v schemas.VNICReading, elapsed time.Duration) bool {
	limit := uint64(max(elapsed.Seconds(), 0)+1) * (100e9 / 8)
	return max(v.InOctets, v.OutOctets, v.InPackets, v.OutPackets) <= limit
}
