package netflow_test

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"

	goflow "github.com/netsampler/goflow2/v2/decoders/netflow"
	"github.com/netsampler/goflow2/v2/decoders/netflowlegacy"
	"pgregory.net/rapid"

	. "hostmeter/collector/netflow/netflowtest"
	"hostmeter/schemas"
)

// oracleRecord is what the oracle says of a flow: the fields that both decoders read alike.
type oracleRecord struct {
	source, destination netip.Addr
	octets, packets     uint64
	in, out             schemas.IfIndex
	protocol            uint8
	sourcePort          uint16
}

func ours(r schemas.FlowRecord) oracleRecord {
	return oracleRecord{r.Source, r.Destination, r.Octets, r.Packets, r.InInterface, r.OutInterface, r.IPProtocol, r.SourcePort}
}

// oracleFields puts the fields of one record of the oracle together.
func oracleFields(values []goflow.DataField) (r oracleRecord) {
	for _, v := range values {
		b, ok := v.Value.([]byte)
		if !ok || v.PenProvided {
			continue
		}
		number := func() uint64 { return binary.BigEndian.Uint64(append(make([]byte, 8-len(b)), b...)) }
		switch v.Type {
		case 8, 27:
			r.source, _ = netip.AddrFromSlice(b)
		case 12, 28:
			r.destination, _ = netip.AddrFromSlice(b)
		case 1:
			r.octets = number()
		case 2:
			r.packets = number()
		case 10:
			r.in = schemas.IfIndex(number())
		case 14:
			r.out = schemas.IfIndex(number())
		case 4:
			r.protocol = uint8(number())
		case 7:
			r.sourcePort = uint16(number())
		}
	}
	return r
}

// oracle decodes v9 and IPFIX with goflow2, after a template set of its own.
func oracle(t *rapid.T, templates goflow.NetFlowTemplateSystem, datagram []byte) (out []oracleRecord) {
	t.Helper()
	var nine goflow.NFv9Packet
	var ten goflow.IPFIXPacket
	if err := goflow.DecodeMessageVersion(bytes.NewBuffer(datagram), templates, &nine, &ten); err != nil {
		t.Fatal(err)
	}
	for _, set := range append(nine.FlowSets, ten.FlowSets...) {
		if data, ok := set.(goflow.DataFlowSet); ok {
			for _, r := range data.Records {
				out = append(out, oracleFields(r.Values))
			}
		}
	}
	return out
}

// TestOracleTemplates draws templates of fields that matter and of some that do not, in any order and
// size, with records, and compares with goflow2.
func TestOracleTemplates(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ten := rapid.Bool().Draw(t, "ipfix")
		var fields []Field
		addresses := []Field{{ID: 8, Length: 4}, {ID: 12, Length: 4}}
		if rapid.Bool().Draw(t, "ipv6") {
			addresses = []Field{{ID: 27, Length: 16}, {ID: 28, Length: 16}}
		}
		length := func(max int) uint16 { return uint16(rapid.IntRange(1, max).Draw(t, "length")) }
		fields = append(addresses, Field{ID: 1, Length: length(8)}, Field{ID: 2, Length: length(8)}, Field{ID: 10, Length: length(4)},
			Field{ID: 14, Length: length(4)}, Field{ID: 4, Length: 1}, Field{ID: 7, Length: 2}, Field{ID: 80, Length: 6}, Field{ID: 400, Length: length(20)})
		if ten && rapid.Bool().Draw(t, "variable") {
			fields = append(fields, Field{ID: 371, Length: Variable}, Field{ID: 96, Length: Variable})
		}
		if ten {
			fields = append(fields, Field{ID: 1, Length: 4, PEN: 9})
		}
		fields = rapid.Permutation(fields).Draw(t, "order")
		var body []byte
		for range rapid.IntRange(1, 5).Draw(t, "records") {
			for _, f := range fields {
				n := int(f.Length)
				if f.Length == Variable {
					n = rapid.SampledFrom([]int{0, 1, 254, 255, 300}).Draw(t, "told length")
					if n < 255 {
						body = append(body, byte(n))
					} else {
						body = append(body, 255, byte(n>>8), byte(n))
					}
				}
				body = append(body, rapid.SliceOfN(rapid.ByteRange(1, 255), n, n).Draw(t, "value")...)
			}
		}
		var template, data []byte
		if ten {
			template, data = IPFIX(0, 3, seconds, TemplateIPFIX(256, fields...)), IPFIX(0, 3, seconds, Set(256, body))
		} else {
			template, data = V9(0, 3, 1, seconds, Template9(256, fields...)), V9(1, 3, 1, seconds, Set(256, body))
		}
		templates := goflow.CreateTemplateSystem()
		oracle(t, templates, template)
		want := oracle(t, templates, data)
		d := newDecoder()
		got, err := d.Decode(nil, from, received, template)
		if err != nil {
			t.Fatal(err)
		}
		if got, err = d.Decode(got, from, received, data); err != nil {
			t.Fatal(err)
		}
		if len(got) != len(want) {
			t.Fatalf("%d records, the oracle has %d", len(got), len(want))
		}
		for i := range got {
			if ours(got[i]) != want[i] {
				t.Fatalf("record %d:\ngot    %+v\noracle %+v", i, ours(got[i]), want[i])
			}
		}
	})
}

func TestOracleV5(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		body := rapid.SliceOfN(rapid.Byte(), 48, 48*5).Draw(t, "records")
		body = body[:len(body)/48*48]
		b := V5(0, 1000, seconds, 0, 0)
		b[3] = byte(len(body) / 48)
		b = append(b, body...)
		var want netflowlegacy.PacketNetFlowV5
		if err := netflowlegacy.DecodeMessageVersion(bytes.NewBuffer(b), &want); err != nil {
			t.Fatal(err)
		}
		got, err := newDecoder().Decode(nil, from, received, b)
		if err != nil || len(got) != len(want.Records) {
			t.Fatalf("%d records, the oracle has %d; %v", len(got), len(want.Records), err)
		}
		for i, w := range want.Records {
			source, destination := U32(uint32(w.SrcAddr)), U32(uint32(w.DstAddr))
			o := oracleRecord{
				netip.AddrFrom4([4]byte(source)), netip.AddrFrom4([4]byte(destination)), uint64(w.DOctets), uint64(w.DPkts),
				schemas.IfIndex(w.Input), schemas.IfIndex(w.Output), w.Proto, w.SrcPort,
			}
			if ours(got[i]) != o {
				t.Fatalf("record %d:\ngot    %+v\noracle %+v", i, ours(got[i]), o)
			}
		}
	})
}
