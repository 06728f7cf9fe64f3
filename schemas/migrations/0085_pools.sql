-- An allowance that several services share, with a contract of its own. Settings are kept as the text of an
-- import file; an empty quota is the sum of the members'.
CREATE TABLE pool (
	pool            TEXT NOT NULL PRIMARY KEY,
	customer        TEXT NOT NULL REFERENCES customer (id),
	plan            TEXT NOT NULL,
	place           TEXT NOT NULL,
	currency        TEXT NOT NULL,
	opened          TEXT NOT NULL,
	committed_until TEXT NOT NULL,
	quota           TEXT NOT NULL,
	direction       TEXT NOT NULL,
	period          TEXT NOT NULL,
	block           TEXT NOT NULL,
	sku             TEXT NOT NULL,
	internal        TEXT NOT NULL,
	missing         TEXT NOT NULL,
	grace           TEXT NOT NULL,
	sampled         TEXT NOT NULL,
	free            TEXT NOT NULL,
	time_zone       TEXT NOT NULL
);
-- Which services are in a pool from when to when; days are the first of the pool's periods.
CREATE TABLE pool_member (
	service   TEXT NOT NULL REFERENCES service (id),
	from_day  TEXT NOT NULL,
	pool      TEXT NOT NULL REFERENCES pool (pool),
	until_day TEXT NOT NULL,
	PRIMARY KEY (service, from_day)
);
CREATE INDEX pool_member_pool ON pool_member (pool);
-- What a reseller has bought for all of its customers together, as 500 Mbit/s; empty where nothing is agreed.
ALTER TABLE customer ADD COLUMN rate_bought TEXT NOT NULL DEFAULT '';
-- Changes and decisions may be about a pool: their service is the id of either.
CREATE TABLE contract_change_any (
	service    TEXT NOT NULL,
	ordered_at TEXT NOT NULL,
	plan       TEXT NOT NULL,
	quota      TEXT NOT NULL,
	PRIMARY KEY (service, ordered_at)
);
INSERT INTO contract_change_any (service, ordered_at, plan, quota) SELECT service, ordered_at, plan, quota FROM contract_change;
DROP TABLE contract_change;
ALTER TABLE contract_change_any RENAME TO contract_change;
CREATE TABLE decision_any (
	id               TEXT NOT NULL PRIMARY KEY,
	service          TEXT NOT NULL,
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
INSERT INTO decision_any (id, service, decision, from_at, until_at, direction, revokes, decided_by, reason, recorded_at, recorded_version)
	SELECT id, service, decision, from_at, until_at, direction, revokes, decided_by, reason, recorded_at, recorded_version FROM decision;
DROP TABLE decision;
ALTER TABLE decision_any RENAME TO decision;
CREATE INDEX decision_recorded ON decision (recorded_version);
