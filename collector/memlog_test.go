package collector_test

import (
	"context"
	"errors"
	"maps"
	"sync"

	"google.golang.org/protobuf/proto"

	"hostmeter/internal/stream"
	"hostmeter/schemas"
)

var errDisk = errors.New("disk is full")

// memLog is a log in memory that is also a source, as the one on disk is. reopened gives it a new
// log id, as after a restart.
type memLog struct {
	mu      sync.Mutex
	id      uint64
	next    map[uint32]uint64
	batches []*schemas.Batch
	refuse  int // so many calls of Append
	changed chan struct{}
}

func newMemLog() *memLog {
	return &memLog{id: 1, next: map[uint32]uint64{}, changed: make(chan struct{})}
}

func (l *memLog) reopened() *memLog {
	return &memLog{id: l.id + 1, next: map[uint32]uint64{}, batches: l.batches, changed: make(chan struct{})}
}

func (l *memLog) Append(ctx context.Context, batches []*schemas.Batch) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if l.refuse > 0 {
		l.refuse--
		return errDisk
	}
	for _, b := range batches {
		l.next[b.Shard]++
		b.LogId, b.Index = l.id, l.next[b.Shard]
		l.batches = append(l.batches, decoded(b))
	}
	close(l.changed)
	l.changed = make(chan struct{})
	return nil
}

// decoded is a batch as who reads the log gets it.
func decoded(b *schemas.Batch) *schemas.Batch {
	encoded, err := b.MarshalVT()
	if err != nil {
		panic(err)
	}
	out := &schemas.Batch{}
	if err := proto.Unmarshal(encoded, out); err != nil {
		panic(err)
	}
	return out
}

func (l *memLog) Close() error { return nil }

func (l *memLog) Confirm(context.Context, stream.Watermarks) error { return nil }

func (l *memLog) OpenReader(_ context.Context, _ string, after stream.Watermarks) (stream.Reader, error) {
	return &memReader{log: l, after: maps.Clone(after)}, nil
}

type memReader struct {
	log   *memLog
	after stream.Watermarks
	at    int
}

func (r *memReader) Next(ctx context.Context, most int) ([]*schemas.Batch, error) {
	for {
		r.log.mu.Lock()
		var out []*schemas.Batch
		for ; r.at < len(r.log.batches) && len(out) < most; r.at++ {
			if b := r.log.batches[r.at]; b.Index > r.after[stream.KeyOf(b)] {
				out = append(out, proto.Clone(b).(*schemas.Batch))
			}
		}
		changed := r.log.changed
		r.log.mu.Unlock()
		if len(out) > 0 {
			return out, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (r *memReader) Close() error { return nil }

// books are what the batches of a log add up to.
type books struct {
	in, out          map[string]uint64 // octets by meter
	packetsIn        map[string]uint64
	accounts         map[string]*schemas.ExporterAccount // by exporter and protocol
	counts           map[string]int64                    // "exporter/kind/unit/reason"
	guestCPU         map[string]uint64
	rows             uint64 // octets in and out of all meters
	complete         map[string]*schemas.Completeness
	batches, tallies int
}

func (l *memLog) books(t tester) books {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	b := books{
		in: map[string]uint64{}, out: map[string]uint64{}, packetsIn: map[string]uint64{}, guestCPU: map[string]uint64{},
		accounts: map[string]*schemas.ExporterAccount{}, counts: map[string]int64{}, complete: map[string]*schemas.Completeness{},
	}
	for _, batch := range l.batches {
		b.batches++
		for _, tally := range batch.Tallies {
			if got := schemas.ShardOf(tally.Meter, batch.Shards); got != batch.Shard {
				t.Fatalf("meter %s is in shard %d, belongs to %d", tally.Meter, batch.Shard, got)
			}
			if int(tally.Class) >= len(batch.Classes) || int(tally.Exporter) >= len(batch.Exporters) {
				t.Fatalf("tally of %s refers to class %d, exporter %d of %v, %v", tally.Meter, tally.Class, tally.Exporter, batch.Classes, batch.Exporters)
			}
			b.tallies++
			b.in[tally.Meter] += tally.In.GetOctets()
			b.out[tally.Meter] += tally.Out.GetOctets()
			b.packetsIn[tally.Meter] += tally.In.GetPackets()
			b.rows += tally.In.GetOctets() + tally.Out.GetOctets()
		}
		for _, g := range batch.Guests {
			if got := schemas.ShardOf("guest:"+g.Guest, batch.Shards); got != batch.Shard {
				t.Fatalf("guest %s is in shard %d, belongs to %d", g.Guest, batch.Shard, got)
			}
			b.guestCPU[g.Guest] += g.CpuNanoseconds
		}
		for _, a := range batch.Accounts {
			if got := schemas.ShardOf(a.Exporter, batch.Shards); got != batch.Shard {
				t.Fatalf("account of %s is in shard %d, belongs to %d", a.Exporter, batch.Shard, got)
			}
			b.account(a)
		}
		for _, c := range batch.Complete {
			b.complete[c.Exporter] = c
		}
	}
	return b
}

func (b *books) account(a *schemas.ExporterAccount) {
	key := a.Exporter + " " + a.Protocol
	sum := b.accounts[key]
	if sum == nil {
		sum = &schemas.ExporterAccount{}
		b.accounts[key] = sum
	}
	sum.Datagrams += a.Datagrams
	sum.Records += a.Records
	sum.Octets += a.Octets
	sum.CounterSamples += a.CounterSamples
	sum.OctetsOnce += a.OctetsOnce
	sum.OctetsBoth += a.OctetsBoth
	sum.OctetsTransit += a.OctetsTransit
	sum.OctetsUncounted += a.OctetsUncounted
	sum.UnknownSamplingRecords += a.UnknownSamplingRecords
	sum.ClampedRecords += a.ClampedRecords
	sum.MinutesObserved |= a.MinutesObserved
	for kind, counts := range map[string][]*schemas.Count{"dropped": a.Dropped, "held": a.Held, "lost": a.Lost} {
		for _, c := range counts {
			b.counts[a.Exporter+"/"+kind+"/"+c.Unit+"/"+c.Reason] += c.Count
		}
	}
}

// checkLaws asserts what holds for any log: accounts agree with themselves and with the meters' rows.
func (b *books) checkLaws(t tester) {
	t.Helper()
	var booked uint64
	for key, a := range b.accounts {
		if a.Octets != a.OctetsOnce+a.OctetsBoth+a.OctetsTransit+a.OctetsUncounted {
			t.Fatalf("%s: octets %d != once %d + both %d + transit %d + uncounted %d",
				key, a.Octets, a.OctetsOnce, a.OctetsBoth, a.OctetsTransit, a.OctetsUncounted)
		}
		booked += a.OctetsOnce + 2*a.OctetsBoth
	}
	if booked != b.rows {
		t.Fatalf("accounts have %d octets at meters, the tallies %d", booked, b.rows)
	}
}
