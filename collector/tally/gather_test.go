package tally

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"hostmeter/schemas"
)

// slowTable adds every part of a record to its meters at once, in maps.
type slowTable map[slowKey]*slowSums

type slowKey struct {
	meter    string
	minute   int64
	internal bool
	rate     uint32
	out      bool
}

type slowSums struct {
	octets, packets, flows, squares, tcp uint64
	remotes, ports                       map[uint64]bool
	peers                                map[string]uint64
}

func (s slowTable) add(r *schemas.FlowRecord, local func(out bool) (string, bool)) {
	when := stretchOf(r.FlowStart, r.FlowEnd)
	source, fromLocal := local(true)
	destination, toLocal := local(false)
	for minute := when.first; minute <= when.last; minute++ {
		for _, out := range []bool{true, false} {
			meter, remote, port := source, r.Destination, r.DestinationPort
			if !out {
				meter, remote, port = destination, r.Source, r.SourcePort
			}
			if out && !fromLocal || !out && !toLocal {
				continue
			}
			key := slowKey{meter, minute, fromLocal && toLocal, r.SamplingNumerator, out}
			sums := s[key]
			if sums == nil {
				sums = &slowSums{remotes: map[uint64]bool{}, ports: map[uint64]bool{}, peers: map[string]uint64{}}
				s[key] = sums
			}
			octets, packets := when.share(r.Octets, minute), when.share(r.Packets, minute)
			sums.octets += octets
			sums.packets += packets
			sums.squares += when.share(squaresOf(r.Octets, r.Packets), minute)
			if minute == when.first {
				sums.flows++
			}
			if r.IPProtocol == protocolTCP {
				sums.tcp += packets
			}
			sums.remotes[hashAddress(numberOf(remote), remote.Is4())] = true
			sums.ports[hashPort(port)] = true
			if sums.octets >= DefaultConfig().PeerOctets {
				sums.peers[string(remote.AsSlice())] += octets
			}
		}
	}
}

// TestTableEqualsItsSlowTwin: whatever is gathered, added up when a cell is full, added at once or
// flushed in between, the tallies are those of adding each record when it comes.
func TestTableEqualsItsSlowTwin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		config := tableConfig()
		config.BusyOctets, config.Shards = 3<<20, 1<<rapid.IntRange(0, 3).Draw(t, "shards")
		config.Notes = 11 * config.Shards
		table := New(config)
		e := table.Exporter(ExporterConfig{Address: addr("192.0.2.250"), Name: "a", Protocol: schemas.NetFlow9})
		hosts := rapid.SampledFrom([]string{"192.0.2.1", "192.0.2.2", "2001:db8:7::1", "198.51.100.7", "198.51.100.8", "2001:db9::1"})
		twin := slowTable{}
		check := func(f Flushed, some bool) {
			for _, tally := range f.Tallies {
				told := map[bool]*schemas.Traffic{false: tally.In, true: tally.Out}
				key := func(rate uint32, out bool) slowKey {
					return slowKey{tally.Meter, tally.Minute, tally.Class == classInternal, rate, out}
				}
				for _, out := range []bool{true, false} {
					traffic := told[out]
					for _, rate := range []uint32{1, 10} {
						if want := twin[key(rate, out)]; traffic != nil && want != nil && want.same(traffic, rate) {
							delete(twin, key(rate, out))
							traffic = nil
							// A direction in which nothing went goes with the other one, and is not told of.
							if other := twin[key(rate, !out)]; told[!out] == nil && other != nil && other.octets|other.packets|other.flows == 0 {
								delete(twin, key(rate, !out))
							}
						}
					}
					if traffic != nil && traffic.Octets|traffic.Packets|traffic.Flows != 0 {
						t.Fatalf("%s, minute %d, out %v: %v\nnone of\n%v", tally.Meter, tally.Minute, out, traffic, twin)
					}
				}
			}
			for key, sums := range twin {
				if !some && sums.octets|sums.packets|sums.flows != 0 {
					t.Fatalf("%+v %+v was not flushed", key, sums)
				}
			}
		}
		at := minute0*60*second + 30*second
		for range rapid.IntRange(1, 80).Draw(t, "records") {
			at += rapid.Int64Range(0, 20*second).Draw(t, "step")
			r := record(hosts.Draw(t, "source"), hosts.Draw(t, "destination"), rapid.Uint64Range(0, 1<<20).Draw(t, "octets"), 0)
			r.Packets = rapid.SampledFrom([]uint64{0, 1, 2, 700, 1 << 33}).Draw(t, "packets")
			r.SourcePort, r.DestinationPort = rapid.Uint16Range(1, 5).Draw(t, "source port"), rapid.Uint16Range(1, 5).Draw(t, "destination port")
			r.IPProtocol = rapid.SampledFrom([]uint8{protocolTCP, protocolUDP}).Draw(t, "protocol")
			r.SamplingNumerator = rapid.SampledFrom([]uint32{1, 10}).Draw(t, "rate")
			r.FlowEnd = at
			r.FlowStart = at - rapid.SampledFrom([]int64{0, second, 100 * second}).Draw(t, "duration")
			table.Add(e, r, time.Unix(0, at))
			twin.add(r, func(out bool) (string, bool) {
				end := r.Destination
				if out {
					end = r.Source
				}
				prefix, ok := table.LocalPrefix(end)
				if end.Is4() {
					return string(schemas.AddressMeter(end)), ok
				}
				return string(schemas.PrefixMeter(prefix)), ok
			})
			switch rapid.IntRange(0, 20).Draw(t, "flush") {
			case 0:
				check(table.flushed(true), false)
				clear(twin)
			case 1, 2:
				check(table.flushed(false), true)
			}
		}
		check(table.flushed(true), false)
	})
}

