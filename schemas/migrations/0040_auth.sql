-- Who may use the API and the pages. Passwords are argon2id in PHC form; of sessions and tokens only
-- SHA-256 is kept (both are 256 random bits, so a slow hash would add nothing).
CREATE TABLE auth_user (
	name          TEXT   NOT NULL PRIMARY KEY,
	role          TEXT   NOT NULL,
	password_hash TEXT   NOT NULL,
	created_at    BIGINT NOT NULL,
	changed_at    BIGINT NOT NULL
);
CREATE TABLE auth_session (
	token_hash TEXT   NOT NULL PRIMARY KEY,
	user_name  TEXT   NOT NULL,
	created_at BIGINT NOT NULL,
	used_at    BIGINT NOT NULL
);
CREATE INDEX auth_session_user ON auth_session (user_name);
CREATE TABLE auth_token (
	name       TEXT   NOT NULL PRIMARY KEY,
	token_hash TEXT   NOT NULL UNIQUE,
	role       TEXT   NOT NULL,
	created_at BIGINT NOT NULL,
	used_at    BIGINT,
	revoked_at BIGINT
);
