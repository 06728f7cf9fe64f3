// Package stream is the log between the collector and its consumers: one interface, on local disk
// (package disk) or on Kafka (package kafka).
//
// It promises that a batch is readable only after it is durable, that the batches of one (collector,
// log id, shard) are read in the order of their indexes, and that a hole in them is told as a Gap. It
// does not promise that a batch is read once: a consumer keeps Watermarks with what it made of the
// batches, in one transaction, and passes over what it already has.
package stream

import (
	"context"
	"errors"
	"fmt"

	"hostmeter/schemas"
)

// Key names one sequence of batches. Within it, indexes are 1, 2, 3 ... without a hole.
type Key struct {
	Collector string
	LogID     uint64
	Shard     uint32
}

func (k Key) String() string { return fmt.Sprintf("%s/%016x/%d", k.Collector, k.LogID, k.Shard) }

// KeyOf returns the sequence that a batch belongs to.
func KeyOf(b *schemas.Batch) Key {
	return Key{Collector: b.GetCollector(), LogID: b.GetLogId(), Shard: b.GetShard()}
}

// Watermarks hold, for each sequence, the index of the last batch that was dealt with.
type Watermarks map[Key]uint64

// Reach is true if everything up to end has been dealt with.
func (w Watermarks) Reach(end Watermarks) bool {
	for key, index := range end {
		if w[key] < index {
			return false
		}
	}
	return true
}

// Log takes batches from a collector.
type Log interface {
	// Append gives each batch the log's id and the next index of its shard, and writes them. On
	// return without error all are durable; with an error none of them will ever be read. Nothing of the
	// batches is kept: what is attached to them may be written over once Append has returned without error.
	Append(ctx context.Context, batches []*schemas.Batch) error
	// Close may be called twice.
	Close() error
}

// Reader hands batches to one consumer.
type Reader interface {
	// Next waits until a batch beyond the watermarks can be read and returns at most most of them.
	// When the log has lost some that this consumer has not seen it returns a *GapError once, and
	// goes on behind the gap at the next call.
	//
	// It tries again what the disk or the broker does not give. The batches are the caller's. Errors: ctx's,
	// together with ErrBehind where the log may hold more, *GapError, that the log or the reader was closed.
	Next(ctx context.Context, most int) ([]*schemas.Batch, error)
	// Close may be called twice.
	Close() error
}

// Source opens readers.
type Source interface {
	// OpenReader returns a reader that begins behind the watermarks. Consumers are known by name
	// ("ledger", "detector", "series"), which shows in metrics only.
	OpenReader(ctx context.Context, consumer string, after Watermarks) (Reader, error)
	// Confirm says that the ledger has booked everything up to the watermarks, durably. What is
	// confirmed and older than the log's minimum retention may be deleted.
	Confirm(ctx context.Context, booked Watermarks) error
}

// ErrBehind says that nothing was read in time although the log holds, or may hold, something that was not looked at:
// the reader passes over what was read before, or does not reach the log.
var ErrBehind = errors.New("the end of the log is not reached")

// GapError says that batches From to To of a sequence are gone before the consumer read them.
type GapError struct {
	Key      Key
	From, To uint64
}

func (e *GapError) Error() string {
	return fmt.Sprintf("log %s lost batches %d to %d before they were read", e.Key, e.From, e.To)
}

// ErrLocked is returned when another process has the log's folder open.
var ErrLocked = errors.New("another process has this log open")
