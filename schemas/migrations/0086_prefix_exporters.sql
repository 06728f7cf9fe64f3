-- Which exporters account for a prefix, by time: each in [valid_from, valid_until). A valid_from of 0 is always, a
-- valid_until of 0 is still. accounts_from is since when the prefix itself is there: before it, the exporters of a
-- shorter one account for its addresses.
CREATE TABLE prefix_exporter (
	prefix      TEXT   NOT NULL,
	exporter    TEXT   NOT NULL,
	valid_from  BIGINT NOT NULL,
	valid_until BIGINT NOT NULL,
	recorded_at BIGINT NOT NULL,
	PRIMARY KEY (prefix, exporter, valid_from)
);
ALTER TABLE prefix ADD COLUMN accounts_from BIGINT NOT NULL DEFAULT 0;
-- Nobody has written down since when the exporters of now account for their prefixes. Those of a prefix that were
-- heard first account for it always, as all of them do where none was heard; the others from the hour in which they were
-- heard first, and one that was never heard from the ledger's end on. recorded_at is 0: it was not told.
CREATE TABLE prefix_exporter_heard (
	prefix   TEXT NOT NULL,
	exporter TEXT NOT NULL,
	hour     BIGINT
);
INSERT INTO prefix_exporter_heard (prefix, exporter, hour)
	WITH RECURSIVE letter (prefix, word, rest) AS (
		SELECT prefix, CAST('' AS TEXT), exporters || ' ' FROM prefix
		UNION ALL
		SELECT prefix, CASE WHEN SUBSTR(rest, 1, 1) = ' ' THEN '' ELSE word || SUBSTR(rest, 1, 1) END, SUBSTR(rest, 2) FROM letter WHERE rest <> ''
	)
	SELECT prefix, word, (SELECT MIN(hour) FROM exporter_hour WHERE exporter = word) FROM letter WHERE SUBSTR(rest, 1, 1) = ' ' AND word <> '';
INSERT INTO prefix_exporter (prefix, exporter, valid_from, valid_until, recorded_at)
	SELECT heard.prefix, heard.exporter,
		CASE WHEN earliest.hour IS NULL OR heard.hour = earliest.hour THEN 0
			ELSE COALESCE(heard.hour, (SELECT MAX(hour) + 1 FROM exporter_hour)) * 3600000000000 END, 0, 0
	FROM prefix_exporter_heard AS heard
	JOIN (SELECT prefix, MIN(hour) AS hour FROM prefix_exporter_heard GROUP BY prefix) AS earliest ON earliest.prefix = heard.prefix;
DROP TABLE prefix_exporter_heard;
