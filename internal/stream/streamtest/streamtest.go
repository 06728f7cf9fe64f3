// Package streamtest is the contract of stream.Log and stream.Source as tests: every kind of log
// runs the same suite.
package streamtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"hostmeter/internal/stream"
	"hostmeter/schemas"
)

// Fixture is an empty log under test.
type Fixture struct {
	Log       stream.Log
	Source    stream.Source
	Collector string
	Shards    uint32
	// Reopen closes the log and opens it again with all that it kept, under a new log id.
	Reopen func(t *testing.T)
	// Lose appends batches that no consumer will find: retention, or a broker, took them. What was
	// appended before was read already and may go too.
	Lose func(t *testing.T, batches []*schemas.Batch)
	// Repeat makes the log hold everything unconfirmed twice; nil where that cannot happen.
	Repeat func(t *testing.T)
}

// patience is how long a test waits for something that must happen.
const patience = 60 * time.Second

// Run holds a log to the contract. open returns an empty one, which it closes with the test.
func Run(t *testing.T, open func(t *testing.T) *Fixture) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, f *Fixture)
	}{
		{"appended batches are read in order", testOrder},
		{"next waits for an append and for its context", testWait},
		{"a reader begins behind its watermarks", testWatermarks},
		{"readers go at their own pace", testReaders},
		{"batches outlive the process", testReopen},
		{"what is lost is told as a gap, once", testGap},
		{"confirmed batches are not missed by who booked them", testConfirm},
		{"a repeated batch is handed out once", testRepeat},
		{"a batch of another collector or shard is refused", testForeign},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.test(t, open(t))
		})
	}
}

// Batch makes a batch whose content tells which it is: the number-th of its shard in this test. It
// has a tally with size octets of text.
func Batch(shard uint32, number uint64, size int) *schemas.Batch {
	return &schemas.Batch{
		Shard: shard, ReceivedFrom: int64(number), ReceivedTo: int64(number) + 1,
		Exporters: []string{"192.0.2.250"}, Classes: []string{"external"},
		Tallies: []*schemas.Tally{{Meter: fmt.Sprintf("address:%0*d", max(size, 1), number), Minute: int64(number), In: &schemas.Traffic{Octets: number}}},
	}
}

// Number returns what Batch was given.
func Number(b *schemas.Batch) uint64 { return uint64(b.GetReceivedFrom()) }

// Group makes the number-th batch of each shard.
func (f *Fixture) Group(number uint64) []*schemas.Batch {
	group := make([]*schemas.Batch, f.Shards)
	for shard := range group {
		group[shard] = Batch(uint32(shard), number, 100)
	}
	return group
}

// append appends the groups with numbers from to to.
func (f *Fixture) append(t *testing.T, from, to uint64) {
	t.Helper()
	for n := from; n <= to; n++ {
		if err := f.Log.Append(t.Context(), f.Group(n)); err != nil {
			t.Fatalf("append group %d: %v", n, err)
		}
	}
}

// Open opens a reader that is closed with the test.
func (f *Fixture) Open(t *testing.T, consumer string, after stream.Watermarks) *Checked {
	t.Helper()
	r, err := f.Source.OpenReader(t.Context(), consumer, after)
	if err != nil {
		t.Fatalf("open reader %q: %v", consumer, err)
	}
	t.Cleanup(func() { _ = r.Close() })
	c := &Checked{Reader: r, Last: make(stream.Watermarks), Numbers: make(map[uint32][]uint64)}
	for key, index := range after {
		c.Last[key] = index
	}
	return c
}

// Checked reads, and fails the test where a batch is out of order, repeated or missed silently.
type Checked struct {
	stream.Reader
	Last    stream.Watermarks
	Numbers map[uint32][]uint64 // of each shard, in the order read
	Gaps    []stream.GapError
}

