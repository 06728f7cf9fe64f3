-- When the ledger was restored from a backup, and the last number of each feed that the backup had: what is told behind
-- it may have been told before, by the ledger that was lost.
CREATE TABLE ledger_restore (
	at            BIGINT NOT NULL PRIMARY KEY,
	usage_records BIGINT NOT NULL,
	statements    BIGINT NOT NULL,
	notices       BIGINT NOT NULL
);
INSERT INTO ledger_restore (at, usage_records, statements, notices)
	SELECT CAST(value AS BIGINT), (SELECT last_seq FROM usage_record_head WHERE id = 1), (SELECT number FROM statement_head WHERE id = 1),
		(SELECT number FROM notice_head WHERE id = 1)
	FROM setting WHERE name = 'handover.restored_at';
DELETE FROM setting WHERE name = 'handover.restored_at';
-- doubted is 1 for a charge that the ledger before a restore may have sent: it is looked for before it is sent.
ALTER TABLE handover_charge ADD COLUMN doubted BIGINT NOT NULL DEFAULT 0;
UPDATE handover_charge SET doubted = 1 WHERE last_error LIKE 'the ledger was restored from a backup%';
