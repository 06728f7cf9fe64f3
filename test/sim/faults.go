package sim

// The faults of a history, by the names that results and docs/reliability.md have.
const (
	collectorKilled    = "collector killed"
	collectorRestarted = "collector restarted in order"
	powerCut           = "power cut of a collector"
	deathInWrite       = "collector dies inside a write, fsync, rename or truncation"
	diskFull           = "disk full"
	failedSync         = "failed fsync"
	tornWrite          = "torn write"
	brokenDisk         = "disk refuses everything"
	failedRead         = "disk does not give what is read, and then does"
	aggregatorKilled   = "aggregator killed"
	commitFailed       = "commit failed"
	replyLost          = "reply of a commit lost"
	ownerPaused        = "owner paused while another books"
	batchRepeated      = "batches delivered again"
	brokerWiped        = "broker wiped"
	brokerReplyLost    = "reply of the broker lost"
	forwarderRestarted = "forwarder started again"
	clockOfAggregator  = "clock of an aggregator stepped"
	clockOfCollectors  = "clock of the collectors stepped"
	datagramLost       = "datagram lost by the network"
	datagramRepeated   = "datagram delivered again"
	datagramsSwapped   = "datagrams delivered out of order"
)

// Faults lists them.
var Faults = []string{
	collectorKilled, collectorRestarted, powerCut, deathInWrite, diskFull, failedSync, tornWrite, brokenDisk, failedRead,
	aggregatorKilled, commitFailed, replyLost, ownerPaused, batchRepeated,
	brokerWiped, brokerReplyLost, forwarderRestarted, clockOfAggregator, clockOfCollectors,
	datagramLost, datagramRepeated, datagramsSwapped,
}

// Windows say where in the work a fault strikes.
var Windows = map[string]string{
	collectorKilled:    "between any two steps",
	collectorRestarted: "between any two steps",
	powerCut:           "between any two steps, and after a death inside one; what was not synced is kept or lost by sectors",
	deathInWrite:       "the 1st to 12th operation on the disk: append, new segment, seal, deletion, start",
	diskFull:           "after 0 to 3,000 octets more, in the middle of a record",
	failedSync:         "append, new segment, seal",
	tornWrite:          "append, new segment, seal",
	brokenDisk:         "until it is mended",
	failedRead:         "any consumer, and start: up to five times running",
	aggregatorKilled:   "between reading and booking, and between any two steps",
	commitFailed:       "booking, sealing, telling usage records: all is done but the commit",
	replyLost:          "booking, sealing, telling usage records: after the effect",
	ownerPaused:        "between reading and booking; it wakes up and books",
	batchRepeated:      "any",
	brokerWiped:        "between any two steps",
	brokerReplyLost:    "after the broker took the batches",
	forwarderRestarted: "between any two steps",
	clockOfAggregator:  "by up to 2 hours or 2 days, forward or back: seals too early or too late",
	clockOfCollectors:  "by up to an hour, forward or back",
	datagramLost:       "any",
	datagramRepeated:   "at once, or behind up to seven others, while the collector lives",
	datagramsSwapped:   "a datagram behind the next one of its exporter",
}
