package sflow

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"hostmeter/collector/netflow/sequence"
	"hostmeter/schemas"
)

// Positions returns the sequence numbers that are expected next, for Restore after a restart. Keys
// are "sflow5/agent/ADDRESS/sub/ID" for datagrams and ".../source/NUMBER" for samples, values the
// next number and the agent's uptime in milliseconds. Source and At are left to the caller. The order
// is that of the keys.
func (d *Decoder) Positions() []*schemas.SourcePosition {
	var out []*schemas.SourcePosition
	for key, s := range d.streams {
		if number, uptime, ok := s.sequence.Expected(); ok {
			out = append(out, &schemas.SourcePosition{Key: key.text(), Values: []uint64{uint64(number), uint64(uptime)}})
		}
	}
	slices.SortFunc(out, func(a, b *schemas.SourcePosition) int { return strings.Compare(a.Key, b.Key) })
	return out
}

// Restore makes a new decoder count what was lost since positions were taken. Keys that are not its
// own are passed over.
func (d *Decoder) Restore(positions []*schemas.SourcePosition) {
	d.last = [2]lastStream{}
	for _, p := range positions {
		key, ok := parseStream(p.GetKey())
		if !ok || len(p.GetValues()) != 2 || len(d.streams) >= d.limits.Sources {
			continue
		}
		d.streams[key] = &stream{sequence: sequence.Resume(uint32(p.GetValues()[0]), uint32(p.GetValues()[1]))}
	}
}

func (k streamKey) text() string {
	text := "sflow5/agent/" + k.agent.String() + "/sub/" + strconv.FormatUint(uint64(k.sub), 10)
	if k.source != datagrams {
		text += "/source/" + strconv.FormatUint(k.source, 10)
	}
	return text
}

func parseStream(text string) (k streamKey, ok bool) {
	parts := strings.Split(text, "/")
	if len(parts) != 5 && len(parts) != 7 || parts[0] != "sflow5" || parts[1] != "agent" || parts[3] != "sub" {
		return k, false
	}
	agent, err := netip.ParseAddr(parts[2])
	if err != nil && parts[2] != (netip.Addr{}).String() {
		return k, false
	}
	sub, err := strconv.ParseUint(parts[4], 10, 32)
	if err != nil {
		return k, false
	}
	k = streamKey{agent, uint32(sub), datagrams}
	if len(parts) == 7 {
		if k.source, err = strconv.ParseUint(parts[6], 10, 64); err != nil || parts[5] != "source" {
			return k, false
		}
	}
	return k, true
}
