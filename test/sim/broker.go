package sim

import (
	"context"
	"maps"
	"math/rand/v2"

	"google.golang.org/protobuf/proto"

	"hostmeter/internal/stream"
	"hostmeter/schemas"
)

// broker stands for Kafka: partitions of messages, each in order, which may hold a batch again and may be
// wiped. Positions in it are hints: a reader begins anywhere.
type broker struct {
	random     *rand.Rand
	partitions [2][]*message
	wiped      int               // counts the times
	confirmed  stream.Watermarks // as published
}

type message struct {
	key   stream.Key
	index uint64
	value []byte
}

func newBroker(random *rand.Rand) *broker {
	return &broker{random: random, confirmed: stream.Watermarks{}}
}

func (b *broker) produce(batches []*schemas.Batch) {
	for _, batch := range batches {
		value, err := proto.Marshal(batch)
		must(err)
		p := &b.partitions[int(batch.GetShard())%len(b.partitions)]
		*p = append(*p, &message{stream.KeyOf(batch), batch.GetIndex(), value})
	}
}

func (b *broker) wipe() {
	b.partitions = [2][]*message{}
	b.wiped++
}

// Confirm implements stream.Source.
func (b *broker) Confirm(_ context.Context, booked stream.Watermarks) error {
	for key, index := range booked {
		b.confirmed[key] = max(b.confirmed[key], index)
	}
	return nil
}

// OpenReader implements stream.Source.
func (b *broker) OpenReader(_ context.Context, _ string, after stream.Watermarks) (stream.Reader, error) {
	last := maps.Clone(after)
	if last == nil {
		last = stream.Watermarks{}
	}
	r := &brokerReader{broker: b, last: last, wiped: b.wiped}
	return r, nil
}

type brokerReader struct {
	broker *broker
	last   stream.Watermarks
	at     [2]int
	wiped  int
}

func (r *brokerReader) Close() error { return nil }

// Next returns what is there. A message that it had comes again now and then; one that does not follow
// is told as a gap.
func (r *brokerReader) Next(ctx context.Context, most int) ([]*schemas.Batch, error) {
	if r.wiped != r.broker.wiped {
		r.at, r.wiped = [2]int{}, r.broker.wiped
	}
	var batches []*schemas.Batch
	for partition := r.broker.random.IntN(2); len(batches) < most; {
		if r.at[partition] == len(r.broker.partitions[partition]) {
			partition = 1 - partition
			if r.at[partition] == len(r.broker.partitions[partition]) {
				break
			}
		}
		m := r.broker.partitions[partition][r.at[partition]]
		switch {
		case m.index <= r.last[m.key] && r.broker.random.IntN(3) > 0:
			r.at[partition]++
			continue
		case m.index > r.last[m.key]+1:
			if len(batches) > 0 {
				return batches, nil
			}
			gap := &stream.GapError{Key: m.key, From: r.last[m.key] + 1, To: m.index - 1}
			r.last[m.key] = gap.To
			return nil, gap
		}
		b := new(schemas.Batch)
		must(proto.Unmarshal(m.value, b))
		batches = append(batches, b)
		r.last[m.key] = max(r.last[m.key], m.index)
		r.at[partition]++
		if r.broker.random.IntN(4) == 0 {
			partition = 1 - partition
		}
	}
	if len(batches) == 0 {
		return nil, context.DeadlineExceeded
	}
	return batches, nil
}

// forwarder ships a collector's log to the broker, from behind what is confirmed.
type forwarder struct {
	from   *site
	to     *broker
	reader stream.Reader
	wiped  int
}

// step forwards some batches; lost says that the broker took them and the reply was lost, upon which the
// forwarder sends them again.
func (f *forwarder) step(most int, lost bool) {
	if f.reader != nil && f.wiped != f.to.wiped {
		f.stop()
	}
	if f.reader == nil {
		reader, err := f.from.log.OpenReader(background, "forwarder", maps.Clone(f.to.confirmed))
		if err != nil {
			return
		}
		f.reader, f.wiped = reader, f.to.wiped
	}
	batches, err := f.reader.Next(impatient(), most)
	if err != nil {
		// What the ledger has by now may have been deleted while the disk did not give it.
		if gap, ok := err.(*stream.GapError); ok && gap.To > f.to.confirmed[gap.Key] {
			failf("the forwarder was told of a gap: %v", gap)
		}
		return
	}
	f.to.produce(batches)
	if lost {
		f.to.produce(batches)
	}
}

func (f *forwarder) stop() {
	if f.reader != nil {
		_ = f.reader.Close()
		f.reader = nil
	}
}
