-- From where the series sink reads again after a restart. Behind idx begin the minutes that were open;
-- what lies up to done had been added to the minutes below closed, which are not written again.
CREATE TABLE series_position (
	collector TEXT   NOT NULL,
	log_id    TEXT   NOT NULL,
	shard     BIGINT NOT NULL,
	idx       BIGINT NOT NULL,
	done      BIGINT NOT NULL,
	closed    BIGINT NOT NULL,
	PRIMARY KEY (collector, log_id, shard)
);
