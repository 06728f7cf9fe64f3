package libvirt

import (
	"strings"
	"time"

	"hostmeter/schemas"
)

// Positions returns the last readings, for Restore after a restart: counters go on while the
// collector is away, so that nothing is lost over it.
//
// Keys are "guest/UUID" (CPU, steal, vCPUs, state, whether CPU is known, when it was
// read, and when the guest was last seen off) and
// "vnic/UUID/MAC/TARGET" (octets and packets in, octets and packets out).
func (h *Host) Positions() []*schemas.SourcePosition {
	var out []*schemas.SourcePosition
	source := Exporter(h.name)
	for id, g := range h.guests {
		known := uint64(0)
		if g.cpuKnown {
			known = 1
		}
		out = append(out, &schemas.SourcePosition{
			Source: source, Key: "guest/" + id, At: g.at.UnixNano(),
			Values: []uint64{g.cpu, g.steal, uint64(g.vcpus), uint64(g.state), known, nanoseconds(g.cpuAt), nanoseconds(g.offAt)},
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
		values := p.GetValues()
		if p.GetSource() != Exporter(h.name) || !isGuest || len(values) < 7 {
			continue
		}
		at := time.Unix(0, p.GetAt()).UTC()
		h.guests[id] = &guest{
			cpu: values[0], steal: values[1], vcpus: uint32(values[2]),
			state: schemas.GuestState(values[3]), cpuKnown: values[4] == 1,
			cpuAt: timeOf(values[5]), offAt: timeOf(values[6]), at: at, vnics: map[vnicKey]vnic{},
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
