package replay

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const captures = "../../../shared/captures"

// captureCase is what several tools agree that a capture holds; see README.md beside the captures.
type captureCase struct {
	ID, Proto string
	Files     []string
	Datagrams uint64
	Exporters int
	Expected  struct {
		Records, Octets, Packets uint64
		Later                    []uint64 `json:"if_templates_may_come_later"`
		ReverseOctets            uint64   `json:"reverse_octets"`
		ReversePackets           uint64   `json:"reverse_packets"`
	}
	Scaled *struct {
		Octets, Packets uint64
		Unknown         uint64 `json:"records_with_no_known_rate"`
	} `json:"scaled_by_rule"`
	Layer3 *struct {
		Octets uint64 `json:"estimated_octets"`
	}
	OptionRecords *uint64 `json:"option_records"`
	ByAddress     map[string]struct {
		All, Top map[string]uint64
	} `json:"by_address"`
}

// files leaves out what is not a capture: the expected outputs of other projects.
func (c *captureCase) inputs() []string {
	var out []string
	for _, f := range c.Files {
		if !strings.HasSuffix(f, ".out") {
			out = append(out, filepath.Join(captures, f))
		}
	}
	return out
}

func loadCaptures(t testing.TB) []captureCase {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(captures, "cases.json"))
	if os.IsNotExist(err) {
		t.Skip("NO REAL CAPTURES WERE READ: " + captures + " is not there")
	}
	if err != nil {
		t.Fatal(err)
	}
	var index struct{ Cases []captureCase }
	if err := json.Unmarshal(text, &index); err != nil {
		t.Fatal(err)
	}
	return index.Cases
}

// mixed are captures that hold another protocol beside the one of their title; docs/reference/replay.md
// says more. Their sums are those of all protocols, or of the one.
var mixed = map[string]string{
	"graylog-nprobe-netflow9":                "150 of the 152 records are in NetFlow v5",
	"tcpdump-sflow-multiple-counter-30-pdus": "7 NetFlow v5 records beside the sFlow",
}

func TestCaptures(t *testing.T) {
	cases := loadCaptures(t)
	if len(cases) < 62 {
		t.Fatalf("%d captures, want at least 62", len(cases))
	}
	for _, c := range cases {
		t.Run(c.ID, func(t *testing.T) {
			result, err := Run(c.inputs(), Options{})
			if err != nil {
				t.Fatal(err)
			}
			compareCapture(t, &c, result)
		})
	}
}

func compareCapture(t *testing.T, c *captureCase, result Result) {
	t.Helper()
	check := func(what string, got, want uint64) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %d, want %d", what, got, want)
		}
	}
	check("datagrams", result.Datagrams, c.Datagrams)
	var got Exporter
	for _, e := range result.Exporters {
		if e.Protocol != c.Proto && mixed[c.ID] == "" {
			t.Errorf("protocol %s, want %s", e.Protocol, c.Proto)
		}
		if e.Protocol != c.Proto && c.Proto == "sflow5" {
			continue
		}
		got.Records += e.Records
		got.ReportedOctets += e.ReportedOctets
		got.ReportedPackets += e.ReportedPackets
		got.Octets += e.Octets
		got.Packets += e.Packets
		got.OctetsL2 += e.OctetsL2
		got.OptionRecords += e.OptionRecords
		got.UnknownSamplingRecords += e.UnknownSamplingRecords
	}
	if mixed[c.ID] == "" {
		check("exporters", uint64(len(result.Exporters)), uint64(c.Exporters))
	}
	want := [3]uint64{c.Expected.Records, c.Expected.Octets + c.Expected.ReverseOctets, c.Expected.Packets + c.Expected.ReversePackets}
	if c.Expected.Later != nil {
		want = [3]uint64(c.Expected.Later)
	}
	check("records", got.Records, want[0])
	if c.Proto == "sflow5" {
		check("layer 2 octets", got.OctetsL2, want[1])
		check("packets", got.Packets, want[2])
		check("layer 3 octets", got.Octets, c.Layer3.Octets)
		return // the sums by address are of layer 2
	}
	check("reported octets", got.ReportedOctets, want[1])
	check("reported packets", got.ReportedPackets, want[2])
	if c.OptionRecords != nil {
		check("option records", got.OptionRecords, *c.OptionRecords)
	}
	if c.Expected.Later != nil {
		return // scaled and by address are of what did not wait
	}
	if c.Scaled != nil && want[0] > 0 {
		check("scaled octets", got.Octets, c.Scaled.Octets)
		check("scaled packets", got.Packets, c.Scaled.Packets)
		check("records of unknown sampling", got.UnknownSamplingRecords, c.Scaled.Unknown)
	}
	compareAddresses(t, c, result, got)
}

// compareAddresses compares the sums by address, which the cases give unscaled and without the
// reverse direction: multiplied by the one rate, they are ours.
func compareAddresses(t *testing.T, c *captureCase, result Result, got Exporter) {
	t.Helper()
	in, out := make(map[string]uint64), make(map[string]uint64)
	for _, a := range result.Addresses {
		in[a.Address], out[a.Address] = a.InOctets, a.OutOctets
	}
	if c.Expected.ReverseOctets > 0 {
		if sum(in) != got.Octets || sum(out) != got.Octets {
			t.Errorf("addresses add up to %d in, %d out, want %d", sum(in), sum(out), got.Octets)
		}
		return
	}
	factor := uint64(1)
	if got.ReportedOctets > 0 {
		factor = got.Octets / got.ReportedOctets
	}
	for side, ours := range map[string]map[string]uint64{"src_octets": out, "dst_octets": in} {
		for _, list := range []map[string]uint64{c.ByAddress[side].All, c.ByAddress[side].Top} {
			for address, octets := range list {
				if ours[address] != octets*factor {
					t.Errorf("%s of %s: %d, want %d", side, address, ours[address], octets*factor)
				}
			}
		}
	}
}

func sum(of map[string]uint64) (total uint64) {
	for _, n := range of {
		total += n
	}
	return total
}
