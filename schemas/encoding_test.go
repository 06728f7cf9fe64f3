package schemas_test

import (
	"testing"

	"google.golang.org/protobuf/proto"
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
	})
}
