// Package schemas owns every format that outlives a process: the messages of the log, the names of
// its topics, the migrations of the ledger, the description of the API; and the plain values that
// the components hand to each other. It imports nothing of the project.
package schemas

import "embed"

// Topics on Kafka; the number is the version of the messages in them. A message of TopicBatches is
// one Batch, and its key is "collector/log_id/shard"; one of TopicConfirmations is a Confirmation
// under the same key, in a compacted topic. One of TopicLandmarks is JSON, and tells from where in TopicBatches a
// consumer that has all before it may read.
const (
	TopicBatches       = "hostmeter.batches.v1"
	TopicConfirmations = "hostmeter.confirmations.v1"
	TopicLandmarks     = "hostmeter.landmarks.v1"
)

// Migrations holds the SQL files of the ledger, applied in the order of their names and never
// edited. {{blob}} stands for BLOB on SQLite and BYTEA on PostgreSQL; {{serial}} for a primary
// key that numbers itself.
//
//go:embed migrations/*.sql
var Migrations embed.FS

// OpenAPI describes the JSON API.
//
//go:embed openapi.yaml
var OpenAPI []byte
