package sflow_test

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	goflow "github.com/netsampler/goflow2/v2/decoders/sflow"
	"pgregory.net/rapid"

	"hostmeter/collector/fuzztest"
	. "hostmeter/collector/sflow/sflowtest"
	"hostmeter/schemas"
)

// oracleSample is what goflow2 and gopacket say of a flow sample.
type oracleSample struct {
	rate                uint32
	in, out             schemas.IfIndex
	frame               uint64
	ip                  bool
	octets              uint64 // 0: not told
	source, destination netip.Addr
}

// oracle decodes with goflow2 and gopacket. Known faults of goflow2 2.2.6 and gopacket that keep a datagram or a sample out of the comparison: the
// count of records of an expanded sample is believed (gigabytes); one bad record ends the datagram; a
// summary of an Ethernet frame is read without its padding; format bits of interfaces stay in them; of
// header protocols other than Ethernet nothing is read; 0x9100, SNAP and PPP in HDLC are not known; an IPv4
// length below the header's, as offload leaves, is an error, and the version in an IP header is not looked at; what
// pads a header is taken for more of it (cut off here); an EtherType of 0xffff is raw IPv4, which it is in no
// Ethernet frame, and 0x880b, 0x6558 and 0x88be are looked through outside of GRE.
func oracle(datagram []byte) (out []oracleSample, ok bool) {
	var packet goflow.Packet
	if oversized(datagram) || goflow.DecodeMessageVersion(bytes.NewBuffer(datagram), &packet) != nil {
		return nil, false
	}
	for _, sample := range packet.Samples {
		var s oracleSample
		var records []goflow.FlowRecord
		switch sample := sample.(type) {
		case goflow.FlowSample:
			s = oracleSample{rate: sample.SamplingRate, in: compact(sample.Input), out: compact(sample.Output)}
			records = sample.Records
		case goflow.ExpandedFlowSample:
			s = oracleSample{rate: sample.SamplingRate, in: expanded(sample.InputIfFormat, sample.InputIfValue), out: expanded(sample.OutputIfFormat, sample.OutputIfValue)}
			records = sample.Records
		default:
			continue
		}
		if len(records) > 1 { // which of two headers counts is not the same
			return nil, false
		}
		for _, r := range records {
			header, isHeader := r.Data.(goflow.SampledHeader)
			if !isHeader {
				return nil, false
			}
			if s.frame == 0 && header.Protocol == 1 {
				s.frame = uint64(header.FrameLength)
				s.packet(header.HeaderData[:min(len(header.HeaderData), int(header.OriginalLength))])
			}
		}
		out = append(out, s)
	}
	return out, true
}

// oversized tells that an expanded sample counts more records than its octets can hold.
func oversized(b []byte) bool {
	for at := 0; at+4 <= len(b); at++ { // whatever the count is of
		if binary.BigEndian.Uint32(b[at:]) == 3 && at+52 <= len(b) && binary.BigEndian.Uint32(b[at+48:]) > 1000 {
			return true
		}
	}
	return false
}

func compact(n uint32) schemas.IfIndex {
	if n >= 0x3fffffff {
		return 0
	}
	return schemas.IfIndex(n)
}

func expanded(format, value uint32) schemas.IfIndex {
	if format != 0 || value == 0x3fffffff || value == 0xffffffff {
		return 0
	}
	return schemas.IfIndex(value)
}

// packet reads the outermost IP header.
func (s *oracleSample) packet(b []byte) {
	p := gopacket.NewPacket(b, layers.LayerTypeEthernet, gopacket.DecodeOptions{Lazy: false, NoCopy: true})
	for _, layer := range p.Layers() {
		switch ip := layer.(type) {
		case *layers.Ethernet:
			if foreign(ip.EthernetType) {
				return
			}
		case *layers.Dot1Q:
			if foreign(ip.Type) {
				return
			}
		case *layers.SNAP:
			if foreign(ip.Type) {
				return
			}
		case *layers.IPv4:
			if len(ip.Contents) < 20 {
				return // refused
			}
			s.ip = ip.Version == 4
			if binary.BigEndian.Uint16(ip.Contents[2:]) > 0 { // else Length is what was kept of the packet
				s.octets = uint64(ip.Length)
			}
			s.source, _ = netip.AddrFromSlice(ip.SrcIP.To4())
			s.destination, _ = netip.AddrFromSlice(ip.DstIP.To4())
			return
		case *layers.IPv6:
			s.ip = ip.Version == 6
			if ip.Length > 0 {
				s.octets = uint64(ip.Length) + 40
			}
			source, _ := netip.AddrFromSlice(ip.SrcIP)
			destination, _ := netip.AddrFromSlice(ip.DstIP)
			s.source, s.destination = source.Unmap(), destination.Unmap()
			return
		}
	}
}

