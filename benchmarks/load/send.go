package main

import (
	"net"
	"net/netip"
	"time"
)

// Sent is exactly what was handed to the kernel, or written to the file, of data; templates are
// counted as datagrams only.
type Sent struct {
	Datagrams uint64  `json:"datagrams"`
	Records   uint64  `json:"records"`
	Octets    uint64  `json:"octets"`
	Packets   uint64  `json:"packets"`
	Seconds   float64 `json:"seconds"`
}

func (s *Sent) add(d *Datagram) {
	s.Datagrams++
	s.Records += d.Records
	s.Octets += d.Octets
	s.Packets += d.Packets
}

const (
	// rest is how long the sender rests at least between bursts.
	rest = 250 * time.Microsecond
	// burst bounds what goes out at once: what was due in this time, and one datagram. A receiver's
	// socket buffer would otherwise be filled by the sender's own stalls.
	burst = time.Millisecond
	// templatesEvery is how often templates are repeated.
	templatesEvery = 5 * time.Second
)

// send sends records at a rate for a time from a loopback address. What a stall of the
// sender leaves behind beyond a burst is not made up for: on a busy machine the rate is lower than
// asked for, and Sent tells what it was.
//
// Errors: of the sockets; the first ends the run.
func send(p *Pool, from netip.Addr, to netip.AddrPort, perSecond float64, length time.Duration) (Sent, error) {
	conn, err := net.DialUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(from, 0)), net.UDPAddrFromAddrPort(to))
	if err != nil {
		return Sent{}, err
	}
	defer conn.Close()
	var (
		sent      Sent
		start     = time.Now()
		last      = start
		due       float64 // records that may go out
		templates = start.Add(-templatesEvery)
	)
	for now := start; now.Sub(start) < length; now = time.Now() {
		if now.Sub(templates) >= templatesEvery {
			templates = now
			if d := p.NextTemplates(now); d != nil {
				if _, err := conn.Write(d.Payload); err != nil {
					return sent, err
				}
				sent.add(d)
			}
		}
		due = min(due+now.Sub(last).Seconds()*perSecond, perSecond*burst.Seconds()+float64(p.Data[0].Records))
		last = now
		for due >= float64(p.Data[0].Records) {
			d := p.Next(now)
			if _, err := conn.Write(d.Payload); err != nil {
				return sent, err
			}
			sent.add(d)
			due -= float64(d.Records)
		}
		time.Sleep(rest)
	}
	sent.Seconds = time.Since(start).Seconds()
	return sent, nil
}
