-- The usage-record feed. last_seq is raised in the transaction that writes the records, so that seq is
-- dense and in the order of the commits; through, booking and inventory_version say how far sealed
-- hours, late entries and changes of ownership have been told.
CREATE TABLE usage_record_head (
	id                BIGINT NOT NULL PRIMARY KEY,
	last_seq          BIGINT NOT NULL,
	through           BIGINT NOT NULL,
	booking           BIGINT NOT NULL,
	inventory_version BIGINT NOT NULL
);
INSERT INTO usage_record_head (id, last_seq, through, booking, inventory_version) VALUES (1, 0, 0, 0, 0);
-- Only ever inserted. The truth about a (service, meter, class, direction, from, to) is the sum of its
-- records. day counts UTC days since the Unix epoch.
CREATE TABLE usage_record (
	seq           BIGINT NOT NULL PRIMARY KEY,
	id            TEXT NOT NULL,
	kind          TEXT NOT NULL,
	customer      TEXT NOT NULL,
	service       TEXT NOT NULL,
	meter         TEXT NOT NULL,
	class         TEXT NOT NULL,
	direction     TEXT NOT NULL,
	period_from   BIGINT NOT NULL,
	period_to     BIGINT NOT NULL,
	from_at       BIGINT NOT NULL,
	to_at         BIGINT NOT NULL,
	day           BIGINT NOT NULL,
	octets        BIGINT NOT NULL,
	packets       BIGINT NOT NULL,
	variance_kib2 BIGINT NOT NULL,
	coverage      TEXT NOT NULL,
	recorded_at   BIGINT NOT NULL,
	corrects      TEXT NOT NULL
);
CREATE INDEX usage_record_day ON usage_record (day);
