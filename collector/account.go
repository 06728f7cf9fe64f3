package collector

import (
	"time"

	"hostmeter/schemas"
)

// accountKey names one exporter's account of one protocol and hour of receive time.
type accountKey struct {
	exporter string
	protocol schemas.Protocol
	hour     int64
}

func hourOf(at time.Time) int64 { return floorDiv(at.Unix(), 3600) }

func minuteOf(at time.Time) int64 { return floorDiv(at.Unix(), 60) }

func floorDiv(a, b int64) int64 {
	if q := a / b; a%b >= 0 {
		return q
	}
	return a/b - 1
}

// account returns the account of a key, in which differences gather until the next flush.
func (c *Collector) account(key accountKey) *schemas.ExporterAccount {
	a := c.accounts[key]
	if a == nil {
		a = &schemas.ExporterAccount{Exporter: key.exporter, Protocol: string(key.protocol), Hour: key.hour}
		c.accounts[key] = a
	}
	return a
}

// observe marks the minutes from last to at, or that of at alone after a gap that is longer than the
// configured silence: an exporter with nothing to tell for a while is not blind.
func (c *Collector) observe(exporter string, protocol schemas.Protocol, last, at time.Time) {
	to := minuteOf(at)
	from := to
	if gap := at.Sub(last); !last.IsZero() && gap >= 0 && gap <= c.cfg.Silence {
		from = minuteOf(last)
	}
	for minute := from; minute <= to; minute++ {
		hour := floorDiv(minute, 60)
		c.account(accountKey{exporter, protocol, hour}).MinutesObserved |= 1 << uint(minute-hour*60)
	}
}

// addAccount adds the differences of src, which is not kept, to dst.
func addAccount(dst, src *schemas.ExporterAccount) {
	dst.MinutesObserved |= src.MinutesObserved
	dst.Datagrams += src.Datagrams
	dst.Records += src.Records
	dst.OptionRecords += src.OptionRecords
	dst.Templates += src.Templates
	dst.CounterSamples += src.CounterSamples
	dst.ReportedOctets += src.ReportedOctets
	dst.ReportedPackets += src.ReportedPackets
	dst.Octets += src.Octets
	dst.Packets += src.Packets
	dst.OctetsOnce += src.OctetsOnce
	dst.OctetsBoth += src.OctetsBoth
	dst.OctetsTransit += src.OctetsTransit
	dst.OctetsUncounted += src.OctetsUncounted
	dst.ClampedRecords += src.ClampedRecords
	dst.UnknownSamplingRecords += src.UnknownSamplingRecords
	dst.Dropped = addCounts(dst.Dropped, src.Dropped...)
	dst.Held = addCounts(dst.Held, src.Held...)
	dst.Lost = addCounts(dst.Lost, src.Lost...)
}

// addCounts adds by unit and reason.
func addCounts(dst []*schemas.Count, src ...*schemas.Count) []*schemas.Count {
next:
	for _, s := range src {
		for _, d := range dst {
			if d.Unit == s.Unit && d.Reason == s.Reason {
				d.Count += s.Count
				continue next
			}
		}
		dst = append(dst, &schemas.Count{Unit: s.Unit, Reason: s.Reason, Count: s.Count})
	}
	return dst
}

func count(unit, reason string, n int64) *schemas.Count {
	return &schemas.Count{Unit: unit, Reason: reason, Count: n}
}
