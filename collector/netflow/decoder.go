package netflow

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"hostmeter/collector/netflow/sequence"
	"hostmeter/collector/sflow/frame"
	"hostmeter/schemas"
)

// Decoder reads the datagrams of one exporter's address, in the order they arrived.
type Decoder struct {
	limits     Limits
	stats      Stats
	domains    map[domainKey]*domain
	whole      [2]*domain // domain 0 of versions 10 and 9, by the lowest bit; nil where there is none
	held       holding
	running    runningTotals
	generation uint64 // of sampling rates
	revision   uint64 // of State
	tunnels    frame.Tunnels
	programs   *Programs
	fields     []field // of the template being read
	values     values  // of the record being read
}

// NewDecoder returns a decoder that knows no template yet.
func NewDecoder(limits Limits) *Decoder {
	return &Decoder{limits: limits, domains: make(map[domainKey]*domain), running: runningTotals{limit: limits.RunningFlows}, programs: &Programs{}}
}

// Share lets the decoder share compiled templates with others.
func (d *Decoder) Share(programs *Programs) { d.programs = programs }

// LookInto lets the packet inside these tunnels count where records carry sections of packets (313, 315).
func (d *Decoder) LookInto(tunnels frame.Tunnels) { d.tunnels = tunnels }

// header is what a v9 or IPFIX datagram's header says of all its sets.
type header struct {
	version    uint16
	exportedAt int64  // nanoseconds since the Unix epoch
	uptime     uint32 // milliseconds; v9 only
	receivedAt time.Time
}

// Decode appends the flow records of one datagram to dst and returns it.
//
// datagram is one UDP payload of NetFlow v5, v9 or IPFIX, sent from from; nothing in dst points into it
// afterwards. Octets and Packets are as the exporter wrote them; the sampling rate stands beside
// them, and SamplingOrigin is SamplingUnknown where nothing has told one yet. What waited for a
// template in this datagram is returned with it.
//
// Errors: ErrShort, ErrVersion, ErrCount, ErrDomains, all of them counted. A set that cannot be
// read is no error: it is counted and the others are returned.
func (d *Decoder) Decode(dst []schemas.FlowRecord, from netip.AddrPort, receivedAt time.Time, datagram []byte) ([]schemas.FlowRecord, error) {
	d.Expire(receivedAt)
	if len(datagram) < 2 {
		d.stats.Dropped[DroppedShort]++
		return dst, ErrShort
	}
	before := len(dst)
	var err error
	switch binary.BigEndian.Uint16(datagram) {
	case 5:
		d.stats.Datagrams5++
		dst, err = d.decode5(dst, from.Port(), receivedAt, datagram)
	case 9:
		d.stats.Datagrams9++
		dst, err = d.decode9(dst, from.Port(), receivedAt, datagram)
	case 10:
		d.stats.DatagramsIPFIX++
		dst, err = d.decodeIPFIX(dst, from.Port(), receivedAt, datagram)
	default:
		d.stats.Dropped[DroppedVersion]++
		return dst, ErrVersion
	}
	d.stats.Records += uint64(len(dst) - before)
	for i := before; i < len(dst); i++ {
		d.stats.ReportedOctets += dst[i].Octets + dst[i].ReverseOctets
		d.stats.ReportedPackets += dst[i].Packets + dst[i].ReversePackets
	}
	return dst, err
}

// decode9 reads a v9 datagram by the lengths of its sets: the count in its header is wrong in
// practice. Source: RFC 3954 section 5.
func (d *Decoder) decode9(dst []schemas.FlowRecord, port uint16, receivedAt time.Time, b []byte) ([]schemas.FlowRecord, error) {
	if len(b) < 20 {
		d.stats.Dropped[DroppedShort]++
		return dst, ErrShort
	}
	h := header{
		version:    9,
		uptime:     binary.BigEndian.Uint32(b[4:]),
		exportedAt: int64(binary.BigEndian.Uint32(b[8:])) * 1e9,
		receivedAt: receivedAt,
	}
	dom, ses, err := d.streamOf(domainKey{9, binary.BigEndian.Uint32(b[16:])}, port, receivedAt)
	if err != nil {
		return dst, err
	}
	d.count(&d.stats.LostDatagrams, ses, binary.BigEndian.Uint32(b[12:]), 1, h.uptime, false)
	dst, _, _ = d.sets(dst, dom, ses, &h, b[20:])
	return dst, nil
}

