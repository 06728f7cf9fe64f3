package main

import (
	"encoding/binary"
	"net"
	"net/netip"
	"testing"
	"time"
)

// TestEachStreamCountsForItself receives what several exporters with several ports send.
func TestEachStreamCountsForItself(t *testing.T) {
	receiver, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer receiver.Close()
	if err := receiver.SetReadBuffer(4 << 20); err != nil {
		t.Fatal(err)
	}
	pool, err := NewPool("netflow9", 3, 1)
	if err != nil {
		t.Fatal(err)
	}
	sent, err := send(pool, plan{
		to: receiver.LocalAddr().(*net.UDPAddr).AddrPort(), from: netip.MustParseAddr("127.1.0.254"),
		exporters: 3, ports: 2, perSecond: 48_000, length: 100 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	if sent.Datagrams != 200 || sent.Templates != 6 || sent.Records != 4800 || sent.Skipped != 0 {
		t.Errorf("sent %+v, want 200 datagrams of 4800 records and 6 of templates", sent)
	}
	type stream struct {
		from   netip.Addr
		domain uint32
	}
	next := map[stream]uint32{}
	buffer := make([]byte, 2000)
	for range sent.Datagrams + sent.Templates {
		if err := receiver.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
			t.Fatal(err)
		}
		n, from, err := receiver.ReadFromUDPAddrPort(buffer)
		if err != nil {
			t.Fatal(err)
		}
		s := stream{from.Addr(), binary.BigEndian.Uint32(buffer[16:n])}
		if sequence := binary.BigEndian.Uint32(buffer[12:]); sequence != next[s] {
			t.Fatalf("%+v: sequence number %d, want %d", s, sequence, next[s])
		}
		next[s]++
	}
	if len(next) != 6 || next[stream{netip.MustParseAddr("127.1.1.0"), 2}] == 0 {
		t.Errorf("streams %v, want 3 exporters from 127.1.0.254 with domains 1 and 2", next)
	}
}
