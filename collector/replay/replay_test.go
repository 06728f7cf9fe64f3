package replay_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	. "hostmeter/collector/netflow/netflowtest"
	"hostmeter/collector/replay"
	"hostmeter/collector/sflow/sflowtest"
)

const seconds = 1_790_000_000

var captured = time.Unix(seconds, 0)

func join(parts ...[]byte) (b []byte) {
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

// udp4 is an IPv4 packet with a UDP datagram from 192.0.2.250:2055.
func udp4(payload []byte) []byte {
	return sflowtest.IPv4(uint16(28+len(payload)), 17, 0, "192.0.2.250", "192.0.2.1", 0, U16(2055), U16(9995), U16(uint16(8+len(payload))), U16(0), payload)
}

// frame puts an IP packet into what a capture of a link type holds.
func frame(link layers.LinkType, ip []byte) []byte {
	etherType := uint16(0x0800)
	if ip[0]>>4 == 6 {
		etherType = 0x86dd
	}
	switch link {
	case layers.LinkTypeEthernet:
		return join(sflowtest.Ethernet(0x8100, sflowtest.Tag(7, etherType), ip), make([]byte, 5)) // padded
	case layers.LinkTypeLinuxSLL:
		return join(make([]byte, 14), U16(etherType), ip)
	case layers.LinkTypeLinuxSLL2:
		return join(U16(etherType), make([]byte, 18), ip)
	case layers.LinkTypeNull:
		return join([]byte{2, 0, 0, 0}, ip)
	}
	return ip
}

func write(t testing.TB, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// pcap writes IP packets as a capture, a second apart.
func pcap(t testing.TB, link layers.LinkType, packets ...[]byte) string {
	t.Helper()
	var b bytes.Buffer
	w := pcapgo.NewWriter(&b)
	if err := w.WriteFileHeader(65535, link); err != nil {
		t.Fatal(err)
	}
	for i, p := range packets {
		p = frame(link, p)
		at := captured.Add(time.Duration(i) * time.Second)
		if err := w.WritePacket(gopacket.CaptureInfo{Timestamp: at, CaptureLength: len(p), Length: len(p)}, p); err != nil {
			t.Fatal(err)
		}
	}
	return write(t, "x.pcap", b.Bytes())
}

func replayed(t *testing.T, opts replay.Options, files ...string) replay.Result {
	t.Helper()
	r, err := replay.Run(files, opts)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

var basic = []Field{{ID: 8, Length: 4}, {ID: 12, Length: 4}, {ID: 1, Length: 4}, {ID: 2, Length: 4}}

func flow(octets, packets uint32) []byte {
	return join(Address("192.0.2.9"), Address("198.51.100.7"), U32(octets), U32(packets))
}

var v9 = V9(0, 1, 1, seconds, Template9(256, basic...), Set(256, flow(1000, 2)))

func TestLinkTypes(t *testing.T) {
	udp6 := func(payload []byte) []byte {
		return sflowtest.IPv6(uint16(8+len(payload)), 17, "2001:db8::250", "2001:db8::1", U16(2055), U16(9995), U16(uint16(8+len(payload))), U16(0), payload)
	}
	for _, link := range []layers.LinkType{
		layers.LinkTypeEthernet, layers.LinkTypeLinuxSLL, layers.LinkTypeLinuxSLL2, layers.LinkTypeNull, layers.LinkTypeRaw, layers.LinkTypeIPv4,
	} {
		r := replayed(t, replay.Options{}, pcap(t, link, udp4(v9), udp6(v9)))
		if r.Datagrams != 2 || r.Skipped != 0 || len(r.Exporters) != 2 || r.Exporters[0].Exporter != "192.0.2.250" || r.Exporters[1].Exporter != "2001:db8::250" || r.Exporters[1].Octets != 1000 {
			t.Errorf("%s: %+v", link, r)
		}
	}
	if r := replayed(t, replay.Options{}, pcap(t, layers.LinkTypeIEEE802_11, udp4(v9))); r.Datagrams != 0 || r.Skipped != 1 {
		t.Errorf("802.11: %+v", r)
	}
}

func TestPcapNG(t *testing.T) {
	var b bytes.Buffer
	w, err := pcapgo.NewNgWriterInterface(&b, pcapgo.NgInterface{Name: "eth0", LinkType: layers.LinkTypeEthernet, SnapLength: 65535}, pcapgo.DefaultNgWriterOptions)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := w.AddInterface(pcapgo.NgInterface{Name: "tun0", LinkType: layers.LinkTypeRaw, SnapLength: 65535})
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range [][]byte{frame(layers.LinkTypeEthernet, udp4(v9)), udp4(v9)} {
		if err := w.WritePacket(gopacket.CaptureInfo{Timestamp: captured, CaptureLength: len(p), Length: len(p), InterfaceIndex: i * raw}, p); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if r := replayed(t, replay.Options{}, write(t, "x.pcapng", b.Bytes())); r.Datagrams != 2 || r.Exporters[0].Octets != 2000 {
		t.Errorf("%+v", r)
	}
}

func TestFragments(t *testing.T) {
	whole := udp4(V9(0, 1, 1, seconds, Template9(256, basic...), Set(256, flow(1, 1), flow(2, 1), flow(3, 1), flow(4, 1))))
	fragment := func(from, to int, more bool) []byte {
		p := join(whole[:20], whole[20+from:20+to])
		binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
		where := uint16(from / 8)
		if more {
			where |= 0x2000
		}
		binary.BigEndian.PutUint16(p[6:], where)
		return p
	}
	end := len(whole) - 20
	a, b, c := fragment(0, 32, true), fragment(32, 64, true), fragment(64, end, false)
	for name, order := range map[string][][]byte{"in order": {a, b, c}, "backwards": {c, b, a}, "twice": {a, a, c, b}} {
		if r := replayed(t, replay.Options{}, pcap(t, layers.LinkTypeEthernet, order...)); r.Datagrams != 1 || r.Exporters[0].Records != 4 || r.Skipped != 0 {
			t.Errorf("%s: %+v", name, r)
		}
	}
	if r := replayed(t, replay.Options{}, pcap(t, layers.LinkTypeEthernet, a, c)); r.Datagrams != 0 || r.Skipped != 1 {
		t.Errorf("one missing: %+v", r)
	}
}

func TestWhatIsSkipped(t *testing.T) {
	tcp := sflowtest.IPv4(60, 6, 0, "192.0.2.250", "192.0.2.1", 0, make([]byte, 40))
	r := replayed(t, replay.Options{}, pcap(t, layers.LinkTypeEthernet, tcp, udp4([]byte("hello")), udp4(nil), udp4(v9)))
	if r.Skipped != 3 || r.Datagrams != 1 {
		t.Errorf("%+v", r)
	}
	cut, err := os.ReadFile(pcap(t, layers.LinkTypeEthernet, udp4(v9), udp4(v9)))
	if err != nil {
		t.Fatal(err)
	}
	if r := replayed(t, replay.Options{}, write(t, "cut.pcap", cut[:len(cut)-9])); r.Datagrams != 1 || r.Skipped != 1 {
		t.Errorf("a capture that ends within a packet: %+v", r)
	}
	if _, err := replay.Run([]string{"/does/not/exist"}, replay.Options{}); err == nil {
		t.Error("no error for a file that is not there")
	}
}

func TestRawPayloads(t *testing.T) {
	template, data := write(t, "a.dat", V9(0, 1, 1, seconds, Template9(256, basic...))), write(t, "b.bin", V9(1, 1, 1, seconds, Set(256, flow(7, 1))))
	r := replayed(t, replay.Options{}, data, template) // the order given
	if r.Datagrams != 2 || r.Exporters[0].Exporter != "192.0.2.1" || r.Exporters[0].Octets != 7 || r.Exporters[0].Templates != 1 {
		t.Errorf("%+v", r)
	}
	if r := replayed(t, replay.Options{Exporter: netip.MustParseAddr("198.51.100.1")}, data); r.Exporters[0].Exporter != "198.51.100.1" || r.Exporters[0].Held["template"] != 1 {
		t.Errorf("%+v", r)
	}
	messages := join(IPFIX(0, 1, seconds, TemplateIPFIX(256, basic...)), IPFIX(0, 1, seconds, Set(256, flow(7, 1))))
	if r := replayed(t, replay.Options{}, write(t, "a.ipfix", messages)); r.Datagrams != 2 || r.Exporters[0].Octets != 7 {
		t.Errorf("%+v", r)
	}
	if r := replayed(t, replay.Options{}, write(t, "a.dat", messages)); r.Datagrams != 1 || r.Exporters[0].Dropped["trailing"] != 1 {
		t.Errorf("%+v", r)
	}
}

// TestRateToldLater is two samplers whose rates come after their records, in a fraction and whole.
func TestRateToldLater(t *testing.T) {
	fields := append([]Field{{ID: 302, Length: 2}, {ID: 352, Length: 4}}, basic...)
	record := func(sampler uint16, octets uint32) []byte { return join(U16(sampler), U32(octets+14), flow(octets, 1)) }
	options := OptionsIPFIX(300, 1, Field{ID: 302, Length: 2}, Field{ID: 305, Length: 4}, Field{ID: 306, Length: 4})
	told := Set(300, U16(1), U32(2), U32(5), U16(2), U32(1), U32(99))
	file := pcap(t, layers.LinkTypeEthernet,
		udp4(IPFIX(0, 1, seconds, TemplateIPFIX(256, fields...), Set(256, record(1, 101), record(2, 200), record(1, 102), record(3, 50)))),
		udp4(IPFIX(4, 1, seconds, options, told)),
		udp4(IPFIX(6, 1, seconds, Set(256, record(1, 100)))))
	e := replayed(t, replay.Options{}, file).Exporters[0]
	// Before it was told, and after: each rounded down once.
	if want := uint64((101+102)*7/2 + 350 + 200*100 + 50); e.Octets != want {
		t.Errorf("%d octets, want %d", e.Octets, want)
	}
	if want := uint64((115+116)*7/2 + 114*7/2 + 214*100 + 64); e.OctetsL2 != want {
		t.Errorf("%d octets of layer 2, want %d", e.OctetsL2, want)
	}
	if e.UnknownSamplingRecords != 1 || e.OptionRecords != 2 || e.Records != 5 || e.ReportedOctets != 553 || e.Lost["records"] != 0 {
		t.Errorf("%+v", e)
	}
}

func TestLocal(t *testing.T) {
	r := replayed(t, replay.Options{Local: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}, pcap(t, layers.LinkTypeRaw, udp4(v9)))
	if want := (replay.Address{Address: "192.0.2.9", OutOctets: 1000, OutPackets: 2}); len(r.Addresses) != 1 || r.Addresses[0] != want {
		t.Errorf("%+v", r.Addresses)
	}
	all := replayed(t, replay.Options{}, pcap(t, layers.LinkTypeRaw, udp4(v9)))
	if want := (replay.Address{Address: "198.51.100.7", InOctets: 1000, InPackets: 2}); len(all.Addresses) != 2 || all.Addresses[1] != want {
		t.Errorf("%+v", all.Addresses)
	}
}

// TestJSON holds the keys of the format: other programs read them.
func TestJSON(t *testing.T) {
	got, err := json.Marshal(replayed(t, replay.Options{Local: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}}, pcap(t, layers.LinkTypeRaw, udp4(v9))))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"datagrams":1,"skipped":0,"exporters":[{"exporter":"192.0.2.250","protocol":"netflow9","datagrams":1,"records":1,` +
		`"option_records":0,"templates":1,"counter_samples":0,"reported_octets":1000,"reported_packets":2,"octets":1000,"packets":2,` +
		`"octets_l2":0,"unknown_sampling_records":1,"held":{},"dropped":{},"lost":{}}],` +
		`"addresses":[{"address":"198.51.100.7","in_octets":1000,"out_octets":0,"in_packets":2,"out_packets":0}]}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got, _ := json.Marshal(replayed(t, replay.Options{})); string(got) != `{"datagrams":0,"skipped":0,"exporters":[],"addresses":[]}` {
		t.Errorf("%s", got)
	}
}

// BenchmarkFeed replays datagrams end to end: decode, both ends of each record by address, sums.
func BenchmarkFeed(b *testing.B) {
	from := netip.MustParseAddrPort("192.0.2.250:2055")
	var v5, v9, v10, sf [][]byte
	v9 = append(v9, V9(0, 1, 1, seconds, Template9(256, basic...)))
	v10 = append(v10, IPFIX(0, 1, seconds, TemplateIPFIX(256, basic...)))
	address := func(n uint32) []byte { return U32(0x0a000000 | n*2654435761>>16) }
	for i := range uint32(1000) {
		var data []byte
		var records []Record5
		for j := range uint32(24) {
			data = append(data, join(address(i*24+j), address(i*24+j+7), U32(1000), U32(2))...)
			source, _ := netip.AddrFromSlice(address(i*24 + j))
			records = append(records, Record5{Source: source.String(), Destination: "198.51.100.7", Octets: 1000, Packets: 2})
		}
		v5 = append(v5, V5(i*24, 1, seconds, 0, 0, records...))
		v9 = append(v9, V9(i+1, 1, 1, seconds, Set(256, data)))
		v10 = append(v10, IPFIX(i*24, 1, seconds, Set(256, data)))
		packet := join([]byte{0x45, 0}, U16(1000), make([]byte, 5), []byte{6, 0, 0}, address(i), address(i+3), make([]byte, 20))
		sample := sflowtest.Header(1, 1018, sflowtest.Ethernet(0x0800, packet))
		sf = append(sf, sflowtest.Datagram(0, i, 1, sflowtest.Flow(i*4, 3, 1000, 3, 4, sample), sflowtest.Flow(i*4+1, 3, 1000, 3, 4, sample),
			sflowtest.Flow(i*4+2, 3, 1000, 3, 4, sample), sflowtest.Flow(i*4+3, 3, 1000, 3, 4, sample)))
	}
	for name, c := range map[string]struct {
		datagrams [][]byte
		records   uint64
	}{"v5": {v5, 24_000}, "v9": {v9, 24_000}, "ipfix": {v10, 24_000}, "sflow": {sf, 4000}} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			const rounds = 20
			for b.Loop() {
				r := replay.Feed(replay.Options{}, func(yield func(netip.AddrPort, time.Time, []byte)) {
					for range rounds {
						for _, d := range c.datagrams {
							yield(from, captured, d)
						}
					}
				})
				if e := r.Exporters[0]; e.Records != rounds*c.records || e.ReportedPackets == 0 {
					b.Fatalf("%+v", e)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(uint64(b.N)*rounds*c.records), "ns/record")
		})
	}
}
