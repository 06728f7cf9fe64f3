package libvirt

import (
	"strings"
	"time"

	"hostmeter/schemas"
)

// Positions returns the last readings, for Restore after a restart: counters go on while the
// collector is away, so that nothing is lost over it.
//
// Keys are "guest/UUID" (CPU, steal, vCPUs, state, whether CPU is known, when it was read, when the
// guest was last seen off, the number of its process, whether steal is not known, whether it moves) and
// "vnic/UUID/MAC/TARGET" (octets and packets in, octets and packets out).
func (h *Host) Positions() []*schemas.SourcePosition {
	var out []*schemas.SourcePosition
	source := Exporter(h.name)
	for id, g := range h.guests {
		out = append(out, &schemas.SourcePosition{
			Source: source, Key: "guest/" + id, At: g.at.UnixNano(),
			Values: []uint64{g.cpu, g.steal, uint64(g.vcpus), uint64(g.state), bit(g.cpuKnown), nanoseconds(g.cpuAt), nanoseconds(g.offAt), uint64(g.process), bit(!g.stealKnown), bit(g.moving)},
		})
		for key, v := range g.vnics {
			out = append(out, &schemas.SourcePosition{
				Source: source, Key: "vnic/" + id + "/" + key.mac + "/" + key.target, At: v.at.UnixNano(),
				Values: []uint64{v.InOctets, v.InPackets, v.OutOctets, v.OutPackets},
			})
		}
	}
	return out
}

// Restore sets a new host's baselines. Keys that are not its own are passed over.
func (h *Host) Restore(positions []*schemas.SourcePosition) {
	for _, p := range positions {
		id, isGuest := strings.CutPrefix(p.GetKey(), "guest/")
		if p.GetSource() != Exporter(h.name) || !isGuest || len(p.GetValues()) < 7 {
			continue
		}
		values := [10]uint64{} // earlier versions wrote seven
		copy(values[:], p.GetValues())
		at := time.Unix(0, p.GetAt()).UTC()
		h.guests[id] = &guest{
			cpu: values[0], steal: values[1], vcpus: uint32(values[2]),
			state: schemas.GuestState(values[3]), cpuKnown: values[4] == 1,
			cpuAt: timeOf(values[5]), offAt: timeOf(values[6]), at: at, vnics: map[vnicKey]vnic{},
			process: uint32(values[7]), stealKnown: values[8] == 0, moving: values[9] == 1,
		}
		if at.After(h.polled) {
			h.polled = at
		}
	}
	for _, p := range positions {
		rest, isVNIC := strings.CutPrefix(p.GetKey(), "vnic/")
		parts := strings.SplitN(rest, "/", 3)
		values := p.GetValues()
		if p.GetSource() != Exporter(h.name) || !isVNIC || len(parts) != 3 || len(values) < 4 {
			continue
		}
		if g := h.guests[parts[0]]; g != nil {
			reading := schemas.VNICReading{
				MAC: parts[1], Target: parts[2],
				InOctets: values[0], InPackets: values[1], OutOctets: values[2], OutPackets: values[3],
			}
			g.vnics[vnicKey{parts[1], parts[2]}] = vnic{reading, time.Unix(0, p.GetAt()).UTC()}
		}
	}
}

func bit(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

func nanoseconds(t time.Time) uint64 {
	if t.IsZero() {
		return 0
	}
	return uint64(t.UnixNano())
}

func timeOf(nanoseconds uint64) time.Time {
	if nanoseconds == 0 {
		return time.Time{}
	}
	return time.Unix(0, int64(nanoseconds)).UTC()
}
