-- What customers were told, and what they chose. Only ever inserted; each row's hash is over the hash before it
-- and its own body. number is raised in the transaction that writes, so that it is dense and in the order of the commits.
CREATE TABLE notice_head (
	id     BIGINT NOT NULL PRIMARY KEY,
	number BIGINT NOT NULL,
	hash   TEXT NOT NULL
);
INSERT INTO notice_head (id, number, hash) VALUES (1, 0, '');
-- mark is the threshold in per cent, else empty: nothing is told twice of a service and period.
CREATE TABLE notice (
	number        BIGINT NOT NULL PRIMARY KEY,
	kind          TEXT NOT NULL,
	customer      TEXT NOT NULL,
	service       TEXT NOT NULL,
	period_from   BIGINT NOT NULL,
	period_to     BIGINT NOT NULL,
	mark          TEXT NOT NULL,
	told_at       BIGINT NOT NULL,
	body          TEXT NOT NULL,
	previous_hash TEXT NOT NULL,
	hash          TEXT NOT NULL,
	UNIQUE (service, period_from, kind, mark)
);
CREATE INDEX notice_period_to ON notice (period_to);
CREATE INDEX notice_kind ON notice (kind, number);
-- What became of the mail of a notice. It has no address: that is looked up when the mail is sent. state is pending,
-- sending (written before the attempt), unknown (nobody knows whether it is there; is tried once more, marked), sent, or one of
-- refused, failed, unsure, skipped and expired, in which nothing happens any more.
CREATE TABLE notice_mail (
	number     BIGINT NOT NULL PRIMARY KEY,
	state      TEXT NOT NULL,
	repeats    BIGINT NOT NULL,
	attempts   BIGINT NOT NULL,
	next_at    BIGINT NOT NULL,
	claimed_at BIGINT NOT NULL,
	settled_at BIGINT NOT NULL,
	last_error TEXT NOT NULL
);
CREATE INDEX notice_mail_due ON notice_mail (state, next_at);
-- The last forecast of each service's open period.
CREATE TABLE forecast (
	service     TEXT NOT NULL PRIMARY KEY,
	period_from BIGINT NOT NULL,
	made_at     BIGINT NOT NULL,
	body        TEXT NOT NULL
);
