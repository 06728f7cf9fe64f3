package real_test

import (
	"encoding/binary"
	"net"
	"testing"
	"time"
)

// sender is a NetFlow v5 exporter whose every octet the test knows: 30 records a datagram, each of
// 1,000 octets in 2 packets out of 10.50.0.N.
type sender struct {
	conn      *net.UDPConn
	sequence  uint32
	datagrams int
	records   uint64
}

const (
	senderRecords = 30
	recordOctets  = 1000
	recordPackets = 2
)

func newSender(t *testing.T, from, to string) *sender {
	t.Helper()
	source, err := net.ResolveUDPAddr("udp4", from)
	if err != nil {
		t.Fatal(err)
	}
	target, err := net.ResolveUDPAddr("udp4", to)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.DialUDP("udp4", source, target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &sender{conn: conn}
}

// send sends n datagrams at a pace of perSecond.
func (s *sender) send(t *testing.T, n, perSecond int) {
	t.Helper()
	ticker := time.NewTicker(time.Second / time.Duration(perSecond))
	defer ticker.Stop()
	for range n {
		// Nobody may be listening when a collector was killed: what is sent then is lost, and counts.
		_, _ = s.conn.Write(s.datagram())
		<-ticker.C
	}
}

// datagram is the next one. Its flows ended a moment ago and lasted a second.
func (s *sender) datagram() []byte {
	be := binary.BigEndian
	now := time.Now()
	const uptime = 3_600_000
	d := be.AppendUint16(nil, 5)
	d = be.AppendUint16(d, senderRecords)
	d = be.AppendUint32(d, uptime)
	d = be.AppendUint32(d, uint32(now.Unix()))
	d = be.AppendUint32(d, uint32(now.Nanosecond()))
	d = be.AppendUint32(d, s.sequence)
	d = append(d, 0, 0, 0, 0)
	for i := range uint32(senderRecords) {
		address := (uint32(s.datagrams)*senderRecords + i) % 500
		d = append(d, 10, 50, byte(address>>8), byte(address))
		d = append(d, 203, 0, 113, byte(i))
		d = append(d, make([]byte, 8)...) // next hop, interfaces
		d = be.AppendUint32(d, recordPackets)
		d = be.AppendUint32(d, recordOctets)
		d = be.AppendUint32(d, uptime-2000)
		d = be.AppendUint32(d, uptime-1000)
		d = be.AppendUint16(d, 443)
		d = be.AppendUint16(d, uint16(20000+i))
		d = append(d, 0, 0x18, 6, 0)
		d = append(d, make([]byte, 8)...)
	}
	s.sequence += senderRecords
	s.datagrams++
	s.records += senderRecords
	return d
}
