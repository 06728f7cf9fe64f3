-- A customer's name and e-mail address, encrypted under a key of its own: without the row of
-- customer_key nothing can read customer_name. sealed is a nonce of 12 octets and what AES-256-GCM makes of
-- a JSON object.
CREATE TABLE customer_key (
	customer TEXT NOT NULL PRIMARY KEY REFERENCES customer (id),
	secret   {{blob}} NOT NULL
);
CREATE TABLE customer_name (
	customer TEXT NOT NULL PRIMARY KEY REFERENCES customer (id),
	sealed   {{blob}} NOT NULL
);
-- Customers whose key was destroyed. Only ever inserted.
CREATE TABLE erasure (
	customer  TEXT NOT NULL PRIMARY KEY REFERENCES customer (id),
	erased_at BIGINT NOT NULL,
	erased_by TEXT NOT NULL,
	reason    TEXT NOT NULL
);
-- Names of ledgers from before: internal/inventory seals them when the store is opened, and leaves this empty.
CREATE TABLE customer_unsealed (
	customer TEXT NOT NULL PRIMARY KEY,
	name     TEXT NOT NULL,
	email    TEXT NOT NULL
);
INSERT INTO customer_unsealed (customer, name, email) SELECT id, name, email FROM customer;
ALTER TABLE customer DROP COLUMN name;
ALTER TABLE customer DROP COLUMN email;
-- Who has done what, and why. Only ever inserted. subject is an identifier, as a customer's or a statement's.
CREATE TABLE audit_event (
	seq     {{serial}},
	at      BIGINT NOT NULL,
	actor   TEXT NOT NULL,
	action  TEXT NOT NULL,
	subject TEXT NOT NULL,
	reason  TEXT NOT NULL
);
CREATE INDEX audit_event_subject ON audit_event (subject, seq);
