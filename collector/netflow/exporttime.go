package netflow

import (
	"encoding/binary"
	"time"
)

// ExportTime returns the exporter's time in the header of a datagram, of nanoseconds in version 5 and of
// whole seconds, rounded down, in 9 (RFC 3954 section 5.1) and 10 (RFC 7011 section 3.1). ok is false
// for anything else.
func ExportTime(datagram []byte) (at time.Time, ok bool) {
	if len(datagram) < 16 {
		return time.Time{}, false
	}
	be := binary.BigEndian
	switch be.Uint16(datagram) {
	case 5:
		return time.Unix(int64(be.Uint32(datagram[8:])), int64(be.Uint32(datagram[12:]))), true
	case 9:
		return time.Unix(int64(be.Uint32(datagram[8:])), 0), true
	case 10:
		return time.Unix(int64(be.Uint32(datagram[4:])), 0), true
	}
	return time.Time{}, false
}
