package main

import (
	"bufio"
	"encoding/binary"
	"net/netip"
	"os"
	"time"
)

// linkRawIP is the pcap link type of packets that begin with the IP header.
const linkRawIP = 101

// captureTemplates is how often templates are repeated in a capture.
const captureTemplates = 10 * time.Second

// writeCapture writes a pcap file of at least so many records of one stream, as if they had been sent at
// a rate up to now.
//
// Errors: of the file.
func writeCapture(name string, p *Pool, from netip.Addr, to netip.AddrPort, records uint64, perSecond float64) (sent Sent, err error) {
	f, err := os.Create(name)
	if err != nil {
		return Sent{}, err
	}
	defer func() {
		if e := f.Close(); err == nil {
			err = e
		}
	}()
	w := bufio.NewWriterSize(f, 1<<20)
	head := binary.LittleEndian.AppendUint32(nil, 0xa1b2c3d4)
	head = binary.LittleEndian.AppendUint32(head, 2|4<<16)
	for _, word := range []uint32{0, 0, 65535, linkRawIP} {
		head = binary.LittleEndian.AppendUint32(head, word)
	}
	if _, err := w.Write(head); err != nil {
		return Sent{}, err
	}
	length := time.Duration(float64(records) / perSecond * float64(time.Second))
	start := time.Now().Add(-length)
	templates := time.Time{}
	h := header{agent: 192<<24 | 2<<8 | 1, domain: 1}
	for h.records < records {
		now := start.Add(time.Duration(float64(h.records) / perSecond * float64(time.Second)))
		h.millis = at(now)
		if len(p.Templates) > 0 && now.Sub(templates) >= captureTemplates {
			templates = now
			for _, payload := range p.Templates {
				p.patchTemplate(payload, &h)
				if err := writePacket(w, now, from, to, payload); err != nil {
					return sent, err
				}
				h.sequenced++
				sent.Templates++
			}
		}
		if err := writePacket(w, now, from, to, p.Next(&h).Payload); err != nil {
			return sent, err
		}
	}
	sent.Seconds = length.Seconds()
	sent.count(p)
	return sent, w.Flush()
}

// writePacket writes one UDP datagram over IPv4, without check sums, as captures of a sender's own
// machine have them.
func writePacket(w *bufio.Writer, at time.Time, from netip.Addr, to netip.AddrPort, payload []byte) error {
	size := uint32(28 + len(payload))
	head := binary.LittleEndian.AppendUint32(nil, uint32(at.Unix()))
	head = binary.LittleEndian.AppendUint32(head, uint32(at.Nanosecond()/1000))
	head = binary.LittleEndian.AppendUint32(head, size)
	head = binary.LittleEndian.AppendUint32(head, size)
	head = append(head, 0x45, 0)
	head = put16(head, uint16(size), 0, 0)
	head = append(head, 64, 17, 0, 0)
	head = append(head, from.AsSlice()...)
	head = append(head, to.Addr().AsSlice()...)
	head = put16(head, 40000, to.Port(), uint16(8+len(payload)), 0)
	if _, err := w.Write(head); err != nil {
		return err
	}
	_, err := w.Write(payload)
	return err
}
