package kafka

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"hostmeter/internal/stream"
	"hostmeter/internal/stream/streamtest"
)

// What kafka-go does not do for us, each with the fault that shows it. On Kafka and on the broker in this process.

// cutter makes connections that lose the answer to every third produce request, after its effect.
type cutter struct {
	produced, lost atomic.Int64
	dial           func(ctx context.Context, network, address string) (net.Conn, error)
}

func (c *cutter) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := c.dial(ctx, network, address)
	return &cutConn{Conn: conn, c: c}, err
}

type cutConn struct {
	net.Conn
	c   *cutter
	mu  sync.Mutex
	cut bool
}

// Write looks for the header of a request: four octets of length, then the key of the API, which is 0 for Produce.
func (c *cutConn) Write(b []byte) (int, error) {
	if len(b) >= 6 && binary.BigEndian.Uint16(b[4:6]) == 0 && int(binary.BigEndian.Uint32(b[:4]))+4 >= len(b) && c.c.produced.Add(1)%3 == 0 {
		c.mu.Lock()
		c.cut = true
		c.mu.Unlock()
	}
	return c.Conn.Write(b)
}

func (c *cutConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b) // the broker has answered: the effect is there
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cut && err == nil {
		c.c.lost.Add(1)
		_ = c.Close()
		return 0, net.ErrClosed
	}
	return n, err
}

// TestLostAnswersMakeDuplicatesThatNobodySees: there is no idempotent producer, so that a batch whose answer was
// lost is in the topic twice. It is read once.
func TestLostAnswersMakeDuplicatesThatNobodySees(t *testing.T) {
	each(t, func(t *testing.T, broker string) {
		g := newRig(t, testConfig(t, broker))
		g.stop()
		c := &cutter{dial: g.source.transport.Dial}
		g.source.transport.Dial = c.Dial
		g.source.transport.CloseIdleConnections()
		const groups = 60
		g.forward(t)
		r := open(t, g, nil)
		for n := uint64(1); n <= groups; n++ {
			appendGroups(t, g, n, n)
			r.Read(t, 4)
		}
		wantComplete(t, r, groups)
		if sent := sentBatches(t, g); c.lost.Load() == 0 || sent <= 4*groups {
			t.Fatalf("%d answers were lost, and %d messages are there for %d batches: nothing was tested", c.lost.Load(), sent, 4*groups)
		}
	})
}

// TestDeletedOffsetsAreAGap: a Reader whose offset is gone goes to the first one that is left and says nothing. It is
// a gap to the consumer, and those behind it are read.
func TestDeletedOffsetsAreAGap(t *testing.T) {
	each(t, func(t *testing.T, broker string) {
		g := newRig(t, testConfig(t, broker))
		appendGroups(t, g, 1, 20)
		r := open(t, g, nil)
		r.Read(t, 4*20)
		wantComplete(t, r, 20)
		g.stop() // else it sends what is missing again, which is the other half of the promise
		if err := g.source.Confirm(t.Context(), r.Last); err != nil {
			t.Fatal(err)
		}
		half := make(stream.Watermarks)
		for key := range r.Last {
			half[key] = 5
		}
		deleteBefore(t, broker, g.source, 10)
		late, err := g.source.OpenReader(t.Context(), "ledger", half)
		if err != nil {
			t.Fatal(err)
		}
		defer late.Close()
		var gap *stream.GapError
		for !errors.As(err, &gap) {
			if _, err = late.Next(t.Context(), 10); err != nil && !errors.As(err, &gap) {
				t.Fatal(err)
			}
		}
		if gap.From <= 5 || gap.To < gap.From {
			t.Fatalf("the gap is %v, of what came after 5", gap)
		}
	})
}

// deleteBefore deletes the messages before an offset in every partition, as retention does.
func deleteBefore(t *testing.T, broker string, s *Source, offset int64) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(broker))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	request := kmsg.NewPtrDeleteRecordsRequest()
	topic := kmsg.NewDeleteRecordsRequestTopic()
	topic.Topic = s.batchesTopic()
	for partition := range int32(3) {
		p := kmsg.NewDeleteRecordsRequestTopicPartition()
		p.Partition, p.Offset = partition, offset
		topic.Partitions = append(topic.Partitions, p)
	}
	request.Topics = append(request.Topics, topic)
	answer, err := client.Request(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range answer.(*kmsg.DeleteRecordsResponse).Topics[0].Partitions {
		if p.ErrorCode != 0 {
			t.Fatalf("delete records of partition %d: error code %d", p.Partition, p.ErrorCode)
		}
	}
}

// TestEverythingIsAcknowledgedByAll: kafka-go's default is to wait for nobody.
func TestEverythingIsAcknowledgedByAll(t *testing.T) {
	cluster := fake(t)
	g := newRig(t, testConfig(t, cluster.ListenAddrs()[0]))
	var mu sync.Mutex
	acks := map[string][]int16{}
	cluster.ControlKey(int16(kmsg.Produce), func(request kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		mu.Lock()
		defer mu.Unlock()
		for _, topic := range request.(*kmsg.ProduceRequest).Topics {
			acks[topic.Topic] = append(acks[topic.Topic], request.(*kmsg.ProduceRequest).Acks)
		}
		return nil, nil, false
	})
	appendGroups(t, g, 1, 5)
	r := open(t, g, nil)
	r.Read(t, 20)
	if err := g.source.Confirm(t.Context(), r.Last); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	for _, topic := range []string{g.source.batchesTopic(), g.source.confirmationsTopic()} {
		if len(acks[topic]) == 0 {
			t.Fatalf("nothing was sent to %s", topic)
		}
		for _, n := range acks[topic] {
			if n != -1 {
				t.Fatalf("%s is sent to with acks %d, want -1 (all)", topic, n)
			}
		}
	}
}

