package libvirt

import (
	"strconv"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"hostmeter/schemas"
)

const (
	running = schemas.GuestState_GUEST_STATE_RUNNING
	paused  = schemas.GuestState_GUEST_STATE_PAUSED
	off     = schemas.GuestState_GUEST_STATE_OFF
)

var begin = time.Date(2026, 10, 1, 12, 0, 0, 0, time.UTC)

func at(seconds int) time.Time { return begin.Add(time.Duration(seconds) * time.Second) }

// one is a reading of guest G with one vNIC; seconds of CPU, octets in and out (a packet each 100).
func one(state schemas.GuestState, vcpus uint32, cpu, in, out uint64) []schemas.GuestReading {
	r := schemas.GuestReading{UUID: "G", Name: "g", State: state, VCPUs: vcpus, CPUNanoseconds: cpu * 1e9, CPUKnown: true}
	if state != off {
		r.VNICs = []schemas.VNICReading{{MAC: "52:54:00:00:00:01", Target: "vnet0", InOctets: in, InPackets: in / 100, OutOctets: out, OutPackets: out / 100}}
	}
	return []schemas.GuestReading{r}
}

func TestAdvance(t *testing.T) {
	type step struct {
		at       int
		readings []schemas.GuestReading
		// what the difference to the step before must be; -1 capacity: no usage at all
		cpu, capacity int64 // seconds
		in, out       uint64
	}
	f := func(name string, steps ...step) {
		t.Helper()
		h := NewHost("hv1")
		for i, s := range steps {
			d := h.Advance(at(s.at), s.readings)
			cpu, capacity := int64(0), int64(-1)
			for _, g := range d.Guests {
				cpu, capacity = int64(g.CpuNanoseconds/1e9), int64(g.CapacityNanoseconds/1e9)
				if g.To != at(s.at).UnixNano() || g.From > g.To || g.Guest != "g" || g.Host != "hv1" {
					t.Fatalf("%s, step %d: %v", name, i, g)
				}
			}
			var in, out uint64
			for _, v := range d.VNICs {
				in, out = in+v.InOctets, out+v.OutOctets
				if v.Meter != "vnic:g/52:54:00:00:00:01" || v.To != at(s.at) {
					t.Fatalf("%s, step %d: %+v", name, i, v)
				}
			}
			if cpu != s.cpu || capacity != s.capacity || in != s.in || out != s.out {
				t.Fatalf("%s, step %d: cpu %d of %d s, in %d, out %d; want %d of %d, %d, %d (%+v)",
					name, i, cpu, capacity, in, out, s.cpu, s.capacity, s.in, s.out, d)
			}
		}
	}
	none := int64(-1)
	f("the first reading is never billed",
		step{0, one(running, 1, 5000, 1e9, 2e9), 0, none, 0, 0},
		step{10, one(running, 1, 5009, 1e9+300, 2e9+700), 9, 10, 300, 700},
		step{20, one(running, 1, 5009, 1e9+300, 2e9+700), 0, 10, 0, 0})
	f("a restart between two polls counts from 0",
		step{0, one(running, 2, 5000, 1e9, 2e9), 0, none, 0, 0},
		step{10, one(running, 2, 3, 600, 800), 3, 20, 600, 800},
		step{20, one(running, 2, 23, 700, 900), 20, 20, 100, 100})
	f("off: no CPU, whatever the daemon says, and nothing observed; then from 0",
		step{0, one(running, 1, 100, 1000, 1000), 0, none, 0, 0},
		step{10, one(off, 1, 490, 0, 0), 0, 0, 0, 0},
		step{20, one(off, 1, 491, 0, 0), 0, none, 0, 0},
		step{30, one(running, 1, 4, 500, 300), 4, 10, 500, 300},
		step{40, one(running, 1, 14, 500, 400), 10, 10, 0, 100})
	f("paused is on, and uses nothing",
		step{0, one(running, 1, 100, 1000, 1000), 0, none, 0, 0},
		step{10, one(paused, 1, 105, 1000, 1000), 5, 10, 0, 0},
		step{20, one(paused, 1, 105, 1000, 1000), 0, 10, 0, 0})
	f("a daemon that says off by mistake does not bill the counters again",
		step{0, one(running, 1, 90000, 5e12, 5e12), 0, none, 0, 0},
		step{10, one(off, 1, 0, 0, 0), 0, 0, 0, 0},
		step{20, one(running, 1, 90019, 5e12+100, 5e12), 19, 20, 100, 0})
	f("a resize counts the larger capacity for its interval",
		step{0, one(running, 1, 100, 0, 0), 0, none, 0, 0},
		step{10, one(running, 4, 130, 0, 0), 30, 40, 0, 0},
		step{20, one(running, 4, 170, 0, 0), 40, 40, 0, 0},
		step{30, one(running, 2, 190, 0, 0), 20, 40, 0, 0},
		step{40, one(running, 2, 210, 0, 0), 20, 20, 0, 0})
	f("a counter that falls without a restart is a new baseline",
		step{0, one(running, 1, 100, 5000, 5000), 0, none, 0, 0},
		step{10, one(running, 1, 101, 4000, 6000), 1, 10, 0, 0},
		step{20, one(running, 1, 102, 4100, 6100), 1, 10, 100, 100})
	f("a counter that fell to more than a young process can have is no restart",
		step{0, one(running, 1, 90000, 5000, 5000), 0, none, 0, 0},
		step{10, one(running, 1, 80000, 4000, 6000), 0, none, 0, 0},
		step{20, one(running, 1, 80005, 4100, 6000), 5, 10, 100, 0})
	hung := one(running, 0, 0, 1200, 1000)
	hung[0].CPUKnown = false
	f("a monitor that does not answer is made up for later",
		step{0, one(running, 1, 100, 1000, 1000), 0, none, 0, 0},
		step{10, hung, 0, none, 200, 0},
		step{20, one(running, 1, 118, 1300, 1000), 18, 20, 100, 0})
	f("a guest that left and came back has a new process",
		step{0, one(running, 1, 100, 1000, 1000), 0, none, 0, 0},
		step{10, nil, 0, 0, 0, 0},
		step{20, nil, 0, none, 0, 0},
		step{30, one(running, 1, 6, 40, 50), 6, 10, 40, 50})
	numbered := func(process uint32, r []schemas.GuestReading) []schemas.GuestReading {
		r[0].Process = process
		return r
	}
	f("a process whose number was not told yet, or is still that of the one before, counts from 0 once",
		step{0, numbered(3, one(running, 1, 100, 1000, 1000)), 0, none, 0, 0},
		step{10, one(off, 1, 0, 0, 0), 0, 0, 0, 0},
		step{20, one(running, 1, 4, 500, 300), 4, 10, 500, 300},
		step{30, numbered(4, one(running, 1, 9, 600, 300)), 5, 10, 100, 0},
		step{40, numbered(4, one(running, 1, 2, 50, 60)), 2, 10, 50, 60},
		step{50, numbered(5, one(running, 1, 7, 60, 60)), 5, 10, 10, 0})
	f("a process that is just ending tells no CPU time, and is no other one",
		step{0, numbered(3, one(running, 1, 100, 1000, 1000)), 0, none, 0, 0},
		step{10, numbered(3, one(running, 1, 0, 1100, 1000)), 0, none, 100, 0},
		step{20, one(off, 1, 0, 0, 0), 0, 0, 0, 0},
		step{30, numbered(4, one(running, 1, 0, 0, 0)), 0, none, 0, 0},
		step{40, numbered(4, one(running, 1, 4, 500, 300)), 4, 20, 500, 300})
	f("another process counts from 0, also where it passed the one before already",
		step{0, numbered(3, one(running, 1, 1, 1000, 1000)), 0, none, 0, 0},
		step{10, numbered(4, one(running, 1, 9, 600, 800)), 9, 10, 600, 800},
		step{20, numbered(4, one(running, 1, 10, 600, 800)), 1, 10, 0, 0})
	f("another process that has more than its age allows is a new baseline",
		step{0, numbered(3, one(running, 1, 1, 1000, 1000)), 0, none, 0, 0},
		step{10, numbered(4, one(running, 1, 90, 1600, 1800)), 0, none, 600, 800},
		step{20, numbered(4, one(running, 1, 100, 1700, 1800)), 10, 10, 100, 0})
	f("a number that is given again after the daemon restarted",
		step{0, numbered(3, one(running, 1, 50, 1000, 1000)), 0, none, 0, 0},
		step{10, numbered(3, one(running, 1, 5, 600, 800)), 5, 10, 600, 800})
	f("the same process, said to be off in between",
		step{0, numbered(3, one(running, 1, 2, 1000, 1000)), 0, none, 0, 0},
		step{10, one(off, 1, 0, 0, 0), 0, 0, 0, 0},
		step{20, numbered(3, one(running, 1, 5, 1100, 1000)), 3, 20, 100, 0})
	moving := func(r []schemas.GuestReading) []schemas.GuestReading {
		r[0].State, r[0].Moving = paused, true
		return r
	}
	arrived := func(r []schemas.GuestReading) []schemas.GuestReading {
		r[0].Arrived = true
		return r
	}
	f("the host that a guest comes to counts from the first reading of it running there",
		step{0, nil, 0, none, 0, 0},
		step{10, moving(one(running, 1, 1, 500, 0)), 0, none, 0, 0},
		step{20, moving(one(running, 1, 3, 700, 0)), 0, none, 0, 0},
		step{30, arrived(one(running, 1, 8, 900, 300)), 0, none, 0, 0},
		step{40, arrived(one(running, 1, 13, 1000, 300)), 5, 10, 100, 0})
	f("a guest that comes back to a host that knew it",
		step{0, one(running, 1, 900, 1e6, 1e6), 0, none, 0, 0},
		step{10, one(off, 1, 0, 0, 0), 0, 0, 0, 0},
		step{20, arrived(one(running, 1, 4, 500, 300)), 0, none, 0, 0},
		step{30, arrived(one(running, 1, 14, 600, 300)), 10, 10, 100, 0})
	f("the host that a guest leaves counts it up to its pause",
		step{0, one(running, 1, 900, 1000, 1000), 0, none, 0, 0},
		step{10, moving(one(running, 1, 907, 1100, 1000)), 7, 10, 100, 0},
		step{20, moving(one(running, 1, 907, 1100, 1000)), 0, none, 0, 0},
		step{30, one(off, 1, 0, 0, 0), 0, 0, 0, 0})
	f("a migration that failed",
		step{0, one(running, 1, 900, 1000, 1000), 0, none, 0, 0},
		step{10, moving(one(running, 1, 907, 1100, 1000)), 7, 10, 100, 0},
		step{20, one(running, 1, 912, 1200, 1000), 5, 10, 100, 0})
	f("a gap in the polls is bridged by the counters",
		step{0, one(running, 1, 100, 1000, 1000), 0, none, 0, 0},
		step{3600, one(running, 1, 1900, 9000, 1000), 1800, 3600, 8000, 0})
}

