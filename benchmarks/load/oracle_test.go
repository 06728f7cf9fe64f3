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

// told is what goflow2 reads of a datagram.
type told struct {
	records, octets, packets uint64
	locals                   map[uint32]bool
	ends                     map[uint64]bool // of the flows, as on the wire
	sequence                 uint32
}

func (d *told) address(a uint32) {
	if a>>16 == 10<<8|50 {
		d.locals[a] = true
	}
}

func (d *told) sets(sets []interface{}) {
	for _, s := range sets {
		data, ok := s.(netflow.DataFlowSet)
		if !ok {
			continue
		}
		for _, r := range data.Records {
			d.records++
			for _, v := range r.Values {
				n := number(v.Value.([]byte))
				switch v.Type {
				case 1:
					d.octets += n
				case 2:
					d.packets += n
				case 8, 12:
					d.address(uint32(n))
				case 21, 153:
					d.ends[n] = true
				}
			}
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
		d.sequence = p.FlowSequence
		for _, r := range p.Records {
			d.records++
			d.octets += uint64(r.DOctets)
			d.packets += uint64(r.DPkts)
			d.address(uint32(r.SrcAddr))
			d.address(uint32(r.DstAddr))
			d.ends[uint64(r.Last)] = true
		}
	case "sflow5":
		var p sflow.Packet
		err = sflow.DecodeMessageVersion(buffer, &p)
		d.sequence = p.SequenceNumber
		for _, s := range p.Samples {
			sample := s.(sflow.FlowSample)
			raw := sample.Records[0].Data.(sflow.SampledHeader)
			d.records++
			d.packets += uint64(sample.SamplingRate)
			d.octets += uint64(raw.FrameLength) - uint64(raw.Stripped) - 14
			d.address(binary.BigEndian.Uint32(raw.HeaderData[26:]))
			d.address(binary.BigEndian.Uint32(raw.HeaderData[30:]))
		}
	default:
		var v9 netflow.NFv9Packet
		var ipfix netflow.IPFIXPacket
		err = netflow.DecodeMessageVersion(buffer, templates, &v9, &ipfix)
		d.sequence = max(v9.SequenceNumber, ipfix.SequenceNumber)
		d.sets(v9.FlowSets)
		d.sets(ipfix.FlowSets)
	}
	if err != nil {
		t.Fatalf("%s: %v", protocol, err)
	}
}

func TestAnotherDecoderReadsWhatIsSaidToBeSent(t *testing.T) {
	at := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	// The sequence number of the datagram after one round of the pool, by each protocol's rule.
	sequences := map[string]uint32{"netflow5": 2010, "netflow9": 85, "ipfix": 2000, "sflow5": 335}
	for _, protocol := range []string{"netflow5", "netflow9", "ipfix", "sflow5"} {
		t.Run(protocol, func(t *testing.T) {
			pool, err := NewPool(protocol)
			if err != nil {
				t.Fatal(err)
			}
			templates := netflow.CreateTemplateSystem()
			got := told{locals: map[uint32]bool{}, ends: map[uint64]bool{}}
			var sent Sent
			if d := pool.NextTemplates(at); d != nil {
				got.decode(t, protocol, templates, d.Payload)
			}
			for range pool.Data {
				d := pool.Next(at)
				sent.add(d)
				got.decode(t, protocol, templates, d.Payload)
			}
			if got.records != sent.Records || got.octets != sent.Octets || got.packets != sent.Packets {
				t.Errorf("goflow2 reads %d records, %d octets, %d packets; %+v is said to be sent", got.records, got.octets, got.packets, sent)
			}
			if len(got.locals) != localAddresses {
				t.Errorf("%d local addresses, want %d", len(got.locals), localAddresses)
			}
			end := map[string]uint64{"netflow5": uint64(uptime(at)), "netflow9": uint64(uptime(at)), "ipfix": uint64(at.UnixMilli())}
			if want, ok := end[protocol]; ok && (len(got.ends) != 1 || !got.ends[want]) {
				t.Errorf("flows end at %v, want %d alone", got.ends, want)
			}
			got.decode(t, protocol, templates, pool.Next(at).Payload)
			if got.sequence != sequences[protocol] {
				t.Errorf("sequence number %d, want %d", got.sequence, sequences[protocol])
			}
		})
	}
}

func TestUnknownProtocolIsRefused(t *testing.T) {
	if _, err := NewPool("netflow7"); err == nil {
		t.Error("netflow7 has a pool")
	}
}
