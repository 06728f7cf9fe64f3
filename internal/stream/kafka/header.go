package kafka

import (
	"strconv"

	kafkago "github.com/segmentio/kafka-go"
)

// header is what a message says of its batch beside its key, so that a reader need not decode what it has, and knows of
// what is missing before it whether it can still come. A message of an earlier version has an index alone.
type header struct {
	// index is the batch's.
	index uint64
	// after is the index of the batch before it that its collector had: what lies between the two is lost.
	after uint64
	// confirmed is what the ledger had of the key when the message was sent: it is not sent again.
	confirmed uint64
}

const (
	indexHeader     = "index"
	afterHeader     = "after" // left out where it is index-1
	confirmedHeader = "confirmed"
)

func (h header) records() []kafkago.Header {
	text := func(n uint64) []byte { return strconv.AppendUint(nil, n, 10) }
	headers := []kafkago.Header{{Key: indexHeader, Value: text(h.index)}, {Key: confirmedHeader, Value: text(h.confirmed)}}
	if h.after != h.index-1 {
		headers = append(headers, kafkago.Header{Key: afterHeader, Value: text(h.after)})
	}
	return headers
}

// parseHeader reads the header of a message; ok is false where it tells no index.
func parseHeader(headers []kafkago.Header) (h header, ok bool) {
	var after *uint64
	for _, field := range headers {
		n, err := strconv.ParseUint(string(field.Value), 10, 64)
		if err != nil {
			continue
		}
		switch field.Key {
		case indexHeader:
			h.index = n
		case afterHeader:
			after = &n
		case confirmedHeader:
			h.confirmed = n
		}
	}
	if h.index == 0 {
		return header{}, false
	}
	h.after = h.index - 1
	if after != nil {
		h.after = min(*after, h.after)
	}
	return h, true
}
