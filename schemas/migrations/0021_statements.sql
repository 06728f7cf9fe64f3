-- Closed periods. A row never changes: what is found later is another row, with kind adjustment, the
-- next revision, and the difference in it. Each row's hash is over the hash before it and its own body.
-- booking and inventory_version say how far late entries and changes of ownership have been looked at
-- for adjustments.
CREATE TABLE statement_head (
	id                BIGINT NOT NULL PRIMARY KEY,
	number            BIGINT NOT NULL,
	hash              TEXT NOT NULL,
	booking           BIGINT NOT NULL,
	inventory_version BIGINT NOT NULL
);
INSERT INTO statement_head (id, number, hash, booking, inventory_version) VALUES (1, 0, '', 0, 0);
-- body is JSON: the contract, the price, the usage, the charge, and what was read to compute it.
CREATE TABLE statement (
	number        BIGINT NOT NULL PRIMARY KEY,
	statement     TEXT NOT NULL,
	revision      BIGINT NOT NULL,
	kind          TEXT NOT NULL,
	customer      TEXT NOT NULL,
	service       TEXT NOT NULL,
	period_from   BIGINT NOT NULL,
	period_to     BIGINT NOT NULL,
	closed_at     BIGINT NOT NULL,
	body          TEXT NOT NULL,
	previous_hash TEXT NOT NULL,
	hash          TEXT NOT NULL,
	UNIQUE (service, period_from, revision)
);
CREATE INDEX statement_period_to ON statement (period_to);
