//go:build linux

package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"
)

// section is a part of the report.
type section struct {
	name, title string
	run         func(*bench, context.Context) error
}

var sections = []section{
	{"saturated", "Saturated: what a million records cost", (*bench).saturatedTable},
	{"lossless", "The highest rate without loss", (*bench).losslessTable},
	{"sustained", "Sustained rates", (*bench).sustainedTable},
	{"paced", "Paced: where waking dominates", (*bench).pacedTable},
	{"overload", "Overload: declared loss and real loss", (*bench).overloadTable},
	{"memory", "Memory: 2,000 exporters with 50 templates each", (*bench).memoryTable},
	{"sums", "Sums against the truth", (*bench).sumsTable},
	{"capture", "Decoding a capture", (*bench).captureTable},
}

// The table of section 1 uses several exporters, so that a receiver that divides its work by them can.
const exporters = 4

// roundsOf measures the same several times, in runs of their own, and returns them by ascending cost.
func (b *bench) roundsOf(ctx context.Context, r *receiver, l load) (runs []result, err error) {
	for range b.rounds {
		one, err := b.run(ctx, r, l)
		if err != nil {
			return nil, err
		}
		runs = append(runs, one)
	}
	sortByCost(runs, l.protocol)
	return runs, nil
}

// inTurn measures all receivers, one after the other, several times, so that what the machine's neighbours do meanwhile meets all of
// them. It returns the runs of each by ascending cost.
func (b *bench) inTurn(ctx context.Context, l load) (map[string][]result, error) {
	runs := map[string][]result{}
	for range b.rounds {
		err := b.forEach(func(r *receiver) error {
			one, err := b.run(ctx, r, l)
			runs[r.name] = append(runs[r.name], one)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	for _, of := range runs {
		sortByCost(of, l.protocol)
	}
	return runs, nil
}

func (b *bench) run(ctx context.Context, r *receiver, l load) (result, error) {
	e, err := b.execution(r, l.protocol)
	if err != nil {
		return result{}, err
	}
	one, err := e.measure(ctx, l)
	if err != nil {
		return result{}, fmt.Errorf("%s, %s: %w", r.name, l.protocol, err)
	}
	say("  %-10s %-8s sent %d of %.0f/s, kernel dropped %d datagrams, %.3f CPU s (%.3f a million), %.0f MiB %s", r.name, l.protocol,
		one.sent.Records, float64(one.sent.Records)/one.sent.Seconds, one.dropped, one.cpu, one.perMillion(l.protocol), one.peak, one.counts.log)
	return one, nil
}

func sortByCost(runs []result, protocol string) {
	slices.SortFunc(runs, func(x, y result) int { return cmp.Compare(x.perMillion(protocol), y.perMillion(protocol)) })
}

// forEach calls f for every receiver that was asked for.
func (b *bench) forEach(f func(*receiver) error) error {
	for _, name := range b.receivers {
		if err := f(receiverOf(name)); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) saturatedTable(ctx context.Context) error {
	b.text("The generator sends as fast as it can for %v from %d exporters, in %d run(s) of each, the receivers in turn; the median counts, after the least.", b.each, exporters, b.rounds)
	b.text("CPU seconds (user and system) per million records that the kernel handed over, from the load's begin to the end of the")
	b.text("process, with what it writes last. *Inside*: of the records handed over, the share that is not in the receiver's own sums;")
	b.text("it makes a row's cost too low. A short run has more flushes of all addresses per record than a long one.")
	b.head("receiver", "load", "CPU s per million: least / median", "times udpfloor", "records a second handed over", "lost inside", "peak memory, MiB")
	for _, protocol := range b.protocols {
		all, err := b.inTurn(ctx, load{protocol: protocol, length: b.each, exporters: exporters})
		if err != nil {
			return err
		}
		floor := 0.0
		err = b.forEach(func(r *receiver) error {
			runs := all[r.name]
			middle := runs[len(runs)/2]
			cost := middle.perMillion(protocol)
			if r.name == "udpfloor" {
				floor = cost
			}
			b.saturated[r.name+protocol] = middle
			b.row(r.name, protocol, fmt.Sprintf("%.3f / %.3f", runs[0].perMillion(protocol), cost), times(cost, floor),
				number(middle.handed(protocol)/middle.sent.Seconds), inside(middle, protocol), number(middle.peak))
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) sustainedTable(ctx context.Context) error {
	b.text("%s v9 records a second and %s sFlow samples a second for %v, from one source port, from 200 of one exporter (each with an", number(b.v9Rate), number(b.sflowRate), b.sustain)
	b.text("observation domain of its own), and from 200 exporters. *Error*: the sums of all 50,000 addresses in the log, in and out,")
	b.text("against what was sent to each.")
	b.head("load", "from", "records sent a second", "lost datagrams: kernel", "declared", "error: addresses", "octets", "CPU s per million", "peak memory, MiB")
	for _, c := range []struct {
		protocol         string
		rate             float64
		exporters, ports int
		from             string
	}{
		{"netflow9", b.v9Rate, 1, 1, "1 port"},
		{"netflow9", b.v9Rate, 1, 200, "200 ports"},
		{"netflow9", b.v9Rate, 200, 1, "200 exporters"},
		{"sflow5", b.sflowRate, 1, 1, "1 port"},
		{"sflow5", b.sflowRate, 1, 200, "200 ports"},
		{"sflow5", b.sflowRate, 200, 1, "200 exporters"},
	} {
		l := load{protocol: c.protocol, rate: c.rate, length: b.sustain, exporters: c.exporters, ports: c.ports, ledger: true, tail: 2 * time.Second}
		r, err := b.one(ctx, "collector", l)
		if err != nil {
			return err
		}
		b.row(c.protocol, c.from, number(float64(r.sent.Records)/r.sent.Seconds), fmt.Sprint(r.dropped), declared(r),
			fmt.Sprint(r.wrong.addresses), fmt.Sprint(r.wrong.octets), fmt.Sprintf("%.3f", r.perMillion(c.protocol)), number(r.peak))
	}
	return nil
}

// one is the median of the rounds of one receiver.
func (b *bench) one(ctx context.Context, name string, l load) (result, error) {
	runs, err := b.roundsOf(ctx, receiverOf(name), l)
	if err != nil {
		return result{}, err
	}
	return runs[len(runs)/2], nil
}

// The rates of the paced table.
var paced = map[string]float64{"netflow9": 100_000, "sflow5": 50_000}

func (b *bench) pacedTable(ctx context.Context) error {
	length := max(3*b.each, 5*time.Second)
	b.text("100,000 v9 records and 50,000 sFlow samples a second for %v from %d exporters: a datagram wakes who waits for it.", length, exporters)
	b.text("*Error*: the receiver's own sum of octets against what was sent.")
	b.head("receiver", "load", "CPU s per million", "times udpfloor", "kernel drops (datagrams)", "error of the sum", "peak memory, MiB")
	for _, protocol := range []string{"netflow9", "sflow5"} {
		floor := 0.0
		err := b.forEach(func(r *receiver) error {
			l := load{protocol: protocol, rate: paced[protocol], length: length, exporters: exporters, ledger: true}
			one, err := b.one(ctx, r.name, l)
			if err != nil {
				return err
			}
			cost := one.perMillion(protocol)
			if r.name == "udpfloor" {
				floor = cost
			}
			b.row(r.name, protocol, fmt.Sprintf("%.3f", cost), times(cost, floor), fmt.Sprint(one.dropped), sumError(one), number(one.peak))
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) memoryTable(ctx context.Context) error {
	length := max(3*b.each, 12*time.Second) // beyond a flush of everything
	b.text("200,000 records a second for %v, of 50,000 local addresses, from 2,000 exporters with 50 templates each.", length)
	b.head("receiver", "load", "templates sent", "peak memory, MiB", "kernel drops (datagrams)", "error: addresses")
	for _, name := range []string{"collector", "run"} {
		for _, protocol := range []string{"netflow9", "ipfix"} {
			if !slices.Contains(b.receivers, name) {
				continue
			}
			l := load{protocol: protocol, rate: 200_000, length: length, exporters: 2000, templates: 50, ledger: true}
			r, err := b.one(ctx, name, l)
			if err != nil {
				return err
			}
			b.row(name, protocol, fmt.Sprint(2000*50), number(r.peak), fmt.Sprint(r.dropped), fmt.Sprint(r.wrong.addresses))
		}
	}
	return nil
}

func (b *bench) sumsTable(ctx context.Context) error {
	b.text("10,000 records a second for 3 s from %d exporters; goflow2 writes JSON here, so that it can be added up.", exporters)
	b.text("The sums are layer 3 octets, multiplied by sampling (sFlow: 1 in 512). A receiver that counts whole frames in sFlow has")
	b.text("18 octets a packet more. By address: of 50,000. Where the kernel dropped datagrams the error is theirs.")
	b.head("receiver", "load", "error of the sum of octets", "of packets", "addresses that differ", "kernel drops (datagrams)")
	for _, protocol := range b.protocols {
		err := b.forEach(func(r *receiver) error {
			if r.name == "udpfloor" || r.name == "fastnetmon" {
				return nil // they tell no sums
			}
			e, err := b.execution(r, protocol)
			if err != nil {
				return err
			}
			e.text = true
			one, err := e.measure(ctx, load{protocol: protocol, rate: 10_000, length: 3 * time.Second, exporters: exporters, ledger: true})
			if err != nil {
				return fmt.Errorf("%s, %s: %w", r.name, protocol, err)
			}
			differ := "–"
			if one.wrong != nil {
				differ = fmt.Sprint(one.wrong.addresses)
			}
			b.row(r.name, protocol, sumError(one), share(one.counts.packets, one.sent.Packets), differ, fmt.Sprint(one.dropped))
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
