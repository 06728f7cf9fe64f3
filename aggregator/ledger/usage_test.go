package ledger

import (
	"bytes"
	"errors"
	"math"
	"testing"
)

// FuzzUnpackSlots reads any octets as slots: what it takes is what packing writes, but for numbers that
// were written longer than they need to be.
func FuzzUnpackSlots(f *testing.F) {
	s := slots{{0: 1, 5: 127, 6: 128, 11: math.MaxUint64}, {3: 1 << 40}}
	f.Add(s.pack(nil))
	f.Add(bytes.Repeat([]byte{0}, 24))
	f.Add(bytes.Repeat([]byte{0}, 23))
	f.Add(bytes.Repeat([]byte{0}, 25))
	f.Add(bytes.Repeat([]byte{0xff}, 300))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := unpackSlots(data)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatalf("got %v, want ErrCorrupt", err)
			}
			return
		}
		packed := s.pack(nil)
		again, err := unpackSlots(packed)
		if err != nil || again != s || len(packed) > len(data) {
			t.Fatalf("%x: %v packs to %x, which is %v, %v", data, s, packed, again, err)
		}
	})
}
