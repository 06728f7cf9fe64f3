// Package replay sends captures through the decoders and the tally that the collector uses, and sums
// up what they told: the fastest way to see whether hostmeter reads an exporter right.
package replay

import (
	"encoding/binary"

	"hostmeter/schemas"
)

// Recognise tells the protocol of a datagram by its first words. ok is false where it is none of
// the four.
func Recognise(datagram []byte) (protocol schemas.Protocol, ok bool) {
	if len(datagram) < 4 {
		return "", false
	}
	switch binary.BigEndian.Uint16(datagram) {
	case 5:
		return schemas.NetFlow5, true
	case 9:
		return schemas.NetFlow9, true
	case 10:
		return schemas.IPFIX, true
	}
	if binary.BigEndian.Uint32(datagram) == 5 {
		return schemas.SFlow5, true
	}
	return "", false
}