func TestVNICsAreKeyedByMACAndTarget(t *testing.T) {
	nic := func(mac, target string, in uint64) schemas.VNICReading {
		return schemas.VNICReading{MAC: mac, Target: target, InOctets: in}
	}
	guest := func(cpu uint64, nics ...schemas.VNICReading) []schemas.GuestReading {
		return []schemas.GuestReading{{UUID: "g", State: running, VCPUs: 1, CPUKnown: true, CPUNanoseconds: cpu, VNICs: nics}}
	}
	h := NewHost("hv1")
	h.Advance(at(0), guest(1, nic("aa", "vnet0", 1000), nic("bb", "vnet1", 5_000_000)))
	// The first is unplugged: the second has its index now, and must not be its difference.
	d := h.Advance(at(10), guest(2, nic("bb", "vnet1", 5_000_100)))
	if len(d.VNICs) != 1 || d.VNICs[0].Meter != "vnic:g/bb" || d.VNICs[0].InOctets != 100 {
		t.Fatalf("after an unplug: %+v", d.VNICs)
	}
	// Another is plugged: its first reading is never billed.
	d = h.Advance(at(20), guest(3, nic("cc", "vnet0", 77), nic("bb", "vnet1", 5_000_100)))
	if len(d.VNICs) != 0 || d.First != 1 {
		t.Fatalf("after a plug: %+v", d)
	}
	d = h.Advance(at(30), guest(4, nic("cc", "vnet0", 80), nic("bb", "vnet1", 5_000_100)))
	if len(d.VNICs) != 1 || d.VNICs[0].Meter != "vnic:g/cc" || d.VNICs[0].InOctets != 3 {
		t.Fatalf("the plugged one: %+v", d.VNICs)
	}
}

