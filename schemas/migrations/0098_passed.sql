-- Statements that a webhook was passed over because their charge waits for a person. What follows was told meanwhile;
-- they are told once the person has approved them, and a correction after what it corrects.
CREATE TABLE handover_passed (
	receiver  TEXT   NOT NULL,
	number    BIGINT NOT NULL,
	statement TEXT   NOT NULL,
	PRIMARY KEY (receiver, number)
);
CREATE INDEX handover_passed_statement ON handover_passed (receiver, statement, number);
