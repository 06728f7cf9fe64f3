package main

import (
	"fmt"
	"time"

	"hostmeter/schemas"
)

// shards is the installation's, the default.
const shards = 16

// addressesPerExporter is how many addresses an exporter accounts for: a prefix of /20.
const addressesPerExporter = 4096

func address(i int) string  { return fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255) }
func meterOf(i int) string  { return "address:" + address(i) }
func exporter(i int) string { return fmt.Sprintf("192.0.2.%d", i/addressesPerExporter+1) }

// octetsOf is what an address sends in five minutes of a day, by numbers: busy by day, with a peak of its own
// length, so that percentiles and sums differ from address to address.
func octetsOf(address, slot int) (in, out uint64) {
	base := uint64(200_000 + address%977*50_000)
	day := uint64(slot % 288)
	out = base * (40 + day*(288-day)/200)
	if day%97 < uint64(address%13) {
		out *= 3
	}
	return out/6 + uint64(address%251), out + uint64(slot%17)
}

// traffic is one direction of one tally as an unsampled exporter makes it, with what detection wants to know.
func traffic(octets, seed uint64) *schemas.Traffic {
	packets := octets/900 + 1
	flows := packets/40 + 1
	t := &schemas.Traffic{
		Octets: octets, Packets: packets, Flows: flows, ReportedOctets: octets, ReportedPackets: packets,
		Features:        &schemas.Features{TcpPackets: packets - packets/8, SynPackets: flows, UdpPackets: packets / 8, UdpOctets: octets / 8, TcpFlows: flows, SinglePacketFlows: flows / 9},
		RemoteAddresses: &schemas.Sketch{}, RemotePorts: &schemas.Sketch{},
	}
	for i := range uint64(6) { // a handful of peers: hashes of 64 bits
		t.RemoteAddresses.Exact = append(t.RemoteAddresses.Exact, (seed+i)*0x9e3779b97f4a7c15)
		t.RemotePorts.Exact = append(t.RemotePorts.Exact, (seed+i)*0xc2b2ae3d27d4eb4f)
	}
	return t
}

// batchesOf makes a batch of each shard, which holds a tally of each of its addresses in each of so many minutes
// that are apart by step.
func batchesOf(addresses, minutes int, first time.Time, step time.Duration) []*schemas.Batch {
	batches := make([]*schemas.Batch, shards)
	for shard := range batches {
		batches[shard] = &schemas.Batch{
			Collector: "bench", Shard: uint32(shard), Shards: shards, Classes: []string{schemas.ClassExternal, schemas.ClassInternal},
			ReceivedFrom: first.UnixNano(), ReceivedTo: first.Add(time.Duration(minutes) * step).UnixNano(),
		}
	}
	known := map[string]uint32{}
	for i := range addresses {
		name := exporter(i)
		if _, ok := known[name]; !ok {
			known[name] = uint32(len(known))
			for _, b := range batches {
				b.Exporters = append(b.Exporters, name)
			}
		}
		b := batches[schemas.ShardOf(meterOf(i), shards)]
		for minute := range minutes {
			at := first.Add(time.Duration(minute) * step)
			in, out := octetsOf(i, int(at.Unix()/300))
			b.Tallies = append(b.Tallies, &schemas.Tally{
				Meter: meterOf(i), Minute: at.Unix() / 60, Exporter: known[name],
				In: traffic(in, uint64(i)), Out: traffic(out, uint64(i)),
			})
		}
	}
	return batches
}

// observe says that every exporter was under observation for a whole hour, and is complete through a time.
func observe(batches []*schemas.Batch, hour, through time.Time) {
	for _, b := range batches {
		b.Accounts, b.Complete = nil, nil
		for _, name := range b.Exporters {
			b.Complete = append(b.Complete, &schemas.Completeness{Exporter: name, Through: through.UnixNano()})
		}
	}
	for _, name := range batches[0].Exporters {
		batches[0].Accounts = append(batches[0].Accounts, &schemas.ExporterAccount{
			Exporter: name, Protocol: string(schemas.IPFIX), Hour: hour.Unix() / 3600, MinutesObserved: 1<<60 - 1, Datagrams: 3600, Records: 72_000,
		})
	}
}
