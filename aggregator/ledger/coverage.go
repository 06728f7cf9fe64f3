package ledger

import (
	"context"
	"math/bits"
	"slices"
	"strings"
	"time"

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
	err = l.db.View(ctx, func(tx *store.Tx) error {
		c, err = coverage(ctx, tx, exporters, from, to)
		return err
	})
	return c, err
}

// coverage is Coverage inside a transaction.
func coverage(ctx context.Context, tx *store.Tx, exporters []string, from, to time.Time) (Coverage, error) {
	exporters = slices.Compact(slices.Sorted(slices.Values(exporters)))
	first, last := ceil(from.UnixNano(), nanosPerMinute), ceil(to.UnixNano(), nanosPerMinute)
	var c Coverage
	var received float64 // minutes, each times the share received in its hour
	for _, exporter := range exporters {
		hours, err := observedHours(ctx, tx, exporter, first, last)
		if err != nil {
			return c, err
		}
		for hour := first / 60; hour*60 < last; hour++ {
			expected := minutesBetween(max(first-hour*60, 0), min(last-hour*60, 60))
			o := hours[hour]
			n := int64(bits.OnesCount64(o.minutes & expected))
			c.Expected += int64(bits.OnesCount64(expected))
			c.Observed += n
			c.LostOctets += o.lostOctets
			received += float64(n) * o.share
			c.miss(exporter, hour, expected&^o.minutes)
		}
	}
	c.Share = 1
	if c.Expected > 0 {
		c.Share = received / float64(c.Expected)
	}
	return c, nil
}

// observedHour is what all protocols of an exporter together observed in an hour.
type observedHour struct {
	minutes    uint64
	share      float64
	lostOctets schemas.Octets
}

func observedHours(ctx context.Context, tx *store.Tx, exporter string, firstMinute, lastMinute int64) (map[int64]observedHour, error) {
	hours := make(map[int64]observedHour)
	from, to := hourTime(firstMinute/60), hourTime(ceil(lastMinute, 60))
	err := accounts(ctx, tx, exporter, from, to, func(a Account) error {
		hour := a.Hour.Unix() / 3600
		o, ok := hours[hour]
		if !ok {
			o.share = 1
		}
		share, lostOctets := a.receivedShare()
		o.minutes |= a.MinutesObserved
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
