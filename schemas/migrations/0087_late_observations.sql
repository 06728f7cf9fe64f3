-- Minutes of exporters that were told of only after their hour was sealed, numbered in the order in which they were
-- booked (ledger_state: observation). exporter_hour has them too: what was known before a number is what it has without
-- those of that number and later ones. Only ever inserted.
CREATE TABLE late_observation (
	observation BIGINT NOT NULL PRIMARY KEY,
	booked_at   BIGINT NOT NULL,
	exporter    TEXT   NOT NULL,
	hour        BIGINT NOT NULL,
	protocol    TEXT   NOT NULL,
	minutes     BIGINT NOT NULL
);
CREATE INDEX late_observation_hour ON late_observation (exporter, hour);
-- How far they have been looked at for adjustments, as booking is of usage.
ALTER TABLE statement_head ADD COLUMN observation BIGINT NOT NULL DEFAULT 0;
