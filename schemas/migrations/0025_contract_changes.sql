-- What was ordered for a running service: another plan, another quota. ordered_at is RFC 3339; when it takes
-- effect follows from the terms (an upgrade then, a downgrade on an anniversary).
CREATE TABLE contract_change (
	service    TEXT NOT NULL REFERENCES service (id),
	ordered_at TEXT NOT NULL,
	plan       TEXT NOT NULL,
	quota      TEXT NOT NULL,
	PRIMARY KEY (service, ordered_at)
);
