package main

import (
	"bufio"
	"fmt"
	"io"
	"net/netip"
	"os"
)

// Sent is exactly what was handed to the kernel, or written to the file: the ledger of truth.
type Sent struct {
	// Datagrams are those of data; Templates those of templates.
	Datagrams uint64 `json:"datagrams"`
	Templates uint64 `json:"templates"`
	Records   uint64 `json:"records"`
	// Octets and Packets are those of the records, multiplied by sampling.
	Octets  uint64  `json:"octets"`
	Packets uint64  `json:"packets"`
	Seconds float64 `json:"seconds"`
	// Skipped are records that a stall of the sender of more than a second left behind.
	Skipped uint64 `json:"skipped"`
	// CPUSeconds is what sending cost.
	CPUSeconds float64 `json:"cpu_seconds"`
}

// count adds up what the pool gave.
func (s *Sent) count(p *Pool) {
	p.taken(func(d *Datagram, times uint64) {
		s.Datagrams += times
		s.Records += times * uint64(p.Size)
		s.Octets += times * d.Octets
		s.Packets += times * d.Packets
	})
}

// traffic is what was sent of one local address.
type traffic struct{ inOctets, inPackets, outOctets, outPackets uint64 }

// byAddress adds up what was sent by local address: index n is 10.50.0.0 + n.
func (p *Pool) byAddress() []traffic {
	sums := make([]traffic, localAddresses)
	p.taken(func(d *Datagram, times uint64) {
		for i := range d.flows {
			f := &d.flows[i]
			// Of one datagram all records have equal packets and equal sampling.
			packets := times * d.Packets / uint64(p.Size)
			octets := packets * uint64(f.octets) / PacketsPerRecord
			sum := &sums[f.local()&0xffff]
			if f.outgoing {
				sum.outOctets += octets
				sum.outPackets += packets
			} else {
				sum.inOctets += octets
				sum.inPackets += packets
			}
		}
	})
	return sums
}

// writeLedger writes the sums by local address as CSV, in ascending order.
func writeLedger(name string, p *Pool) (err error) {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer func() {
		if e := f.Close(); err == nil {
			err = e
		}
	}()
	w := bufio.NewWriter(f)
	if err := writeSums(w, p); err != nil {
		return err
	}
	return w.Flush()
}

func writeSums(w io.Writer, p *Pool) error {
	if _, err := fmt.Fprintln(w, "address,in_octets,in_packets,out_octets,out_packets"); err != nil {
		return err
	}
	for n, t := range p.byAddress() {
		if t == (traffic{}) {
			continue
		}
		address := netip.AddrFrom4([4]byte{10, 50, byte(n >> 8), byte(n)})
		if _, err := fmt.Fprintf(w, "%s,%d,%d,%d,%d\n", address, t.inOctets, t.inPackets, t.outOctets, t.outPackets); err != nil {
			return err
		}
	}
	return nil
}
