package main

import (
	"bufio"
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"hostmeter/internal/stream"
	"hostmeter/internal/stream/disk"
	"hostmeter/schemas"
)

// sums is what the log has.
type sums struct {
	Datagrams uint64 `json:"datagrams"`
	Records   uint64 `json:"records"`
	Octets    uint64 `json:"octets"`
	Packets   uint64 `json:"packets"`
	Addresses int    `json:"addresses"`
	Batches   int    `json:"batches"`
	LogBytes  int64  `json:"log_bytes"`
	// Lost, Dropped and Held are by unit, and by unit and reason.
	Lost    map[string]int64 `json:"lost"`
	Dropped map[string]int64 `json:"dropped"`
	Held    map[string]int64 `json:"held"`
}

// traffic is what the log has of one address.
type traffic struct{ inOctets, inPackets, outOctets, outPackets uint64 }

// readBack adds up the whole log by address, as a consumer would.
func readBack(o options) (sums, error) {
	s := sums{Lost: map[string]int64{}, Dropped: map[string]int64{}, Held: map[string]int64{}}
	s.LogBytes = size(filepath.Join(o.data, "log"))
	cfg := config(o)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	logs, err := disk.Open(ctx, logConfig(o), cfg.ID, cfg.Shards, disk.Deps{})
	if err != nil {
		return s, err
	}
	defer func() { _ = logs.Close() }()
	// The end is told by a batch of nothing, since a reader waits for more.
	if err := logs.Append(ctx, []*schemas.Batch{{Collector: cfg.ID, Shards: cfg.Shards}}); err != nil {
		return s, err
	}
	end, _ := logs.KeyOf(0)
	reader, err := logs.OpenReader(ctx, "benchmark", nil)
	if err != nil {
		return s, err
	}
	defer func() { _ = reader.Close() }()
	addresses := map[string]*traffic{}
	for done := false; !done; {
		batches, err := reader.Next(ctx, 64)
		if err != nil {
			return s, err
		}
		for _, b := range batches {
			if stream.KeyOf(b) == end {
				done = true
				continue
			}
			s.add(b, addresses)
		}
	}
	s.Addresses = len(addresses)
	for _, t := range addresses {
		s.Octets += t.inOctets + t.outOctets
		s.Packets += t.inPackets + t.outPackets
	}
	if o.ledger == "" {
		return s, nil
	}
	return s, write(o.ledger, addresses)
}

func (s *sums) add(b *schemas.Batch, addresses map[string]*traffic) {
	s.Batches++
	for _, a := range b.Accounts {
		s.Datagrams += a.Datagrams
		s.Records += a.Records
		for _, c := range a.Lost {
			s.Lost[c.Unit] += c.Count
		}
		for _, c := range a.Dropped {
			s.Dropped[c.Unit+" "+c.Reason] += c.Count
		}
		for _, c := range a.Held {
			s.Held[c.Unit+" "+c.Reason] += c.Count
		}
	}
	for _, t := range b.Tallies {
		sum := addresses[t.Meter]
		if sum == nil {
			sum = &traffic{}
			addresses[t.Meter] = sum
		}
		sum.inOctets += t.In.GetOctets()
		sum.inPackets += t.In.GetPackets()
		sum.outOctets += t.Out.GetOctets()
		sum.outPackets += t.Out.GetPackets()
	}
}

// write writes the sums as the load generator writes its ledger: ascending by address.
func write(name string, addresses map[string]*traffic) (err error) {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer func() {
		if e := f.Close(); err == nil {
			err = e
		}
	}()
	var order []netip.Addr
	for meter := range addresses {
		address, err := netip.ParseAddr(strings.TrimPrefix(meter, "address:"))
		if err != nil {
			return fmt.Errorf("the log has a meter that is no address: %w", err)
		}
		order = append(order, address)
	}
	slices.SortFunc(order, netip.Addr.Compare)
	w := bufio.NewWriter(f)
	fmt.Fprintln(w, "address,in_octets,in_packets,out_octets,out_packets")
	for _, address := range order {
		t := addresses["address:"+address.String()]
		fmt.Fprintf(w, "%s,%d,%d,%d,%d\n", address, t.inOctets, t.inPackets, t.outOctets, t.outPackets)
	}
	return w.Flush()
}

// size is that of the files below a folder.
func size(dir string) (n int64) {
	_ = filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			if info, err := d.Info(); err == nil {
				n += info.Size()
			}
		}
		return nil
	})
	return n
}
