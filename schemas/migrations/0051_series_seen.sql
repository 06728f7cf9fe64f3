-- How far the series sink had read before it wrote points: until a restart has read that far again,
-- it closes no minute.
ALTER TABLE series_position ADD COLUMN seen BIGINT NOT NULL DEFAULT 0;
