package tally

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math/bits"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"hostmeter/schemas"
)

// hashTwin is the hash as schemas/batch.proto words it, by the standard library.
func hashTwin(b []byte) uint64 {
	h := fnv.New64a()
	h.Write(b)
	z := h.Sum64()
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb
	return z ^ (z >> 31)
}

func TestHashTwin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "octets")
		four := netip.AddrFrom4([4]byte(b[:4]))
		mapped := four.As16()
		if got, want := hashAddress(numberOf(four), true), hashTwin(mapped[:]); got != want {
			t.Fatalf("%s: %x, want %x", four, got, want)
		}
		six := netip.AddrFrom16([16]byte(b))
		if got, want := hashAddress(numberOf(six), false), hashTwin(b); got != want {
			t.Fatalf("%s: %x, want %x", six, got, want)
		}
		if got, want := hashPort(binary.BigEndian.Uint16(b)), hashTwin(b[:2]); got != want {
			t.Fatalf("port: %x, want %x", got, want)
		}
	})
}

func TestSketchTwin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		hashes := rapid.SliceOfN(rapid.OneOf(rapid.Uint64(), rapid.Uint64Range(0, 40)), 1, 100).Draw(t, "hashes")
		var s sketch
		distinct := make(map[uint64]bool)
		var want [registers]byte
		for _, h := range hashes {
			s.add(h)
			distinct[h] = true
			rank := byte(57)
			if low := h << 8; low != 0 {
				rank = byte(bits.LeadingZeros64(low)) + 1
			}
			want[h>>56] = max(want[h>>56], rank)
		}
		var m sketchMessage
		out := m.of(&s)
		if len(distinct) <= exactMax {
			if len(out.Exact) != len(distinct) || !slices.IsSorted(out.Exact) || out.Registers != nil {
				t.Fatalf("%v of %d distinct", out, len(distinct))
			}
		} else if !bytes.Equal(out.Registers, want[:]) || out.Exact != nil {
			t.Fatalf("%v, want %v", out.Registers, want)
		}
	})
}

// TestSmallSketchTwin holds what is sent of few and of many addresses and ports against a sketch of all
// their hashes.
func TestSmallSketchTwin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		table := newTable()
		var addresses addressSketch
		var ports portSketch
		var wantAddresses, wantPorts sketch
		for range rapid.IntRange(1, 80).Draw(t, "observations") {
			port := rapid.Uint16Range(0, 60).Draw(t, "port")
			address := number{low: rapid.Uint64Range(0, 60).Draw(t, "address")}
			v4 := rapid.IntRange(0, 30).Draw(t, "IPv6") > 0
			addresses.add(table, address, v4)
			wantAddresses.add(hashAddress(address, v4))
			ports.add(table, port)
			wantPorts.add(hashPort(port))
		}
		var got, want sketchMessage
		if g, w := got.ofAddresses(table, &addresses), want.of(&wantAddresses); g.String() != w.String() {
			t.Fatalf("addresses %v, want %v", g, w)
		}
		if g, w := got.ofPorts(table, &ports), want.of(&wantPorts); g.String() != w.String() {
			t.Fatalf("ports %v, want %v", g, w)
		}
	})
}

func TestHeaviestFindsTheHeavy(t *testing.T) {
	var h heaviest[int]
	for i := range 10_000 {
		h.add(1000+i, 10, 1) // many light ones
		if i%10 == 0 {
			h.add(i/10%5, 5000, 4) // five heavy ones
		}
	}
	top := h.top()
	if len(top) != told {
		t.Fatalf("%d told", len(top))
	}
	for i := range 5 {
		if top[i].key >= 5 || top[i].octets < 1_000_000 || top[i].octets > 1_100_000 {
			t.Errorf("place %d: %+v", i, top[i])
		}
	}
}