// Read reads until count batches have come.
func (c *Checked) Read(t *testing.T, count int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for got := 0; got < count; {
		batches, err := c.Next(ctx, min(7, count-got))
		var gap *stream.GapError
		if errors.As(err, &gap) {
			if gap.From != c.Last[gap.Key]+1 || gap.To < gap.From {
				t.Fatalf("gap %v, but %d was the last batch read", gap, c.Last[gap.Key])
			}
			c.Last[gap.Key] = gap.To
			c.Gaps = append(c.Gaps, *gap)
			continue
		}
		if err != nil {
			t.Fatalf("after %d of %d batches: %v", got, count, err)
		}
		if len(batches) == 0 || len(batches) > 7 {
			t.Fatalf("Next returned %d batches, asked for 1 to 7", len(batches))
		}
		for _, b := range batches {
			key := stream.KeyOf(b)
			if b.GetIndex() != c.Last[key]+1 {
				t.Fatalf("batch %d of %s follows %d", b.GetIndex(), key, c.Last[key])
			}
			if len(b.GetTallies()) != 1 || b.GetTallies()[0].GetIn().GetOctets() != Number(b) {
				t.Fatalf("batch %d of %s has lost its content", b.GetIndex(), key)
			}
			c.Last[key] = b.GetIndex()
			c.Numbers[b.GetShard()] = append(c.Numbers[b.GetShard()], Number(b))
		}
		got += len(batches)
	}
}

// wantNumbers fails unless each shard gave exactly these numbers.
func (c *Checked) wantNumbers(t *testing.T, shards uint32, from, to uint64) {
	t.Helper()
	var want []uint64
	for n := from; n <= to; n++ {
		want = append(want, n)
	}
	for shard := range shards {
		if !slices.Equal(c.Numbers[shard], want) {
			t.Fatalf("shard %d gave %v, want %d to %d", shard, c.Numbers[shard], from, to)
		}
	}
}

func testOrder(t *testing.T, f *Fixture) {
	const writers, each = 4, 10
	var wg sync.WaitGroup
	identities := make(chan string, writers*each*int(f.Shards))
	for w := range uint64(writers) {
		wg.Go(func() {
			for n := range uint64(each) {
				group := f.Group(w*each + n)
				if err := f.Log.Append(t.Context(), group); err != nil {
					t.Errorf("append: %v", err)
				}
				for _, b := range group {
					identities <- fmt.Sprintf("%s %d %d", stream.KeyOf(b), b.GetIndex(), Number(b))
				}
			}
		})
	}
	wg.Wait()
	close(identities)
	appended := make(map[string]bool)
	for id := range identities {
		if appended[id] {
			t.Fatalf("two batches have the identity %s", id)
		}
		appended[id] = true
	}
	r := f.Open(t, "ledger", nil)
	r.Read(t, writers*each*int(f.Shards))
	for key, last := range r.Last {
		for i, number := range r.Numbers[key.Shard] {
			if id := fmt.Sprintf("%s %d %d", key, i+1, number); !appended[id] {
				t.Fatalf("read %s, which Append did not tell", id)
			}
		}
		if last != writers*each {
			t.Fatalf("%s ends at %d, want %d", key, last, writers*each)
		}
	}
}

