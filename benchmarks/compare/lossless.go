//go:build linux

package main

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"
)

// trials is how many rates the search tries for each receiver.
func (b *bench) trials() int {
	if b.rounds > 1 {
		return 7
	}
	return 3
}

func (b *bench) losslessTable(ctx context.Context) error {
	b.text("One receiver process, %d trials of %v each, halving the interval of rates that is left. Without loss: the kernel dropped no", b.trials(), b.search)
	b.text("datagram, with the receive buffer that each asks for (the kernel grants %s at most without privileges; goflow2", maxBuffer())
	b.text("has no option and gets %s; hostmeter and udpfloor ask for 32 MiB). ≥: the generator's end.", defaultBuffer())
	b.head("receiver", "load", "records a second without loss", "lost inside")
	for _, protocol := range b.protocols {
		if protocol != "netflow9" && protocol != "sflow5" && b.rounds == 1 {
			continue // in a quick run
		}
		err := b.forEach(func(r *receiver) error {
			rate, atEnd, all, err := b.lossless(ctx, r, protocol)
			if err != nil {
				return fmt.Errorf("%s, %s: %w", r.name, protocol, err)
			}
			text := number(rate)
			switch {
			case rate == 0:
				text = "none found"
			case atEnd:
				text = "≥ " + text
			}
			say("  %-10s %-8s %s records/s without loss", r.name, protocol, text)
			b.row(r.name, protocol, text, inside(all, protocol))
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// lossless searches between a twentieth and more than what the receiver took when it was saturated.
func (b *bench) lossless(ctx context.Context, r *receiver, protocol string) (rate float64, atEnd bool, all result, err error) {
	e, err := b.execution(r, protocol)
	if err != nil {
		return 0, false, all, err
	}
	p, err := e.start(ctx)
	if p != nil {
		defer p.kill()
	}
	if err != nil {
		return 0, false, all, err
	}
	time.Sleep(settle)
	low, high := 20_000.0, 6_000_000.0
	if before, ok := b.saturated[r.name+protocol]; ok {
		taken := before.handed(protocol) / before.sent.Seconds
		low, high = taken/20, min(1.5*taken, float64(before.sent.Records)/before.sent.Seconds)
	}
	for range b.trials() {
		try := math.Sqrt(low * high)
		before, err := socketsAt(e.port)
		if err != nil {
			return rate, false, all, err
		}
		s, err := e.send(ctx, load{protocol: protocol, rate: try, length: b.search, exporters: exporters})
		if err != nil {
			return rate, false, all, err
		}
		if err := p.drained(ctx); err != nil {
			return rate, false, all, err
		}
		after, err := socketsAt(e.port)
		if err != nil {
			return rate, false, all, err
		}
		all.sent.Records += s.Records
		all.dropped += int64(after.dropped - before.dropped)
		if after.dropped != before.dropped {
			high = try
			continue
		}
		low, rate = try, max(rate, float64(s.Records)/s.Seconds)
		if s.CPU > 0.9*s.Seconds { // a core is all that it has
			atEnd = true
			break
		}
	}
	return rate, atEnd, e.end(p, all), nil
}

// end ends a receiver and asks for its count, where it says one.
func (e *execution) end(p *process, all result) result {
	all.counts = counts{records: unknown, packets: unknown}
	ask := func() {
		if c, err := e.receiver.counted(e); err == nil {
			all.counts = c
		}
	}
	if e.receiver.live {
		ask()
	}
	if err := p.stop(); err != nil {
		say("  %v", err)
	}
	if !e.receiver.live {
		ask()
	}
	return all
}

// niceness slows the collector down in overload runs, where the generator alone cannot offer three times
// what it takes.
var niceness = []int{0, 3, 6, 9, 12, 15}

func (b *bench) overloadTable(ctx context.Context) error {
	b.text("The generator at full speed on the same core as the collector, which has the lower priority where that is needed to offer three")
	b.text("times what it takes; after a rest, one more datagram of each source port, so that a loss at the end can be seen by the")
	b.text("protocols' numbering. *Real*: sent less counted. They must be equal.")
	b.head("load", "from", "sent / taken", "unit", "sent", "counted", "really lost", "declared lost", "kernel drops (datagrams)")
	for _, protocol := range b.protocols {
		for _, ports := range []int{1, 200} {
			if err := b.overload(ctx, protocol, ports); err != nil {
				return fmt.Errorf("%s: %w", protocol, err)
			}
		}
	}
	return nil
}

func (b *bench) overload(ctx context.Context, protocol string, ports int) error {
	for i, nice := range niceness {
		e, err := b.execution(receiverOf("collector"), protocol)
		if err != nil {
			return err
		}
		e.core, e.nice = true, nice
		r, err := e.measure(ctx, load{protocol: protocol, length: b.each, exporters: 1, ports: ports, tail: 2 * time.Second})
		if err != nil {
			return err
		}
		ratio := float64(r.sent.Records) / r.handed(protocol)
		if ratio < 3 && i < len(niceness)-1 {
			continue
		}
		from := fmt.Sprintf("%d port(s)", ports)
		for _, unit := range lossUnits[protocol] {
			sent := r.sent.Records
			counted := r.counts.records
			if unit == "datagrams" {
				sent, counted = r.sent.Datagrams+r.sent.Templates, r.counts.datagrams
			}
			say("  %-8s %s: sent %d %s, counted %d, really lost %d, declared %d, kernel drops %d", protocol, from, sent, unit, counted, sent-counted, r.counts.lost[unit], r.dropped)
			b.row(protocol, from, fmt.Sprintf("%.1f", ratio), unit, fmt.Sprint(sent), fmt.Sprint(counted), fmt.Sprint(sent-counted),
				fmt.Sprint(r.counts.lost[unit]), fmt.Sprint(r.dropped))
		}
		return nil
	}
	return nil
}

// lossUnits are the units that each protocol numbers.
var lossUnits = map[string][]string{
	"netflow5": {"flows"}, "netflow9": {"datagrams"}, "ipfix": {"records"}, "sflow5": {"datagrams", "samples"},
}

// declared is what the collector says was lost, in datagrams of the load.
func declared(r result) string {
	var units []string
	for unit := range r.counts.lost {
		units = append(units, unit)
	}
	slices.Sort(units)
	text := ""
	for _, unit := range units {
		text += fmt.Sprintf("%d %s ", r.counts.lost[unit], unit)
	}
	if text == "" {
		return "0"
	}
	return text[:len(text)-1]
}
