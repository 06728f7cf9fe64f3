-- The books of usage. An hour is counted in hours since the Unix epoch, a day in days since then, both
-- UTC; times are nanoseconds since it. Octets are layer 3, multiplied by sampling, unless a name says
-- otherwise. A part is schemas.ShardOf(meter) among as many parts as the installation has shards.

-- Numbers of which there is one: parts; sealed_through (the first hour that is not sealed);
-- days_through (the first day whose sums are not derived); booking and guest_booking (the last
-- numbers given to late entries).
CREATE TABLE ledger_state (
	name  TEXT NOT NULL PRIMARY KEY,
	value BIGINT NOT NULL
);

-- Whoever writes rows of a part moves its version in the same transaction: rows that another
-- process keeps in memory are known to be old by it.
CREATE TABLE ledger_part (
	part    BIGINT NOT NULL PRIMARY KEY,
	version BIGINT NOT NULL
);

-- How far each sequence of batches is booked. log_id is 16 hexadecimal digits. told_at is the end of
-- receipt of the last batch, complete the Completeness of its exporters (a Batch with that field alone).
CREATE TABLE watermark (
	collector TEXT NOT NULL,
	log_id    TEXT NOT NULL,
	shard     BIGINT NOT NULL,
	idx       BIGINT NOT NULL,
	told_at   BIGINT NOT NULL,
	complete  {{blob}},
	PRIMARY KEY (collector, log_id, shard)
);

-- slots: 24 unsigned varints, the octets in of twelve five minutes, then the octets out.
CREATE TABLE usage_hour (
	hour              BIGINT NOT NULL,
	part              BIGINT NOT NULL,
	meter             TEXT NOT NULL,
	class             TEXT NOT NULL,
	in_octets         BIGINT NOT NULL,
	out_octets        BIGINT NOT NULL,
	in_packets        BIGINT NOT NULL,
	out_packets       BIGINT NOT NULL,
	in_flows          BIGINT NOT NULL,
	out_flows         BIGINT NOT NULL,
	in_variance_kib2  BIGINT NOT NULL,
	out_variance_kib2 BIGINT NOT NULL,
	slots             {{blob}} NOT NULL,
	PRIMARY KEY (hour, part, meter, class)
);

-- slots: CPU nanoseconds of twelve five minutes, then the capacity.
CREATE TABLE guest_hour (
	hour                 BIGINT NOT NULL,
	part                 BIGINT NOT NULL,
	guest                TEXT NOT NULL,
	cpu_nanoseconds      BIGINT NOT NULL,
	capacity_nanoseconds BIGINT NOT NULL,
	steal_nanoseconds    BIGINT NOT NULL,
	slots                {{blob}} NOT NULL,
	PRIMARY KEY (hour, part, guest)
);

-- What was last told of a guest.
CREATE TABLE guest (
	guest   TEXT NOT NULL PRIMARY KEY,
	host    TEXT NOT NULL,
	name    TEXT NOT NULL,
	vcpus   BIGINT NOT NULL,
	state   BIGINT NOT NULL,
	seen_at BIGINT NOT NULL
);

-- Usage that came after its hour was sealed, by the batch that brought it. Only ever inserted.
CREATE TABLE late_entry (
	booking           BIGINT NOT NULL PRIMARY KEY,
	booked_at         BIGINT NOT NULL,
	collector         TEXT NOT NULL,
	log_id            TEXT NOT NULL,
	shard             BIGINT NOT NULL,
	idx               BIGINT NOT NULL,
	hour              BIGINT NOT NULL,
	part              BIGINT NOT NULL,
	meter             TEXT NOT NULL,
	class             TEXT NOT NULL,
	in_octets         BIGINT NOT NULL,
	out_octets        BIGINT NOT NULL,
	in_packets        BIGINT NOT NULL,
	out_packets       BIGINT NOT NULL,
	in_flows          BIGINT NOT NULL,
	out_flows         BIGINT NOT NULL,
	in_variance_kib2  BIGINT NOT NULL,
	out_variance_kib2 BIGINT NOT NULL,
	slots             {{blob}} NOT NULL
);
CREATE INDEX late_entry_hour ON late_entry (hour, part, meter);

