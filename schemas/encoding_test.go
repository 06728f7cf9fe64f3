package schemas_test

import (
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"pgregory.net/rapid"

	"hostmeter/schemas"
)

// The generated encoding and the library's are the same message.
func TestGeneratedEncodingIsTheLibrarys(t *testing.T) {
	number := rapid.Uint64()
	traffic := rapid.Custom(func(t *rapid.T) *schemas.Traffic {
		if rapid.Bool().Draw(t, "absent") {
			return nil
		}
		return &schemas.Traffic{
			Octets: number.Draw(t, "octets"), Packets: number.Draw(t, "packets"), Flows: number.Draw(t, "flows"),
			ReportedOctets: number.Draw(t, "reported"), VarianceKib2: number.Draw(t, "variance"),
			Features:        &schemas.Features{TcpPackets: number.Draw(t, "tcp"), SinglePacketFlows: number.Draw(t, "single")},
			RemoteAddresses: &schemas.Sketch{Exact: rapid.SliceOfN(number, 0, 32).Draw(t, "exact")},
			RemotePorts:     &schemas.Sketch{Registers: rapid.SliceOfN(rapid.Byte(), 0, 256).Draw(t, "registers")},
			TopPeers:        []*schemas.Peer{{Address: rapid.SliceOfN(rapid.Byte(), 4, 16).Draw(t, "peer"), Octets: number.Draw(t, "peer octets")}},
			TopPorts:        []*schemas.PortTraffic{{Protocol: 6, Port: rapid.Uint32().Draw(t, "port")}},
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		want := &schemas.Batch{
			Collector: rapid.String().Draw(t, "collector"), LogId: number.Draw(t, "log"), Shard: rapid.Uint32().Draw(t, "shard"),
			Index: number.Draw(t, "index"), Exporters: []string{"192.0.2.1", ""}, Classes: []string{"external"},
			Tallies: []*schemas.Tally{{
				Meter: "address:192.0.2.9", Minute: rapid.Int64().Draw(t, "minute"), Exporter: 1, Class: rapid.Uint32().Draw(t, "class"),
				In: traffic.Draw(t, "in"), Out: traffic.Draw(t, "out"),
			}},
			Accounts: []*schemas.ExporterAccount{{
				Exporter: "192.0.2.1", Hour: rapid.Int64().Draw(t, "hour"), MinutesObserved: number.Draw(t, "minutes"),
				Lost: []*schemas.Count{{Unit: "flows", Reason: "sequence", Count: rapid.Int64().Draw(t, "lost")}},
			}},
			Positions: []*schemas.SourcePosition{{Source: "a", Key: "b", Values: rapid.SliceOf(number).Draw(t, "values"), At: rapid.Int64().Draw(t, "at")}},
		}
		encoded, err := want.MarshalVT()
		if err != nil {
			t.Fatal(err)
		}
		if want.SizeVT() != len(encoded) {
			t.Fatalf("SizeVT %d, of %d octets", want.SizeVT(), len(encoded))
		}
		var got schemas.Batch
		if err := proto.Unmarshal(encoded, &got); err != nil {
			t.Fatal(err)
		}
		if !proto.Equal(&got, want) {
			t.Fatalf("got %v\nwant %v", &got, want)
		}
		if decoded, err := schemas.DecodeBatch(encoded); err != nil || !proto.Equal(decoded, want) {
			t.Fatalf("decoded %v, %v\nwant %v", decoded, err, want)
		}
	})
}

// A batch whose every message has every field, and lists of one.
func full(m protoreflect.Message) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		value := func() protoreflect.Value {
			switch f.Kind() {
			case protoreflect.StringKind:
				return protoreflect.ValueOfString("text")
			case protoreflect.BytesKind:
				return protoreflect.ValueOfBytes([]byte{0xff})
			case protoreflect.BoolKind:
				return protoreflect.ValueOfBool(true)
			case protoreflect.Uint32Kind:
				return protoreflect.ValueOfUint32(7)
			case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
				return protoreflect.ValueOfUint64(7)
			case protoreflect.Int64Kind, protoreflect.Sfixed64Kind, protoreflect.Sint64Kind:
				return protoreflect.ValueOfInt64(7)
			case protoreflect.EnumKind:
				return protoreflect.ValueOfEnum(1)
			}
			panic("a kind that the test does not know: " + f.Kind().String())
		}
		switch {
		case f.IsList() && f.Message() != nil:
			full(m.Mutable(f).List().AppendMutable().Message())
		case f.IsList():
			m.Mutable(f).List().Append(value())
		case f.Message() != nil:
			full(m.Mutable(f).Message())
		default:
			m.Set(f, value())
		}
	}
}

