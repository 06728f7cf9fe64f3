-- The hand-over to billing systems. A receiver's row says which process works for it now, and from when
-- on it may be asked again after it did not answer.
CREATE TABLE handover_receiver (
	receiver    TEXT   NOT NULL PRIMARY KEY,
	holder      TEXT   NOT NULL,
	held_until  BIGINT NOT NULL,
	failures    BIGINT NOT NULL,
	next_at     BIGINT NOT NULL,
	last_error  TEXT   NOT NULL
);
-- How far a feed was handed to a receiver: everything up to seq was.
CREATE TABLE handover_cursor (
	receiver TEXT   NOT NULL,
	feed     TEXT   NOT NULL,
	seq      BIGINT NOT NULL,
	moved_at BIGINT NOT NULL,
	PRIMARY KEY (receiver, feed)
);
-- The journal of charges that a receiver cannot be asked for by a key of ours. state is pending,
-- intended (written before the request), done, parked, waived or empty (nothing to charge); attempts counts
-- the requests, and request is the last one, without credentials. number is the statement's.
CREATE TABLE handover_charge (
	receiver    TEXT   NOT NULL,
	number      BIGINT NOT NULL,
	charge      TEXT   NOT NULL,
	statement   TEXT   NOT NULL,
	revision    BIGINT NOT NULL,
	customer    TEXT   NOT NULL,
	service     TEXT   NOT NULL,
	amount      TEXT   NOT NULL,
	currency    TEXT   NOT NULL,
	description TEXT   NOT NULL,
	period_to   BIGINT NOT NULL,
	state       TEXT   NOT NULL,
	approved    BIGINT NOT NULL,
	attempts    BIGINT NOT NULL,
	looks       BIGINT NOT NULL,
	next_at     BIGINT NOT NULL,
	request     TEXT   NOT NULL,
	intended_at BIGINT NOT NULL,
	settled_at  BIGINT NOT NULL,
	remote      TEXT   NOT NULL,
	last_error  TEXT   NOT NULL,
	PRIMARY KEY (receiver, number),
	UNIQUE (receiver, charge)
);
CREATE INDEX handover_charge_due ON handover_charge (receiver, state, next_at);
CREATE INDEX handover_charge_statement ON handover_charge (receiver, statement, revision);
-- Append-only: what became of a charge or of an event of a feed, and who decided it.
CREATE TABLE handover_event (
	seq      {{serial}},
	receiver TEXT   NOT NULL,
	subject  TEXT   NOT NULL,
	at       BIGINT NOT NULL,
	actor    TEXT   NOT NULL,
	action   TEXT   NOT NULL,
	text     TEXT   NOT NULL
);
CREATE INDEX handover_event_subject ON handover_event (receiver, subject, seq);
