// Command load sends NetFlow, IPFIX or sFlow of known content at a known rate to a collector on this
// machine, or writes it to a capture file, and prints what it sent as JSON.
//
// It has encoders of its own, so that a mistake in the project's decoders is not made twice.
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

// lengthMost bounds a run.
const lengthMost = 10 * time.Minute

func main() {
	to := flag.String("to", "127.0.0.1:2055", "receiver, on loopback")
	from := flag.String("from", "127.0.1.40", "source address, on loopback")
	protocol := flag.String("protocol", "netflow9", "netflow5, netflow9, ipfix or sflow5")
	rate := flag.Float64("rate", 50_000, "records a second (sFlow: samples)")
	length := flag.Duration("for", 10*time.Second, "how long, at most 10m")
	file := flag.String("file", "", "write this pcap file instead of sending")
	records := flag.Uint64("records", 1_000_000, "with -file: at least how many records")
	flag.Parse()
	if err := run(*to, *from, *protocol, *rate, *length, *file, *records); err != nil {
		fmt.Fprintln(os.Stderr, "load: error:", err)
		os.Exit(1)
	}
}

func run(to, from, protocol string, rate float64, length time.Duration, file string, records uint64) error {
	receiver, err := netip.ParseAddrPort(to)
	if err != nil {
		return fmt.Errorf("-to: %w", err)
	}
	source, err := netip.ParseAddr(from)
	if err != nil {
		return fmt.Errorf("-from: %w", err)
	}
	switch {
	case !receiver.Addr().IsLoopback() || !source.IsLoopback() || !receiver.Addr().Is4() || !source.Is4():
		return errors.New("-to and -from must be IPv4 loopback addresses: this is a load, and stays here")
	case rate < 1 || rate > 10_000_000:
		return fmt.Errorf("-rate: %v is not from 1 to 10,000,000", rate)
	case length <= 0 || length > lengthMost:
		return fmt.Errorf("-for: %v is not from 0 to %v", length, lengthMost)
	case records < 1 || records > 100_000_000:
		return fmt.Errorf("-records: %d is not from 1 to 100,000,000", records)
	}
	pool, err := NewPool(protocol)
	if err != nil {
		return err
	}
	var sent Sent
	if file != "" {
		sent, err = writeCapture(file, pool, source, receiver, records, rate)
	} else {
		sent, err = send(pool, source, receiver, rate, length)
	}
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(sent)
}
