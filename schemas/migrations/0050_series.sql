-- From where the series sink reads again after a restart: behind these batches no minute was open.
CREATE TABLE series_position (
	collector TEXT   NOT NULL,
	log_id    TEXT   NOT NULL,
	shard     BIGINT NOT NULL,
	idx       BIGINT NOT NULL,
	PRIMARY KEY (collector, log_id, shard)
);
