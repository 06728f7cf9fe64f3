package netflow

import (
	"encoding/binary"
	"net/netip"
	"time"

	"hostmeter/schemas"
)

const (
	header5 = 24
	record5 = 48
)

// decode5 reads a v5 datagram. Its count must fit its length, else nothing of it is believed.
//
// The last two octets of the header are the sampling mode (2 bits) and interval (14 bits); an
// interval of 0 or 1 is unsampled. Times are milliseconds of uptime, compared modulo 2^32.
// Source: Cisco, NetFlow Export Datagram Formats, version 5.
func (d *Decoder) decode5(dst []schemas.FlowRecord, port uint16, receivedAt time.Time, b []byte) ([]schemas.FlowRecord, error) {
	if len(b) < header5 {
		d.stats.Dropped[DroppedShort]++
		return dst, ErrShort
	}
	count := int(binary.BigEndian.Uint16(b[2:]))
	if header5+count*record5 > len(b) {
		d.stats.Dropped[DroppedCount]++
		return dst, ErrCount
	}
	engine := uint32(binary.BigEndian.Uint16(b[20:]))
	_, ses, err := d.streamOf(domainKey{5, engine}, port, receivedAt)
	if err != nil {
		return dst, err
	}
	uptime := binary.BigEndian.Uint32(b[4:])
	exportedAt := int64(binary.BigEndian.Uint32(b[8:]))*1e9 + int64(binary.BigEndian.Uint32(b[12:]))
	d.count(&d.stats.LostFlows, ses, binary.BigEndian.Uint32(b[16:]), uint32(count), uptime, false)
	interval := max(uint32(binary.BigEndian.Uint16(b[22:])&0x3fff), 1)
	var rec *schemas.FlowRecord
	for b = b[header5:]; count > 0; count, b = count-1, b[record5:] {
		r := b[:record5]
		dst, rec = schemas.AppendFlow(dst)
		rec.Source, rec.Destination = netip.AddrFrom4([4]byte(r[0:4])), netip.AddrFrom4([4]byte(r[4:8]))
		rec.InInterface = schemas.IfIndex(binary.BigEndian.Uint16(r[12:]))
		rec.OutInterface = schemas.IfIndex(binary.BigEndian.Uint16(r[14:]))
		rec.Packets = uint64(binary.BigEndian.Uint32(r[16:]))
		rec.Octets = uint64(binary.BigEndian.Uint32(r[20:]))
		rec.FlowStart = uptimeToUnix(exportedAt, uptime, binary.BigEndian.Uint32(r[24:]))
		rec.FlowEnd = max(rec.FlowStart, uptimeToUnix(exportedAt, uptime, binary.BigEndian.Uint32(r[28:])))
		rec.SourcePort, rec.DestinationPort = binary.BigEndian.Uint16(r[32:]), binary.BigEndian.Uint16(r[34:])
		rec.TCPFlags, rec.IPProtocol = r[37], r[38]
		rec.SamplingNumerator, rec.SamplingDenominator, rec.SamplingOrigin = interval, 1, schemas.SamplingHeader
		rec.ObservationDomain = engine
	}
	return dst, nil
}

// uptimeToUnix turns milliseconds of uptime into nanoseconds since the Unix epoch. exportedAt is the
// Unix time at uptime now. The difference is taken modulo 2^32 and is within 24.8 days either way,
// so that neither a wrap nor a time slightly ahead of the header throws it off.
func uptimeToUnix(exportedAt int64, now, then uint32) int64 {
	return exportedAt - int64(int32(now-then))*1e6
}