// spoil puts octets that are no UTF-8 into each string of a message in turn.
func spoil(m protoreflect.Message, each func(name protoreflect.FullName)) {
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.Kind() == protoreflect.StringKind && f.IsList():
			v.List().Set(0, protoreflect.ValueOfString("\xff"))
			each(f.FullName())
			v.List().Set(0, protoreflect.ValueOfString("text"))
		case f.Kind() == protoreflect.StringKind:
			m.Set(f, protoreflect.ValueOfString("\xff"))
			each(f.FullName())
			m.Set(f, v)
		case f.Message() != nil && f.IsList():
			spoil(v.List().Get(0).Message(), each)
		case f.Message() != nil:
			spoil(v.Message(), each)
		}
		return true
	})
}

func TestStringsThatAreNotUTF8AreRefused(t *testing.T) {
	batch := &schemas.Batch{}
	full(batch.ProtoReflect())
	decode := func() (*schemas.Batch, error) {
		encoded, err := batch.MarshalVT()
		if err != nil {
			t.Fatal(err)
		}
		return schemas.DecodeBatch(encoded)
	}
	if got, err := decode(); err != nil || !proto.Equal(got, batch) {
		t.Fatalf("decoded %v, %v", got, err)
	}
	spoiled := 0
	spoil(batch.ProtoReflect(), func(name protoreflect.FullName) {
		spoiled++
		if _, err := decode(); err == nil {
			t.Errorf("%s is not looked at", name)
		}
	})
	if spoiled < 10 {
		t.Errorf("only %d strings", spoiled)
	}
}

// FuzzDecodeBatch: what is decoded is what the library decodes. The library refuses a string that is not UTF-8 also where
// another one comes behind it and counts.
func FuzzDecodeBatch(f *testing.F) {
	batch := &schemas.Batch{}
	full(batch.ProtoReflect())
	encoded, err := batch.MarshalVT()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(encoded)
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := schemas.DecodeBatch(b)
		if err != nil {
			return
		}
		known := func(encoded []byte) (*schemas.Batch, error) { // fields that nobody knows may be kept in another form
			m := &schemas.Batch{}
			return m, proto.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(encoded, m)
		}
		again, err := proto.Marshal(got)
		if err != nil {
			t.Fatalf("decoded what the library does not encode: %v", err)
		}
		if got, err = known(again); err != nil {
			return // in a group that nobody knows
		}
		if want, err := known(b); err == nil && !proto.Equal(got, want) {
			t.Fatalf("got %v\nwant %v", got, want)
		}
	})
}

func BenchmarkDecodeBatch(b *testing.B) {
	batch := &schemas.Batch{Exporters: []string{"192.0.2.1"}, Classes: []string{"external"}}
	for i := range 1000 {
		tally := &schemas.Tally{Meter: "address:192.0.2.9", Minute: 29_000_000 + int64(i), In: &schemas.Traffic{}, Out: &schemas.Traffic{}}
		for _, x := range []*schemas.Traffic{tally.In, tally.Out} {
			x.Octets, x.Packets, x.Flows, x.ReportedOctets, x.ReportedPackets = 123_456_789, 123_456, 123, 123_456_789, 123_456
			x.Features = &schemas.Features{TcpPackets: 100_000, TcpFlows: 100, UdpPackets: 23_456, UdpFlows: 23}
			x.RemoteAddresses = &schemas.Sketch{Exact: []uint64{1, 2, 3, 4}}
			x.RemotePorts = &schemas.Sketch{Exact: []uint64{1, 2, 3, 4}}
		}
		batch.Tallies = append(batch.Tallies, tally)
	}
	encoded, err := batch.MarshalVT()
	if err != nil {
		b.Fatal(err)
	}
	b.Run("generated", func(b *testing.B) {
		for b.Loop() {
			if _, err := schemas.DecodeBatch(encoded); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("library", func(b *testing.B) {
		for b.Loop() {
			if err := proto.Unmarshal(encoded, &schemas.Batch{}); err != nil {
				b.Fatal(err)
			}
		}
	})
}