// decodeIPFIX reads an IPFIX message. Source: RFC 7011 section 3.1.
func (d *Decoder) decodeIPFIX(dst []schemas.FlowRecord, port uint16, receivedAt time.Time, b []byte) ([]schemas.FlowRecord, error) {
	if len(b) < 16 {
		d.stats.Dropped[DroppedShort]++
		return dst, ErrShort
	}
	length := int(binary.BigEndian.Uint16(b[2:]))
	if length < 16 || length > len(b) {
		d.stats.Dropped[DroppedShort]++
		return dst, ErrShort
	}
	if !allZero(b[length:]) { // a UDP datagram holds one message
		d.stats.Dropped[DroppedTrailing]++
	}
	h := header{version: 10, exportedAt: int64(binary.BigEndian.Uint32(b[4:])) * 1e9, receivedAt: receivedAt}
	dom, ses, err := d.streamOf(domainKey{10, binary.BigEndian.Uint32(b[12:])}, port, receivedAt)
	if err != nil {
		return dst, err
	}
	number := binary.BigEndian.Uint32(b[8:])
	dst, records, open := d.sets(dst, dom, ses, &h, b[16:length])
	d.count(&d.stats.LostRecords, ses, number, records, 0, open)
	return dst, nil
}

func (d *Decoder) streamOf(key domainKey, port uint16, at time.Time) (*domain, *session, error) {
	dom, ok := d.domainOf(key, at)
	if !ok {
		d.stats.Dropped[DroppedDomains]++
		return nil, nil, ErrDomains
	}
	return dom, d.sessionOf(dom, port, at), nil
}

func (d *Decoder) count(lost *int64, ses *session, number, units, uptime uint32, open bool) {
	n, restarted := ses.sequence.Advance(number, units, uptime, open)
	*lost += n
	if restarted {
		d.stats.Restarts++
	}
}

// sets reads the sets of a datagram. records counts the data records, options too; open says that
// some could not be counted.
func (d *Decoder) sets(dst []schemas.FlowRecord, dom *domain, ses *session, h *header, b []byte) (out []schemas.FlowRecord, records uint32, open bool) {
	for len(b) >= 4 {
		id, length := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
		if length < 4 || length > len(b) {
			if !allZero(b) { // else padding of the datagram
				d.stats.Dropped[DroppedSetLength]++
				open = true
			}
			return dst, records, open
		}
		body := b[4:length]
		b = b[length:]
		switch {
		case id >= 256:
			p := d.find(dom, ses.port, id, h.receivedAt)
			if p == nil {
				d.hold(heldKey{dom.key, id}, ses.port, *h, body, h.receivedAt)
				open = true
				continue
			}
			var n uint32
			dst, n = d.dataSet(dst, dom, p, h, body)
			records += n
		case h.version == 9 && id == 0, h.version == 10 && id == 2:
			dst = d.templateSet(dst, dom, ses, h, body, false)
		case h.version == 9 && id == 1, h.version == 10 && id == 3:
			dst = d.templateSet(dst, dom, ses, h, body, true)
		default:
			d.stats.Dropped[DroppedReservedSet]++
		}
	}
	return dst, records, open
}

// Stats is what was counted since the last TakeStats. It stays valid and goes on counting.
func (d *Decoder) Stats() *Stats { return &d.stats }

// TakeStats returns what was counted since the last call and begins anew.
func (d *Decoder) TakeStats() Stats {
	s := d.stats
	d.stats = Stats{}
	return s
}

var protocolTexts = map[uint16]schemas.Protocol{5: schemas.NetFlow5, 9: schemas.NetFlow9, 10: schemas.IPFIX}

// Positions returns the sequence numbers that are expected next, for Restore after a restart. Keys
// are "PROTOCOL/domain/ID/port/PORT", values the next sequence number and the exporter's uptime in
// milliseconds (0 for IPFIX). Source and At are left to the caller. The order is that of the keys.
func (d *Decoder) Positions() []*schemas.SourcePosition {
	var out []*schemas.SourcePosition
	for key, dom := range d.domains {
		for _, s := range dom.sessions {
			if number, uptime, ok := s.sequence.Expected(); ok {
				out = append(out, &schemas.SourcePosition{
					Key:    fmt.Sprintf("%s/domain/%d/port/%d", protocolTexts[key.version], key.id, s.port),
					Values: []uint64{uint64(number), uint64(uptime)},
				})
			}
		}
	}
	slices.SortFunc(out, func(a, b *schemas.SourcePosition) int { return strings.Compare(a.Key, b.Key) })
	return out
}

// Restore makes a new decoder count what was lost since positions were taken. Keys that are not its
// own are passed over.
func (d *Decoder) Restore(positions []*schemas.SourcePosition) {
	for _, p := range positions {
		name, rest, _ := strings.Cut(p.GetKey(), "/")
		var id uint32
		var port uint16
		if n, err := fmt.Sscanf(rest, "domain/%d/port/%d", &id, &port); n != 2 || err != nil || len(p.GetValues()) != 2 {
			continue
		}
		for version, text := range protocolTexts {
			if string(text) != name {
				continue
			}
			_, ses, err := d.streamOf(domainKey{version, id}, port, time.Unix(0, p.GetAt()))
			if err == nil {
				ses.sequence = sequence.Resume(uint32(p.GetValues()[0]), uint32(p.GetValues()[1]))
			}
		}
	}
}