CREATE TABLE late_guest (
	booking              BIGINT NOT NULL PRIMARY KEY,
	booked_at            BIGINT NOT NULL,
	collector            TEXT NOT NULL,
	log_id               TEXT NOT NULL,
	shard                BIGINT NOT NULL,
	idx                  BIGINT NOT NULL,
	hour                 BIGINT NOT NULL,
	part                 BIGINT NOT NULL,
	guest                TEXT NOT NULL,
	cpu_nanoseconds      BIGINT NOT NULL,
	capacity_nanoseconds BIGINT NOT NULL,
	steal_nanoseconds    BIGINT NOT NULL,
	slots                {{blob}} NOT NULL
);
CREATE INDEX late_guest_hour ON late_guest (hour, part, guest);

-- Hours that had usage when they were sealed. waiting names the exporters that had not said that
-- they were complete, separated by spaces, where the grace was over.
CREATE TABLE sealed_hour (
	hour      BIGINT NOT NULL PRIMARY KEY,
	sealed_at BIGINT NOT NULL,
	waiting   TEXT NOT NULL
);

-- Sums of the sealed hours of a UTC day, without late entries.
CREATE TABLE usage_day (
	day               BIGINT NOT NULL,
	part              BIGINT NOT NULL,
	meter             TEXT NOT NULL,
	class             TEXT NOT NULL,
	in_octets         BIGINT NOT NULL,
	out_octets        BIGINT NOT NULL,
	in_packets        BIGINT NOT NULL,
	out_packets       BIGINT NOT NULL,
	in_flows          BIGINT NOT NULL,
	out_flows         BIGINT NOT NULL,
	in_variance_kib2  BIGINT NOT NULL,
	out_variance_kib2 BIGINT NOT NULL,
	PRIMARY KEY (day, part, meter, class)
);

-- What collectors did with an exporter's datagrams, by hour of receipt. Bit m of minutes_observed is
-- minute m. counts is a JSON object from "dropped|held|lost/UNIT/REASON" to a number other than 0.
CREATE TABLE exporter_hour (
	exporter                 TEXT NOT NULL,
	hour                     BIGINT NOT NULL,
	protocol                 TEXT NOT NULL,
	minutes_observed         BIGINT NOT NULL,
	datagrams                BIGINT NOT NULL,
	records                  BIGINT NOT NULL,
	option_records           BIGINT NOT NULL,
	templates                BIGINT NOT NULL,
	counter_samples          BIGINT NOT NULL,
	reported_octets          BIGINT NOT NULL,
	reported_packets         BIGINT NOT NULL,
	octets                   BIGINT NOT NULL,
	packets                  BIGINT NOT NULL,
	octets_once              BIGINT NOT NULL,
	octets_both              BIGINT NOT NULL,
	octets_transit           BIGINT NOT NULL,
	octets_uncounted         BIGINT NOT NULL,
	clamped_records          BIGINT NOT NULL,
	unknown_sampling_records BIGINT NOT NULL,
	counts                   TEXT NOT NULL,
	PRIMARY KEY (exporter, hour, protocol)
);
CREATE INDEX exporter_hour_hour ON exporter_hour (hour);

-- Parts of the log that were lost before they were booked.
CREATE TABLE gap (
	collector   TEXT NOT NULL,
	log_id      TEXT NOT NULL,
	shard       BIGINT NOT NULL,
	from_idx    BIGINT NOT NULL,
	to_idx      BIGINT NOT NULL,
	declared_at BIGINT NOT NULL,
	PRIMARY KEY (collector, log_id, shard, from_idx)
);

-- Batches that broke an invariant, kept whole: nothing of them is booked, and those behind them are.
CREATE TABLE refused_batch (
	collector  TEXT NOT NULL,
	log_id     TEXT NOT NULL,
	shard      BIGINT NOT NULL,
	idx        BIGINT NOT NULL,
	refused_at BIGINT NOT NULL,
	reason     TEXT NOT NULL,
	batch      {{blob}} NOT NULL,
	PRIMARY KEY (collector, log_id, shard, idx)
);
