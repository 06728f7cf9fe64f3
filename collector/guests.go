package collector

import (
	"time"

	"hostmeter/collector/libvirt"
	"hostmeter/collector/tally"
	"hostmeter/schemas"
)

// host is the state of one hypervisor.
type host struct {
	exporter string // libvirt/NAME
	every    time.Duration
	readings *libvirt.Host
	handle   *tally.Exporter
	since    time.Time
	last     time.Time // its last poll that brought a reading
	moved    bool
}

// guestsMost bounds the differences of guests that wait for a flush, if the log does not take any.
const guestsMost = 1_000_000

// host returns the state of a hypervisor, made anew where needed.
func (l *lane) host(name string) *host {
	if h := l.hosts[name]; h != nil {
		return h
	}
	h := &host{exporter: libvirt.Exporter(name), readings: libvirt.NewHost(name), every: libvirt.DefaultEvery}
	for _, cfg := range l.cfg.Libvirt {
		if cfg.Name == name && cfg.Every != 0 {
			h.every = cfg.Every
		}
	}
	h.handle = l.table.Exporter(tally.ExporterConfig{Name: h.exporter, Number: l.numberOf(h.exporter), Protocol: schemas.Libvirt})
	l.hosts[name] = h
	l.order = append(l.order, h)
	h.restore(l.restoredHosts)
	return h
}

func (h *host) restore(positions []*schemas.SourcePosition) {
	h.readings.Restore(positions)
	h.last = h.readings.Polled()
}

// FeedGuests takes what a poll of a hypervisor at the time at said of all its guests. Nothing of
// readings is kept but values.
func (c *Collector) FeedGuests(hostName string, at time.Time, readings []schemas.GuestReading) {
	l := c.lanes[0]
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fed = true
	l.metrics.datagram(schemas.Libvirt)
	h := l.host(hostName)
	if h.since.IsZero() {
		h.since = at
	}
	d := h.readings.Advance(at, readings)
	a := l.account(accountKey{h.exporter, schemas.Libvirt, hourOf(at)})
	a.Datagrams++
	if d.Disordered > 0 {
		a.Dropped = schemas.AddCounts(a.Dropped, count("datagrams", "disordered", 1))
		return
	}
	l.received.include(at)
	l.observe(h.exporter, schemas.Libvirt, h.last, at)
	h.last, h.moved = at, true
	a.CounterSamples += d.VNICReadings
	l.bookGuests(h, a, d)
}

func (l *lane) bookGuests(h *host, a *schemas.ExporterAccount, d libvirt.Difference) {
	a.Records += d.Readings
	for _, lost := range []struct {
		reason string
		n      uint64
	}{{"guest_stopped", d.Stopped}, {"guest_restarted", d.Restarted}, {"counter_reset", d.Resets}} {
		if lost.n > 0 {
			a.Lost = schemas.AddCounts(a.Lost, count("samples", lost.reason, int64(lost.n)))
		}
	}
	if room := guestsMost - len(l.guests); len(d.Guests) > room {
		a.Dropped = schemas.AddCounts(a.Dropped, count("samples", "log_unavailable", int64(len(d.Guests)-room)))
		d.Guests = d.Guests[:room]
	}
	l.guests = append(l.guests, d.Guests...)
	for _, v := range d.VNICs {
		l.table.AddPort(h.handle, v.Meter, v.From, v.To, tally.PortDelta{
			InOctets: v.InOctets, InPackets: v.InPackets, OutOctets: v.OutOctets, OutPackets: v.OutPackets,
		}, tally.VNICOverhead)
	}
}

// missPoll counts a poll that brought nothing.
func (c *Collector) missPoll(name string, at time.Time) {
	l := c.lanes[0]
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.account(accountKey{l.host(name).exporter, schemas.Libvirt, hourOf(at)})
	a.Lost = schemas.AddCounts(a.Lost, count("datagrams", "unreachable", 1))
}

func (h *host) settle(_ *lane, at time.Time) {
	if h.since.IsZero() {
		h.since = at
	}
}

func (h *host) completeness(at time.Time, silence time.Duration) *schemas.Completeness {
	last := h.last
	if last.Before(h.since) {
		last = h.since
	}
	return &schemas.Completeness{
		Exporter: h.exporter,
		Through:  last.Add(-2 * h.every).UnixNano(),
		Silent:   at.Sub(last) > silence,
	}
}

func (h *host) status() ExporterStatus {
	return ExporterStatus{Exporter: h.exporter, Name: h.exporter, Protocols: []schemas.Protocol{schemas.Libvirt}, Last: h.last}
}

func (h *host) positions() []*schemas.SourcePosition {
	if !h.moved {
		return nil
	}
	h.moved = false
	return h.readings.Positions()
}
