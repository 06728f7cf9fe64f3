package main

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

	"github.com/netsampler/goflow2/v2/decoders/netflow"
	"github.com/netsampler/goflow2/v2/decoders/netflowlegacy"
	"github.com/netsampler/goflow2/v2/decoders/sflow"
)

// told is what goflow2 reads of datagrams.
type told struct {
	records   uint64
	locals    map[uint32]traffic
	lengths   map[uint32]int // of flows, in milliseconds
	templates int
	sequence  uint32
	domain    uint32
}

// record adds one record to the sums of its local end.
func (d *told) record(source, destination uint32, octets, packets uint64) {
	d.records++
	if isLocal(source) == isLocal(destination) {
		return
	}
	address := source
	if isLocal(destination) {
		address = destination
	}
	sum := d.locals[address]
	if address == source {
		sum.outOctets += octets
		sum.outPackets += packets
	} else {
		sum.inOctets += octets
		sum.inPackets += packets
	}
	d.locals[address] = sum
}

func isLocal(a uint32) bool { return a>>16 == 10<<8|50 }

func (d *told) sets(sets []interface{}) {
	for _, s := range sets {
		if t, ok := s.(netflow.TemplateFlowSet); ok {
			d.templates += len(t.Records)
		}
		data, ok := s.(netflow.DataFlowSet)
		if !ok {
			continue
		}
		for _, r := range data.Records {
			fields := map[uint16]uint64{}
			for _, v := range r.Values {
				fields[v.Type] = number(v.Value.([]byte))
			}
			d.record(uint32(fields[8]), uint32(fields[12]), fields[1], fields[2])
			d.lengths[uint32(fields[21]-fields[22]+fields[153]-fields[152])]++
		}
	}
}

func number(b []byte) uint64 {
	var whole [8]byte
	copy(whole[8-len(b):], b)
	return binary.BigEndian.Uint64(whole[:])
}

// decode adds what goflow2 reads of a payload.
func (d *told) decode(t *testing.T, protocol string, templates netflow.NetFlowTemplateSystem, payload []byte) {
	t.Helper()
	var err error
	buffer := bytes.NewBuffer(bytes.Clone(payload))
	switch protocol {
	case "netflow5":
		var p netflowlegacy.PacketNetFlowV5
		err = netflowlegacy.DecodeMessageVersion(buffer, &p)
		d.sequence, d.domain = p.FlowSequence, uint32(p.EngineType)<<8|uint32(p.EngineId)
		for _, r := range p.Records {
			d.record(uint32(r.SrcAddr), uint32(r.DstAddr), uint64(r.DOctets), uint64(r.DPkts))
			d.lengths[r.Last-r.First]++
		}
	case "sflow5":
		var p sflow.Packet
		err = sflow.DecodeMessageVersion(buffer, &p)
		d.sequence, d.domain = p.SequenceNumber, p.SubAgentId
		for _, s := range p.Samples {
			sample := s.(sflow.FlowSample)
			raw := sample.Records[0].Data.(sflow.SampledHeader)
			rate := uint64(sample.SamplingRate)
			d.record(binary.BigEndian.Uint32(raw.HeaderData[26:]), binary.BigEndian.Uint32(raw.HeaderData[30:]),
				rate*(uint64(raw.FrameLength)-uint64(raw.Stripped)-14), rate)
		}
	default:
		var v9 netflow.NFv9Packet
		var ipfix netflow.IPFIXPacket
		err = netflow.DecodeMessageVersion(buffer, templates, &v9, &ipfix)
		d.sequence, d.domain = max(v9.SequenceNumber, ipfix.SequenceNumber), max(v9.SourceId, ipfix.ObservationDomainId)
		d.sets(v9.FlowSets)
		d.sets(ipfix.FlowSets)
	}
	if err != nil {
		t.Fatalf("%s: %v", protocol, err)
	}
}

