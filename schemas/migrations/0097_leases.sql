-- One row: which of several processes draws the series. One that finds another generation writes nothing.
CREATE TABLE series_lease (
	id         BIGINT NOT NULL PRIMARY KEY,
	generation BIGINT NOT NULL,
	holder     TEXT NOT NULL,
	renewed_at BIGINT NOT NULL
);
INSERT INTO series_lease (id, generation, holder, renewed_at) VALUES (1, 0, '', 0);
-- The detectors' row is there from the beginning, too.
INSERT INTO detector_lease (id, generation, holder, renewed_at, exporters) VALUES (1, 0, '', 0, '') ON CONFLICT (id) DO NOTHING;
