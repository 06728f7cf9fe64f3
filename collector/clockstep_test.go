package collector_test

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"
	"time"

	"pgregory.net/rapid"

	"hostmeter/collector"
	"hostmeter/schemas"
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

// A port's octets that were booked while the clock was behind are not booked again after a kill.
func TestPortCountersAreBookedOnceWhenTheClockIsSetBack(t *testing.T) {
	log, dir := newMemLog(), t.TempDir()
	c := run(t, log, dir, begin)
	feed := func(at time.Duration, uptime uint32, octets uint64) {
		c.Feed(edge, after(at), counterSample(uptime, uptime, octets, 0, 0, 0))
		flush(t, c, after(at))
	}
	feed(0, 100_000, 1_000_000)
	feed(20*time.Second, 120_000, 1_010_000)
	feed(-10*time.Second, 140_000, 1_030_000) // set back by 50 s
	log = log.reopened()
	c = run(t, log, dir, after(10*time.Second))
	feed(10*time.Second, 160_000, 1_070_000)
	if got := log.books(t).out["port:198.51.100.1/17"]; got != 70_000 {
		t.Errorf("the port sent %d octets, its counter says 70000", got)
	}
}

// What ports and guests' interfaces are booked with is what their counters moved by, wherever the clock is set and
// whenever the collector is killed.
func TestCountersAreBookedOnceWhateverTheClockDoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp("", "hostmeter-clock")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = os.RemoveAll(dir) }()
		const frame = 1000
		log, now, latest := newMemLog(), begin, begin
		c := run(t, log, dir, now)
		var frames uint64
		uptime := uint32(1000)
		read := func() {
			c.Feed(edge, now, counterSample(uptime, uptime, frames*frame, 0, uint32(frames), 0))
			c.FeedGuests("hv1", now, []schemas.GuestReading{{
				UUID: "4D5E", Name: "g", State: schemas.GuestState_GUEST_STATE_RUNNING, VCPUs: 1, CPUKnown: true,
				CPUNanoseconds: uint64(uptime) * 1000,
				VNICs:          []schemas.VNICReading{{MAC: "52:54:00:00:00:01", Target: "vnet0", OutOctets: frames * frame, OutPackets: frames}},
			}})
		}
		read()
		flushed(t, c, now, true)
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			passed := time.Duration(rapid.IntRange(1, 60).Draw(t, "seconds")) * time.Second
			now, uptime = now.Add(passed), uptime+uint32(passed.Milliseconds())
			switch rapid.IntRange(0, 7).Draw(t, "what") {
			default:
				frames += rapid.Uint64Range(0, 1000).Draw(t, "frames")
				read()
			case 0, 1:
				flushed(t, c, now, rapid.Bool().Draw(t, "all"))
			case 2:
				now = now.Add(time.Duration(rapid.IntRange(-1800, 1800).Draw(t, "clock set by")) * time.Second)
			case 3: // killed: nothing more is flushed
				log = log.reopened()
				if rapid.IntRange(0, 3).Draw(t, "file lost") == 0 {
					_ = os.Remove(filepath.Join(dir, "positions.json"))
				}
				c = run(t, log, dir, now)
			}
			if now.After(latest) {
				latest = now
			}
		}
		// While the clock is behind, guests are not read: the next reading has what they used.
		uptime += uint32(latest.Sub(now).Milliseconds()) + 1000
		now = latest.Add(time.Second)
		read()
		flushed(t, c, now, true)
		b := log.books(t)
		b.checkLaws(t)
		for meter, header := range map[string]uint64{"port:198.51.100.1/17": 18, "vnic:4d5e/52:54:00:00:00:01": 14} {
			if want := frames * (frame - header); b.out[meter] != want {
				t.Fatalf("%s sent %d octets, its counter says %d", meter, b.out[meter], want)
			}
		}
	})
}

func flushed(t tester, c *collector.Collector, at time.Time, all bool) {
	t.Helper()
	if err := c.Flush(background, at, all); err != nil {
		t.Fatal(err)
	}
}
