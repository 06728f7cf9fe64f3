-- Notices that a customer's addresses are not used enough and will be taken back. Only ever inserted: who gave it, on
-- which day, and when we were told. A notice is about all that the service was given together with the prefix.
CREATE TABLE address_notice (
	id          {{serial}},
	service     TEXT NOT NULL REFERENCES service (id),
	prefix      TEXT NOT NULL,
	given_on    TEXT NOT NULL,
	given_by    TEXT NOT NULL,
	reason      TEXT NOT NULL,
	recorded_at BIGINT NOT NULL
);
CREATE INDEX address_notice_service ON address_notice (service, prefix);
