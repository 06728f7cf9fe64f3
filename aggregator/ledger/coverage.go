package ledger

import (
	"cmp"
	"context"
	"math"
	"math/bits"
	"slices"
	"strings"
	"time"

	"hostmeter/internal/inventory"
	"hostmeter/internal/store"
	"hostmeter/schemas"
)

// Coverage says how much of what should have been observed was.
type Coverage struct {
	// Share is between 0 and 1: observed minutes, each hour's times the part that was received of what
	// the exporter sent in it, over the minutes expected. 1 where nothing was expected.
	Share float64
	// Minutes of exporters that were expected, and that were observed.
	Expected, Observed int64
	// LostOctets is an estimate, lost units times their mean octets. It is never added to usage.
	LostOctets schemas.Octets
	// Missing is sorted by exporter and time; spans that touch are one.
	Missing []Missing
}

// Missing is a span [From, To) in which an exporter was not under observation.
type Missing struct {
	Exporter string
	From, To time.Time
}

// Coverage returns the coverage of the exporters together in [from, to), cut to whole minutes. Each
// exporter weighs the same: where one of two was observed, half was.
func (l *Ledger) Coverage(ctx context.Context, exporters []string, from, to time.Time) (c Coverage, err error) {
	var expected []inventory.Accounting
	for _, exporter := range exporters {
		expected = append(expected, inventory.Accounting{Exporter: exporter, From: from, Until: to})
	}
	err = l.db.View(ctx, func(tx *store.Tx) error {
		c, err = coverage(ctx, tx, joined(expected), nil)
		return err
	})
	return c, err
}

// joined returns spans by exporter and time, those of one exporter that touch or overlap as one.
func joined(spans []inventory.Accounting) []inventory.Accounting {
	spans = slices.Clone(spans)
	slices.SortFunc(spans, func(a, b inventory.Accounting) int {
		return cmp.Or(strings.Compare(a.Exporter, b.Exporter), a.From.Compare(b.From))
	})
	out := spans[:0]
	for _, span := range spans {
		if n := len(out) - 1; n >= 0 && out[n].Exporter == span.Exporter && !span.From.After(out[n].Until) {
			out[n].Until = later(out[n].Until, span.Until)
			continue
		}
		out = append(out, span)
	}
	return out
}

// eachExporter calls f with the spans of each exporter, of spans that are joined.
func eachExporter(spans []inventory.Accounting, f func(of []inventory.Accounting) error) error {
	for len(spans) > 0 {
		n := 1
		for n < len(spans) && spans[n].Exporter == spans[0].Exporter {
			n++
		}
		if err := f(spans[:n:n]); err != nil {
			return err
		}
		spans = spans[n:]
	}
	return nil
}

// coverage returns the coverage of exporters in the spans in which each was expected, which are joined. through leaves
// out late observations with a greater number; nil takes them all.
func coverage(ctx context.Context, tx *store.Tx, expected []inventory.Accounting, through *Observation) (Coverage, error) {
	var c Coverage
	var received float64 // minutes, each times the share received in its hour
	minute := func(at time.Time) int64 { return ceil(at.UnixNano(), nanosPerMinute) }
	err := eachExporter(expected, func(spans []inventory.Accounting) error {
		exporter := spans[0].Exporter
		hours, err := observedHours(ctx, tx, exporter, minute(spans[0].From), minute(spans[len(spans)-1].Until), through)
		if err != nil {
			return err
		}
		lostThrough := int64(math.MinInt64) // the last hour whose loss is in the sum
		for _, span := range spans {
			first, last := minute(span.From), minute(span.Until)
			for hour := first / 60; hour*60 < last; hour++ {
				expected := minutesBetween(max(first-hour*60, 0), min(last-hour*60, 60))
				o := hours[hour]
				n := int64(bits.OnesCount64(o.minutes & expected))
				c.Expected += int64(bits.OnesCount64(expected))
				c.Observed += n
				if hour > lostThrough {
					c.LostOctets += o.lostOctets
					lostThrough = hour
				}
				received += float64(n) * o.share
				c.miss(exporter, hour, expected&^o.minutes)
			}
		}
		return nil
	})
	c.Share = 1
	if c.Expected > 0 {
		c.Share = received / float64(c.Expected)
	}
	return c, err
}

// observedHour is what all protocols of an exporter together observed in an hour.
type observedHour struct {
	minutes    uint64
	share      float64
	lostOctets schemas.Octets
}

func observedHours(ctx context.Context, tx *store.Tx, exporter string, firstMinute, lastMinute int64, through *Observation) (map[int64]observedHour, error) {
	from, to := hourTime(firstMinute/60), hourTime(ceil(lastMinute, 60))
	toldLater, err := observedAfter(ctx, tx, exporter, from, to, through)
	if err != nil {
		return nil, err
	}
	hours := make(map[int64]observedHour)
	err = accounts(ctx, tx, exporter, from, to, func(a Account) error {
		hour := a.Hour.Unix() / 3600
		o, ok := hours[hour]
		if !ok {
			o.share = 1
		}
		share, lostOctets := a.receivedShare()
		o.minutes |= a.MinutesObserved &^ toldLater[accountKey{exporter, hour, a.Protocol}]
		o.share = min(o.share, share)
		o.lostOctets += lostOctets
		hours[hour] = o
		return nil
	})
	return hours, err
}

// minutesBetween has the bits [from, to) of an hour set.
func minutesBetween(from, to int64) uint64 { return 1<<to - 1<<from }

// miss adds the minutes of an hour whose bits are set.
func (c *Coverage) miss(exporter string, hour int64, minutes uint64) {
	for minutes != 0 {
		from := bits.TrailingZeros64(minutes)
		length := bits.TrailingZeros64(^(minutes >> from))
		minutes &^= (1<<length - 1) << from
		begin := hourTime(hour).Add(time.Duration(from) * time.Minute)
		end := begin.Add(time.Duration(length) * time.Minute)
		if n := len(c.Missing) - 1; n >= 0 && c.Missing[n].Exporter == exporter && c.Missing[n].To.Equal(begin) {
			c.Missing[n].To = end
			continue
		}
		c.Missing = append(c.Missing, Missing{Exporter: strings.Clone(exporter), From: begin, To: end})
	}
}
