package simulate

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"time"

	"hostmeter/schemas"
)

// frameOverhead is what a vNIC counts of a packet and layer 3 does not: an Ethernet header without
// FCS.
const frameOverhead = 14

// guest is a virtual machine. Its counters run from the start of its process.
type guest struct {
	Guest
	reading schemas.GuestReading
	vnic    [1]schemas.VNICReading
	percent uint64 // of its CPU in the mean
	// carried before and after the half of the span that is being generated, not yet in the counters
	waiting [2]traffic
	restart time.Time // when it is off for one reading, and starts from zero after
	busy    []busyTime
}

// busyTime is when a guest's CPU runs at a percentage, whatever the hour.
type busyTime struct {
	from, until time.Time
	percent     uint64
}

type traffic struct{ inOctets, inPackets, outOctets, outPackets uint64 }

type hypervisor struct {
	name   string
	guests []*guest
	rng    *rand.Rand
	read   []schemas.GuestReading
}

const (
	hypervisorCount = 3
	guestCount      = 20
)

// layGuests puts the first virtual servers onto hypervisors.
func (p *Provider) layGuests() {
	for i := range hypervisorCount {
		name := fmt.Sprintf("hv-%d", i+1)
		p.hosts = append(p.hosts, &hypervisor{name: name, rng: p.rng(name)})
	}
	rng := p.rng("guests")
	for i, s := range p.virtualServers() {
		if i == guestCount {
			break
		}
		host := p.hosts[i%hypervisorCount]
		host.guests = append(host.guests, p.newGuest(rng, i, s))
	}
	for _, e := range p.exporters {
		for _, m := range e.meters {
			if s := p.serviceOf(m); s != nil {
				m.guest = s.guest
			}
		}
	}
}

func (p *Provider) newGuest(rng *rand.Rand, i int, s *service) *guest {
	var id [16]byte
	binary.BigEndian.PutUint64(id[:8], rng.Uint64())
	binary.BigEndian.PutUint64(id[8:], rng.Uint64())
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	g := &guest{percent: 8 + rng.Uint64N(48)}
	g.Guest = Guest{
		UUID:    fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:]),
		Name:    "vm-" + s.id,
		Service: s.id,
		VCPUs:   1 << rng.UintN(3),
		MAC:     fmt.Sprintf("52:54:00:%02x:%02x:%02x", rng.UintN(256), rng.UintN(256), i),
		Target:  fmt.Sprintf("vnet%d", i),
	}
	g.vnic[0] = schemas.VNICReading{MAC: g.MAC, Target: g.Target}
	g.reading = schemas.GuestReading{
		UUID: g.UUID, Name: g.Name, State: schemas.GuestState_GUEST_STATE_RUNNING, VCPUs: g.VCPUs,
		CPUNanoseconds: uint64(1+rng.Uint64N(1_000_000)) * 10_000_000, CPUKnown: true, VNICs: g.vnic[:],
	}
	s.guest = g
	return g
}

// carried adds a flow to the counters of the guest's vNIC, in two parts: a poll comes between them.
func (g *guest) carried(f *flow, mix packetMix, half int64, out bool) {
	octets, packets := mix.octets(), mix.packets()
	early := traffic{}
	early.add(proportion(octets, f, half*1000), proportion(packets, f, half*1000), out)
	whole := traffic{}
	whole.add(octets, packets, out)
	g.waiting[0].plus(early)
	g.waiting[1].plus(whole.less(early))
}

func (t *traffic) add(octets, packets uint64, out bool) {
	if out {
		t.outOctets, t.outPackets = octets, packets
		return
	}
	t.inOctets, t.inPackets = octets, packets
}

func (t *traffic) plus(o traffic) {
	t.inOctets += o.inOctets
	t.inPackets += o.inPackets
	t.outOctets += o.outOctets
	t.outPackets += o.outPackets
}

func (t traffic) less(o traffic) traffic {
	return traffic{t.inOctets - o.inOctets, t.inPackets - o.inPackets, t.outOctets - o.outOctets, t.outPackets - o.outPackets}
}

// poll moves a host's guests on by elapsed, to at, and reads them. part is the half of the span that is over.
func (p *Provider) poll(h *hypervisor, at time.Time, elapsed time.Duration, parts ...int) []schemas.GuestReading {
	h.read = h.read[:0]
	for _, g := range h.guests {
		g.run(h.rng, at, elapsed, at.In(p.zone).Hour())
		for _, part := range parts {
			g.count(g.waiting[part])
			g.waiting[part] = traffic{}
		}
		r := g.reading
		if g.isOff(at) {
			r.State, r.VNICs = schemas.GuestState_GUEST_STATE_OFF, nil
			r.CPUNanoseconds, r.StealNanoseconds = 490_000_000, 0 // a daemon tells its own time here
		} else {
			r.VNICs = append([]schemas.VNICReading(nil), g.vnic[:]...)
		}
		h.read = append(h.read, r)
	}
	return h.read
}

// isOff says that a guest is off at the poll of its restart.
func (g *guest) isOff(at time.Time) bool { return !g.restart.IsZero() && at.Equal(g.restart) }

// run lets a guest work, in steps of ten milliseconds, as the counters have.
func (g *guest) run(rng *rand.Rand, at time.Time, elapsed time.Duration, hour int) {
	percent := g.percent * (hourWeights[hour] + 200) / 300 // servers breathe less than their visitors
	for _, b := range g.busy {
		if !at.Add(-elapsed).Before(b.from) && !at.After(b.until) {
			percent = b.percent
		}
	}
	const step = uint64(10 * time.Millisecond)
	capacity := uint64(g.VCPUs) * uint64(elapsed)
	used := capacity / 1000 * (percent*10 - 10 + rng.Uint64N(21))
	g.reading.CPUNanoseconds += min(used, capacity) / step * step
	g.reading.StealNanoseconds += capacity / 1000 * rng.Uint64N(6) / step * step
	if g.isOff(at) { // a new process: all its counters begin again
		g.reading.CPUNanoseconds, g.reading.StealNanoseconds = 300_000_000, 0
		g.vnic[0] = schemas.VNICReading{MAC: g.MAC, Target: g.Target}
	}
}

// count moves the counters of the guest's vNIC.
func (g *guest) count(t traffic) {
	v := &g.vnic[0]
	v.InOctets += t.inOctets + frameOverhead*t.inPackets
	v.InPackets += t.inPackets
	v.OutOctets += t.outOctets + frameOverhead*t.outPackets
	v.OutPackets += t.outPackets
}
