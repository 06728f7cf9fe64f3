package collector_test

import (
	"encoding/binary"
	"testing"
	"time"
)

// A clock that is set forward by more than a month makes no exporter forgotten: what a kill costs is declared,
// also after a start in which nothing was heard.
func TestLossIsDeclaredWhenTheClockSteps(t *testing.T) {
	log, dir, now := newMemLog(), t.TempDir(), begin
	c := run(t, log, dir, now)
	datagram := func(sequence uint32) []byte {
		d := v5(now, sequence, 0, download)
		binary.BigEndian.PutUint32(d[4:], 1000) // the clock steps, and the exporter's uptime does not
		return d
	}
	c.Feed(edge, now, datagram(0))
	flush(t, c, now)
	now = now.Add(40 * 24 * time.Hour)
	for range 2 {
		log = log.reopened()
		c = run(t, log, dir, now) // and saves its positions
	}
	c.Feed(edge, now, datagram(6))
	flush(t, c, now)
	if flows := log.books(t).counts["198.51.100.1/lost/flows/sequence"]; flows != 5 {
		t.Errorf("%d flows are declared as lost, want 5", flows)
	}
}
