package kafka

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// topic is one incarnation of a topic: one that is deleted and made again under its name has another id, and offsets
// of the one mean nothing in the other.
type topic struct {
	id         [16]byte
	partitions int
}

// topic asks the brokers for a topic as it is now.
//
// Errors: UnknownTopicOrPartition where there is none.
func (s *Source) topic(ctx context.Context, name string) (topic, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	answer, err := s.transport.RoundTrip(ctx, s.client.Addr, topicRequest{name})
	if err != nil {
		return topic{}, fmt.Errorf("read metadata of topic %s: %w", name, err)
	}
	found := answer.(topicAnswer)
	switch {
	case found.code != 0:
		return topic{}, fmt.Errorf("topic %s: %w", name, kafkago.Error(found.code))
	case found.partitions == 0:
		return topic{}, fmt.Errorf("topic %s: %w", name, kafkago.UnknownTopicOrPartition)
	case found.id == [16]byte{}:
		return topic{}, fmt.Errorf("topic %s: %w", name, errNoTopicID)
	}
	return found.topic, nil
}

var errNoTopicID = errors.New("the brokers tell no id of it: Kafka 2.8 or newer is needed, on KRaft or with inter.broker.protocol.version 2.8")

// watch asks for a topic again and again, until ctx is done or look returns an error. Where there is none look gets the
// zero topic. Where nothing is known it is not called: who uses the topic tells what is wrong.
func (s *Source) watch(ctx context.Context, name string, look func(topic) error) error {
	for {
		if err := s.deps.Clock.Sleep(ctx, s.lookEvery); err != nil {
			return err
		}
		found, err := s.topic(ctx, name)
		if err != nil && !errors.Is(err, kafkago.UnknownTopicOrPartition) {
			continue
		}
		if err := look(found); err != nil {
			return err
		}
	}
}

// lookEvery is how often it is looked whether a topic is still the same.
const lookEvery = 10 * time.Second

// topicRequest is a metadata request of the version that tells a topic's id. kafka-go's own stops two versions short of it,
// and is answered from a cache.
type topicRequest struct{ name string }

type topicAnswer struct {
	topic
	code int16
}

var _ protocol.RawExchanger = topicRequest{}

func (topicRequest) ApiKey() protocol.ApiKey { return protocol.Metadata }
func (topicAnswer) ApiKey() protocol.ApiKey  { return protocol.Metadata }

// Required implements protocol.RawExchanger.
func (topicRequest) Required(map[protocol.ApiKey]int16) bool { return true }

const (
	metadataVersion = 10 // the first with ids
	metadataAtMost  = 64 << 20
)

// RawExchange implements protocol.RawExchanger: the connection is this request's alone until it returns.
func (q topicRequest) RawExchange(rw io.ReadWriter) (protocol.Message, error) {
	request := kmsg.NewPtrMetadataRequest()
	request.SetVersion(metadataVersion)
	wanted := kmsg.NewMetadataRequestTopic()
	wanted.Topic = &q.name
	request.Topics = append(request.Topics, wanted)
	const correlation = 0
	if _, err := rw.Write(kmsg.NewRequestFormatter(kmsg.FormatterClientID(clientID)).AppendRequest(nil, request, correlation)); err != nil {
		return nil, err
	}
	// The answer begins with its size, the correlation id, and tags, of which there are none.
	var head [9]byte
	if _, err := io.ReadFull(rw, head[:]); err != nil {
		return nil, fmt.Errorf("read the answer, which brokers before Kafka 2.8 do not give: %w", err)
	}
	size := int64(binary.BigEndian.Uint32(head[:])) - int64(len(head)-4)
	if size < 0 || size > metadataAtMost || binary.BigEndian.Uint32(head[4:]) != correlation || head[8] != 0 {
		return nil, fmt.Errorf("answer begins with %x", head)
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(rw, body); err != nil {
		return nil, err
	}
	response := request.ResponseKind().(*kmsg.MetadataResponse)
	if err := response.ReadFrom(body); err != nil {
		return nil, fmt.Errorf("decode metadata: %w", err)
	}
	for _, found := range response.Topics {
		if found.Topic != nil && *found.Topic == q.name {
			return topicAnswer{topic{found.TopicID, len(found.Partitions)}, found.ErrorCode}, nil
		}
	}
	return topicAnswer{code: int16(kafkago.UnknownTopicOrPartition)}, nil
}
