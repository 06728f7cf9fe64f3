-- What the detector keeps: incidents and who did what with them, the outbox of notifications, the
-- state of every condition, and up to where the log has been read. All that belongs to one
-- checkpoint is written in one transaction.
CREATE TABLE incident (
	id              TEXT NOT NULL PRIMARY KEY,
	rule            TEXT NOT NULL,
	meter           TEXT NOT NULL,
	began_at        BIGINT NOT NULL,
	severity        TEXT NOT NULL,
	condition       TEXT NOT NULL,
	late            BIGINT NOT NULL DEFAULT 0,
	service         TEXT NOT NULL DEFAULT '',
	customer        TEXT NOT NULL DEFAULT '',
	opened_at       BIGINT NOT NULL,
	updated_at      BIGINT NOT NULL,
	resolved_at     BIGINT,
	resolved_by     TEXT NOT NULL DEFAULT '',
	resolve_reason  TEXT NOT NULL DEFAULT '',
	acknowledged_at BIGINT,
	acknowledged_by TEXT NOT NULL DEFAULT '',
	note            TEXT NOT NULL DEFAULT '',
	silenced_until  BIGINT,
	silenced_by     TEXT NOT NULL DEFAULT '',
	silence_reason  TEXT NOT NULL DEFAULT '',
	assigned_to     TEXT NOT NULL DEFAULT '',
	evidence        TEXT NOT NULL,
	UNIQUE (rule, meter, began_at)
);
CREATE INDEX incident_open ON incident (resolved_at, opened_at);
CREATE INDEX incident_meter ON incident (meter, opened_at);
CREATE INDEX incident_opened ON incident (opened_at);
-- Append-only: what happened to an incident, and by whom.
CREATE TABLE incident_event (
	seq      {{serial}},
	incident TEXT NOT NULL,
	at       BIGINT NOT NULL,
	actor    TEXT NOT NULL,
	action   TEXT NOT NULL,
	text     TEXT NOT NULL
);
CREATE INDEX incident_event_incident ON incident_event (incident, seq);
-- The outbox: written with the change that it tells of, and the log of what became of it.
CREATE TABLE notification (
	id         TEXT NOT NULL PRIMARY KEY,
	incident   TEXT NOT NULL,
	receiver   TEXT NOT NULL,
	event      TEXT NOT NULL,
	state      TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	next_at    BIGINT NOT NULL,
	attempts   BIGINT NOT NULL DEFAULT 0,
	sent_at    BIGINT,
	last_error TEXT NOT NULL DEFAULT ''
);
CREATE INDEX notification_due ON notification (state, next_at);
CREATE INDEX notification_incident ON notification (incident, created_at);
-- All that is known of one meter, or of one owner: closed holds its windows and machines, which change
-- when a slot is closed, and open what changes with each batch.
CREATE TABLE detector_state (
	subject TEXT NOT NULL PRIMARY KEY,
	closed  {{blob}} NOT NULL,
	open    {{blob}} NOT NULL
);
CREATE TABLE detector_watermark (
	collector TEXT NOT NULL,
	log_id    BIGINT NOT NULL,
	shard     BIGINT NOT NULL,
	batch     BIGINT NOT NULL,
	PRIMARY KEY (collector, log_id, shard)
);
-- One row: who may write the rows above. A detector that finds another generation writes nothing.
CREATE TABLE detector_lease (
	id         BIGINT NOT NULL PRIMARY KEY,
	generation BIGINT NOT NULL,
	holder     TEXT NOT NULL,
	renewed_at BIGINT NOT NULL,
	exporters  {{blob}} NOT NULL
);