// foreign tells that gopacket reads on behind an EtherType behind which no switch's frame has IP.
func foreign(t layers.EthernetType) bool {
	return t == layers.EthernetTypeRaw || t == layers.EthernetTypePPP || t == layers.EthernetTypeERSPAN || t == layers.EthernetTypeTransparentEthernetBridging
}

// sameAsOracle returns how many samples it compared.
func sameAsOracle(t interface {
	Helper()
	Fatalf(string, ...any)
}, datagram []byte,
) int {
	t.Helper()
	d := newDecoder()
	got, err := d.Decode(nil, received, datagram)
	if err != nil || len(d.Stats().DroppedCounts()) > 0 {
		return 0
	}
	want, ok := oracle(datagram)
	if !ok {
		return 0
	}
	if len(got) != len(want) {
		t.Fatalf("%d samples, the oracle has %d", len(got), len(want))
	}
	for i, w := range want {
		g := got[i]
		if g.SamplingNumerator != w.rate || g.InInterface != w.in || g.OutInterface != w.out || w.frame != 0 && g.OctetsL2 != w.frame {
			t.Fatalf("sample %d:\ngot    %+v\noracle %+v", i, g, w)
		}
		if w.ip && (g.Source != w.source || g.Destination != w.destination || w.octets != 0 && g.Octets != w.octets && d.Stats().LengthsCut == 0) {
			t.Fatalf("sample %d:\ngot    %+v\noracle %+v", i, g, w)
		}
	}
	return len(got)
}

// TestOracle draws datagrams of samples with frames of every kind that the oracle reads.
func TestOracle(t *testing.T) {
	compared := 0
	rapid.Check(t, func(t *rapid.T) {
		var samples [][]byte
		for range rapid.IntRange(1, 6).Draw(t, "samples") {
			octets := rapid.Uint16Range(40, 1500).Draw(t, "octets")
			etherType, ip := uint16(0x0800), IPv4(octets, 17, rapid.SampledFrom([]uint16{0, 0x4000, 0x2000, 0x00b9}).Draw(t, "fragment"), ours, theirs, 4*rapid.IntRange(0, 3).Draw(t, "options"), UDP(53, 4000))
			if rapid.Bool().Draw(t, "ipv6") {
				etherType, ip = 0x86dd, IPv6(octets-40, rapid.SampledFrom([]uint8{17, 6, 58, 59}).Draw(t, "next"), ours6, theirs6, UDP(53, 4000))
			}
			frame := Ethernet(etherType, ip)
			switch rapid.IntRange(0, 3).Draw(t, "link") {
			case 1:
				frame = Ethernet(0x8100, Tag(7, etherType), ip)
			case 2:
				frame = Ethernet(0x88a8, Tag(7, 0x8100), Tag(8, etherType), ip)
			case 3:
				frame = Ethernet(0x8847, Words(16<<12|0x100), ip)
			}
			header := Header(1, uint32(octets)+uint32(len(frame)-len(ip))+4, frame)
			rate, in, out := rapid.Uint32Range(1, 100_000).Draw(t, "rate"), rapid.Uint32().Draw(t, "in"), rapid.Uint32().Draw(t, "out")
			if rapid.Bool().Draw(t, "expanded") {
				samples = append(samples, ExpandedFlow(1, 3, rate, [2]uint32{in >> 31, in >> 2}, [2]uint32{out >> 31, out >> 2}, header))
			} else {
				samples = append(samples, Flow(1, 3, rate, in, out, header))
			}
		}
		compared += sameAsOracle(t, Datagram(1, 1, 1, samples...))
	})
	if compared < 100 {
		t.Errorf("only %d samples were compared", compared)
	}
}

// FuzzOracle compares what the fuzzer makes of datagrams.
func FuzzOracle(f *testing.F) {
	f.Add(Datagram(0, 0, 1, Flow(0, 3, 1024, 3, 4, plain), Counters(1, 7, 1, 2, 3)))
	f.Add(Datagram(0, 0, 1, ExpandedFlow(0, 3, 1, [2]uint32{0, 3}, [2]uint32{2, 2}, plain)))
	fuzztest.AddCorpus(f)
	f.Fuzz(func(t *testing.T, datagram []byte) { sameAsOracle(t, datagram) })
}
