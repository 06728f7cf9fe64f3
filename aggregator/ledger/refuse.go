package ledger

import (
	"fmt"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"hostmeter/schemas"
)

// refusal is why a batch breaks an invariant: it is parked, and the ones behind it are booked.
type refusal struct{ reason string }

func (r *refusal) Error() string { return r.reason }

func refuse(format string, args ...any) error {
	return &refusal{reason: fmt.Sprintf(format, args...)}
}

// Bounds of what one batch may say. They leave room for sums: 64 of the greatest values fit in a
// row, and what does not fit any more is refused when it is added.
const (
	maxCount        = 1 << 56 // octets, packets, flows, variance of a tally; an account's counts
	maxNanoseconds  = 1 << 60 // of CPU between two readings
	maxShards       = 1 << 16
	maxReadingSpan  = 31 * 24 * time.Hour
	maxAheadMinutes = 48 * 60 // of the end of receipt
)

// The years in which usage may lie: 2000 to 2199.
var (
	firstNano = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano()
	lastNano  = time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano()
)

const (
	nanosPerMinute = int64(time.Minute)
	nanosPerHour   = int64(time.Hour)
)

// hasIdentity says whether a batch can be named at all, which parking it needs.
func hasIdentity(b *schemas.Batch) bool {
	return b.GetCollector() != "" && storable(b.GetCollector()) &&
		b.GetIndex() >= 1 && b.GetIndex() <= math.MaxInt64
}

// storable says whether both stores take a text.
func storable(s string) bool { return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 }

// check returns a refusal where a batch breaks an invariant that shows without the rows. What a meter is
// called is checked when its row is made.
func check(b *schemas.Batch) error {
	if b.GetShards() == 0 || b.GetShards() > maxShards || b.GetShard() >= b.GetShards() {
		return refuse("shard %d of %d shards", b.GetShard(), b.GetShards())
	}
	for _, text := range b.GetClasses() {
		if !storable(text) || text == "" {
			return refuse("class %q", text)
		}
	}
	for i, t := range b.GetTallies() {
		if err := checkTally(b, t); err != nil {
			return refuse("tally %d of meter %q: %s", i, t.GetMeter(), err)
		}
	}
	for i, g := range b.GetGuests() {
		if err := checkGuest(g); err != nil {
			return refuse("usage %d of guest %q: %s", i, g.GetGuest(), err)
		}
	}
	for i, a := range b.GetAccounts() {
		if err := checkAccount(a); err != nil {
			return refuse("account %d of exporter %q: %s", i, a.GetExporter(), err)
		}
	}
	return nil
}

func checkTally(b *schemas.Batch, t *schemas.Tally) error {
	minute := t.GetMinute()
	switch {
	case int(t.GetClass()) >= len(b.GetClasses()):
		return refuse("class %d of %d", t.GetClass(), len(b.GetClasses()))
	case int(t.GetExporter()) >= len(b.GetExporters()):
		return refuse("exporter %d of %d", t.GetExporter(), len(b.GetExporters()))
	case minute < firstNano/nanosPerMinute || minute >= lastNano/nanosPerMinute:
		return refuse("minute %d is in no year from 2000 to 2199", minute)
	case b.GetReceivedTo() > 0 && minute > b.GetReceivedTo()/nanosPerMinute+maxAheadMinutes:
		return refuse("minute %d is more than two days after its receipt", minute)
	}
	for _, traffic := range [...]*schemas.Traffic{t.GetIn(), t.GetOut()} {
		if traffic.GetOctets()|traffic.GetPackets()|traffic.GetFlows()|traffic.GetVarianceKib2() >= maxCount {
			return refuse("octets %d, packets %d, flows %d, variance %d: more than a minute can hold",
				traffic.GetOctets(), traffic.GetPackets(), traffic.GetFlows(), traffic.GetVarianceKib2())
		}
	}
	return nil
}

func checkGuest(g *schemas.GuestUsage) error {
	switch {
	case g.GetFrom() < firstNano || g.GetTo() >= lastNano || g.GetTo() < g.GetFrom():
		return refuse("from %d to %d", g.GetFrom(), g.GetTo())
	case g.GetTo()-g.GetFrom() > int64(maxReadingSpan):
		return refuse("two readings %s apart", time.Duration(g.GetTo()-g.GetFrom()))
	case g.GetCpuNanoseconds()|g.GetCapacityNanoseconds()|g.GetStealNanoseconds() >= maxNanoseconds:
		return refuse("CPU %d, capacity %d, steal %d: more than a guest can use",
			g.GetCpuNanoseconds(), g.GetCapacityNanoseconds(), g.GetStealNanoseconds())
	case g.GetGuest() != strings.ToLower(g.GetGuest()):
		return refuse("a guest is written in lower case")
	case !storable(g.GetHost()) || !storable(g.GetName()):
		return refuse("host %q, name %q", g.GetHost(), g.GetName())
	}
	return checkMeter(schemas.GuestMeter(g.GetGuest()))
}

func checkAccount(a *schemas.ExporterAccount) error {
	switch {
	case a.GetExporter() == "" || !storable(a.GetExporter()) || !storable(a.GetProtocol()):
		return refuse("exporter or protocol %q", a.GetProtocol())
	case a.GetHour() < firstNano/nanosPerHour || a.GetHour() >= lastNano/nanosPerHour:
		return refuse("hour %d is in no year from 2000 to 2199", a.GetHour())
	case a.GetMinutesObserved() >= 1<<60:
		return refuse("minutes observed %x: an hour has 60", a.GetMinutesObserved())
	}
	for i, n := range accountNumbers(a) {
		if n >= maxCount {
			return refuse("%s is %d", accountColumns[i], n)
		}
	}
	for _, counts := range [...][]*schemas.Count{a.GetDropped(), a.GetHeld(), a.GetLost()} {
		for _, c := range counts {
			if c.GetCount() >= maxCount || c.GetCount() <= -maxCount {
				return refuse("%d %s for reason %q", c.GetCount(), c.GetUnit(), c.GetReason())
			}
			if !storable(c.GetUnit()) || !storable(c.GetReason()) || strings.Contains(c.GetUnit(), "/") {
				return refuse("unit %q, reason %q", c.GetUnit(), c.GetReason())
			}
		}
	}
	return nil
}

// checkMeter refuses what is no meter, or not written in its one form: it would have two rows.
func checkMeter(meter schemas.MeterID) error {
	canonical, err := schemas.ParseMeter(string(meter))
	switch {
	case err != nil:
		return refuse("%s", err)
	case canonical != meter:
		return refuse("meter %q is written %q", meter, canonical)
	case !storable(string(meter)):
		return refuse("meter %q", meter)
	}
	return nil
}
