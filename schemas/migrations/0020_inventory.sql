-- What internal/inventory owns: who bought what, at what price, and who owned a meter when.
-- Settings are kept as the text that an import file has them in; an empty text is not set.
-- version counts the writing transactions; its row is locked by each of them.
CREATE TABLE inventory_state (
	id      BIGINT NOT NULL PRIMARY KEY,
	version BIGINT NOT NULL
);
INSERT INTO inventory_state (id, version) VALUES (1, 0);
CREATE TABLE provider (
	name      TEXT NOT NULL,
	time_zone TEXT NOT NULL,
	currency  TEXT NOT NULL,
	quota     TEXT NOT NULL,
	direction TEXT NOT NULL,
	period    TEXT NOT NULL,
	block     TEXT NOT NULL,
	sku       TEXT NOT NULL,
	bills     TEXT NOT NULL,
	internal  TEXT NOT NULL,
	rounding  TEXT NOT NULL
);
-- The one place where a customer's name is.
CREATE TABLE customer (
	id       TEXT NOT NULL PRIMARY KEY,
	name     TEXT NOT NULL,
	email    TEXT NOT NULL,
	reseller TEXT NOT NULL
);
CREATE TABLE plan (
	name      TEXT NOT NULL PRIMARY KEY,
	class     TEXT NOT NULL,
	quota     TEXT NOT NULL,
	direction TEXT NOT NULL,
	period    TEXT NOT NULL,
	block     TEXT NOT NULL,
	sku       TEXT NOT NULL,
	bills     TEXT NOT NULL,
	internal  TEXT NOT NULL,
	time_zone TEXT NOT NULL
);
-- Versions of prices; a version that has taken effect is never changed.
CREATE TABLE price (
	sku      TEXT NOT NULL,
	place    TEXT NOT NULL,
	currency TEXT NOT NULL,
	from_day TEXT NOT NULL,
	noticed  TEXT NOT NULL,
	per      TEXT NOT NULL,
	begun    TEXT NOT NULL,
	amount   TEXT NOT NULL,
	PRIMARY KEY (sku, place, currency, from_day)
);
CREATE TABLE service (
	id        TEXT NOT NULL PRIMARY KEY,
	customer  TEXT NOT NULL REFERENCES customer (id),
	plan      TEXT NOT NULL REFERENCES plan (name),
	place     TEXT NOT NULL,
	currency  TEXT NOT NULL,
	opened    TEXT NOT NULL,
	closed    TEXT NOT NULL,
	quota     TEXT NOT NULL,
	direction TEXT NOT NULL,
	period    TEXT NOT NULL,
	block     TEXT NOT NULL,
	sku       TEXT NOT NULL,
	bills     TEXT NOT NULL,
	internal  TEXT NOT NULL,
	time_zone TEXT NOT NULL
);
CREATE INDEX service_customer ON service (customer);
CREATE TABLE prefix (
	prefix    TEXT NOT NULL PRIMARY KEY,
	exporters TEXT NOT NULL
);
-- Append-only: a change supersedes a row and adds another, so that what we believed at any earlier
-- version can be told. What is true now has superseded_version 0. valid_until 0 is open-ended.
CREATE TABLE ownership (
	id                 {{serial}},
	meter_key          TEXT NOT NULL,
	service            TEXT NOT NULL REFERENCES service (id),
	valid_from         BIGINT NOT NULL,
	valid_until        BIGINT NOT NULL,
	recorded_at        BIGINT NOT NULL,
	recorded_version   BIGINT NOT NULL,
	superseded_at      BIGINT NOT NULL,
	superseded_version BIGINT NOT NULL
);
CREATE UNIQUE INDEX ownership_now ON ownership (meter_key, valid_from) WHERE superseded_version = 0;
CREATE INDEX ownership_recorded ON ownership (recorded_version);
CREATE INDEX ownership_superseded ON ownership (superseded_version);
