package faults_test

import (
	"fmt"
	"math/rand/v2"
	"net"
	"time"

	nf "hostmeter/collector/netflow/netflowtest"
	"hostmeter/collector/sflow/sflowtest"
)

// exporter is one of the four protocols whose every datagram the test knows: each tells of an address of
// its own, so that it can be said of each datagram whether it is in the ledger, whole, in part or twice.
type exporter struct {
	address  string // that it sends from
	protocol string
	unit     string // of its sequence numbers
	number   int    // second octet of its meters' addresses
	conn     *net.UDPConn
	sequence uint32
	samples  uint32
	began    time.Time
	sent     []datagram
	taught   bool // it sends its templates no more
}

// datagram is what one datagram told of its address.
type datagram struct {
	units           int64
	octets, packets uint64
}

// meter is the address that the datagram with an index tells of.
func (e *exporter) meter(index int) string {
	return fmt.Sprintf("10.%d.%d.%d", e.number, index>>8, index&0xff)
}

var protocols = []struct{ protocol, unit string }{
	{"netflow5", "flows"}, {"netflow9", "datagrams"}, {"ipfix", "records"}, {"sflow5", "samples"},
}

// openExporters makes one of each protocol, from 127.0.H.1 on; host tells worlds on one machine apart.
func openExporters(host int, to string) ([]*exporter, error) {
	target, err := net.ResolveUDPAddr("udp4", to)
	if err != nil {
		return nil, err
	}
	var out []*exporter
	for i, p := range protocols {
		source := net.IPv4(127, 0, byte(host), byte(i+1))
		conn, err := net.DialUDP("udp4", &net.UDPAddr{IP: source}, target)
		if err != nil {
			return out, err
		}
		out = append(out, &exporter{address: source.String(), protocol: p.protocol, unit: p.unit, number: i + 1, conn: conn, began: time.Now()})
	}
	return out, nil
}

// send sends the next datagram, whose flows ended just before now. Nobody may be listening: what is sent
// then is lost, and counts.
func (e *exporter) send(now time.Time, random *rand.Rand) {
	records, octets, packets := 1+random.IntN(12), 60+random.IntN(60_000), 1+random.IntN(40)
	meter := e.meter(len(e.sent))
	uptime := uint32(3_600_000 + time.Since(e.began).Milliseconds())
	seconds := uint32(now.Unix())
	d := datagram{units: int64(records), octets: uint64(records * octets), packets: uint64(records * packets)}
	var b []byte
	switch e.protocol {
	case "netflow5":
		list := make([]nf.Record5, records)
		for i := range list {
			list[i] = nf.Record5{Source: meter, Destination: "203.0.113.9", Packets: uint32(packets), Octets: uint32(octets),
				FirstMS: uptime - 2000, LastMS: uptime - 1000, SourcePort: uint16(20000 + i), DestinationPort: 443, Protocol: 6, Flags: 0x18}
		}
		b = nf.V5(e.sequence, uptime, seconds, 0, 0, list...)
		e.sequence += uint32(records)
	case "netflow9":
		template := nf.Template9(256, nf.Field{ID: 8, Length: 4}, nf.Field{ID: 12, Length: 4}, nf.Field{ID: 1, Length: 4}, nf.Field{ID: 2, Length: 4}, nf.Field{ID: 22, Length: 4}, nf.Field{ID: 21, Length: 4})
		b = nf.V9(e.sequence, 0, uptime, seconds, e.teach(template), nf.Set(256, records9(records, meter, octets, packets, uptime-2000, uptime-1000)...))
		e.sequence++
		d.units = 1
	case "ipfix":
		template := nf.TemplateIPFIX(256, nf.Field{ID: 8, Length: 4}, nf.Field{ID: 12, Length: 4}, nf.Field{ID: 1, Length: 4}, nf.Field{ID: 2, Length: 4}, nf.Field{ID: 150, Length: 4}, nf.Field{ID: 151, Length: 4})
		b = nf.IPFIX(e.sequence, 0, seconds, e.teach(template), nf.Set(256, records9(records, meter, octets, packets, seconds-2, seconds-1)...))
		e.sequence += uint32(records)
	case "sflow5":
		length := 60 + octets%1400
		list := make([][]byte, records)
		for i := range list {
			e.samples++
			packet := sflowtest.Ethernet(0x0800, sflowtest.IPv4(uint16(length), 17, 0, meter, "203.0.113.9", 0, sflowtest.UDP(20000, 443)))
			list[i] = sflowtest.Flow(e.samples, 1, 1, 1, 2, sflowtest.Header(1, uint32(length+14), packet))
		}
		e.sequence++
		b = sflowtest.Datagram(0, e.sequence, uptime, list...)
		d.octets, d.packets = uint64(records*length), uint64(records)
	}
	e.sent = append(e.sent, d)
	_, _ = e.conn.Write(b)
}

func records9(n int, meter string, octets, packets int, first, last uint32) (out [][]byte) {
	for range n {
		out = append(out, nf.Address(meter), nf.Address("203.0.113.9"), nf.U32(uint32(octets)), nf.U32(uint32(packets)), nf.U32(first), nf.U32(last))
	}
	return out
}

// teach is the template, or nothing where the collector must know it.
func (e *exporter) teach(template []byte) []byte {
	if e.taught {
		return nil
	}
	return template
}

// units is how much was sent, in the protocol's unit.
func (e *exporter) units() (n int64) {
	for _, d := range e.sent {
		n += d.units
	}
	return n
}
