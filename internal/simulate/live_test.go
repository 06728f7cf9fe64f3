package simulate

import (
	"testing"
	"time"

	"hostmeter/schemas"
)

// TestLive goes on where the past ends, keeps the sequence numbers, and floods when it said it would.
func TestLive(t *testing.T) {
	p := days(1, 1)
	r := newReader(t, p)
	for e := range p.Play {
		if e.Datagram != nil {
			r.read(e.At, e.Datagram)
		}
	}
	missing := r.exporters[p.story.lossy.Address].missing
	flooding := p.meterNamed(t, p.Highlights().FloodingService)
	last, polls := p.end, 0
	var calm, storm schemas.Octets
	begun := p.end
	for now := p.end; !now.After(p.end.Add(50 * time.Second)); now = now.Add(100 * time.Millisecond) {
		for _, e := range p.NextLive(now) {
			if e.At.Before(last) || e.At.After(now) {
				t.Fatalf("at %s came an event of %s after one of %s", now, e.At, last)
			}
			last = e.At
			switch {
			case e.Datagram != nil:
				r.read(e.At, e.Datagram)
			case e.Guests != nil:
				polls++
			}
		}
		if now.Equal(begun.Add(AbuseAfter)) {
			calm = r.exporters[flooding.exporter.Address].packets()
		}
		if now.Equal(begun.Add(AbuseAfter + 10*time.Second)) {
			storm = r.exporters[flooding.exporter.Address].packets() - calm
		}
	}
	if perSecond := uint64(storm) * uint64(flooding.exporter.SamplingRate) / 10; perSecond < 50_000 {
		t.Errorf("the flood has %d packets/s, want more than 50,000", perSecond)
	}
	if polls != 5*hypervisorCount {
		t.Errorf("%d polls in 50 s, want %d", polls, 5*hypervisorCount)
	}
	if got := r.exporters[p.story.lossy.Address].missing; got != missing {
		t.Errorf("%d records were lost in the live phase", got-missing)
	}
	for _, e := range p.Exporters() {
		if got, book := r.exporters[e.Address], p.books.exporters[e.Address]; got.got != minus(book.Sent, book.Lost) {
			t.Errorf("%s told\n%s, the books say\n%s", e.Name, describe(got.got), describe(minus(book.Sent, book.Lost)))
		}
	}
}

func (e *readExporter) packets() schemas.Octets { return schemas.Octets(e.got.Packets) }

// TestLiveBeginsNow: when nobody asked for an hour, the hour is not made up.
func TestLiveBeginsNow(t *testing.T) {
	p := days(1, 1)
	if events := p.NextLive(p.end.Add(time.Hour)); len(events) != 0 {
		t.Fatalf("%d events at the first look", len(events))
	}
	if events := p.NextLive(p.end.Add(time.Hour + 4*time.Second)); len(events) == 0 {
		t.Fatal("nothing after four seconds")
	}
	if events := p.NextLive(p.end.Add(9 * time.Hour)); len(events) != 0 {
		t.Fatalf("%d events make up for eight hours", len(events))
	}
}
