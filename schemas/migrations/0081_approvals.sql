-- Charges that go to billing systems only when a person has said so: there is a row for each statement with an amount
-- that was closed while the provider wanted approvals, by the statement's number. state is waiting, then approved or
-- waived, once.
CREATE TABLE statement_approval (
	number     BIGINT NOT NULL PRIMARY KEY,
	statement  TEXT   NOT NULL,
	amount     TEXT   NOT NULL,
	state      TEXT   NOT NULL,
	decided_at BIGINT NOT NULL,
	decided_by TEXT   NOT NULL,
	reason     TEXT   NOT NULL
);
CREATE INDEX statement_approval_state ON statement_approval (state, number);
CREATE INDEX statement_approval_statement ON statement_approval (statement);
