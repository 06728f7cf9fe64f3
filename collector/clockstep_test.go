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

// An exporter that was heard by a clock two days ahead is silent once the clock is right and nothing comes: hours do
// not wait for it to be complete, nor pass for complete before.
func TestAClockThatWasAheadHidesNoSilence(t *testing.T) {
	log := newMemLog()
	c := run(t, log, t.TempDir(), begin)
	told := func() (through time.Time, silent bool) {
		t.Helper()
		batch := log.batches[len(log.batches)-1]
		return time.Unix(0, batch.Complete[0].Through), batch.Complete[0].Silent
	}
	ahead := after(48 * time.Hour)
	c.Feed(edge, ahead, v5(ahead, 0, 0, download))
	flush(t, c, ahead)
	if through, silent := told(); silent || through.Before(ahead.Add(-time.Hour)) {
		t.Fatalf("complete through %v, silent %v", through, silent)
	}
	flush(t, c, begin)
	if through, _ := told(); through.After(begin) {
		t.Errorf("complete through %v, at %v", through, begin)
	}
	flush(t, c, after(time.Hour))
	if through, silent := told(); !silent || through.After(begin) {
		t.Errorf("complete through %v, silent %v, an hour after the clock was set back", through, silent)
	}
	c.Feed(edge, after(2*time.Hour), v5(after(2*time.Hour), 1, 0, download))
	flush(t, c, after(2*time.Hour))
	if _, silent := told(); silent {
		t.Error("silent although it was heard")
	}
}
