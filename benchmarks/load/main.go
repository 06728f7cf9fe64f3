// Command load sends NetFlow, IPFIX or sFlow of known content at a known rate to a collector on this
// machine, or writes it to a capture file, and prints what it sent as JSON.
//
// It is deterministic: datagram n of a protocol is the same in every run but for its numbers and times. It
// has encoders of its own, so that a mistake in the project's decoders is not made twice, and it is
// cheap: ready datagrams, many a system call, from one thread.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"time"
)

// lengthMost bounds a run, the others its sockets.
const (
	lengthMost    = 10 * time.Minute
	streamsMost   = 10_000
	exportersMost = 5_000 // ten addresses behind each
)

// options are the command line's.
type options struct {
	to, from, protocol, file, ledger string
	exporters, ports, templates      int
	rate                             float64
	length, tail                     time.Duration
	records                          uint64
}

func main() {
	var o options
	flag.StringVar(&o.to, "to", "127.0.0.1:2055", "receiver, on loopback")
	flag.StringVar(&o.from, "from", "127.1.0.1", "address of the first exporter, on loopback; others follow it")
	flag.StringVar(&o.protocol, "protocol", "netflow9", "netflow5, netflow9, ipfix or sflow5")
	flag.IntVar(&o.exporters, "exporters", 1, "how many exporters; each local address is behind one of them")
	flag.IntVar(&o.ports, "ports", 1, "source ports of each exporter; each has an observation domain of its own")
	flag.IntVar(&o.templates, "templates", 1, "templates of each source port")
	flag.Float64Var(&o.rate, "rate", 50_000, "records a second (sFlow: samples); 0: as fast as it goes")
	flag.DurationVar(&o.length, "for", 10*time.Second, "how long, at most 10m")
	flag.DurationVar(&o.tail, "tail", 0, "then rest so long, and send one datagram of each source port, so that a loss at the end shows")
	flag.StringVar(&o.ledger, "ledger", "", "write what was sent of each local address to this CSV file")
	flag.StringVar(&o.file, "file", "", "write this pcap file instead of sending")
	flag.Uint64Var(&o.records, "records", 1_000_000, "with -file: at least how many records")
	flag.Parse()
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "load: error:", err)
		os.Exit(1)
	}
}

func run(o options) error {
	to, from, err := o.check()
	if err != nil {
		return err
	}
	pool, err := NewPool(o.protocol, o.exporters, o.templates)
	if err != nil {
		return err
	}
	var sent Sent
	if o.file != "" {
		sent, err = writeCapture(o.file, pool, from, to, o.records, o.rate)
	} else {
		sent, err = send(pool, plan{to: to, from: from, exporters: o.exporters, ports: o.ports, perSecond: o.rate, length: o.length, tail: o.tail})
	}
	if err != nil {
		return err
	}
	if o.ledger != "" {
		if err := writeLedger(o.ledger, pool); err != nil {
			return err
		}
	}
	return json.NewEncoder(os.Stdout).Encode(sent)
}

// check says what of the options cannot be, by the name of its flag.
func (o options) check() (to netip.AddrPort, from netip.Addr, err error) {
	if to, err = netip.ParseAddrPort(o.to); err != nil {
		return to, from, fmt.Errorf("-to: %w", err)
	}
	if from, err = netip.ParseAddr(o.from); err != nil {
		return to, from, fmt.Errorf("-from: %w", err)
	}
	switch {
	case !to.Addr().IsLoopback() || !from.IsLoopback() || !to.Addr().Is4() || !from.Is4():
		err = errors.New("-to and -from must be IPv4 loopback addresses: this is a load, and stays here")
	case o.rate != 0 && o.rate < 1 || o.rate < 0 || o.rate > 10_000_000 || o.file != "" && o.rate == 0:
		err = fmt.Errorf("-rate: %v is not from 1 to 10,000,000, nor 0 without -file", o.rate)
	case o.length <= 0 || o.length > lengthMost:
		err = fmt.Errorf("-for: %v is not from 0 to %v", o.length, lengthMost)
	case o.tail < 0 || o.tail > time.Minute:
		err = fmt.Errorf("-tail: %v is not from 0 to 1m", o.tail)
	case o.records < 1 || o.records > 100_000_000:
		err = fmt.Errorf("-records: %d is not from 1 to 100,000,000", o.records)
	case o.file != "" && o.exporters != 1:
		err = errors.New("-exporters: a capture is of one")
	case o.exporters < 1 || o.exporters > exportersMost || o.ports < 1 || o.exporters*o.ports > streamsMost:
		err = fmt.Errorf("-exporters and -ports: %d (at most %d) times %d is not from 1 to %d", o.exporters, exportersMost, o.ports, streamsMost)
	case o.templates < 1 || o.templates > 1000:
		err = fmt.Errorf("-templates: %d is not from 1 to 1000", o.templates)
	}
	return to, from, err
}
