package schemas

import (
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// tallyTag is the tag of Batch.tallies.
var tallyTag = protowire.AppendTag(nil, 10, protowire.BytesType)

// AppendTally encodes a tally behind others, as Batch.tallies stands on the wire.
func AppendTally(dst []byte, t *Tally) []byte {
	size := t.SizeVT()
	dst = protowire.AppendVarint(append(dst, tallyTag...), uint64(size))
	before := len(dst)
	dst = slices.Grow(dst, size)[:before+size]
	if _, err := t.MarshalToSizedBufferVT(dst[before:]); err != nil {
		panic(err) // it has no error of its own, and the buffer has the size that it asked for
	}
	return dst
}

// AttachTallies gives a batch that is about to be encoded tallies that AppendTally encoded. They are in what
// is encoded of it, and not in Tallies: who reads a batch reads a decoded one. encoded is kept.
func (x *Batch) AttachTallies(encoded []byte) { x.unknownFields = encoded }