func TestStealStandsApart(t *testing.T) {
	reading := func(cpu, steal uint64) []schemas.GuestReading {
		return []schemas.GuestReading{{UUID: "g", State: running, VCPUs: 1, CPUKnown: true, CPUNanoseconds: cpu, StealNanoseconds: steal}}
	}
	h := NewHost("hv1")
	h.Advance(at(0), reading(100, 50))
	d := h.Advance(at(10), reading(3e9+100, 7e9+50))
	if g := d.Guests[0]; g.CpuNanoseconds != 3e9 || g.StealNanoseconds != 7e9 || g.CapacityNanoseconds != 10e9 {
		t.Fatalf("%v", g)
	}
}

// TestStealThatWasNotTold is made up for by the next reading that tells it.
func TestStealThatWasNotTold(t *testing.T) {
	h := NewHost("hv1")
	for i, step := range []struct {
		steal   uint64
		unknown bool
		want    uint64
	}{{0, true, 0}, {50, false, 0}, {53, false, 3}, {0, true, 0}, {0, true, 0}, {64, false, 11}} {
		d := h.Advance(at(10*i), []schemas.GuestReading{{
			UUID: "g", State: running, VCPUs: 1, CPUKnown: true, CPUNanoseconds: 7,
			StealNanoseconds: step.steal, StealUnknown: step.unknown,
		}})
		if i > 0 && d.Guests[0].StealNanoseconds != step.want {
			t.Fatalf("step %d: steal %d, want %d", i, d.Guests[0].StealNanoseconds, step.want)
		}
	}
}