// TestForeignMessagesArePassedOver: a Reader gives transaction markers, aborted records and anybody's noise as
// ordinary messages.
func TestForeignMessagesArePassedOver(t *testing.T) {
	each(t, func(t *testing.T, broker string) {
		g := newRig(t, testConfig(t, broker))
		appendGroups(t, g, 1, 3)
		noise := func(key, value []byte) {
			t.Helper()
			for partition := range 3 {
				answer, err := g.source.client.Produce(t.Context(), &kafkago.ProduceRequest{Topic: g.source.batchesTopic(), Partition: partition, RequiredAcks: kafkago.RequireAll,
					Records: kafkago.NewRecordReader(kafkago.Record{Key: kafkago.NewBytes(key), Value: kafkago.NewBytes(value)})})
				if err != nil || answer.Error != nil {
					t.Fatal(err, answer)
				}
			}
		}
		r := open(t, g, nil)
		r.Read(t, 12)
		noise([]byte{0, 0, 0, 1}, []byte{0, 0, 0, 0, 0, 0}) // as a marker of a transaction is
		noise(nil, nil)
		noise([]byte("collector-1/1/0"), []byte("not protobuf at all"))
		appendGroups(t, g, 4, 6)
		r.Read(t, 12)
		wantComplete(t, r, 6)
	})
}

// TestMorePartitions gives the topic more partitions under way, and lets a forwarder that begins anew use them: who
// reads all along misses nothing, and who begins later declares nothing lost that lies in another partition.
func TestMorePartitions(t *testing.T) {
	each(t, func(t *testing.T, broker string) {
		cfg := testConfig(t, broker)
		cfg.Patience = time.Millisecond // no wait hides a wrong order
		g := newRig(t, cfg)
		appendGroups(t, g, 1, 50)
		r := open(t, g, nil)
		r.Read(t, 4*50)
		answer, err := g.source.client.CreatePartitions(t.Context(), &kafkago.CreatePartitionsRequest{
			Topics: []kafkago.TopicPartitionsConfig{{Name: g.source.batchesTopic(), Count: 7}}})
		if err != nil || answer.Errors[g.source.batchesTopic()] != nil {
			t.Fatal(err, answer)
		}
		appendGroups(t, g, 51, 60) // still to the old ones
		r.Read(t, 4*10)
		g.stop()
		if err := g.source.Confirm(t.Context(), r.Last); err != nil {
			t.Fatal(err)
		}
		appendGroups(t, g, 61, 90)
		g.forward(t)
		r.Read(t, 4*30)
		wantComplete(t, r, 90)
		fresh := open(t, g, nil)
		fresh.Read(t, 4*90)
		wantComplete(t, fresh, 90)
	})
}

// TestTopicIsMadeAnewOnKafka deletes the topic of a real broker, and makes it again, under a forwarder and a reader.
func TestTopicIsMadeAnewOnKafka(t *testing.T) {
	cfg := testConfig(t, realBroker(t))
	cfg.Patience = 30 * time.Second
	g := newRig(t, cfg)
	appendGroups(t, g, 1, 10)
	r := open(t, g, nil)
	r.Read(t, 4*10)
	if _, err := g.source.client.DeleteTopics(t.Context(), &kafkago.DeleteTopicsRequest{Topics: []string{g.source.batchesTopic()}}); err != nil {
		t.Fatal(err)
	}
	appendGroups(t, g, 11, 20)
	r.Read(t, 4*10)
	wantComplete(t, r, 20)
	fresh := (&streamtest.Fixture{Source: g.source}).Open(t, "ledger", nil)
	fresh.Read(t, 4*20) // also what had been read before is there again
	wantComplete(t, fresh, 20)
}

// slowConn delivers at most a few octets at a time, each a moment late.
type slowConn struct{ net.Conn }

func (c slowConn) Read(b []byte) (int, error) {
	time.Sleep(2 * time.Millisecond)
	return c.Conn.Read(b[:min(len(b), 512)])
}

// TestSlowBroker answers in drops: everything comes, in order.
func TestSlowBroker(t *testing.T) {
	each(t, func(t *testing.T, broker string) {
		g := newRig(t, testConfig(t, broker))
		g.stop()
		dial := g.source.transport.Dial
		g.source.transport.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dial(ctx, network, address)
			return slowConn{conn}, err
		}
		g.source.dialer.DialFunc = g.source.transport.Dial
		g.source.transport.CloseIdleConnections()
		g.forward(t)
		r := open(t, g, nil)
		appendGroups(t, g, 1, 30)
		r.Read(t, 4*30)
		wantComplete(t, r, 30)
	})
}