func testWait(t *testing.T, f *Fixture) {
	r := f.Open(t, "ledger", nil)
	ctx, cancel := context.WithCancel(t.Context())
	waited := make(chan error, 1)
	go func() {
		_, err := r.Next(ctx, 1)
		waited <- err
	}()
	cancel()
	if err := <-waited; !errors.Is(err, context.Canceled) {
		t.Fatalf("Next on an empty log whose context ended: got %v", err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.Read(t, int(f.Shards))
	}()
	f.append(t, 1, 1)
	<-done
	r.wantNumbers(t, f.Shards, 1, 1)
}

func testWatermarks(t *testing.T, f *Fixture) {
	f.append(t, 1, 30)
	first := f.Open(t, "ledger", nil)
	first.Read(t, 11*int(f.Shards)+1) // in the middle of somewhere
	second := f.Open(t, "ledger", first.Last)
	second.Read(t, 30*int(f.Shards)-11*int(f.Shards)-1)
	for shard := range f.Shards {
		second.Numbers[shard] = append(slices.Clone(first.Numbers[shard]), second.Numbers[shard]...)
	}
	second.wantNumbers(t, f.Shards, 1, 30)
	f.append(t, 31, 31)
	third := f.Open(t, "ledger", second.Last)
	third.Read(t, int(f.Shards))
	third.wantNumbers(t, f.Shards, 31, 31)
}

func testReaders(t *testing.T, f *Fixture) {
	var wg sync.WaitGroup
	for _, consumer := range []string{"ledger", "detector", "series"} {
		r := f.Open(t, consumer, nil)
		wg.Go(func() {
			r.Read(t, 20*int(f.Shards))
			r.wantNumbers(t, f.Shards, 1, 20)
		})
	}
	slow := f.Open(t, "slow", nil)
	f.append(t, 1, 20)
	wg.Wait()
	slow.Read(t, 20*int(f.Shards))
	slow.wantNumbers(t, f.Shards, 1, 20)
}

func testReopen(t *testing.T, f *Fixture) {
	f.append(t, 1, 5)
	f.Reopen(t)
	f.append(t, 6, 9)
	f.Reopen(t)
	r := f.Open(t, "ledger", nil)
	r.Read(t, 9*int(f.Shards))
	r.wantNumbers(t, f.Shards, 1, 9)
	if len(r.Last) != 2*int(f.Shards) {
		t.Fatalf("%d sequences, want one for each shard of two log ids", len(r.Last))
	}
	f.append(t, 10, 10)
	r.Read(t, int(f.Shards))
	r.wantNumbers(t, f.Shards, 1, 10)
	if len(r.Gaps) != 0 {
		t.Fatalf("gaps %v, want none", r.Gaps)
	}
}

func testGap(t *testing.T, f *Fixture) {
	f.append(t, 1, 3)
	r := f.Open(t, "detector", nil)
	r.Read(t, 3*int(f.Shards))
	lost := append(f.Group(4), f.Group(5)...)
	f.Lose(t, lost)
	f.append(t, 6, 8)
	r.Read(t, 3*int(f.Shards))
	missing := make(map[string]bool)
	for _, b := range lost {
		missing[fmt.Sprintf("%s %d", stream.KeyOf(b), b.GetIndex())] = true
	}
	for _, gap := range r.Gaps {
		for index := gap.From; index <= gap.To; index++ {
			id := fmt.Sprintf("%s %d", gap.Key, index)
			if !missing[id] {
				t.Fatalf("told a gap at %s, which was not lost", id)
			}
			delete(missing, id)
		}
	}
	if len(missing) != 0 {
		t.Fatalf("no gap told for %v", missing)
	}
	for shard := range f.Shards {
		if want := []uint64{1, 2, 3, 6, 7, 8}; !slices.Equal(r.Numbers[shard], want) {
			t.Fatalf("shard %d gave %v, want %v", shard, r.Numbers[shard], want)
		}
	}
}

func testConfirm(t *testing.T, f *Fixture) {
	f.append(t, 1, 4)
	r := f.Open(t, "ledger", nil)
	r.Read(t, 4*int(f.Shards))
	for range 2 { // a repeated confirmation is harmless
		if err := f.Source.Confirm(t.Context(), r.Last); err != nil {
			t.Fatalf("confirm: %v", err)
		}
	}
	f.Reopen(t)
	f.append(t, 5, 6)
	again := f.Open(t, "ledger", r.Last)
	again.Read(t, 2*int(f.Shards))
	again.wantNumbers(t, f.Shards, 5, 6)
	if len(again.Gaps) != 0 {
		t.Fatalf("gaps %v, want none", again.Gaps)
	}
}

func testRepeat(t *testing.T, f *Fixture) {
	if f.Repeat == nil {
		t.Skip("this log cannot hold a batch twice")
	}
	f.append(t, 1, 5)
	live := f.Open(t, "ledger", nil)
	live.Read(t, 3*int(f.Shards))
	f.Repeat(t)
	f.append(t, 6, 7)
	for _, r := range []*Checked{live, f.Open(t, "ledger", nil), f.Open(t, "ledger", live.Last)} {
		seen := uint64(0)
		for _, index := range r.Last {
			seen += index
		}
		r.Read(t, 7*int(f.Shards)-int(seen))
		for key, index := range r.Last {
			if index != 7 {
				t.Fatalf("%s ends at %d, want 7", key, index)
			}
		}
		if len(r.Gaps) != 0 {
			t.Fatalf("gaps %v, want none", r.Gaps)
		}
	}
}

func testForeign(t *testing.T, f *Fixture) {
	foreign := Batch(0, 1, 1)
	foreign.Collector = f.Collector + "-other"
	if err := f.Log.Append(t.Context(), []*schemas.Batch{foreign}); err == nil {
		t.Fatal("took a batch of another collector")
	}
	if err := f.Log.Append(t.Context(), []*schemas.Batch{Batch(0, 1, 1), Batch(f.Shards, 1, 1)}); err == nil {
		t.Fatal("took a batch of a shard that does not exist")
	}
	f.append(t, 1, 1)
	r := f.Open(t, "ledger", nil)
	r.Read(t, int(f.Shards))
	r.wantNumbers(t, f.Shards, 1, 1)
}
