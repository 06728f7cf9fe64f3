package simulate

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"hostmeter/schemas"
)

// days returns a provider whose past is a number of days that end where a demonstration's does.
func days(seed uint64, n int) *Provider {
	_, end := Span()
	return New(seed, end.Add(-time.Duration(n)*24*time.Hour), end)
}

// digest plays a provider and hashes everything that it says.
func digest(p *Provider) string {
	h := sha256.New()
	h.Write(p.Import())
	for e := range p.Play {
		_ = binary.Write(h, binary.BigEndian, e.At.UnixNano())
		if e.Datagram != nil {
			h.Write([]byte(e.Datagram.From.String()))
			h.Write(e.Datagram.Payload)
		}
		if e.Guests != nil {
			for _, r := range e.Guests.Readings {
				_ = binary.Write(h, binary.BigEndian, []uint64{r.CPUNanoseconds, r.StealNanoseconds, uint64(len(r.VNICs))})
				for _, v := range r.VNICs {
					_ = binary.Write(h, binary.BigEndian, []uint64{v.InOctets, v.OutOctets, v.InPackets, v.OutPackets})
				}
			}
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

func TestSameSeedSameBytes(t *testing.T) {
	one, again, other := digest(days(7, 2)), digest(days(7, 2)), digest(days(8, 2))
	if one != again {
		t.Fatalf("seed 7 gave %s, then %s", one, again)
	}
	if one == other {
		t.Fatalf("seeds 7 and 8 gave the same bytes, %s", one)
	}
}

func TestEventsAreInOrderAndInside(t *testing.T) {
	p := days(1, 1)
	last, ticks := p.Begin(), 0
	for e := range p.Play {
		if e.At.Before(last) || e.At.After(p.End()) {
			t.Fatalf("an event at %s after one at %s, in a past that ends at %s", e.At, last, p.End())
		}
		last = e.At
		if e.Tick {
			ticks++
		}
	}
	if ticks != 144 || !last.Equal(p.End()) {
		t.Fatalf("%d ticks in a day, the last event at %s; want 144 and %s", ticks, last, p.End())
	}
}

// TestWireEqualsBooks reads the bytes back with a reader of its own and finds the books in them: what
// each exporter told, what each meter sent and received, and in the gaps of the sequence numbers what was lost.
func TestWireEqualsBooks(t *testing.T) {
	p := days(3, 6)
	r := newReader(t, p)
	for e := range p.Play {
		if e.Datagram != nil {
			r.read(e.At, e.Datagram)
		}
	}
	lost := uint64(0)
	for _, e := range p.Exporters() {
		book, got := p.Books().Exporters()[e.Address], r.exporters[e.Address]
		if want := minus(book.Sent, book.Lost); got.got != want {
			t.Errorf("%s told\n%s, the books say\n%s", e.Name, describe(got.got), describe(want))
		}
		if want := lostOf(e.Protocol, book.Lost); got.missing != want {
			t.Errorf("%s: %d are missing in the sequence, the books say %d", e.Name, got.missing, want)
		}
		if sum := uint64(book.OctetsBoth + book.OctetsOnce + book.OctetsTransit); got.scaled != sum {
			t.Errorf("%s: %d octets, the books say %d", e.Name, got.scaled, sum)
		}
		lost += got.missing
	}
	if lost == 0 {
		t.Error("nothing was lost: the story lacks its lossy exporter")
	}
	compareMeters(t, p, r)
}

func minus(a, b Statements) Statements {
	return Statements{
		a.Datagrams - b.Datagrams, a.Records - b.Records, a.OptionRecords - b.OptionRecords, a.Templates - b.Templates,
		a.CounterSamples - b.CounterSamples, a.Octets - b.Octets, a.Packets - b.Packets,
	}
}

func compareMeters(t *testing.T, p *Provider, r *reader) {
	t.Helper()
	for id, book := range p.Books().Meters() {
		prefix, _ := id.Prefix()
		talker := prefix.Addr()
		if talker.Is6() {
			talker = talker.Next()
		}
		external := book.Sum(schemas.ClassExternal, p.Begin(), p.End())
		internal := book.Sum(schemas.ClassInternal, p.Begin(), p.End())
		in, out := uint64(external.In.Seen+internal.In.Seen), uint64(external.Out.Seen+internal.Out.Seen)
		if r.in[talker] != in || r.out[talker] != out {
			t.Errorf("%s: in %d, out %d; the books say %d and %d", id, r.in[talker], r.out[talker], in, out)
		}
		delete(r.in, talker)
		delete(r.out, talker)
	}
	if len(r.in)+len(r.out) > 0 {
		t.Errorf("the wire has addresses that the books lack: %v %v", r.in, r.out)
	}
}

// TestBooksAddUp: Seen <= Sent; where nothing is sampled, lost or silent, all three figures are one.
func TestBooksAddUp(t *testing.T) {
	p := days(5, 4)
	for range p.Play {
	}
	for _, e := range p.exporters {
		var sum Figures
		for _, m := range e.meters {
			for _, class := range []string{schemas.ClassExternal, schemas.ClassInternal} {
				c := m.book.Sum(class, p.Begin(), p.End())
				sum.add(c.In)
				sum.add(c.Out)
			}
		}
		plain := e.SamplingRate == 1 && e != p.story.lossy && e != p.story.silent
		switch {
		case sum.True == 0:
			t.Errorf("%s: no traffic", e.Name)
		case plain && (sum.True != sum.Sent || sum.Sent != sum.Seen):
			t.Errorf("%s neither samples nor loses, and has %+v", e.Name, sum)
		case e == p.story.lossy && (sum.Seen >= sum.Sent || sum.True != sum.Sent):
			t.Errorf("%s loses, and has %+v", e.Name, sum)
		case sum.Seen > sum.Sent:
			t.Errorf("%s: more seen than sent: %+v", e.Name, sum)
		}
		if book := p.books.exporters[e.Address]; e == p.story.silent && book.Unobserved == 0 {
			t.Errorf("%s has missed nothing in its silent hour", e.Name)
		}
		if 2*e.book.OctetsBoth+e.book.OctetsOnce != sum.Seen {
			t.Errorf("%s: %d at both ends and %d at one, and the meters have %d", e.Name, e.book.OctetsBoth, e.book.OctetsOnce, sum.Seen)
		}
	}
}

// TestNoFlowCrossesABound: spread over any cut on multiples of ten minutes, no flow has two parts.
func TestNoFlowCrossesABound(t *testing.T) {
	p := days(2, 1)
	for at := p.begin; at.Before(p.begin.Add(6 * time.Hour)); at = at.Add(TickEvery) {
		s := span{from: at, length: TickEvery, flush: flushEvery}
		for _, e := range p.exporters {
			p.generate(e, s)
			for _, f := range e.pending {
				if f.start < at.UnixMilli() || f.end > s.end().UnixMilli() || f.end < f.start {
					t.Fatalf("%s: a flow from %d to %d in the ten minutes from %d", e.Name, f.start, f.end, at.UnixMilli())
				}
				if e.Protocol == schemas.NetFlow5 && (f.octets >= 1<<32 || f.packets >= 1<<32) {
					t.Fatalf("%s: %d octets do not fit", e.Name, f.octets)
				}
			}
			e.pending = e.pending[:0]
		}
	}
	for _, o := range p.owners {
		for _, change := range []time.Time{o.from, o.until} {
			if counts := slotAfter(change); !change.IsZero() && counts.Unix()%600 != 0 {
				t.Errorf("%s changes hands at %s, inside of ten minutes", o.key, counts)
			}
		}
	}
}

// TestVNICsEqualTruth: what a guest's vNIC counted between two polls is the truth of its service's
// addresses, with an Ethernet header a packet.
func TestVNICsEqualTruth(t *testing.T) {
	p := days(4, 3)
	first, last := map[string]schemas.VNICReading{}, map[string]schemas.VNICReading{}
	off := map[string]bool{}
	for e := range p.Play {
		if e.Guests == nil {
			continue
		}
		for _, r := range e.Guests.Readings {
			if r.State != schemas.GuestState_GUEST_STATE_RUNNING {
				off[r.UUID] = true
				continue
			}
			if _, ok := first[r.UUID]; !ok {
				first[r.UUID] = r.VNICs[0]
			}
			last[r.UUID] = r.VNICs[0]
		}
	}
	if len(off) != 1 {
		t.Errorf("%d guests were restarted, want 1", len(off))
	}
	checked := 0
	for _, h := range p.hosts {
		for _, g := range h.guests {
			if off[g.UUID] {
				continue
			}
			a, b := first[g.UUID], last[g.UUID]
			gotIn := b.InOctets - a.InOctets - frameOverhead*(b.InPackets-a.InPackets)
			gotOut := b.OutOctets - a.OutOctets - frameOverhead*(b.OutPackets-a.OutPackets)
			var want Cell
			for _, e := range p.exporters {
				for _, m := range e.meters {
					if m.guest == g {
						c := m.book.Sum(schemas.ClassExternal, p.begin.Add(SlotLength), p.end)
						want.In.add(c.In)
						want.Out.add(c.Out)
					}
				}
			}
			if gotIn != uint64(want.In.True) || gotOut != uint64(want.Out.True) || gotOut == 0 {
				t.Errorf("%s: in %d, out %d; true are %d and %d", g.Name, gotIn, gotOut, want.In.True, want.Out.True)
			}
			checked++
		}
	}
	if checked != guestCount-1 {
		t.Errorf("%d guests", checked)
	}
}

// TestBusyGuest: the story's guest is above 90 % for more than three days up to the end.
func TestBusyGuest(t *testing.T) {
	p := days(1, 9)
	h := p.Highlights()
	var before schemas.GuestReading
	var beforeAt time.Time
	low, high := 0, 0
	for e := range p.Play {
		if e.Guests == nil {
			continue
		}
		for _, r := range e.Guests.Readings {
			if r.UUID != h.BusyGuest {
				continue
			}
			if !beforeAt.IsZero() && !beforeAt.Before(p.end.Add(-73*time.Hour)) {
				ratio := float64(r.CPUNanoseconds-before.CPUNanoseconds) / float64(e.At.Sub(beforeAt).Nanoseconds()) / float64(r.VCPUs)
				if ratio > 0.9 && ratio <= 1 {
					high++
				} else {
					low++
				}
			}
			before, beforeAt = r, e.At
		}
	}
	if low != 0 || high != 73*12 {
		t.Fatalf("%d polls above 90 %%, %d not; want %d and 0", high, low, 73*12)
	}
}

func TestFastService(t *testing.T) {
	p := days(1, 9)
	for range p.Play {
	}
	m := p.meterNamed(t, p.Highlights().FastService)
	for at := p.end.Add(-73 * time.Hour); at.Before(p.end); at = at.Add(SlotLength) {
		c := m.book.Sum(schemas.ClassExternal, at, at.Add(SlotLength))
		if rate := uint64(c.Out.Seen) * 8 / 300; rate < 220_000_000 {
			t.Fatalf("%d bit/s at %s", rate, at)
		}
	}
}

func (p *Provider) meterNamed(t *testing.T, id string) *meter {
	t.Helper()
	for _, s := range p.services {
		if s.id == id {
			return p.meterOf(s)
		}
	}
	t.Fatalf("no service %s", id)
	return nil
}

// TestImportIsYAML reads the import file and finds every part in it.
func TestImportIsYAML(t *testing.T) {
	p := days(1, 35)
	var file struct {
		Provider  map[string]string
		Prefixes  []struct{ Prefix netip.Prefix }
		Prices    []map[string]any
		Plans     []map[string]any
		Customers []struct{ ID, Reseller string }
		Services  []struct{ ID, Customer, Plan string }
		Ownership []struct{ Service, Key string }
	}
	if err := yaml.Unmarshal(p.Import(), &file); err != nil {
		t.Fatal(err)
	}
	resold := 0
	for _, c := range file.Customers {
		if c.Reseller == p.Highlights().Reseller {
			resold++
		}
	}
	if len(file.Services) != 60 || len(file.Customers) != 40 || resold != resoldCount || len(file.Plans) != len(plans) || len(file.Prices) != len(prices) {
		t.Fatalf("%d services, %d customers of which %d are resold to, %d plans, %d prices", len(file.Services), len(file.Customers), resold, len(file.Plans), len(file.Prices))
	}
	for _, o := range file.Ownership {
		if id, err := schemas.ParseMeter(o.Key); err != nil || string(id) != o.Key {
			t.Errorf("%s owns %q: %s, %v", o.Service, o.Key, id, err)
		}
	}
	if !strings.Contains(string(p.Import()), "quota: 12 TB") {
		t.Error("no contract has a quota of its own")
	}
}

func BenchmarkPlay(b *testing.B) {
	for b.Loop() {
		datagrams := 0
		for e := range days(1, 35).Play {
			if e.Datagram != nil {
				datagrams++
			}
		}
		if datagrams < 400_000 {
			b.Fatalf("%d datagrams", datagrams)
		}
	}
}

// TestExportersAreNeverSilentForLong: a gap of more than five minutes counts as not observed, and
// the story has one of those, which it tells of.
func TestExportersAreNeverSilentForLong(t *testing.T) {
	p := days(1, 4)
	last := map[netip.Addr]time.Time{}
	opened := p.monthStart.Add(time.Hour) // everybody has begun
	gaps := 0
	for e := range p.Play {
		if e.Datagram == nil {
			continue
		}
		from := e.Datagram.From.Addr()
		if before := last[from]; before.After(opened) && e.At.Sub(before) > 5*time.Minute {
			if from != p.story.silent.Address || e.At.Before(p.story.silentUntil) || before.After(p.story.silentFrom) {
				t.Errorf("%s says nothing from %s to %s", from, before, e.At)
			}
			gaps++
		}
		last[from] = e.At
	}
	if gaps != 1 {
		t.Errorf("%d gaps, want the one of the silent hour", gaps)
	}
}

// TestNobodyFloodsInThePast: everyday traffic stays well below what a short rule calls a flood.
func TestNobodyFloodsInThePast(t *testing.T) {
	p := days(1, 4)
	packets := map[*meter]map[int64]float64{} // by minute
	for at := p.begin; at.Before(p.end); at = at.Add(TickEvery) {
		for _, e := range p.exporters {
			p.generate(e, span{from: at, length: TickEvery, flush: flushEvery})
			for _, f := range e.pending {
				if f.from == nil || f.end == f.start {
					continue
				}
				if packets[f.from] == nil {
					packets[f.from] = map[int64]float64{}
				}
				perMinute := float64(f.packets*uint64(e.SamplingRate)) / float64(f.end-f.start) * 60000
				for minute := f.start / 60000; minute <= f.end/60000; minute++ {
					packets[f.from][minute] += perMinute
				}
			}
			e.pending = e.pending[:0]
		}
	}
	for m, minutes := range packets {
		for minute, n := range minutes {
			if n/60 > 40_000 {
				t.Fatalf("%s sends %.0f packets/s in minute %d", m.id, n/60, minute)
			}
		}
	}
}
