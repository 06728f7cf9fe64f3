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
func (c *Collector) host(name string) *host {
	if h := c.hosts[name]; h != nil {
		return h
	}
	h := &host{exporter: libvirt.Exporter(name), readings: libvirt.NewHost(name), every: libvirt.DefaultEvery}
	for _, cfg := range c.cfg.Libvirt {
		if cfg.Name == name && cfg.Every != 0 {
			h.every = cfg.Every
		}
	}
	h.handle = c.table.Exporter(tally.ExporterConfig{Name: h.exporter, Number: c.numberOf(h.exporter), Protocol: schemas.Libvirt})
	c.hosts[name] = h
	c.order = append(c.order, h)
	h.restore(c.restoredHosts)
	return h
}

func (h *host) restore(positions []*schemas.SourcePosition) {
	h.readings.Restore(positions)
	h.last = h.readings.Polled()
}

// FeedGuests takes what a poll of a hypervisor at the time at said of all its guests. Nothing of
// readings is kept but values.
func (c *Collector) FeedGuests(hostName string, at time.Time, readings []schemas.GuestReading) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fed = true
	c.metrics.datagram(schemas.Libvirt)
	h := c.host(hostName)
	if h.since.IsZero() {
		h.since = at
	}
	d := h.readings.Advance(at, readings)
	a := c.account(accountKey{h.exporter, schemas.Libvirt, hourOf(at)})
	a.Datagrams++
	if d.Disordered > 0 {
		a.Dropped = schemas.AddCounts(a.Dropped, count("datagrams", "disordered", 1))
		return
	}
	c.received.include(at)
	c.observe(h.exporter, schemas.Libvirt, h.last, at)
	h.last, h.moved = at, true
	a.CounterSamples += d.VNICReadings
	c.bookGuests(h, a, d)
}

func (c *Collector) bookGuests(h *host, a *schemas.ExporterAccount, d libvirt.Difference) {
	a.Records += d.Readings
	for _, lost := range []struct {
		reason string
		n      uint64
	}{{"guest_stopped", d.Stopped}, {"guest_restarted", d.Restarted}, {"counter_reset", d.Resets}} {
		if lost.n > 0 {
			a.Lost = schemas.AddCounts(a.Lost, count("samples", lost.reason, int64(lost.n)))
		}
	}
	if room := guestsMost - len(c.guests); len(d.Guests) > room {
		a.Dropped = schemas.AddCounts(a.Dropped, count("samples", "log_unavailable", int64(len(d.Guests)-room)))
		d.Guests = d.Guests[:room]
	}
	c.guests = append(c.guests, d.Guests...)
	for _, v := range d.VNICs {
		c.table.AddPort(h.handle, v.Meter, v.From, v.To, tally.PortDelta{
			InOctets: v.InOctets, InPackets: v.InPackets, OutOctets: v.OutOctets, OutPackets: v.OutPackets,
		}, tally.VNICOverhead)
	}
}

// missPoll counts a poll that brought nothing.
func (c *Collector) missPoll(name string, at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := c.account(accountKey{c.host(name).exporter, schemas.Libvirt, hourOf(at)})
	a.Lost = schemas.AddCounts(a.Lost, count("datagrams", "unreachable", 1))
}

func (h *host) settle(_ *Collector, at time.Time) {
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
