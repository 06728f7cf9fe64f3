package failpoint

// Point names a window.
type Point string

// Windows in which a process is killed.
const (
	DiskWritten  Point = "disk.written"  // records are written to the log's segment, and not synced
	DiskSynced   Point = "disk.synced"   // they are synced, and nobody has been told
	DiskRolling  Point = "disk.rolling"  // a segment is full, the next one is not there
	DiskRolled   Point = "disk.rolled"   // the next one is there, and is not used
	DiskSealing  Point = "disk.sealing"  // a run of the log ends, and is not sealed
	DiskDeleting Point = "disk.deleting" // confirmed segments are forgotten, and their files are there

	CollectorAppended Point = "collector.appended" // the log has a flush, the collector has not noted it

	StoreCommitting Point = "store.committing" // a transaction is whole, and not committed
	StoreCommitted  Point = "store.committed"  // it is committed, and nobody has been told
	StoreMigrating  Point = "store.migrating"  // a migration has run, and is not remembered
	StoreMigrated   Point = "store.migrated"   // it is remembered, and the next one has not begun

	LedgerTaking    Point = "ledger.taking"    // batches are read, and not booked
	LedgerBooked    Point = "ledger.booked"    // they are booked, and not confirmed
	LedgerConfirmed Point = "ledger.confirmed" // they are confirmed, and the reader has not gone on
	LedgerSealed    Point = "ledger.sealed"    // hours are sealed, their days are not derived
	LedgerTold      Point = "ledger.told"      // a day is in the feed, the feed's head has not moved
	LedgerClosing   Point = "ledger.closing"   // statements are computed, and not written
	LedgerClosed    Point = "ledger.closed"    // they are written, and nobody has been told

	KafkaProduced  Point = "kafka.produced"  // the broker has batches, the forwarder has not noted it
	KafkaPublished Point = "kafka.published" // a confirmation is published, the aggregator has not noted it

	DetectorSaved Point = "detector.saved" // a checkpoint is written, the detector has not noted it
)

// Faults of others: the effect is there, its reply is lost.
const (
	StoreReply Point = "store.reply" // of a commit
	KafkaReply Point = "kafka.reply" // of a produce request
)

// Faults of ours, which prove that the suite sees such a one.
const (
	ForgetWatermark   Point = "wrong.forget-watermark"   // a booking does not move the watermark
	ForgetPositions   Point = "wrong.forget-positions"   // a collector does not know where the last run ended
	ForgetIncidents   Point = "wrong.forget-incidents"   // a checkpoint moves the detector's position and opens no incident
	DeleteUnconfirmed Point = "wrong.delete-unconfirmed" // the log lets go of what is not booked
)