// TestFeatures holds the features of a record of the meter 192.0.2.9, out and in.
func TestFeatures(t *testing.T) {
	f := func(name string, change func(r *schemas.FlowRecord), wantOut, wantIn *schemas.Features) {
		t.Helper()
		for _, out := range []bool{true, false} {
			table := newTable()
			r := record("192.0.2.9", "198.51.100.7", 600, 5)
			change(r)
			if !out {
				r.Source, r.Destination = r.Destination, r.Source
				r.SourcePort, r.DestinationPort = r.DestinationPort, r.SourcePort
			}
			table.Add(exporter(table, ModeSingle), r, received)
			tally := table.flushed(true).Tallies[0]
			got, want := tally.Out.GetFeatures(), wantOut
			if !out {
				got, want = tally.In.GetFeatures(), wantIn
			}
			if got.String() != want.String() {
				t.Errorf("%s, out %v:\ngot  %v\nwant %v", name, out, got, want)
			}
		}
	}
	same := func(name string, change func(r *schemas.FlowRecord), want *schemas.Features) {
		t.Helper()
		f(name, change, want, want)
	}
	tcp := func(port uint16, flags uint8, packets uint64) func(r *schemas.FlowRecord) {
		return func(r *schemas.FlowRecord) { r.DestinationPort, r.TCPFlags, r.Packets = port, flags, packets }
	}
	same("TCP", tcp(50_000, 0x18, 5), &schemas.Features{TcpPackets: 5, TcpFlows: 1})
	same("a flow that begins with SYN", tcp(50_000, 0x1b, 5), &schemas.Features{TcpPackets: 5, TcpFlows: 1, SynPackets: 1})
	same("a SYN flood", tcp(50_000, 0x02, 5), &schemas.Features{TcpPackets: 5, TcpFlows: 1, SynPackets: 5, SynOnlyFlows: 1})
	same("SYN and ACK in one packet", tcp(50_000, 0x12, 1), &schemas.Features{TcpPackets: 1, TcpFlows: 1, SinglePacketFlows: 1})
	same("mail, answered", tcp(587, 0x1b, 5), &schemas.Features{TcpPackets: 5, TcpFlows: 1, SynPackets: 1, SmtpFlows: 1, SmtpEstablishedFlows: 1})
	same("mail, refused", tcp(25, 0x06, 2), &schemas.Features{TcpPackets: 2, TcpFlows: 1, SynPackets: 1, SmtpFlows: 1})
	same("telnet", tcp(2323, 0x10, 2), &schemas.Features{TcpPackets: 2, TcpFlows: 1, TelnetFlows: 1})
	same("SSH", tcp(22, 0x10, 2), &schemas.Features{TcpPackets: 2, TcpFlows: 1, SshFlows: 1})
	same("RDP", tcp(3389, 0x10, 2), &schemas.Features{TcpPackets: 2, TcpFlows: 1, RdpFlows: 1})
	same("stratum", tcp(3333, 0x10, 2), &schemas.Features{TcpPackets: 2, TcpFlows: 1, MiningFlows: 1})
	same("a scan of routers", tcp(7547, 0x02, 1), &schemas.Features{TcpPackets: 1, TcpFlows: 1, SynPackets: 1, SynOnlyFlows: 1, RouterScanFlows: 1, SinglePacketFlows: 1})
	same("browsing is no scan", tcp(80, 0x1b, 5), &schemas.Features{TcpPackets: 5, TcpFlows: 1, SynPackets: 1})
	same("DNS over TCP", tcp(53, 0x18, 5), &schemas.Features{TcpPackets: 5, TcpFlows: 1, DnsPackets: 5, DnsOctets: 600})
	same("DNS", func(r *schemas.FlowRecord) { r.IPProtocol, r.DestinationPort = 17, 53 },
		&schemas.Features{UdpPackets: 5, UdpOctets: 600, UdpFlows: 1, DnsPackets: 5, DnsOctets: 600})
	f("an amplifier", func(r *schemas.FlowRecord) { r.IPProtocol, r.SourcePort = 17, 11211 },
		&schemas.Features{UdpPackets: 5, UdpOctets: 600, UdpFlows: 1, AmplifierOctets: 600, AmplifierPackets: 5},
		&schemas.Features{UdpPackets: 5, UdpOctets: 600, UdpFlows: 1})
	same("ICMP", func(r *schemas.FlowRecord) { r.IPProtocol = 1 }, &schemas.Features{IcmpPackets: 5})
	same("ICMPv6 by number", func(r *schemas.FlowRecord) { r.IPProtocol = 58 }, &schemas.Features{IcmpPackets: 5})
	same("fragments", func(r *schemas.FlowRecord) { r.IPProtocol, r.Fragment = 50, true }, &schemas.Features{Fragments: 5})
}