// TestAnotherDecoderReadsWhatTheLedgerSays decodes a whole round of each pool, and then some.
func TestAnotherDecoderReadsWhatTheLedgerSays(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	const templates, more = 50, 100
	// How many datagrams of templates there are, and the sequence number after the first 1000
	// datagrams of data and those, by each protocol's rule.
	want := map[string]struct {
		templates int
		sequence  uint32
	}{
		"netflow5": {0, 30_000},
		"netflow9": {templates, 1000 + 4},
		"ipfix":    {templates, 20_000},
		"sflow5":   {0, 1001},
	}
	for _, p := range protocols {
		t.Run(p.name, func(t *testing.T) {
			pool, err := NewPool(p.name, 1, templates)
			if err != nil {
				t.Fatal(err)
			}
			h := header{millis: at(now), agent: 127<<24 | 1<<16 | 1, domain: 3}
			known := netflow.CreateTemplateSystem()
			got := told{locals: map[uint32]traffic{}, lengths: map[uint32]int{}}
			for _, payload := range pool.Templates {
				pool.patchTemplate(payload, &h)
				h.sequenced++
				if len(payload) > templateOctets+40 {
					t.Errorf("a datagram of templates has %d octets", len(payload))
				}
				got.decode(t, p.name, known, payload)
			}
			if got.templates != want[p.name].templates {
				t.Errorf("%d templates, want %d", got.templates, want[p.name].templates)
			}
			for i := range len(pool.Data[0]) + more {
				got.decode(t, p.name, known, pool.Next(&h).Payload)
				if i == 1000 && got.sequence != want[p.name].sequence {
					t.Errorf("sequence number %d, want %d", got.sequence, want[p.name].sequence)
				}
			}
			var sent Sent
			sent.count(pool)
			if got.records != sent.Records || got.domain != 3 {
				t.Errorf("goflow2 reads %d records of domain %d, want %d of 3", got.records, got.domain, sent.Records)
			}
			compareWithLedger(t, pool, sent, got)
			if p.name != "sflow5" && (len(got.lengths) < 1000 || got.lengths[0] > int(got.records)/100) {
				t.Errorf("flows have %d different lengths, %d of nothing", len(got.lengths), got.lengths[0])
			}
		})
	}
}

// compareWithLedger checks each address and the sums over them.
func compareWithLedger(t *testing.T, pool *Pool, sent Sent, got told) {
	t.Helper()
	if len(got.locals) != localAddresses {
		t.Errorf("%d local addresses, want %d", len(got.locals), localAddresses)
	}
	var octets, packets uint64
	for n, want := range pool.byAddress() {
		if have := got.locals[10<<24|50<<16|uint32(n)]; have != want {
			t.Fatalf("address %d: goflow2 reads %+v, the ledger says %+v", n, have, want)
		}
		octets += want.inOctets + want.outOctets
		packets += want.inPackets + want.outPackets
	}
	if octets != sent.Octets || packets != sent.Packets {
		t.Errorf("the ledger's addresses have %d octets, %d packets; its sums are %+v", octets, packets, sent)
	}
}

// TestEachAddressIsBehindOneExporter also asks that 2,000 of them hold all addresses.
func TestEachAddressIsBehindOneExporter(t *testing.T) {
	for _, exporters := range []int{1, 4, 200, 2000} {
		pool, err := NewPool("netflow5", exporters, 1)
		if err != nil {
			t.Fatal(err)
		}
		behind := map[uint32]int{}
		for exporter, data := range pool.Data {
			for _, d := range data {
				for i := range d.flows {
					local := d.flows[i].local()
					if other, known := behind[local]; known && other != exporter {
						t.Fatalf("%d exporters: address %x is behind %d and %d", exporters, local, other, exporter)
					}
					behind[local] = exporter
				}
			}
		}
		if len(behind) != localAddresses {
			t.Errorf("%d exporters hold %d addresses, want %d", exporters, len(behind), localAddresses)
		}
	}
}

func TestUnknownProtocolIsRefused(t *testing.T) {
	if _, err := NewPool("netflow7", 1, 1); err == nil {
		t.Error("netflow7 has a pool")
	}
}