// TestOffIsToldOnce: else a host that kept the definition of a guest that moved away would say again
// and again that it is off.
func TestOffIsToldOnce(t *testing.T) {
	f := func(gone []schemas.GuestReading) {
		t.Helper()
		h := NewHost("hv1")
		h.Advance(at(0), one(running, 1, 100, 0, 0))
		var told []*schemas.GuestUsage
		stopped := uint64(0)
		for i := range 5 {
			d := h.Advance(at(10+10*i), gone)
			told = append(told, d.Guests...)
			stopped += d.Stopped
		}
		if len(told) != 1 || told[0].State != off || told[0].Name != "g" || told[0].To != at(10).UnixNano() || stopped != 1 {
			t.Fatalf("%d stopped, told %v", stopped, told)
		}
	}
	f(one(off, 1, 490, 0, 0))
	f(nil)
}

// TestLongGapsAreSpreadByDays: parts are of a day at most, follow on each other, and add up.
func TestLongGapsAreSpreadByDays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		elapsed := time.Duration(rapid.Int64Range(1, int64(gapMost)).Draw(t, "elapsed"))
		use := schemas.VNICReading{
			MAC: "aa", Target: "vnet0",
			InOctets: rapid.Uint64Range(1, 1e15).Draw(t, "in"), InPackets: rapid.Uint64Range(0, 1e12).Draw(t, "in packets"),
			OutOctets: rapid.Uint64Range(0, 1e15).Draw(t, "out"), OutPackets: rapid.Uint64Range(0, 1e12).Draw(t, "out packets"),
		}
		if !possible(use, elapsed) {
			t.Skip()
		}
		reading := []schemas.GuestReading{{UUID: "g", State: running, VCPUs: 1, CPUKnown: true, VNICs: []schemas.VNICReading{{MAC: "aa", Target: "vnet0"}}}}
		h := NewHost("hv1")
		h.Advance(begin, reading)
		reading[0].VNICs[0] = use
		var sum schemas.VNICReading
		end := begin
		for _, v := range h.Advance(begin.Add(elapsed), reading).VNICs {
			if v.From != end || v.To.Sub(v.From) > day || !v.To.After(v.From) {
				t.Fatalf("a part of [%v, %v), after what ends at %v", v.From, v.To, end)
			}
			if even := float64(use.InOctets) * float64(v.To.Sub(v.From)) / float64(elapsed); float64(v.InOctets) < even*0.999-2 || float64(v.InOctets) > even*1.001+2 {
				t.Fatalf("%d of %d octets in %v of %v", v.InOctets, use.InOctets, v.To.Sub(v.From), elapsed)
			}
			end = v.To
			sum.InOctets, sum.InPackets = sum.InOctets+v.InOctets, sum.InPackets+v.InPackets
			sum.OutOctets, sum.OutPackets = sum.OutOctets+v.OutOctets, sum.OutPackets+v.OutPackets
		}
		if end != begin.Add(elapsed) || difference(use, sum) != (schemas.VNICReading{MAC: "aa", Target: "vnet0"}) {
			t.Fatalf("up to %v: %+v, want %+v", end, sum, use)
		}
	})
}

