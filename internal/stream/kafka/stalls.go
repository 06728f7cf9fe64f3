package kafka

import (
	"time"

	"hostmeter/internal/stream"
)

// stallAfter is how long a key's confirmations stand still, while those of others go on, before its batches are taken
// for lost on their way to the ledger.
const stallAfter = 15 * time.Minute

// stalls watches for keys of which Kafka may have lost acknowledged batches without a trace: where others fill the
// partition again before this forwarder sends, no offset tells. Consumers wait for what is missing then, and
// the ledger confirms no more of that key, while it confirms others.
type stalls map[stream.Key]stall

type stall struct {
	confirmed uint64
	since     time.Time
}

// look takes what was sent and what is confirmed, and when the ledger was last seen to confirm anything. It returns a
// key that stands still.
func (s stalls) look(now time.Time, sent, confirmed stream.Watermarks, heard time.Time) (key stream.Key, found bool) {
	for key, index := range sent {
		at, waits := s[key]
		switch {
		case confirmed[key] >= index:
			delete(s, key)
		case !waits || at.confirmed != confirmed[key]:
			s[key] = stall{confirmed[key], now}
		case now.Sub(at.since) >= stallAfter && now.Sub(heard) < stallAfter/2:
			return key, true
		}
	}
	return key, false
}
