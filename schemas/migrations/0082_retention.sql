-- What retention has taken, so that what is left still adds up. ledger_state has more of it: slots_pruned and
-- hours_pruned (the first hours that still have them), pruned_bookings and pruned_guest_bookings (how many late
-- entries have gone). name is "meters" or "accounts", and which: "meters/flows".
CREATE TABLE pruned_octets (
	name   TEXT NOT NULL PRIMARY KEY,
	octets TEXT NOT NULL
);
-- The last statement that has gone: the chain begins behind it.
ALTER TABLE statement_head ADD COLUMN pruned_number BIGINT NOT NULL DEFAULT 0;
ALTER TABLE statement_head ADD COLUMN pruned_hash TEXT NOT NULL DEFAULT '';
CREATE INDEX statement_closed_at ON statement (closed_at);
