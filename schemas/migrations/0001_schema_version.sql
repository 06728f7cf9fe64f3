-- The ledger's own memory of which migrations have been applied is made by internal/store before
-- the first of them runs. This file holds what every component shares.
CREATE TABLE setting (
	name  TEXT NOT NULL PRIMARY KEY,
	value TEXT NOT NULL
);