// TestInterfacesThatLeftAreForgotten: a tool that plugs and unplugs for years must not fill the memory.
func TestInterfacesThatLeftAreForgotten(t *testing.T) {
	h := NewHost("hv1")
	for i := range 100 {
		r := one(running, 1, 1, 0, 0)
		r[0].VNICs[0].MAC = string(rune('a' + i))
		h.Advance(begin.Add(time.Duration(i)*time.Hour), r)
	}
	if n := len(h.guests["g"].vnics); n > 26 {
		t.Fatalf("%d interfaces are remembered", n)
	}
}

func TestPollsOutOfOrderArePassedOver(t *testing.T) {
	h := NewHost("hv1")
	h.Advance(at(10), one(running, 1, 100, 0, 0))
	for _, when := range []int{10, 5} {
		if d := h.Advance(at(when), one(running, 1, 900, 0, 0)); d.Disordered != 1 || len(d.Guests) != 0 {
			t.Fatalf("at %d: %+v", when, d)
		}
	}
}

// life is a random history of one guest's processes, read at every step, and what it truly used.
type life struct {
	readings []([]schemas.GuestReading)
	times    []time.Time
	cpu, in  uint64 // true use since the first reading
}

func drawLife(t *rapid.T) life {
	var l life
	now, vcpus := begin, uint32(rapid.IntRange(1, 4).Draw(t, "vcpus"))
	var cpu, in uint64
	state := running
	process, numbered := uint32(1), rapid.Bool().Draw(t, "numbered")
	if rapid.Bool().Draw(t, "old") {
		cpu, in = rapid.Uint64Range(1, 1e15).Draw(t, "cpu"), rapid.Uint64Range(1, 1e13).Draw(t, "in")
	}
	for i := range rapid.IntRange(2, 30).Draw(t, "polls") {
		if i > 0 {
			elapsed := time.Duration(rapid.IntRange(1, 600).Draw(t, "seconds")) * time.Second
			now = now.Add(elapsed)
			switch rapid.IntRange(0, 9).Draw(t, "event") {
			case 0: // stops, or stays off
				state = off
			case 1: // begins anew at some time of the interval
				state, cpu, in = running, 0, 0
				elapsed = elapsed / 2
				process = rapid.Uint32Range(1, 3).Draw(t, "process") // may be given again
			case 2:
				vcpus = uint32(rapid.IntRange(1, 4).Draw(t, "vcpus"))
			default:
				if state == off {
					elapsed = 0
				}
			}
			usedCPU := rapid.Uint64Range(0, uint64(elapsed)*uint64(vcpus)).Draw(t, "used")
			usedIn := rapid.Uint64Range(0, uint64(elapsed.Seconds())*1e9).Draw(t, "received")
			if state == running {
				cpu, in, l.cpu, l.in = cpu+usedCPU, in+usedIn, l.cpu+usedCPU, l.in+usedIn
			}
		}
		r := schemas.GuestReading{UUID: "g", State: state, VCPUs: vcpus, CPUKnown: state == running && rapid.IntRange(0, 5).Draw(t, "answers") > 0, CPUNanoseconds: cpu}
		if numbered && state == running {
			r.Process = process
		}
		if state == off {
			r.CPUKnown, r.CPUNanoseconds = true, 490e6 // the daemon's own
		} else if rapid.IntRange(0, 5).Draw(t, "listed") > 0 {
			r.VNICs = []schemas.VNICReading{{MAC: "aa", Target: "vnet0", InOctets: in}}
		}
		l.readings, l.times = append(l.readings, []schemas.GuestReading{r}), append(l.times, now)
	}
	return l
}

