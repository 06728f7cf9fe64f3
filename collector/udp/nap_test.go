package udp

import (
	"testing"
	"time"
)

func TestNapFor(t *testing.T) {
	for buffer, want := range map[int]time.Duration{
		212_992: 0, 4<<20 - 1: 0, // what a kernel grants that was not told otherwise
		4 << 20: 5 * time.Millisecond, 8 << 20: 10 * time.Millisecond,
		16 << 20: 20 * time.Millisecond, DefaultReceiveBuffer: 20 * time.Millisecond,
	} {
		if got := napFor(buffer); got != want {
			t.Errorf("napFor(%d) = %v, want %v", buffer, got, want)
		}
	}
}