// same compares the sums with one direction of a tally at a rate.
func (s *slowSums) same(got *schemas.Traffic, rate uint32) bool {
	n := uint64(rate)
	peers := map[string]uint64{}
	for _, p := range got.TopPeers {
		peers[string(p.Address)] = p.Octets / n
	}
	wantVariance := uint64(0)
	if rate > 1 {
		wantVariance = variance(s.squares, rate, 1)
	}
	return got.Octets == n*s.octets && got.Packets == n*s.packets && got.Flows == n*s.flows &&
		got.ReportedOctets == s.octets && got.ReportedPackets == s.packets && got.VarianceKib2 == wantVariance &&
		got.Features.GetTcpPackets() == n*s.tcp &&
		slices.Equal(got.RemoteAddresses.GetExact(), slices.Sorted(maps.Keys(s.remotes))) &&
		slices.Equal(got.RemotePorts.GetExact(), slices.Sorted(maps.Keys(s.ports))) &&
		maps.Equal(peers, s.peers)
}

func (s *slowSums) String() string { return fmt.Sprintf("%+v", *s) }

// TestIndexFindsWhatIsThere puts keys in, takes them out, and looks for all after each step.
func TestIndexFindsWhatIsThere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := newIndex()
		var all []cell
		there := map[cellKey]uint32{}
		draw := rapid.Custom(func(t *rapid.T) cellKey {
			return cellKey{meter: number{0, rapid.Uint64Range(0, 60).Draw(t, "meter")}, time: rapid.Uint64Range(0, 2).Draw(t, "minute"), sort: bothSort * rapid.Uint64Range(0, 1).Draw(t, "both")}
		})
		// Few bits of hash, so that many keys meet in one place, at the end of the table too.
		hash := func(k cellKey) uint64 { return k.hash()&7 | 1020 }
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			key := draw.Draw(t, "key")
			if number, ok := there[key]; ok {
				x.remove(hash(key), number)
				delete(there, key)
			} else {
				number := uint32(len(all))
				all = append(all, cell{key: key})
				x.add(hash(key), number)
				there[key] = number
			}
			for key, want := range there {
				if got, ok := x.find(hash(key), key, all); !ok || got != want {
					t.Fatalf("%+v: %d, %v; want %d", key, got, ok, want)
				}
			}
			_, want := there[key]
			if _, ok := x.find(hash(key), key, all); ok != want {
				t.Fatalf("%+v: found %v, want %v", key, ok, want)
			}
		}
	})
}
