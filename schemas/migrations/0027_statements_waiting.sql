-- Closed periods of which something else is known, and whose adjustment could not be computed: it is held, or
-- there is no price. Written together with statement_head, which has gone past what brought them here; a row
-- goes when the adjustment is written, or is nothing.
CREATE TABLE statement_waiting (
	service     TEXT NOT NULL,
	period_from BIGINT NOT NULL,
	PRIMARY KEY (service, period_from)
);
