package netflow

import "hostmeter/schemas"

// times writes the flow's times into a record, in nanoseconds since the Unix epoch; both stay 0
// where the template has none that can be placed. Where one is missing it is made from a duration,
// else it equals the other.
func times(rec *schemas.FlowRecord, p *program, dom *domain, h *header, v *values) {
	init := dom.systemInit
	if p.has.has(toSystemInit) {
		init = v[toSystemInit]
	}
	var duration int64
	switch {
	case p.has.has(toDurationMilliseconds):
		duration = clampedProduct(v[toDurationMilliseconds], 1e6)
	case p.has.has(toDurationMicroseconds):
		duration = clampedProduct(v[toDurationMicroseconds], 1e3)
	}
	place(rec, timeOf(p.plan.start, v[p.plan.start], init, h), timeOf(p.plan.end, v[p.plan.end], init, h), duration)
}

// place writes times that may be 0, which is not told, into a record.
func place(rec *schemas.FlowRecord, start, end, duration int64) {
	if start == 0 && end == 0 {
		return
	}
	if start == 0 {
		start = end - duration
	}
	if end == 0 {
		end = start + duration
	}
	rec.FlowStart, rec.FlowEnd = start, max(start, end)
}

// timeOf converts what one time field tells; 0 where it cannot be placed. init is when the exporter began,
// in milliseconds since the Unix epoch; 0 is not told.
// Source: RFC 7011 section 6.1.7 to 6.1.10; RFC 7012 section 5.10 and 5.11.
func timeOf(from target, n, init uint64, h *header) int64 {
	switch from {
	case toStartSeconds, toEndSeconds:
		return clampedProduct(n, 1e9)
	case toStartMilliseconds, toEndMilliseconds:
		return clampedProduct(n, 1e6)
	case toStartMicroseconds, toEndMicroseconds, toStartNanoseconds, toEndNanoseconds:
		return ntpToUnix(n)
	case toStartDelta, toEndDelta: // microseconds before the export time
		return h.exportedAt - clampedProduct(n, 1e3)
	case toStartUptime, toEndUptime:
		if h.version == 9 {
			return uptimeToUnix(h.exportedAt, h.uptime, uint32(n))
		}
		if init == 0 {
			return 0
		}
		// uint32 milliseconds wrap after 49.7 days: the latest such time that is not after the export.
		now := uint32(uint64(h.exportedAt/1e6) - init)
		return uptimeToUnix(h.exportedAt, now, uint32(n))
	}
	return 0
}

// ntpToUnix converts 32 bits of seconds since 1900 and 32 bits of their fraction.
func ntpToUnix(n uint64) int64 {
	if n == 0 {
		return 0
	}
	const secondsFrom1900 = 2_208_988_800
	seconds := int64(n>>32) - secondsFrom1900
	return seconds*1e9 + int64(n&0xffffffff*1e9>>32)
}

// clampedProduct keeps absurd numbers within 64 bits; the tally clamps them to the receive time.
func clampedProduct(n uint64, factor int64) int64 {
	const most = 1<<63 - 1
	if n > uint64(most/factor) {
		return most / 2
	}
	return int64(n) * factor
}