// Whatever happens to a guest, it is never billed more than it used, and never for time twice.
func TestNeverMoreThanUsed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := drawLife(t)
		h := NewHost("hv1")
		var cpu, in uint64
		covered := int64(0)
		for i := range l.readings {
			d := h.Advance(l.times[i], l.readings[i])
			for _, g := range d.Guests {
				cpu += g.CpuNanoseconds
				if g.CapacityNanoseconds == 0 {
					continue // nothing was observed in it
				}
				if g.From < covered || g.To < g.From {
					t.Fatalf("step %d: [%d, %d) overlaps what ends at %d", i, g.From, g.To, covered)
				}
				covered = g.To
			}
			for _, v := range d.VNICs {
				in += v.InOctets
			}
		}
		if cpu > l.cpu || in > l.in {
			t.Fatalf("billed cpu %d of %d, in %d of %d", cpu, l.cpu, in, l.in)
		}
	})
}

// However a guest moves between two hosts, and whenever each is polled, both together bill no more than
// it used, although its two processes overlap and the receiving one counts the move as CPU time and the
// frames that are flooded to it as traffic.
func TestMigrationIsNeverCountedTwice(t *testing.T) {
	type process struct {
		number  uint32
		cpu, in uint64
	}
	rapid.Check(t, func(t *rapid.T) {
		hosts := [2]*Host{NewHost("hv1"), NewHost("hv2")}
		processes := [2]*process{{number: 1}, nil}
		here, moving, waits := 0, false, false
		arrived, seen := [2]bool{}, [2]bool{}
		keeps := rapid.Bool().Draw(t, "keeps definition") // the host that it left lists it as off
		var cpu, in, billedCPU, billedIn uint64
		now, number := begin, uint32(1)
		covered := [2]int64{}
		for range rapid.IntRange(2, 60).Draw(t, "steps") {
			elapsed := time.Duration(rapid.IntRange(1, 20).Draw(t, "seconds")) * time.Second
			now = now.Add(elapsed)
			used, received := rapid.Uint64Range(0, uint64(elapsed)).Draw(t, "used"), rapid.Uint64Range(0, 1e9).Draw(t, "received")
			if !waits {
				processes[here].cpu += used
				processes[here].in += received
				cpu, in = cpu+used, in+received
			}
			if moving { // the move, and what is flooded to both
				processes[1-here].cpu += rapid.Uint64Range(0, uint64(elapsed)).Draw(t, "move")
				processes[1-here].in += received
			}
			switch event := rapid.IntRange(0, 7).Draw(t, "event"); {
			case event == 0 && !moving:
				number++
				processes[1-here], moving = &process{number: number}, true
			case event == 1 && moving:
				waits = true
			case event == 2 && moving: // it runs there now, and ends here
				processes[here] = nil
				here, moving, waits = 1-here, false, false
				arrived = [2]bool{}
				arrived[here], seen[here] = true, false
			case event == 3 && moving && seen[here]: // it failed; events made that it was polled before
				processes[1-here], moving, waits = nil, false, false
				arrived[here] = false
			}
			for i, h := range hosts {
				if rapid.IntRange(0, 2).Draw(t, "polled") == 0 {
					continue
				}
				var readings []schemas.GuestReading
				switch p := processes[i]; {
				case p != nil:
					r := schemas.GuestReading{
						UUID: "g", State: running, VCPUs: 1, CPUKnown: true, CPUNanoseconds: p.cpu, Process: p.number, Arrived: arrived[i],
						VNICs: []schemas.VNICReading{{MAC: "aa", Target: "vnet0", InOctets: p.in}},
					}
					if moving && (i != here || waits) {
						r.State, r.Moving, r.Arrived = paused, true, false
					}
					readings = append(readings, r)
				case keeps:
					readings = append(readings, schemas.GuestReading{UUID: "g", State: off, CPUNanoseconds: 490e6, CPUKnown: true})
				}
				seen[i] = true
				d := h.Advance(now, readings)
				for _, g := range d.Guests {
					billedCPU += g.CpuNanoseconds
					if g.From < covered[i] && g.CapacityNanoseconds > 0 {
						t.Fatalf("[%d, %d) overlaps what ends at %d", g.From, g.To, covered[i])
					}
					covered[i] = max(covered[i], g.To)
				}
				for _, v := range d.VNICs {
					billedIn += v.InOctets
				}
			}
			if billedCPU > cpu || billedIn > in {
				t.Fatalf("billed cpu %d of %d, in %d of %d", billedCPU, cpu, billedIn, in)
			}
		}
	})
}

