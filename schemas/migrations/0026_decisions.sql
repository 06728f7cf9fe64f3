-- Traffic classes that a contract does not count.
ALTER TABLE provider ADD COLUMN free TEXT NOT NULL DEFAULT '';
ALTER TABLE plan ADD COLUMN free TEXT NOT NULL DEFAULT '';
ALTER TABLE service ADD COLUMN free TEXT NOT NULL DEFAULT '';
-- What persons have decided about usage and charges, with their reasons. Only ever inserted: a decision is
-- taken back by another one that revokes it. recorded_version says after which statements it was known.
CREATE TABLE decision (
	id               TEXT NOT NULL PRIMARY KEY,
	service          TEXT NOT NULL REFERENCES service (id),
	decision         TEXT NOT NULL,
	from_at          TEXT NOT NULL,
	until_at         TEXT NOT NULL,
	direction        TEXT NOT NULL,
	revokes          TEXT NOT NULL,
	decided_by       TEXT NOT NULL,
	reason           TEXT NOT NULL,
	recorded_at      BIGINT NOT NULL,
	recorded_version BIGINT NOT NULL
);
CREATE INDEX decision_recorded ON decision (recorded_version);
