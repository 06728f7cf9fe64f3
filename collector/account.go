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
func (l *lane) account(key accountKey) *schemas.ExporterAccount {
	a := l.accounts[key]
	if a == nil {
		a = &schemas.ExporterAccount{Exporter: key.exporter, Protocol: string(key.protocol), Hour: key.hour}
		l.accounts[key] = a
	}
	return a
}

// observe marks the minutes from last to at, or that of at alone after a gap that is longer than the
// configured silence: an exporter with nothing to tell for a while is not blind.
func (l *lane) observe(exporter string, protocol schemas.Protocol, last, at time.Time) {
	to := minuteOf(at)
	from := to
	if gap := at.Sub(last); !last.IsZero() && gap >= 0 && gap <= l.cfg.Silence {
		from = minuteOf(last)
	}
	for minute := from; minute <= to; minute++ {
		hour := floorDiv(minute, 60)
		l.account(accountKey{exporter, protocol, hour}).MinutesObserved |= 1 << uint(minute-hour*60)
	}
}

func count(unit, reason string, n int64) *schemas.Count {
	return &schemas.Count{Unit: unit, Reason: reason, Count: n}
}