func TestPeersOfBusyMeters(t *testing.T) {
	table := newTable()
	e := exporter(table, ModeSingle)
	for range 3 {
		r := record("192.0.2.9", "198.51.100.7", 1<<20, 1000)
		r.SamplingNumerator = 10
		table.Add(e, r, received)
	}
	out := table.flushed(true).Tallies[0].Out
	if len(out.TopPeers) != 1 || !bytes.Equal(out.TopPeers[0].Address, []byte{198, 51, 100, 7}) || out.TopPeers[0].Octets != 30<<20 {
		t.Errorf("%v", out.TopPeers)
	}
	if len(out.TopPorts) != 1 || out.TopPorts[0].Port != 50_000 || out.TopPorts[0].Protocol != 6 {
		t.Errorf("%v", out.TopPorts)
	}
	if len(out.RemoteAddresses.Exact) != 1 || len(out.RemotePorts.Exact) != 1 {
		t.Errorf("%v %v", out.RemoteAddresses, out.RemotePorts)
	}
}

// Where very many meters are busy, the floor from which peers are followed rises before the next flush: memory stays
// bounded, those that were followed before stay so, and the heaviest still come in. When few are busy it falls again.
func TestPeersOfVeryManyBusyMeters(t *testing.T) {
	config := tableConfig()
	config.Local, config.Shards, config.Notes = prefixesOf("10.0.0.0/8"), 1, 64 // added up as they come
	table := New(config)
	e := exporter(table, ModeSingle)
	address := func(n int) string { return fmt.Sprintf("10.0.%d.%d", n>>8, n&255) }
	send := func(n int, octets uint64) {
		table.Add(e, record(address(n), "198.51.100.7", octets, 1000), received)
	}
	const meters = 4 * peersMost
	for n := range meters {
		send(n, 1<<20)
	}
	send(0, 1<<20)        // followed already
	send(meters-1, 8<<20) // the heaviest
	peers := map[string]uint64{}
	for _, tally := range table.flushed(true).Tallies {
		if len(tally.Out.TopPeers) > 0 {
			peers[tally.Meter] = tally.Out.TopPeers[0].Octets
		}
	}
	if len(peers) < peersMost || len(peers) > peersMost+peersMost/4 {
		t.Errorf("the peers of %d meters were followed, want about %d", len(peers), peersMost)
	}
	last := string(schemas.AddressMeter(addr(address(meters - 1))))
	if peers[last] != 8<<20 {
		t.Errorf("of the heaviest meter %d octets were followed", peers[last])
	}
	if first := string(schemas.AddressMeter(addr(address(0)))); peers[first] != 2<<20 {
		t.Errorf("%d octets of the first meter were followed: what is followed once stays so", peers[first])
	}
	for range 3 {
		table.flushed(true)
	}
	send(1, 1<<20)
	if tallies := table.flushed(true).Tallies; len(tallies) != 1 || len(tallies[0].Out.TopPeers) != 1 {
		t.Errorf("the floor did not fall again: %v", tallies)
	}
}

// BenchmarkAdd adds datagrams of 24 records, half of them in and half out, of 50,000 local addresses or a few, and
// flushes all after each 4 million records.
func BenchmarkAdd(b *testing.B) {
	for _, addresses := range []uint32{100, 50_000} {
		for name, detail := range map[string]bool{"detail": true, "sums": false} {
			b.Run(fmt.Sprintf("%s of %d addresses", name, addresses), func(b *testing.B) {
				c := DefaultConfig()
				c.Local, c.NoDetail = prefixesOf("10.0.0.0/8", "192.0.2.0/24"), !detail
				table := New(c)
				e := table.Exporter(ExporterConfig{Name: "a", Protocol: schemas.NetFlow9})
				records := make([]schemas.FlowRecord, 24)
				for i := range records {
					records[i] = *record("192.0.2.9", "198.51.100.7", 1400, 2)
				}
				random := rand.New(rand.NewPCG(1, 2))
				b.ReportAllocs()
				added := 0
				for b.Loop() {
					for i := range records {
						r, x := &records[i], random.Uint64()
						n := uint32(x) % addresses
						local, remote := netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)}), netip.AddrFrom4([4]byte{198, 51, byte(x >> 40), byte(x >> 32)})
						r.Source, r.Destination = local, remote
						if x>>63 == 0 {
							r.Source, r.Destination = remote, local
						}
					}
					table.AddAll(e, records, received)
					if added += len(records); added >= 1<<22 {
						table.Flush(true, func(*schemas.Tally) {})
						added = 0
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(records)), "ns/record")
			})
		}
	}
}