// TestComingBackByAMigrationIsABaseline: a guest that left, or was off, and whose process of no CPU time yet is being
// received has counters of that process alone: what is flooded to it is its other host's to bill.
func TestComingBackByAMigrationIsABaseline(t *testing.T) {
	reading := func(state schemas.GuestState, process uint32, in uint64, moving bool) schemas.GuestReading {
		return schemas.GuestReading{UUID: "g", State: state, VCPUs: 1, CPUKnown: true, Process: process, Moving: moving,
			VNICs: []schemas.VNICReading{{MAC: "aa", Target: "vnet0", InOctets: in}}}
	}
	off0 := schemas.GuestReading{UUID: "g", State: off, CPUNanoseconds: 490e6, CPUKnown: true}
	f := func(name string, before ...schemas.GuestReading) {
		t.Helper()
		h := NewHost("hv1")
		for i, r := range before {
			h.Advance(begin.Add(time.Duration(i)*time.Second), []schemas.GuestReading{r})
		}
		at := begin.Add(time.Duration(len(before)) * time.Second)
		if d := h.Advance(at, []schemas.GuestReading{reading(paused, 3, 1, true)}); len(d.VNICs) != 0 || d.First != 1 {
			t.Errorf("%s: %+v", name, d)
		}
	}
	f("it left and came between two polls", reading(running, 1, 0, false))
	f("its first move failed, and it is moved again", off0, reading(paused, 2, 0, true), off0)
}

// A restart of the collector between two polls changes nothing.
func TestRestoreGoesOnWhereItStood(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := drawLife(t)
		straight, restarted := NewHost("hv1"), NewHost("hv1")
		for i := range l.readings {
			want, got := straight.Advance(l.times[i], l.readings[i]), restarted.Advance(l.times[i], l.readings[i])
			if len(got.Guests) != len(want.Guests) || len(got.VNICs) != len(want.VNICs) {
				t.Fatalf("step %d: %+v, want %+v", i, got, want)
			}
			for j := range want.Guests {
				if !proto.Equal(got.Guests[j], want.Guests[j]) {
					t.Fatalf("step %d: %v, want %v", i, got.Guests[j], want.Guests[j])
				}
			}
			for j := range want.VNICs {
				if got.VNICs[j] != want.VNICs[j] {
					t.Fatalf("step %d: %+v, want %+v", i, got.VNICs[j], want.VNICs[j])
				}
			}
			if rapid.Bool().Draw(t, "restart") {
				positions := restarted.Positions()
				restarted = NewHost("hv1")
				restarted.Restore(positions)
			}
		}
	})
}

func TestTargetsOf(t *testing.T) {
	got, err := targetsOf(`<domain id='3'><devices>
 <interface type='bridge'><mac address='52:54:00:AA:00:01'/><target dev='vnet7'/></interface>
 <interface type='user'><mac address='52:54:00:aa:00:02'/></interface>
 <disk><target dev='vda'/></disk></devices></domain>`)
	if err != nil || len(got) != 1 || got["vnet7"] != "52:54:00:aa:00:01" {
		t.Fatalf("got %v, %v", got, err)
	}
	if _, err := targetsOf("<domain"); err == nil {
		t.Fatal("XML that is cut off was accepted")
	}
}

// BenchmarkAdvance is one poll of 200 guests with two interfaces each.
func BenchmarkAdvance(b *testing.B) {
	readings := make([]schemas.GuestReading, 200)
	for i := range readings {
		id := "00000000-0000-4000-8000-" + strconv.Itoa(100_000_000_000+i)
		readings[i] = schemas.GuestReading{UUID: id, Name: "g", State: running, VCPUs: 2, CPUKnown: true, Process: 1, VNICs: []schemas.VNICReading{
			{MAC: "52:54:00:00:00:01", Target: "vnet0"}, {MAC: "52:54:00:00:00:02", Target: "vnet1"},
		}}
	}
	h := NewHost("hv1")
	h.Advance(begin, readings)
	now := begin
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(10 * time.Second)
		for i := range readings {
			readings[i].CPUNanoseconds += 1e9
			readings[i].VNICs[0].InOctets += 1000
			readings[i].VNICs[1].OutOctets += 1000
		}
		if d := h.Advance(now, readings); len(d.Guests) != 200 || len(d.VNICs) != 400 {
			b.Fatalf("%d guests, %d interfaces", len(d.Guests), len(d.VNICs))
		}
	}
}
